import { createHash, randomBytes } from 'node:crypto';
import { mkdir, open, readFile, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod/mini';
import { SallyportError, isErrno } from '../../base/errors.ts';
import { syncFolder } from '../../base/syncFolder.ts';
import { isHeld, newClaim } from '../../base/ownership.ts';
import { Sha } from '../../protocol/grammar.ts';

/** Of accepts: they stand in paths, in the journal and in the repository. */
const AcceptId = z.string().check(z.regex(/^[a-z0-9]{8,40}$/));

const Path = z.string();
const Mode = z.int().check(z.nonnegative(), z.maximum(0o7777));
const State = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('absent') }),
  /** `at` is where the content begins in the journal's file `contents`; of the old version only. */
  z.object({
    kind: z.literal('file'),
    sha256: z.string(),
    mode: Mode,
    at: z.optional(z.int().check(z.nonnegative())),
    size: z.optional(z.int().check(z.nonnegative())),
  }),
  /** One character for each byte. */
  z.object({ kind: z.literal('link'), target: z.string() }),
]);
/** What a path of the work tree is. */
export type State = z.infer<typeof State>;

const Side = z.nullable(z.object({ mode: z.string(), oid: Sha }));

const FileRecord = z.object({ path: Path, old: State, new: State });
export type FileRecord = z.infer<typeof FileRecord>;
const IndexRecord = z.object({
  /** SHA-256 of the file; null where there was none. */
  old: z.nullable(z.string()),
  new: z.string(),
  entries: z.array(z.object({ path: Path, old: Side, new: Side })),
});
export type IndexRecord = z.infer<typeof IndexRecord>;
const RefRecord = z.object({ name: z.string(), old: z.nullable(Sha), new: Sha, reason: z.string() });
export type RefRecord = z.infer<typeof RefRecord>;

const AcceptRecord = z.object({
  version: z.literal(1),
  id: AcceptId,
  workTree: z.string(),
  gitDir: z.string(),
  commonDir: z.string(),
  files: z.array(FileRecord),
  /** Folders that are made, the outermost first. */
  made: z.array(Path),
  /** Folders above files that go, with their modes: those that become empty go too. */
  above: z.array(z.object({ path: Path, mode: Mode })),
  index: z.optional(IndexRecord),
  ref: z.optional(RefRecord),
  note: z.optional(z.string()),
});
/** All that an accept changes, before and after. */
export type Plan = z.infer<typeof AcceptRecord>;

const Owner = z.object({ claim: z.string(), gitDir: z.string() });

/** An accept that was done. */
export interface DoneAccept {
  id: string;
  note?: string;
}

/**
 * The journal of one accept, a folder `<journal>/<id>`. `owner.json` says who is at work; from when `plan.json` is there until
 * `done` is, or `back`, the repository may be half changed, and everything is taken back should the process be gone. `contents`
 * and `index` hold what was there before. It is there before a repository is held for it, and goes after that is let go: so
 * nothing is left in a repository that no journal knows of.
 */
export class Journal {
  readonly id: string;
  readonly folder: string;

  private constructor(root: string, id: string) {
    this.id = id;
    this.folder = join(root, id);
  }

  static async create(root: string, gitDir: string): Promise<Journal> {
    await mkdir(root, { recursive: true, mode: 0o700 });
    const id = randomBytes(10).toString('hex');
    const fresh = join(root, `.new-${id}`);
    await mkdir(fresh, { mode: 0o700 });
    await writeDurably(join(fresh, 'owner.json'), JSON.stringify({ claim: newClaim(), gitDir }));
    const journal = new Journal(root, id);
    await rename(fresh, journal.folder);
    await syncFolder(root);
    return journal;
  }

  static async find(root: string, id: string): Promise<Journal | undefined> {
    if (!AcceptId.safeParse(id).success) return undefined;
    const journal = new Journal(root, id);
    return (await journal.isGone()) ? undefined : journal;
  }

  /** Throws `not_found`. */
  static async open(root: string, id: string): Promise<Journal> {
    const journal = await Journal.find(root, id);
    if (journal !== undefined) return journal;
    throw new SallyportError(
      'not_found',
      'What is needed to take this back is not there any more.',
      'It was taken back already, or its task was removed. Use git to go back.',
    );
  }

  /** Those of a folder, oldest first. */
  static async all(root: string): Promise<Journal[]> {
    const names = await readdir(root).catch((thrown: unknown) => {
      if (isErrno(thrown, 'ENOENT')) return [];
      throw thrown;
    });
    const found: { journal: Journal; at: number }[] = [];
    for (const name of names) {
      if (!AcceptId.safeParse(name).success) continue;
      const journal = new Journal(root, name);
      const at = await stat(journal.folder).catch(() => undefined);
      if (at?.isDirectory() === true) found.push({ journal, at: at.birthtimeMs });
    }
    return found.sort((a, b) => a.at - b.at).map(({ journal }) => journal);
  }

  async isGone(): Promise<boolean> {
    return (await stat(this.folder).catch(() => undefined))?.isDirectory() !== true;
  }

  get contents(): string {
    return join(this.folder, 'contents');
  }

  get index(): string {
    return join(this.folder, 'index');
  }

  /** Whether the process that made it, or took it up last, lives. */
  async isOwned(): Promise<boolean> {
    return isHeld((await this.owner()).claim);
  }

  async own(): Promise<void> {
    const { gitDir } = await this.owner();
    await writeDurably(join(this.folder, 'owner.json'), JSON.stringify({ claim: newClaim(), gitDir }));
  }

  async gitDir(): Promise<string> {
    return (await this.owner()).gitDir;
  }

  /** From here on it is known what is changed. */
  async write(plan: Plan): Promise<void> {
    await writeDurably(join(this.folder, 'plan.json'), JSON.stringify(plan));
  }

  /** Undefined where nothing was changed yet. */
  async plan(): Promise<Plan | undefined> {
    const text = await readFile(join(this.folder, 'plan.json'), 'utf8').catch((thrown: unknown) => {
      if (isErrno(thrown, 'ENOENT')) return undefined;
      throw thrown;
    });
    return text === undefined ? undefined : AcceptRecord.parse(JSON.parse(text));
  }

  async setDone(): Promise<void> {
    await writeDurably(join(this.folder, 'done'), '');
  }

  /** Durable: from here on it is taken back, whoever has to do it. */
  async setUndone(): Promise<void> {
    await rm(join(this.folder, 'done'), { force: true });
    await syncFolder(this.folder);
  }

  async isDone(): Promise<boolean> {
    return await this.has('done');
  }

  /** Everything is as it was before: nothing that comes later is to be taken for this accept's. */
  async setBack(): Promise<void> {
    await writeDurably(join(this.folder, 'back'), '');
  }

  async isBack(): Promise<boolean> {
    return await this.has('back');
  }

  /** Out of the way in one step, so that no half of it is ever read. */
  async remove(): Promise<void> {
    const away = join(this.folder, '..', `.old-${this.id}`);
    await rename(this.folder, away).catch((thrown: unknown) => {
      if (!isErrno(thrown, 'ENOENT')) throw thrown;
    });
    await rm(away, { recursive: true, force: true });
  }

  private async has(name: string): Promise<boolean> {
    return (await stat(join(this.folder, name)).catch(() => undefined)) !== undefined;
  }

  private async owner(): Promise<z.infer<typeof Owner>> {
    return Owner.parse(JSON.parse(await readFile(join(this.folder, 'owner.json'), 'utf8')));
  }
}

/** Replaces a file so that, whatever happens, it holds all of the old or all of the new, and the new once this resolves. */
export async function writeDurably(path: string, content: string | Uint8Array): Promise<void> {
  const aside = `${path}.${randomBytes(6).toString('hex')}`;
  const handle = await open(aside, 'wx', 0o600);
  try {
    await handle.writeFile(content);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(aside, path);
  await syncFolder(join(path, '..'));
}

export async function syncFile(path: string): Promise<void> {
  // Read only, because the file may be.
  const handle = await open(path, process.platform === 'win32' ? 'r+' : 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

export async function sha256Of(path: string): Promise<string | undefined> {
  const content = await readFile(path).catch((thrown: unknown) => {
    if (isErrno(thrown, 'ENOENT')) return undefined;
    throw thrown;
  });
  return content === undefined ? undefined : createHash('sha256').update(content).digest('hex');
}
