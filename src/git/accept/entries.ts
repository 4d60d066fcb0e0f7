import { SallyportError } from '../../base/errors.ts';
import { gitStream, type GitOptions } from '../process.ts';
import type { GitPath } from './paths.ts';

/** What a tree, the index or the work tree has at a path. */
export interface Entry {
  mode: string;
  oid: string;
}
export type Side = Entry | undefined;

export interface Change {
  path: GitPath;
  before: Side;
  after: Side;
}

export const modes = { file: '100644', program: '100755', link: '120000', submodule: '160000' } as const;

/** More changed files than this are not taken over at once: all of them are looked at, and kept in mind. */
const maxChanges = 200_000;

export function isRegular(side: Side): side is Entry {
  return side?.mode === modes.file || side?.mode === modes.program;
}

export function same(a: Side, b: Side): boolean {
  return a?.oid === b?.oid && a?.mode === b?.mode;
}

/** What becomes of a path of which three versions are known. */
export type Decision =
  { kind: 'take'; side: Side } | { kind: 'merge'; mode: string } | { kind: 'conflict'; text: boolean };

/**
 * The rule of every merge here. Two files without a common version are never merged, even where git would find a way: which
 * lines belong together is the user's to say.
 */
export function decide(base: Side, ours: Side, theirs: Side): Decision {
  if (same(ours, base) || same(ours, theirs)) return { kind: 'take', side: theirs };
  if (same(theirs, base)) return { kind: 'take', side: ours };
  if (!isRegular(ours) || !isRegular(theirs)) return { kind: 'conflict', text: false };
  if (!isRegular(base)) return { kind: 'conflict', text: true };
  const mode = ours.mode === base.mode ? theirs.mode : ours.mode;
  if (ours.oid === theirs.oid || theirs.oid === base.oid)
    return { kind: 'take', side: { mode, oid: ours.oid } };
  if (ours.oid === base.oid) return { kind: 'take', side: { mode, oid: theirs.oid } };
  return { kind: 'merge', mode };
}

/** The files that differ between two trees or commits; a renamed file counts as deleted and added. */
export async function changesBetween(from: string, to: string, options: GitOptions): Promise<Change[]> {
  const args = ['diff-tree', '-r', '--raw', '-z', '--no-renames', '--no-abbrev', '--no-ext-diff', from, to];
  const changes: Change[] = [];
  let head = '';
  for await (const field of fields(gitStream(args, options).stdout)) {
    if (head === '') {
      head = field;
      continue;
    }
    const [, oldMode = '', newMode = '', oldOid = '', newOid = ''] =
      /^:([0-7]{6}) ([0-7]{6}) ([0-9a-f]{40}) ([0-9a-f]{40}) [A-Z]/.exec(head) ?? [];
    if (oldMode === '') throw new Error('git printed something unexpected: not a change');
    changes.push({ path: field, before: entry(oldMode, oldOid), after: entry(newMode, newOid) });
    head = '';
    if (changes.length > maxChanges)
      throw new SallyportError(
        'too_large',
        `More than ${maxChanges.toLocaleString('en')} files are changed.`,
        'Accept them as a branch, and merge that with git.',
      );
  }
  return changes;
}

export function entry(mode: string, oid: string): Side {
  if (/^0+$/.test(mode)) return undefined;
  // Old trees hold modes that git itself takes for one of these two.
  if (mode.startsWith('100'))
    return { mode: (Number.parseInt(mode, 8) & 0o100) === 0 ? modes.file : modes.program, oid };
  return { mode, oid };
}

/** What zero bytes part in a stream, one character for each byte. */
export async function* fields(stream: AsyncIterable<Uint8Array>): AsyncGenerator<string, void> {
  let rest = '';
  for await (const chunk of stream) {
    const parts = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length).toString('latin1').split('\0');
    parts[0] = rest + (parts[0] ?? '');
    rest = parts.pop() ?? '';
    yield* parts;
  }
}
