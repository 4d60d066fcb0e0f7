import type { Switches } from '../../protocol/runnerApi.ts';
import { bytes } from '../../protocol/words.ts';
import type { SubmitProgress } from '../../remote/remoteTasks.ts';

type Key = keyof Switches;
/** What was said of them so far. */
type Said = { [K in Key]?: boolean | undefined } | undefined;

export interface SwitchChoice {
  key: Key;
  label: string;
  detail: string;
  picked: boolean;
}

const words: readonly Omit<SwitchChoice, 'picked'>[] = [
  {
    key: 'commitEach',
    label: 'Commit After Each Change',
    detail: 'The agent is told to commit after each logical change.',
  },
  {
    key: 'autoPush',
    label: 'Push by Itself',
    detail: "Each commit is pushed to the task's branch, unseen by you.",
  },
  {
    key: 'draftEarly',
    label: 'Draft Pull Request Early',
    detail: 'Opened with the first push. It pushes by itself too.',
  },
  {
    key: 'autoPullRequest',
    label: 'Pull Request at the End',
    detail: 'Opened, or made ready, when the agent has succeeded. It pushes by itself too.',
  },
];

/** What a runner can do with a task's commits by itself. */
export function switchChoices(current: Said): SwitchChoice[] {
  return words.map((choice) => ({ ...choice, picked: current?.[choice.key] === true }));
}

/** Those that are on. */
export function switchesOf(said: Said): Partial<Switches> {
  const on = words.filter(({ key }) => said?.[key] === true);
  return Object.fromEntries(on.map(({ key }) => [key, true]));
}

export function anySwitch(switches: Said): boolean {
  return Object.values(switches ?? {}).includes(true);
}

/** How far a submission is, for a line that says "taking a snapshot" already. */
export function uploadWords({ stage, done, total }: SubmitProgress): string {
  switch (stage) {
    case 'asking':
      return 'asking the runner what it has';
    case 'packing':
      return 'packing what it lacks';
    case 'uploading':
      return total > 0 ? `${bytes(done)} of ${bytes(total)}` : 'sending';
    case 'submitting':
      return 'handing it over';
  }
}
