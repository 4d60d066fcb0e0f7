import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod/mini';
import { TaskId } from '../../protocol/grammar.ts';
import { AcceptTarget, FileId, PartId, ReviewScope } from '../../protocol/review.ts';
import type { MergeConflict } from '../../runner/review/taskReview.ts';

/** What a merge is for: an accept that is tried again with what came of it, or the user's edit of one file. */
export const MergePurpose = z.discriminatedUnion('kind', [
  z.object({
    kind: z.literal('accept'),
    subject: z.object({ id: TaskId, scope: ReviewScope }),
    request: z.object({
      scope: ReviewScope,
      what: z.union([z.enum(['accepted', 'rest']), z.object({ parts: z.array(PartId) })]),
      target: AcceptTarget,
      message: z.optional(z.string()),
    }),
  }),
  z.object({
    kind: z.literal('edit'),
    id: TaskId,
    told: z.object({
      file: FileId,
      original: z.string(),
      commit: z.string(),
      by: FileId,
      content: z.string(),
    }),
  }),
]);
export type MergePurpose = z.infer<typeof MergePurpose>;

const sides = ['base', 'current', 'incoming', 'marked'] as const;
const Side = z.enum(sides);

const Kept = z.object({
  number: z.int().check(z.positive()),
  purpose: MergePurpose,
  conflicts: z.array(z.object({ path: z.string(), sides: z.array(Side) })),
  /** Of earlier tries of the same accept; `null` is no file. */
  before: z.array(z.object({ path: z.string(), file: z.nullable(z.int()) })),
  results: z.array(
    z.object({ at: z.int(), none: z.boolean(), done: z.boolean(), saves: z.int().check(z.nonnegative()) }),
  ),
});

/** A merge as it stands. */
export interface Merging {
  number: number;
  /** How often each result was saved, by its place. */
  saves: Map<number, number>;
  purpose: MergePurpose;
  conflicts: readonly MergeConflict[];
  /** What the user made of conflicts that earlier tries of the same accept told; undefined is no file. */
  before: ReadonlyMap<string, Uint8Array | undefined>;
  /** What the user made of each, by its place; `null` is no file. */
  results: Map<number, Uint8Array | null>;
  done: Set<number>;
}

/** Larger merges are not kept, in bytes. */
const maxBytes = 64 << 20;

/**
 * Keeps the merge that is under way in a folder of the workspace's storage, so that it survives a reload of the window: its
 * contents, and what was made of them so far. Writes one after the other; a merge that is too large to be kept is not.
 */
export class MergeStore {
  private readonly folder: string | undefined;
  private working: Promise<unknown> = Promise.resolve();

  /** @param folder is made when it is needed; undefined where there is no place, as without a workspace */
  constructor(folder: string | undefined) {
    this.folder = folder;
  }

  /** Keeps a merge from its beginning, in place of another. */
  begin(merging: Merging): Promise<void> {
    return this.inTurn(async (folder) => {
      await rm(folder, { recursive: true, force: true });
      if (sizeOf(merging) > maxBytes) return;
      await mkdir(folder, { recursive: true, mode: 0o700 });
      for (const [at, conflict] of merging.conflicts.entries())
        for (const side of sides)
          if (conflict[side] !== undefined) await put(folder, `${at}.${side}`, conflict[side]);
      for (const [at, [, content]] of [...merging.before].entries())
        if (content !== undefined) await put(folder, `${at}.before`, content);
      await this.note(folder, merging);
    });
  }

  /** Keeps what came of one file. */
  result(merging: Merging, at: number): Promise<void> {
    return this.inTurn(async (folder) => {
      if (sizeOf(merging) > maxBytes) {
        await rm(folder, { recursive: true, force: true });
        return;
      }
      // Without its beginning there is nothing to go on with.
      if ((await readFile(join(folder, noteName)).catch(() => undefined)) === undefined) return;
      const content = merging.results.get(at);
      if (content !== null && content !== undefined) await put(folder, `${at}.result`, content);
      await this.note(folder, merging);
    });
  }

  end(): Promise<void> {
    return this.inTurn((folder) => rm(folder, { recursive: true, force: true }));
  }

  /** The merge that was under way; undefined where there is none, or what is there is not whole. */
  async read(): Promise<Merging | undefined> {
    const { folder } = this;
    if (folder === undefined) return undefined;
    await this.working;
    try {
      const kept = Kept.parse(JSON.parse(await readFile(join(folder, noteName), 'utf8')));
      const content = async (name: string): Promise<Uint8Array> =>
        new Uint8Array(await readFile(join(folder, name)));
      const conflicts: MergeConflict[] = [];
      for (const [at, { path, sides: has }] of kept.conflicts.entries()) {
        const side = async (name: z.infer<typeof Side>): Promise<Uint8Array | undefined> =>
          has.includes(name) ? await content(`${at}.${name}`) : undefined;
        const [base, current, incoming, marked] = await Promise.all([
          side('base'),
          side('current'),
          side('incoming'),
          side('marked'),
        ]);
        conflicts.push({ path, base, current, incoming, marked });
      }
      const before = new Map<string, Uint8Array | undefined>();
      for (const { path, file } of kept.before)
        before.set(path, file === null ? undefined : await content(`${file}.before`));
      const results = new Map<number, Uint8Array | null>();
      for (const { at, none } of kept.results) results.set(at, none ? null : await content(`${at}.result`));
      const done = new Set(kept.results.filter((one) => one.done).map(({ at }) => at));
      const saves = new Map(kept.results.flatMap((one) => (one.saves === 0 ? [] : [[one.at, one.saves]])));
      const { number, purpose } = kept;
      return { number, saves, purpose, conflicts, before, results, done };
    } catch {
      return undefined;
    }
  }

  private async note(folder: string, merging: Merging): Promise<void> {
    const { number, saves, purpose, conflicts, before, results, done } = merging;
    const kept: z.infer<typeof Kept> = {
      number,
      purpose,
      conflicts: conflicts.map((conflict) => ({
        path: conflict.path,
        sides: sides.filter((side) => conflict[side] !== undefined),
      })),
      before: [...before].map(([path, content], at) => ({ path, file: content === undefined ? null : at })),
      results: [...results].map(([at, content]) => ({
        at,
        none: content === null,
        done: done.has(at),
        saves: saves.get(at) ?? 0,
      })),
    };
    await put(folder, noteName, Buffer.from(JSON.stringify(kept)));
  }

  /** What cannot be kept is not: the merge goes on all the same. */
  private inTurn(work: (folder: string) => Promise<void>): Promise<void> {
    const { folder } = this;
    if (folder === undefined) return Promise.resolve();
    const result = this.working.then(() => work(folder)).catch(() => undefined);
    this.working = result;
    return result;
  }
}

const noteName = 'merge.json';

/** There whole, or as it was. */
async function put(folder: string, name: string, content: Uint8Array): Promise<void> {
  const path = join(folder, name);
  await writeFile(`${path}.new`, content, { mode: 0o600 });
  await rename(`${path}.new`, path);
}

function sizeOf({ conflicts, before, results }: Merging): number {
  const contents = [
    ...conflicts.flatMap((one) => sides.map((side) => one[side])),
    ...before.values(),
    ...results.values(),
  ];
  return contents.reduce((sum, content) => sum + (content?.length ?? 0), 0);
}
