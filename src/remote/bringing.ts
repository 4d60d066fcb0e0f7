import type { Commit, TaskEvent } from '../protocol/taskEvent.ts';

/** Events that are true in a mirror only when their commits are here: pure. */

/** What says that commits are in the quarantine. */
export type Bringing = Extract<TaskEvent, { type: 'imported' | 'leftovers_committed' | 'inherited' }>;

export function bringsCommits(event: TaskEvent): event is Bringing {
  return ['imported', 'leftovers_committed', 'inherited'].includes(event.type);
}

export function tipsOf(event: Bringing): string[] {
  switch (event.type) {
    case 'imported':
      return event.tips;
    case 'leftovers_committed':
      return [event.commit.sha];
    case 'inherited':
      return event.commits.map(({ sha }) => sha);
  }
}

/** With what git here reads of the commits; the branch is a name that only the runner gives. */
export function asHere(event: Bringing, read: readonly Commit[]): TaskEvent {
  if (event.type === 'imported') return { ...event, commits: [...read] };
  const bySha = new Map(read.map((commit) => [commit.sha, commit]));
  const here = ({ branch, ...said }: Commit): Commit => ({
    ...(bySha.get(said.sha) ?? said),
    ...(branch === undefined ? {} : { branch }),
  });
  return event.type === 'inherited'
    ? { ...event, commits: event.commits.map(here) }
    : { ...event, commit: here(event.commit) };
}
