import { createHash, randomBytes } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open, readdir, rm, stat, statfs, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import * as z from 'zod/mini';
import { asSallyportError, isErrno, SallyportError } from '../../base/errors.ts';
import type { Logger } from '../../base/logger.ts';
import type { Quarantine } from '../../git/quarantine.ts';
import type { ByteStream } from '../../protocol/runner.ts';
import type { UploadRequest, UploadState } from '../../protocol/runnerApi.ts';
import { notFound } from '../http/problem.ts';

export interface UploadLimits {
  /** Of one bundle. */
  bytes: number;
  /** Of all bundles together that one user has begun and not finished. */
  bytesOfUser: number;
  /** How many a user may have begun and not finished. */
  open: number;
  /** How long a bundle may take to be taken in, in milliseconds. */
  importMs: number;
  /** How long a client may send nothing, in milliseconds. */
  silenceMs: number;
  /** What nobody has gone on with for so long is removed, in milliseconds. */
  abandonedMs: number;
}

export const uploadLimits: UploadLimits = {
  bytes: 4 * 2 ** 30,
  bytesOfUser: 8 * 2 ** 30,
  open: 16,
  importMs: 15 * 60_000,
  silenceMs: 60_000,
  abandonedMs: 24 * 60 * 60_000,
};

/** How long a finished upload is answered for, in milliseconds: a task on its commit may come at any time after. */
export const finishedMs = 7 * 24 * 60 * 60_000;
/** Left free on the volume, in bytes: the tasks' logs are written there too. */
const reserveBytes = 256 << 20;

const Stored = z.object({
  id: z.string(),
  user: z.string(),
  repository: z.string(),
  sha: z.string(),
  bytes: z.number(),
  sha256: z.string(),
  complete: z.number(),
  touched_at: z.number(),
});
type Upload = z.infer<typeof Stored>;

/** Who writes to an upload, or takes it in. */
interface Writer {
  /** Makes place for another one. */
  end: AbortController;
  done: Promise<unknown>;
}

/**
 * Bundles that come in pieces. How much of one is here is the size of its file, so that a server that was killed knows it;
 * the commit is taken in when all of it is here and its hash is right. Every user has uploads and commits of their own: what another has
 * brought is not known of.
 */
export class Uploads {
  private readonly store: DatabaseSync;
  private readonly folder: string;
  private readonly quarantine: (user: string, repository: string) => Quarantine;
  private readonly limits: UploadLimits;
  private readonly log: Logger;
  private readonly now: () => number;
  private readonly writers = new Map<string, Writer>();
  private closed = false;

  /** @param options `quarantine`: where the commits of a user's repository are, by the name that the user gives it */
  constructor(options: {
    store: DatabaseSync;
    folder: string;
    quarantine: (user: string, repository: string) => Quarantine;
    log: Logger;
    now: () => number;
    limits?: Partial<UploadLimits> | undefined;
  }) {
    this.store = options.store;
    this.folder = options.folder;
    this.quarantine = options.quarantine;
    this.log = options.log;
    this.now = options.now;
    this.limits = { ...uploadLimits, ...options.limits };
  }

  /** Those of the commits that this user has brought for that repository, or that a task of theirs has made. */
  async known(user: string, repository: string, commits: readonly string[]): Promise<string[]> {
    return await this.quarantine(user, repository).known(commits);
  }

  /** The upload that was begun before goes on; nothing is to be sent of a commit that is here. */
  async begin(user: string, request: UploadRequest): Promise<UploadState> {
    this.checkOpen();
    const { repository, commit, bytes, sha256 } = request;
    const same = this.select('user = ? AND repository = ? AND sha = ?', user, repository.id, commit);
    const isHere = (await this.known(user, repository.id, [commit])).length > 0;
    const known = same.find((one) =>
      isHere ? one.complete !== 0 : one.complete === 0 && one.bytes === bytes && one.sha256 === sha256,
    );
    // The same commit in another bundle takes the place of the one that was begun.
    for (const { id } of same) {
      if (id === known?.id) continue;
      await this.endWriter(id);
      await this.forget(id);
    }
    if (known !== undefined) {
      this.touch(known.id);
      const state = await this.stateOf(known);
      if (state.complete || state.offset < bytes) return state;
      const writer = this.writers.get(known.id);
      // The server can have ended between the last byte and the commit.
      if (writer === undefined) return await this.continue(user, known.id, bytes, nothing());
      // It is being taken in, for a connection that may be gone.
      await writer.done.catch(() => undefined);
      return await this.begin(user, request);
    }
    if (isHere) await this.quarantine(user, repository.id).keepKnown(commit);
    else await this.checkRoom(user, bytes);
    const id = randomBytes(16).toString('hex');
    const row: Upload = {
      id,
      user,
      repository: repository.id,
      sha: commit,
      bytes,
      sha256,
      complete: Number(isHere),
      touched_at: this.now(),
    };
    this.store
      .prepare(
        'INSERT INTO uploads (id, user, repository, name, sha, bytes, sha256, complete, touched_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)',
      )
      .run(id, user, repository.id, repository.name, commit, bytes, sha256, Number(isHere), this.now());
    return await this.stateOf(row);
  }

  /** Throws `not_found` for an upload of somebody else's too. */
  async state(user: string, id: string): Promise<UploadState> {
    return await this.stateOf(this.row(user, id));
  }

  /**
   * Takes the next bytes, and with the last of them the commit. A client that comes again takes the place of its own
   * connection that hangs. Throws `not_found`; `conflict` when the offset is not where the upload stands; `too_large` for more
   * bytes than were announced; `import_refused` for what is no whole, harmless bundle of the commit that was announced.
   */
  async continue(user: string, id: string, offset: number, data: ByteStream): Promise<UploadState> {
    this.checkOpen();
    this.row(user, id);
    await this.endWriter(id);
    // Somebody else may have come in between, with the same right.
    const upload = this.row(user, id);
    if (this.writers.has(id)) throw busy();
    const end = new AbortController();
    const work = (async () => {
      if (upload.complete !== 0) return await this.stateOf(upload);
      await this.take(upload, offset, data, end.signal);
      return await this.finish(upload, end.signal);
    })();
    this.writers.set(id, { end, done: work });
    try {
      return await work;
    } finally {
      this.writers.delete(id);
    }
  }

  /** Removes what was abandoned, and files that belong to nothing. Resolves to the ids of what was removed. */
  async sweep(): Promise<string[]> {
    const now = this.now();
    const removed: string[] = [];
    for (const upload of this.select('1 = 1')) {
      const age = now - upload.touched_at;
      if (this.writers.has(upload.id)) continue;
      if (age < (upload.complete === 0 ? this.limits.abandonedMs : finishedMs)) continue;
      await this.forget(upload.id);
      removed.push(upload.id);
    }
    for (const name of await readdir(this.folder).catch(() => [])) {
      const [found] = this.select('id = ?', name);
      if (found === undefined || found.complete !== 0) await rm(this.path(name), { force: true });
    }
    return removed;
  }

  /** Commits of a repository, by the name that its quarantine has, that were brought and may be waited for by a task. */
  recent(): { user: string; repository: string; commit: string }[] {
    return this.select('complete = 1').map(({ user, repository, sha }) => ({
      user,
      repository,
      commit: sha,
    }));
  }

  /** Ends what is being written; what is here of it stays. */
  async close(): Promise<void> {
    this.closed = true;
    await Promise.all([...this.writers.keys()].map((id) => this.endWriter(id)));
  }

  private checkOpen(): void {
    if (!this.closed) return;
    throw new SallyportError(
      'conflict',
      'The runner is shutting down.',
      'Go on with the upload in a moment.',
    );
  }

  private async checkRoom(user: string, bytes: number): Promise<void> {
    const { limits } = this;
    if (bytes === 0)
      throw new SallyportError(
        'invalid_input',
        'The commit is not here, and a bundle of 0 bytes does not bring it.',
        'Announce the bundle with its size.',
      );
    if (bytes > limits.bytes)
      throw new SallyportError(
        'too_large',
        `The bundle has ${mebibytes(bytes)}, and at most ${mebibytes(limits.bytes)} are taken.`,
        'Leave out what the runner has already (/api/v1/uploads/known), or let it fetch the repository by its URL.',
      );
    const begun = this.select('user = ? AND complete = 0', user);
    const announced = begun.reduce((sum, one) => sum + one.bytes, bytes);
    if (begun.length >= limits.open || announced > limits.bytesOfUser)
      throw new SallyportError(
        'too_many_requests',
        `You have begun ${begun.length} uploads that are not finished.`,
        'Finish them first, or wait until those that were abandoned are removed.',
      );
    await mkdir(this.folder, { recursive: true, mode: 0o700 });
    const { bavail, bsize } = await statfs(this.folder);
    // The bundle, and what is made of it.
    if (2 * bytes + reserveBytes > bavail * bsize)
      throw new SallyportError(
        'disk_full',
        'The disk of the runner has no room for this upload.',
        'Have its administrator free some space.',
      );
  }

  /** Appends to the file; a piece that is not taken to its end stays as far as it came. */
  private async take(upload: Upload, offset: number, data: ByteStream, signal: AbortSignal): Promise<void> {
    const { id, bytes } = upload;
    await mkdir(this.folder, { recursive: true, mode: 0o700 });
    const file = await open(this.path(id), 'a', 0o600);
    try {
      const { size } = await file.stat();
      if (offset !== size)
        throw new SallyportError(
          'conflict',
          `The upload stands at ${size} bytes, and what came begins at ${offset}.`,
          'Ask where it stands (GET), and go on from there.',
        );
      let at = size;
      for await (const chunk of unlessSilent(data, this.limits.silenceMs, signal)) {
        if (at + chunk.length > bytes) {
          // Of a piece that is too long nothing can be trusted.
          await file.truncate(size);
          throw new SallyportError(
            'too_large',
            `More came than the ${bytes} bytes that were announced.`,
            'Begin a new upload with the right size.',
          );
        }
        await writeAll(file, chunk);
        at += chunk.length;
      }
    } catch (thrown) {
      if (isErrno(thrown, 'ENOSPC', 'EDQUOT'))
        throw new SallyportError('disk_full', 'The disk of the runner is full.', 'Go on when it has room.', {
          cause: thrown,
        });
      throw thrown;
    } finally {
      // First what cannot fail: of a full disk the store says so as well.
      await file.close();
      this.touch(id);
    }
  }

  /** Takes the commit in, once all of its bundle is here. */
  private async finish(upload: Upload, signal: AbortSignal): Promise<UploadState> {
    const { id, user, repository, sha, bytes, sha256 } = upload;
    const path = this.path(id);
    if ((await sizeOf(path)) < bytes) return await this.stateOf(upload);
    if ((await hashOfFile(path)) !== sha256) {
      await rm(path, { force: true });
      throw new SallyportError(
        'invalid_input',
        'What came is not what was announced: its SHA-256 is another. Nothing of it was kept.',
        'Send it again from the beginning.',
      );
    }
    try {
      const { bytes: maxBytes, importMs: timeoutMs } = this.limits;
      await this.quarantine(user, repository).importBase(sha, createReadStream(path), {
        maxBytes,
        timeoutMs,
        signal,
      });
    } catch (thrown) {
      const error = asSallyportError(thrown);
      this.log.warn(`Upload ${id}: ${error.code}: ${error.message}`);
      // What is refused once is refused always; anything else may pass, and the bytes stay.
      if (error.code === 'import_refused') await this.forget(id);
      throw error;
    }
    this.store.prepare('UPDATE uploads SET complete = 1, touched_at = ? WHERE id = ?').run(this.now(), id);
    await rm(path, { force: true });
    return { id, offset: bytes, complete: true };
  }

  private async endWriter(id: string): Promise<void> {
    const writer = this.writers.get(id);
    if (writer === undefined) return;
    writer.end.abort();
    await writer.done.catch(() => undefined);
  }

  private async stateOf({ id, bytes, complete }: Upload): Promise<UploadState> {
    if (complete !== 0) return { id, offset: bytes, complete: true };
    return { id, offset: Math.min(await sizeOf(this.path(id)), bytes), complete: false };
  }

  private row(user: string, id: string): Upload {
    const [found] = this.select('id = ? AND user = ?', id, user);
    if (found === undefined) throw notFound('such upload');
    return found;
  }

  private select(where: string, ...values: string[]): Upload[] {
    const rows = this.store
      .prepare(`SELECT * FROM uploads WHERE ${where} ORDER BY touched_at`)
      .all(...values);
    return rows.map((row) => Stored.parse(row));
  }

  private touch(id: string): void {
    this.store.prepare('UPDATE uploads SET touched_at = ? WHERE id = ?').run(this.now(), id);
  }

  private async forget(id: string): Promise<void> {
    await rm(this.path(id), { force: true });
    this.store.prepare('DELETE FROM uploads WHERE id = ?').run(id);
  }

  private path(id: string): string {
    return join(this.folder, id);
  }
}

function busy(): SallyportError {
  return new SallyportError(
    'conflict',
    'Another connection goes on with this upload.',
    'Let one connection at a time send it.',
  );
}

/** The same bytes. Ends the source when nothing comes for too long, or when `signal` aborts. */
async function* unlessSilent(
  data: ByteStream,
  silenceMs: number,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const iterator = data[Symbol.asyncIterator]();
  let finished = false;
  try {
    for (;;) {
      const { promise: interrupted, reject } = Promise.withResolvers<never>();
      interrupted.catch(() => undefined);
      const leave = (): void => reject(busy());
      const timer = setTimeout(
        () =>
          reject(
            new SallyportError('cancelled', 'Nothing came for too long.', 'Go on with the upload later.'),
          ),
        silenceMs,
      );
      if (signal.aborted) leave();
      signal.addEventListener('abort', leave, { once: true });
      try {
        const next = await Promise.race([iterator.next().catch(brokenOff), interrupted]);
        if (next.done === true) {
          finished = true;
          return;
        }
        yield next.value;
      } finally {
        clearTimeout(timer);
        signal.removeEventListener('abort', leave);
      }
    }
  } finally {
    // A source that gives nothing may not end either.
    if (!finished) void iterator.return?.().catch(() => undefined);
  }
}

// eslint-disable-next-line @typescript-eslint/require-await
async function* nothing(): ByteStream {
  yield* [];
}

function brokenOff(thrown: unknown): never {
  throw new SallyportError('cancelled', 'The connection broke off.', 'Go on with the upload.', {
    cause: thrown,
  });
}

async function writeAll(file: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length;) done += (await file.write(bytes, done)).bytesWritten;
}

async function sizeOf(path: string): Promise<number> {
  try {
    return (await stat(path)).size;
  } catch (thrown) {
    if (isErrno(thrown, 'ENOENT')) return 0;
    throw thrown;
  }
}

async function hashOfFile(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path)) hash.update(chunk as Uint8Array);
  return hash.digest('hex');
}

function mebibytes(bytes: number): string {
  return `${Math.ceil(bytes / 2 ** 20).toLocaleString('en')} MiB`;
}
