import { mkdir, readFile, readdir, rm, rmdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod/mini';
import { SallyportError, isErrno } from '../../base/errors.ts';
import { claim, isHeld, linkNew } from '../../base/ownership.ts';
import { pause } from '../../base/pause.ts';
import { writeDurably } from './journal.ts';

const Pointer = z.object({ journal: z.string(), id: z.string() });
/** Where the journal of the accept lies that is at work in a repository. */
type Pointer = z.infer<typeof Pointer>;

/** How long another git process is waited for, in milliseconds, and between two looks. */
const patience = 3000;
const lookMs = 50;

/**
 * Keeps accepts apart: one at a time works in a work tree, whichever process does it. It is a folder in its git folder, for new
 * contents too, because files can be renamed from there into place; gone when nobody has it.
 */
export class Hold {
  readonly folder: string;
  private readonly letGo: () => Promise<void>;

  private constructor(folder: string, letGo: () => Promise<void>) {
    this.folder = folder;
    this.letGo = letGo;
  }

  /** Undefined where another living process has it. */
  static async take(gitDir: string): Promise<Hold | undefined> {
    const folder = join(gitDir, 'sallyport-accept');
    for (let tries = 0; ; tries++) {
      await mkdir(folder, { mode: 0o700 }).catch((thrown: unknown) => {
        if (!isErrno(thrown, 'EEXIST')) throw thrown;
      });
      try {
        const letGo = await claim(join(folder, 'claim'));
        return letGo === undefined ? undefined : new Hold(folder, letGo);
      } catch (thrown) {
        // Whoever had it removed the folder in this moment.
        if (!isErrno(thrown, 'ENOENT') || tries > 5) throw thrown;
      }
    }
  }

  /** Whether somebody has it, or was killed having it. */
  static async isThere(gitDir: string): Promise<boolean> {
    return (await stat(join(gitDir, 'sallyport-accept')).catch(() => undefined)) !== undefined;
  }

  /** What a process that was killed here was at. */
  async pointer(): Promise<Pointer | undefined> {
    const text = await readFile(join(this.folder, 'journal.json'), 'utf8').catch(() => undefined);
    return text === undefined ? undefined : Pointer.parse(JSON.parse(text));
  }

  async point(pointer: Pointer): Promise<void> {
    await writeDurably(join(this.folder, 'journal.json'), JSON.stringify(pointer));
  }

  /** Removes what was staged, and the pointer last. */
  async clear(): Promise<void> {
    const names = await readdir(this.folder);
    for (const name of names) {
      const path = join(this.folder, name);
      if (name === 'claim' || name === 'journal.json') continue;
      // Of somebody who tries to get hold right now, who tries again where it is gone in the moment of its making.
      if (name.startsWith('claim.') && isHeld(await readFile(path, 'utf8').catch(() => ''))) continue;
      await rm(path, { recursive: true, force: true });
    }
    await rm(join(this.folder, 'journal.json'), { force: true });
  }

  async release(): Promise<void> {
    await this.letGo();
    // Somebody else may have it already; and an empty folder that cannot be removed is no failure of what was done.
    await rmdir(this.folder).catch(() => undefined);
  }
}

export function busy(): SallyportError {
  return new SallyportError(
    'operation_in_progress',
    'Something else is being accepted into this repository right now.',
    'Wait until it is done, and try again.',
  );
}

/** Git's own lock of the index: while it is held no git process changes the index or checks anything out. */
export class IndexLock {
  private readonly path: string;
  private readonly mark: string;

  private constructor(path: string, mark: string) {
    this.path = path;
    this.mark = mark;
  }

  /** One that a killed process took for the same accept is taken over. Fails with `operation_in_progress`. */
  static async take(gitDir: string, id: string, signal?: AbortSignal): Promise<IndexLock> {
    const lock = new IndexLock(join(gitDir, 'index.lock'), `sallyport ${id}\n`);
    const until = performance.now() + patience;
    for (;;) {
      signal?.throwIfAborted();
      // With its content from the first moment on: one that a killed process left is known by it.
      const aside = join(gitDir, 'sallyport-accept', `lock-${id}`);
      await writeFile(aside, lock.mark, { mode: 0o600 });
      try {
        await linkNew(aside, lock.path);
        return lock;
      } catch (thrown) {
        if (!isErrno(thrown, 'EEXIST')) throw thrown;
      } finally {
        await rm(aside, { force: true });
      }
      if (await lock.isMine()) return lock;
      if (performance.now() > until) {
        throw new SallyportError(
          'operation_in_progress',
          'Another git process is at work in this repository.',
          `Wait until it is done. If there is none, it was killed: remove ${lock.path}, and try again.`,
        );
      }
      await pause(lookMs, signal ?? new AbortController().signal);
    }
  }

  async release(): Promise<void> {
    if (await this.isMine()) await rm(this.path, { force: true });
  }

  private async isMine(): Promise<boolean> {
    return (await readFile(this.path, 'latin1').catch(() => '')) === this.mark;
  }
}
