import { createHash } from 'node:crypto';
import { mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod/mini';
import type { AcceptOptions } from './options.ts';
import { modes, type Side } from './entries.ts';
import { writeDurably } from './journal.ts';
import type { Clash } from './merger.ts';
import { shownPath } from './paths.ts';
import type { Scratch } from './scratch.ts';

const Asked = z.record(z.string(), z.string());

/**
 * What the user made of conflicts. It holds for what they were shown: a file that has changed since, on either side, is asked
 * about again.
 */
export class Settlements {
  private readonly path: string;
  private readonly scratch: Scratch;
  private readonly merged: ReadonlyMap<string, Uint8Array | undefined>;
  private readonly asked: ReadonlyMap<string, string>;

  private constructor(
    path: string,
    scratch: Scratch,
    merged: ReadonlyMap<string, Uint8Array | undefined>,
    asked: ReadonlyMap<string, string>,
  ) {
    this.path = path;
    this.scratch = scratch;
    this.merged = merged;
    this.asked = asked;
  }

  static async of(scratch: Scratch, options: AcceptOptions): Promise<Settlements> {
    const { repository, base, tree, target, journal, merged = new Map() } = options;
    const what = JSON.stringify([repository.workTree, base, tree, target]);
    const path = join(journal, `asked-${createHash('sha256').update(what).digest('hex').slice(0, 20)}.json`);
    const text = merged.size === 0 ? '{}' : await readFile(path, 'utf8').catch(() => '{}');
    return new Settlements(path, scratch, merged, new Map(Object.entries(Asked.parse(JSON.parse(text)))));
  }

  readonly settled = async (clash: Clash): Promise<{ side: Side } | undefined> => {
    const shown = shownPath(clash.path);
    if (!this.merged.has(shown) || this.asked.get(clash.path) !== nameOf(clash)) return undefined;
    const content = this.merged.get(shown);
    if (content === undefined) return { side: undefined };
    const like = clash.incoming ?? clash.current ?? clash.base;
    if (like === undefined || like.mode === modes.submodule) return undefined;
    return { side: { mode: like.mode, oid: await this.scratch.writeBlob(content) } };
  };

  async ask(clashes: readonly Clash[]): Promise<void> {
    await mkdir(join(this.path, '..'), { recursive: true, mode: 0o700 });
    const asked = Object.fromEntries(clashes.map((clash) => [clash.path, nameOf(clash)]));
    // One that was answered is not asked again because of another that was not.
    await writeDurably(this.path, JSON.stringify({ ...Object.fromEntries(this.asked), ...asked }));
  }

  async forget(): Promise<void> {
    await rm(this.path, { force: true });
  }
}

function nameOf({ base, current, incoming }: Clash): string {
  return [base, current, incoming].map((side) => `${side?.mode ?? ''} ${side?.oid ?? ''}`).join(', ');
}
