import { isBranchName } from '../protocol/grammar.ts';
import { git, type GitOptions } from './process.ts';

/** A commit that a task made; `branch` is where it stands at the tip of. */
export interface Tip {
  sha: string;
  branch?: string | undefined;
}

/** The refs whose names begin with `prefix`. */
export async function refsUnder(
  options: GitOptions,
  prefix: string,
): Promise<{ sha: string; ref: string }[]> {
  const { stdout } = await git(['for-each-ref', '--format=%(objectname) %(refname)', prefix], options);
  const lines = stdout.toString().split('\n');
  return lines.filter((line) => line !== '').map((line) => ({ sha: line.slice(0, 40), ref: line.slice(41) }));
}

/** Does all of these commands of `git update-ref`, or none. */
export async function updateRefs(options: GitOptions, commands: readonly string[]): Promise<void> {
  if (commands.length === 0) return;
  const input = commands.map((line) => `${line}\n`).join('');
  await git(['update-ref', '--stdin'], { ...options, input });
}

/** Keeps the commits of a task, and its branches by their names. */
export async function keepTaskRefs(options: GitOptions, id: string, tips: readonly Tip[]): Promise<void> {
  const prefix = headsOf(id);
  const old = (await refsUnder(options, prefix)).map(({ ref }) => ref.slice(prefix.length));
  const { first, then } = taskRefCommands(id, tips, old);
  await updateRefs(options, first);
  await updateRefs(options, then);
}

/** @param old names of the branches that the task has already: those that would be in the way go first */
export function taskRefCommands(
  id: string,
  tips: readonly Tip[],
  old: readonly string[],
): { first: string[]; then: string[] } {
  const heads = new Map<string, string>();
  for (const { sha, branch } of tips) {
    // The commit is kept in any case; a branch is only a name for people, and one may not be a folder of another.
    if (branch === undefined || !isBranchName(branch)) continue;
    if (![...heads.keys()].some((other) => collide(other, branch))) heads.set(branch, sha);
  }
  const inTheWay = old.filter((name) => [...heads.keys()].some((branch) => collide(name, branch)));
  return {
    first: inTheWay.map((name) => `delete ${headsOf(id)}${name}`),
    then: [
      ...tips.map(({ sha }) => `update refs/tasks/${id}/commits/${sha} ${sha}`),
      ...[...heads].map(([branch, sha]) => `update ${headsOf(id)}${branch} ${sha}`),
    ],
  };
}

function headsOf(id: string): string {
  return `refs/tasks/${id}/heads/`;
}

function collide(a: string, b: string): boolean {
  return a.startsWith(`${b}/`) || b.startsWith(`${a}/`);
}
