import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod/mini';
import { asSallyportError, SallyportError } from '../base/errors.ts';
import { pause } from '../base/pause.ts';
import type { Quarantine } from '../git/quarantine.ts';
import { Sha } from '../protocol/grammar.ts';
import type { ByteStream } from '../protocol/runner.ts';
import {
  KnownCommits,
  UploadState,
  type KnownCommitsRequest,
  type UploadRequest,
} from '../protocol/runnerApi.ts';
import type { TaskSpec } from '../protocol/task.ts';
import { backoffDelay, type Backoff } from './backoff.ts';
import { isPassing } from './runnerFailures.ts';
import type { RunnerHttp } from './runnerHttp.ts';

/** How far a submission is. `done` and `total` are bytes. */
export interface UploadProgress {
  stage: 'asking' | 'packing' | 'uploading' | 'submitting';
  done: number;
  total: number;
}

export interface UploadOptions {
  http: RunnerHttp;
  /** Where bundles wait. */
  folder: string;
  backoff: Backoff;
  /** How often in a row it may break off without a byte getting through. */
  attempts: number;
  /** False while the runner is known to be away: then nobody waits until it is back. */
  isThere: () => boolean;
}

/** One piece, in bytes: what is lost at most when the connection breaks off. */
const pieceBytes = 4 << 20;
/** Bundles of submissions that nobody has tried again go after this time, in milliseconds. */
const spoolAge = 7 * 24 * 60 * 60_000;

/** A bundle on the disk, and what of the history it takes for granted. */
const Spooled = z.object({
  bytes: z.int().check(z.positive()),
  sha256: z.string().check(z.regex(/^[0-9a-f]{64}$/)),
  known: z.array(Sha),
});
type Spooled = z.infer<typeof Spooled>;

/**
 * Brings a snapshot to the runner. What it has already is not sent; what is sent is spooled first, so that a submission
 * that broke off, even with this process, goes on where it was.
 */
export class Uploads {
  private readonly options: UploadOptions;
  /** One at a time for each bundle: the second finds that the runner has it. */
  private readonly busy = new Map<string, Promise<void>>();

  constructor(options: UploadOptions) {
    this.options = options;
  }

  /**
   * Resolves when the runner has the commit. Throws `runner_unreachable` when it breaks off too often, and what the
   * runner says.
   * @param whole the bundle with all of its history, for a snapshot that is not in the quarantine
   */
  async bring(
    spec: Pick<TaskSpec, 'repository' | 'snapshot'>,
    quarantine: Quarantine,
    whole: () => ByteStream,
    report: (progress: UploadProgress) => void,
    signal: AbortSignal,
  ): Promise<void> {
    const key = `${spec.repository.id}-${spec.snapshot.commit}`;
    for (let before; (before = this.busy.get(key)) !== undefined;) await before;
    signal.throwIfAborted();
    const work = this.bringOne(key, spec, quarantine, whole, report, signal);
    const quiet = work.catch(() => undefined).finally(() => this.busy.delete(key));
    this.busy.set(key, quiet);
    await work;
  }

  private async bringOne(
    key: string,
    { repository, snapshot }: Pick<TaskSpec, 'repository' | 'snapshot'>,
    quarantine: Quarantine,
    whole: () => ByteStream,
    report: (progress: UploadProgress) => void,
    signal: AbortSignal,
  ): Promise<void> {
    report({ stage: 'asking', done: 0, total: 0 });
    const here = await quarantine.has(snapshot.commit, signal);
    const asked = here ? await quarantine.landmarks(snapshot, signal) : [snapshot.commit];
    const known = await this.known(repository.id, asked, signal);
    const path = join(this.options.folder, `${key}.bundle`);
    if (known.includes(snapshot.commit)) {
      await discard(path);
      return;
    }
    let spooled = await readSpooled(path);
    // What a bundle from before builds on must still be there.
    if (spooled === undefined || spooled.known.some((sha) => !known.includes(sha))) {
      report({ stage: 'packing', done: 0, total: 0 });
      await clearOld(this.options.folder);
      const bundle = here ? quarantine.thinSnapshotBundle(snapshot, known, signal) : whole();
      spooled = await spool(path, bundle, here ? known : []);
    }
    const { id, name } = repository;
    const { bytes, sha256 } = spooled;
    const request: UploadRequest = { repository: { id, name }, commit: snapshot.commit, bytes, sha256 };
    await this.send(path, request, report, signal);
    await discard(path);
  }

  /** Which of these the runner has. Only of what was asked, whatever it says. */
  private async known(repository: string, commits: string[], signal: AbortSignal): Promise<string[]> {
    const body: z.infer<typeof KnownCommitsRequest> = { repository, commits };
    const { http, attempts, backoff, isThere } = this.options;
    const answer = await again(
      () => http.json({ method: 'POST', path: 'api/v1/uploads/known', json: body, signal }, KnownCommits),
      (failures) => failures < attempts && isThere(),
      backoff,
      signal,
    );
    const said = new Set(answer.commits);
    return commits.filter((sha) => said.has(sha));
  }

  private async send(
    path: string,
    request: UploadRequest,
    report: (progress: UploadProgress) => void,
    signal: AbortSignal,
  ): Promise<void> {
    const { http, attempts, backoff } = this.options;
    const total = request.bytes;
    let failures = 0;
    let best = -1;
    const file = await open(path, 'r');
    try {
      for (;;) {
        try {
          // Said again after each break, because that is how the runner tells where it stands.
          let state = await http.json(
            { method: 'POST', path: 'api/v1/uploads', json: request, signal },
            UploadState,
          );
          while (!state.complete) {
            if (state.offset < 0 || state.offset >= total) throw noUse(state.offset, total);
            if (state.offset > best) failures = 0;
            best = Math.max(best, state.offset);
            report({ stage: 'uploading', done: state.offset, total });
            const piece = Buffer.allocUnsafe(Math.min(pieceBytes, total - state.offset));
            const { bytesRead } = await file.read(piece, 0, piece.length, state.offset);
            if (bytesRead !== piece.length) throw new Error(`${path} is shorter than it was`);
            state = await http.json(
              {
                method: 'PATCH',
                path: `api/v1/uploads/${encodeURIComponent(state.id)}`,
                headers: { 'upload-offset': String(state.offset) },
                bytes: piece,
                signal,
              },
              UploadState,
            );
          }
          report({ stage: 'uploading', done: total, total });
          return;
        } catch (thrown) {
          signal.throwIfAborted();
          const error = asSallyportError(thrown);
          if (!isPassing(error) && error.code !== 'conflict') {
            // What the runner does not take now it will not take later.
            await discard(path);
            throw thrown;
          }
          if (++failures >= attempts) throw brokeOff(error, best, total);
          await pause(backoffDelay(failures - 1, backoff), signal);
          signal.throwIfAborted();
        }
      }
    } finally {
      await file.close();
    }
  }
}

/** Does it again after what passes by itself, as long as `may` says so. */
export async function again<T>(
  work: () => Promise<T>,
  may: (failures: number) => boolean,
  backoff: Backoff,
  signal: AbortSignal,
): Promise<T> {
  for (let failures = 1; ; failures++) {
    try {
      return await work();
    } catch (thrown) {
      signal.throwIfAborted();
      if (!isPassing(asSallyportError(thrown)) || !may(failures)) throw thrown;
      await pause(backoffDelay(failures - 1, backoff), signal);
      signal.throwIfAborted();
    }
  }
}

function brokeOff(error: SallyportError, done: number, total: number): SallyportError {
  if (error.code !== 'runner_unreachable' && error.code !== 'conflict') return error;
  return new SallyportError(
    'runner_unreachable',
    `The upload broke off at ${Math.max(0, done)} of ${total} bytes: ${error.message}`,
    'Submit again when the runner can be reached: the upload goes on where it stopped.',
    { cause: error },
  );
}

function noUse(offset: number, total: number): SallyportError {
  return new SallyportError(
    'runner_version',
    `The runner says that it has ${offset} of ${total} bytes and yet not all.`,
    'Update the runner and Sallyport to the same version.',
  );
}

async function spool(path: string, bundle: ByteStream, known: readonly string[]): Promise<Spooled> {
  await mkdir(join(path, '..'), { recursive: true, mode: 0o700 });
  const aside = `${path}.new-${process.pid}`;
  const hash = createHash('sha256');
  let bytes = 0;
  const file = await open(aside, 'w', 0o600);
  try {
    for await (const chunk of bundle) {
      hash.update(chunk);
      bytes += chunk.length;
      await file.writeFile(chunk);
    }
  } catch (thrown) {
    await rm(aside, { force: true });
    throw thrown;
  } finally {
    await file.close();
  }
  const spooled: Spooled = { bytes, sha256: hash.digest('hex'), known: [...known] };
  await rename(aside, path);
  await writeFile(`${path}.json`, JSON.stringify(spooled), { mode: 0o600 });
  return spooled;
}

/** What is on the disk from before; undefined when it is not whole. */
async function readSpooled(path: string): Promise<Spooled | undefined> {
  try {
    const spooled = Spooled.parse(JSON.parse(await readFile(`${path}.json`, 'utf8')));
    const hash = createHash('sha256');
    for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
    return hash.digest('hex') === spooled.sha256 ? spooled : undefined;
  } catch {
    return undefined;
  }
}

async function discard(path: string): Promise<void> {
  await rm(`${path}.json`, { force: true });
  await rm(path, { force: true });
}

async function clearOld(folder: string): Promise<void> {
  for (const name of await readdir(folder).catch(() => [])) {
    const found = await stat(join(folder, name)).catch(() => undefined);
    if (found !== undefined && Date.now() - found.mtimeMs > spoolAge)
      await rm(join(folder, name), { force: true });
  }
}
