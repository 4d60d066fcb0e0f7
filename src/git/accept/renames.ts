import { git, gitStream, type GitOptions } from '../process.ts';
import { fields, type Change } from './entries.ts';
import type { GitPath } from './paths.ts';
import type { Scratch } from './scratch.ts';

/** A file that is elsewhere than it was, the same or much like it. */
export interface Rename {
  from: GitPath;
  to: GitPath;
}

/** Whether the user has git look for renames when it merges, as it does unless told otherwise (`merge.renames`, `diff.renames`). */
export async function looksForRenames(scratch: Scratch): Promise<boolean> {
  for (const key of ['merge.renames', 'diff.renames']) {
    const { stdout } = await git(['config', '--get', key], { ...scratch.asUser(), okCodes: [0, 1] });
    const value = stdout.toString().trim().toLowerCase();
    if (value !== '') return !['false', 'no', 'off', '0'].includes(value);
  }
  return true;
}

/** What git takes for a rename between two trees: at least half of the lines are the same. */
export async function renamesBetween(from: string, to: string, options: GitOptions): Promise<Rename[]> {
  if (from === to) return [];
  const args = [
    'diff-tree',
    '-r',
    '-z',
    '--name-status',
    '--find-renames',
    '--diff-filter=R',
    '--no-ext-diff',
  ];
  const renames: Rename[] = [];
  const waiting: string[] = [];
  for await (const field of fields(gitStream([...args, from, to], options).stdout)) {
    waiting.push(field);
    const [kind, old, now] = waiting;
    if (kind === undefined || old === undefined || now === undefined) continue;
    if (!kind.startsWith('R')) throw new Error('git printed something unexpected: not a rename');
    renames.push({ from: old, to: now });
    waiting.length = 0;
  }
  return renames;
}

/** The files that the task has renamed, by their new names. */
export async function tasksRenames(
  scratch: Scratch,
  { base, tree, changes }: { base: string; tree: string; changes: readonly Change[] },
): Promise<Map<GitPath, GitPath>> {
  const isOne =
    changes.some(({ after }) => after === undefined) && changes.some(({ before }) => before === undefined);
  if (!isOne || !(await looksForRenames(scratch))) return new Map();
  const renames = await renamesBetween(base, tree, scratch.options);
  return new Map(renames.map(({ from, to }) => [to, from]));
}
