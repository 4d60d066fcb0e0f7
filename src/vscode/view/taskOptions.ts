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
    label: 'Push Each Commit',
    detail: 'To a branch of its own, before you have looked at it. Never what the forge would run at once.',
  },
  {
    key: 'draftEarly',
    label: 'Draft Pull Request with the First Push',
    detail: 'Pushes as well. Needs an account at the forge that you have used for a pull request before.',
  },
  {
    key: 'autoPullRequest',
    label: 'Pull Request When the Agent Has Succeeded',
    detail: 'Pushes as well. A draft is marked as ready.',
  },
];

/** What can be asked about the commits of a task. A runner knows of no forge for what is sent from here. @param pushes of `abilitiesOf` */
export function switchChoices(current: Said, pushes: boolean): SwitchChoice[] {
  return words
    .filter(({ key }) => pushes || key === 'commitEach')
    .map((choice) => ({ ...choice, picked: current?.[choice.key] === true }));
}

/** Those that are on, and can be. */
export function switchesOf(said: Said, pushes: boolean): Partial<Switches> {
  const on = switchChoices(said, pushes).filter(({ picked }) => picked);
  return Object.fromEntries(on.map(({ key }) => [key, true]));
}

/** True when something leaves by itself. */
export function asksToPush(switches: Said): boolean {
  return switches?.autoPush === true || switches?.draftEarly === true || switches?.autoPullRequest === true;
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
