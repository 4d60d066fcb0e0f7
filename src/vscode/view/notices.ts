import { safeLine } from '../../protocol/safeText.ts';
import type { Commit } from '../../protocol/taskEvent.ts';
import type { TaskState } from '../../protocol/taskState.ts';
import { lines, plural, totals } from '../../protocol/words.ts';
import { noticeText } from './noticeText.ts';
import { questionLine } from './questionItems.ts';

/** What notifications are about; each kind can be switched off. */
export const noticeKinds = ['finished', 'failed', 'waiting', 'commit', 'network', 'budget'] as const;
export type NoticeKind = (typeof noticeKinds)[number];

export interface Notice {
  level: 'info' | 'warning' | 'error';
  text: string;
  actions: { title: string; command: string }[];
}

const open = { title: 'Open', command: 'sallyport.open' };
const review = { title: 'Review Changes', command: 'sallyport.reviewChanges' };
const whatNext = { title: 'What Next…', command: 'sallyport.whatNext' };
const credentials = { title: 'Choose Credential…', command: 'sallyport.credentials' };
const answer = { title: 'Answer…', command: 'sallyport.answerAgent' };
const reply = { title: 'Reply…', command: 'sallyport.sendMessage' };

/** @param fresh those that the user has not heard of, oldest first */
export function commitsNotice(state: TaskState, fresh: readonly Commit[]): Notice {
  const first = fresh[0]?.sha === state.commits[0]?.sha;
  const subject = safeLine(fresh.at(-1)?.subject ?? '', 80);
  const what =
    fresh.length === 1
      ? `${first ? 'first' : 'new'} commit, “${subject}”`
      : `${fresh.length} ${first ? '' : 'new '}commits, the last “${subject}”`;
  // Where there is no repository on this machine, there is none to push from.
  const next = state.spec.repository.path === '' ? [] : [whatNext];
  return { level: 'info', text: noticeText(`${name(state)}: ${what}.`), actions: [review, ...next, open] };
}

export function questionNotice(state: TaskState): Notice {
  const questions = state.conversation?.questions ?? [];
  const [first] = questions;
  const more = questions.length > 1 ? ` (and ${plural(questions.length - 1, 'more question')})` : '';
  const asked = first === undefined ? 'the agent asks something' : questionLine(first);
  return {
    level: 'info',
    text: noticeText(`${name(state)} waits for your answer: ${safeLine(asked, 160)}${more}`),
    actions: [answer, open],
  };
}

export function replyNotice(state: TaskState): Notice {
  return {
    level: 'info',
    text: noticeText(`${name(state)}: the turn is over, and the agent waits for your word.`),
    actions: [...(state.imported.length > 0 ? [review] : []), reply, open],
  };
}

/** Nothing for a task that the user stopped. */
export function endNotice(state: TaskState): Notice | undefined {
  const made = state.commits.length > 0;
  const left = state.leftovers !== undefined;
  const look = made || left ? [review, open] : [open];
  const work = made
    ? `${plural(state.commits.length, 'commit')}, ${lines(totals(state.commits.flatMap(({ files }) => files)))}`
    : left
      ? 'no commits, but uncommitted edits'
      : 'no commits';
  switch (state.phase) {
    case 'succeeded':
      return { level: 'info', text: noticeText(`${name(state)} is done: ${work}.`), actions: look };
    case 'timed_out':
      return {
        level: 'warning',
        text: noticeText(`${name(state)} reached its time limit: ${work}.`),
        actions: look,
      };
    case 'failed': {
      const { message, mend } = state.failure ?? { message: 'It failed.' };
      const text = [
        `${name(state)}: ${safeLine(message)}`,
        ...(mend === undefined ? [] : [safeLine(mend)]),
      ].join(' ');
      const refused = state.failure?.kind === 'auth_refused';
      return {
        level: 'error',
        text: noticeText(text),
        actions: [...(refused ? [credentials] : []), open, ...(made || left ? [review] : [])],
      };
    }
    case 'preparing':
    case 'running':
    case 'waiting':
    case 'stopping':
    case 'stopped':
      return undefined;
  }
}

function name(state: TaskState): string {
  return `“${safeLine(state.spec.title, 60)}”`;
}
