import type { SnapshotMode } from '../../protocol/task.ts';
import { plural } from '../../protocol/words.ts';

/** Files that differ from the last commit. */
export interface Uncommitted {
  tracked: number;
  untracked: number;
}

export interface SnapshotChoice {
  mode: SnapshotMode;
  label: string;
  detail: string;
}

/** What a task can start from here; one choice means that there is nothing to ask. */
export function snapshotChoices({ tracked, untracked }: Uncommitted): SnapshotChoice[] {
  const choices: SnapshotChoice[] = [];
  const edits = plural(tracked, 'edited file');
  const others = plural(untracked, 'untracked file');
  if (tracked > 0)
    choices.push({ mode: 'tracked', label: 'With my edits', detail: `The last commit and ${edits}` });
  if (untracked > 0) {
    const what = tracked > 0 ? `${edits} and ${others}` : others;
    choices.push({
      mode: 'untracked',
      label: tracked > 0 ? 'With my edits and untracked files' : 'With untracked files',
      detail: `The last commit, ${what}; ignored files stay out`,
    });
  }
  choices.push({
    mode: 'head',
    label: 'The last commit only',
    detail:
      tracked + untracked === 0
        ? 'Nothing is uncommitted'
        : 'What you have not committed stays out of the sandbox',
  });
  return choices;
}
