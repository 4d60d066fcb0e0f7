import type { EgressQuestion } from '../../protocol/egressQuestions.ts';
import { safeLine } from '../../protocol/safeText.ts';
import type { TaskState } from '../../protocol/taskState.ts';
import { cost, plural, raisedBudget } from '../../protocol/words.ts';
import type { EgressAnswer } from '../../runner/taskService.ts';
import { noticeText } from './noticeText.ts';

/** A question with its buttons; `answers` are what a button means, and undefined shows the requests. */
export interface EgressNotice {
  text: string;
  buttons: { title: string; answers: EgressAnswer[] | undefined }[];
}

/** Hosts that are named in one question. */
const named = 3;

export function egressNotice(state: TaskState, questions: readonly EgressQuestion[]): EgressNotice {
  const task = noticeText(`The task “${safeLine(state.spec.title, 40)}”`);
  const waits = questions.some(({ waiting }) => waiting > 0);
  const [only] = questions;
  if (questions.length === 1 && only !== undefined) {
    const target = nameOf(only);
    return {
      text: waits ? `${task} wants to reach ${target}.` : `${task} was kept from reaching ${target}.`,
      buttons: [
        { title: 'Allow for This Task', answers: [{ allow: 'task', rule: only.rule }] },
        { title: 'Always for This Workspace', answers: [{ allow: 'workspace', rule: only.rule }] },
        { title: "Don't Allow", answers: [{ refuse: only.host }] },
      ],
    };
  }
  const names = questions.slice(0, named).map(nameOf).join(', ');
  const rest = questions.length > named ? ` and ${plural(questions.length - named, 'other')}` : '';
  return {
    text: `${task} ${waits ? 'wants to reach' : 'was kept from reaching'} ${plural(questions.length, 'host')}: ${names}${rest}.`,
    buttons: [
      { title: 'Show…', answers: undefined },
      {
        title: 'Allow All for This Task',
        answers: questions.map(({ rule }) => ({ allow: 'task', rule })),
      },
      { title: "Don't Allow", answers: questions.map(({ host }) => ({ refuse: host })) },
    ],
  };
}

/** Always with the port: it is what the user decides on. */
function nameOf({ host, port }: EgressQuestion): string {
  return noticeText(`${safeLine(host, 100)}:${port}`);
}

/** What is said of a budget that is used up, and the amount that its first button sets. */
export function pausedNotice(
  state: TaskState,
): { text: string; scope: 'task' | 'day'; raised: number; raise: string } | undefined {
  const { paused } = state;
  if (paused === undefined) return undefined;
  const raised = raisedBudget(paused);
  const spent = `${cost(paused.spentUsd)} of ${cost(paused.limitUsd)}`;
  return {
    text:
      paused.scope === 'day'
        ? `The budget of today is used up: ${spent}, for all tasks. Tasks wait.`
        : noticeText(
            `The budget of “${safeLine(state.spec.title, 40)}” is used up: ${spent}. The task waits.`,
          ),
    scope: paused.scope,
    raised,
    raise: `Raise to ${cost(raised)}`,
  };
}
