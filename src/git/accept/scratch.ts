import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { git, type GitOptions } from '../process.ts';
import type { Quarantine } from '../quarantine.ts';
import { alternate } from '../receive.ts';
import type { Repository } from '../repository.ts';
import { changesBetween, type Change, type Side } from './entries.ts';
import type { GitPath } from './paths.ts';

/**
 * Where an accept is worked out: reads the objects of the quarantine and of the user's repository, and writes into a store of
 * its own, which is gone afterwards. So trying out a merge leaves no trace in either.
 */
export class Scratch {
  readonly folder: string;
  readonly repository: Repository;
  readonly signal: AbortSignal | undefined;
  /** Hardened, over all three stores. */
  readonly options: GitOptions;
  private readonly objects: string;
  private readonly quarantine: Quarantine;
  private count = 0;

  private constructor(
    folder: string,
    quarantine: Quarantine,
    repository: Repository,
    signal: AbortSignal | undefined,
  ) {
    this.folder = folder;
    this.repository = repository;
    this.quarantine = quarantine;
    this.signal = signal;
    this.objects = join(folder, 'objects');
    this.options = {
      ...quarantine.options(signal),
      bounded: true,
      config: [
        ['core.protectHFS', 'true'],
        ['core.protectNTFS', 'true'],
      ],
      env: this.stores(),
    };
  }

  static async use<T>(
    quarantine: Quarantine,
    repository: Repository,
    signal: AbortSignal | undefined,
    work: (scratch: Scratch) => Promise<T>,
  ): Promise<T> {
    return await quarantine.use(signal, async () => {
      const folder = await quarantine.temporaryFolder();
      try {
        const scratch = new Scratch(folder, quarantine, repository, signal);
        await mkdir(scratch.objects);
        return await work(scratch);
      } finally {
        await rm(folder, { recursive: true, force: true });
      }
    });
  }

  /** A path that nobody uses. */
  file(): string {
    this.count++;
    return join(this.folder, `file-${this.count}`);
  }

  /** Git as the user has it: with the filters, line endings and signing of their configuration. */
  asUser(): GitOptions {
    const { workTree, gitDir } = this.repository;
    return { mode: 'user', cwd: workTree, gitDir, workTree, signal: this.signal };
  }

  /** As `asUser`, reading from all stores and writing to the own one. */
  asUserHere(): GitOptions {
    return { ...this.asUser(), env: this.stores() };
  }

  /** As `asUser`, writing to the own store what it makes, and looking for it nowhere else: looking renews times. */
  asUserAside(): GitOptions {
    return { ...this.asUser(), env: { GIT_OBJECT_DIRECTORY: this.objects } };
  }

  /** As `asUser`, where what is read may be in any of the stores. */
  asUserReading(): GitOptions {
    return { ...this.asUser(), env: alternate(this.objects, this.quarantine.objects) };
  }

  async changes(from: string, to: string): Promise<Change[]> {
    return from === to ? [] : await changesBetween(from, to, this.options);
  }

  async treeOf(commit: string): Promise<string> {
    return line(await git(['rev-parse', '--verify', '--end-of-options', `${commit}^{tree}`], this.options));
  }

  async writeBlob(content: Uint8Array): Promise<string> {
    return line(await git(['hash-object', '-w', '--stdin'], { ...this.options, input: content }));
  }

  /** The tree that another becomes with these entries. */
  async treeWith(tree: string, entries: Iterable<readonly [GitPath, Side]>): Promise<string> {
    const index = this.file();
    const options: GitOptions = { ...this.options, env: { ...this.stores(), GIT_INDEX_FILE: index } };
    await git(['read-tree', tree], options);
    const input = indexInfo(entries);
    if (input.length > 0)
      await git(['update-index', '--replace', '-z', '--index-info'], { ...options, input });
    try {
      return line(await git(['write-tree'], options));
    } finally {
      await rm(index, { force: true });
    }
  }

  private stores(): Record<string, string> {
    return {
      GIT_OBJECT_DIRECTORY: this.objects,
      ...alternate(this.quarantine.objects, join(this.repository.commonDir, 'objects')),
    };
  }
}

/** Input of `git update-index -z --index-info`. What goes away comes first, so that a folder can take a file's place. */
export function indexInfo(entries: Iterable<readonly [GitPath, Side]>): Buffer {
  const gone: string[] = [];
  const here: string[] = [];
  for (const [path, side] of entries) {
    if (side === undefined) gone.push(`0 ${'0'.repeat(40)}\t${path}\0`);
    else here.push(`${side.mode} ${side.oid}\t${path}\0`);
  }
  return Buffer.from([...gone, ...here].join(''), 'latin1');
}

export function line(result: { stdout: Buffer }): string {
  return result.stdout.toString('latin1').trim();
}
