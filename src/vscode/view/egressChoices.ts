import type { EgressMode } from '../../protocol/egress.ts';

export interface EgressChoice {
  mode: EgressMode;
  label: string;
  description: string;
  detail: string;
}

const choices: Omit<EgressChoice, 'description'>[] = [
  {
    mode: 'list',
    label: '$(globe) Allow list',
    detail: 'What your rules name. You are asked about every other host.',
  },
  { mode: 'closed', label: '$(lock) Closed', detail: 'Nothing but the model.' },
  {
    mode: 'open',
    label: '$(unlock) Open',
    detail: 'Every public host. Whatever the agent can read can be sent anywhere.',
  },
];

/** What a task may reach; what it would get anyway is marked. */
export function egressChoices(current: EgressMode): EgressChoice[] {
  return choices.map((choice) => ({
    ...choice,
    description: choice.mode === current ? 'as it is now' : '',
  }));
}

export function networkLine(mode: EgressMode): string {
  return { list: 'Network: the allow list.', closed: 'Network: closed.', open: 'Network: open.' }[mode];
}
