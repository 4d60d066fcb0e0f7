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

/** Not to push: a task that is sent from here has no repository at a forge that the runner knows of. */
const words: readonly Omit<SwitchChoice, 'picked'>[] = [
  {
    key: 'commitEach',
    label: 'Commit After Each Change',
    detail: 'The agent is told to commit after each logical change.',
  },
];

/** What can be asked of a runner about the commits of a task that is sent from here. */
export function switchChoices(current: Said): SwitchChoice[] {
  return words.map((choice) => ({ ...choice, picked: current?.[choice.key] === true }));
}

/** Those that are on. */
export function switchesOf(said: Said): Partial<Switches> {
  const on = words.filter(({ key }) => said?.[key] === true);
  return Object.fromEntries(on.map(({ key }) => [key, true]));
}

/** True when something is asked for that no task from here can have. */
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
