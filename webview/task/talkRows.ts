import { html, nothing, type TemplateResult } from 'lit';
import type { QuestionAnswer } from '../../src/protocol/question.ts';
import { safeLine, safeText } from '../../src/protocol/safeText.ts';
import type { TaskEvent } from '../../src/protocol/taskEvent.ts';
import { commitCard } from './commitParts.ts';
import { long, maxCharacters, pre, row, type RowActions, said, time } from './rowParts.ts';

/** The rows of the log about turns, and about what the user and the agent say to each other. */

type TalkType =
  | 'turn'
  | 'turn_began'
  | 'checkpoint'
  | 'said'
  | 'asked'
  | 'answered'
  | 'settled'
  | 'interrupting'
  | 'reopened'
  | 'leftovers_committed';
export type TalkEvent = Extract<TaskEvent, { type: TalkType }>;

const talkTypes: ReadonlySet<string> = new Set<TalkType>([
  'turn',
  'turn_began',
  'checkpoint',
  'said',
  'asked',
  'answered',
  'settled',
  'interrupting',
  'reopened',
  'leftovers_committed',
]);

export function isTalk(event: TaskEvent): event is TalkEvent {
  return talkTypes.has(event.type);
}

export function talkRow(event: TalkEvent, actions: RowActions): TemplateResult {
  switch (event.type) {
    case 'turn_began':
      return html`<div class="row turn-head" role="separator" aria-label="Turn ${event.number}">
        <span>Turn ${event.number}</span>${time(event.t)}
      </div>`;
    case 'turn':
      return turnRow(event);
    case 'checkpoint':
      return checkpointRow(event, actions);
    case 'said':
    case 'reopened': {
      const who = event.by === undefined ? 'You' : safeLine(event.by, 60);
      const later = event.type === 'said' && event.queued;
      return row(
        'person',
        'prompt',
        event.type === 'reopened' ? `${who} · follow-up` : who,
        event.t,
        html`${long(event.n, event.text, actions)}${later ? html`<div class="dim small">Handed over at the end of the agent's turn.</div>` : nothing}`,
      );
    }
    case 'asked':
      return askedRow(event);
    case 'answered':
      return row(
        'person',
        'prompt',
        `${event.by === undefined ? 'You' : safeLine(event.by, 60)} · answer`,
        event.t,
        pre(answerText(event.answer), ''),
      );
    case 'settled':
      return said(
        'clock',
        event.t,
        html`${event.by === 'time' ? 'Nobody answered the question in time; the agent went on.' : 'The question is settled.'}`,
      );
    case 'interrupting':
      return said('stop', event.t, html`You asked the agent to stop what it does.`);
    case 'leftovers_committed':
      return row(
        'commit',
        'commit',
        nothing,
        event.t,
        html`<div class="line">What was left uncommitted is a commit now.</div>
          ${commitCard(event.commit, actions)}`,
      );
  }
}

function turnRow(event: Extract<TalkEvent, { type: 'turn' }>): TemplateResult {
  if (event.outcome === 'succeeded')
    return said('check', event.t, html`The agent has ended its turn, and waits for your message.`);
  if (event.outcome === 'interrupted')
    return said('stop', event.t, html`The turn was stopped; the agent waits for your message.`);
  return row(
    'cross',
    'failed',
    nothing,
    event.t,
    html`<div class="line"><strong>The turn failed.</strong></div>
      ${event.message === undefined ? nothing : pre(event.message.slice(0, maxCharacters), '')}
      ${event.mend === undefined ? nothing : html`<div class="mend">${safeText(event.mend)}</div>`}`,
  );
}

function checkpointRow(
  event: Extract<TalkEvent, { type: 'checkpoint' }>,
  actions: RowActions,
): TemplateResult {
  const can = actions.turn(event.turn);
  return row(
    'flag',
    'quiet checkpoint',
    nothing,
    event.t,
    html`<div class="line">
      <span>Turn ${event.turn} ended here.</span>
      ${
        can.review
          ? html`<button class="link" @click=${() => actions.reviewTurn(event.turn)}>
              Review This Turn
            </button>`
          : nothing
      }
      ${
        can.review && can.goOn
          ? html`<button
              class="link"
              title="A new task goes on from here; this one stays as it is"
              @click=${() => actions.continueFrom(event.turn)}
            >
              Continue from Here…
            </button>`
          : nothing
      }
    </div>`,
  );
}

function askedRow({ t, question }: Extract<TalkEvent, { type: 'asked' }>): TemplateResult {
  const text =
    question.what === 'choice'
      ? (question.choices ?? []).map((choice) => choice.question).join('\n')
      : (question.text ?? '');
  const title = {
    choice: 'The agent asks:',
    permission: `The agent wants to use ${safeLine(question.tool, 80)}:`,
    plan: 'The agent has a plan:',
  }[question.what];
  return row(
    'person',
    'notice warning',
    nothing,
    t,
    html`<div class="line"><strong>${title}</strong></div>
      ${text === '' ? nothing : pre(text.slice(0, 4000), '')}`,
  );
}

function answerText(answer: QuestionAnswer): string {
  if (answer.kind === 'allow') return 'Go ahead.';
  if (answer.kind === 'refuse') return answer.why === undefined ? 'No.' : `No: ${answer.why}`;
  return answer.answers.map((each) => each.join(', ')).join('\n');
}
