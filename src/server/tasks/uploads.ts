import { randomBytes } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, readdir, rm, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import { asSallyportError, SallyportError } from '../../base/errors.ts';
import type { Logger } from '../../base/logger.ts';
import type { Quarantine } from '../../git/quarantine.ts';
import type { ByteStream } from '../../protocol/runner.ts';
import type { UploadRequest, UploadState } from '../../protocol/runnerApi.ts';
import { notFound } from '../http/problem.ts';
import { appendPiece, busy, hashOfFile, sizeOf } from './uploadFile.ts';
import { checkBundle, checkDisk, finishedMs, uploadLimits, type UploadLimits } from './uploadLimits.ts';
import { type Upload, UploadRows } from './uploadRows.ts';

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
  private readonly rows: UploadRows;
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
    this.rows = new UploadRows(options.store, options.now);
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
    const same = this.rows.ofCommit(user, repository.id, commit);
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
      this.rows.touch(known.id);
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
    const row = this.rows.insert(
      { id, user, repository: repository.id, sha: commit, bytes, sha256, complete: Number(isHere) },
      repository.name,
    );
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
    for (const upload of this.rows.all()) {
      const age = now - upload.touched_at;
      if (this.writers.has(upload.id)) continue;
      if (age < (upload.complete === 0 ? this.limits.abandonedMs : finishedMs)) continue;
      await this.forget(upload.id);
      removed.push(upload.id);
    }
    for (const name of await readdir(this.folder).catch(() => [])) {
      const found = this.rows.get(name);
      if (found === undefined || found.complete !== 0) await rm(this.path(name), { force: true });
    }
    return removed;
  }

  /** Commits of a repository, by the name that its quarantine has, that were brought and may be waited for by a task. */
  recent(): { user: string; repository: string; commit: string }[] {
    return this.rows.complete().map(({ user, repository, sha }) => ({
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
    checkBundle(bytes, this.rows.begun(user), this.limits);
    await mkdir(this.folder, { recursive: true, mode: 0o700 });
    const { bavail, bsize } = await statfs(this.folder);
    checkDisk(bytes, bavail * bsize);
  }

  /** Takes bytes in; what came of a piece that breaks off stays. */
  private async take(upload: Upload, offset: number, data: ByteStream, signal: AbortSignal): Promise<void> {
    const { id, bytes: total } = upload;
    await mkdir(this.folder, { recursive: true, mode: 0o700 });
    try {
      await appendPiece(this.path(id), { offset, total, data }, this.limits.silenceMs, signal);
    } finally {
      // After what cannot fail: of a full disk the store says so as well.
      this.rows.touch(id);
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
    this.rows.finish(id);
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
    const found = this.rows.get(id);
    if (found?.user !== user) throw notFound('such upload');
    return found;
  }

  private async forget(id: string): Promise<void> {
    await rm(this.path(id), { force: true });
    this.rows.delete(id);
  }

  private path(id: string): string {
    return join(this.folder, id);
  }
}

// eslint-disable-next-line @typescript-eslint/require-await
async function* nothing(): ByteStream {
  yield* [];
}
