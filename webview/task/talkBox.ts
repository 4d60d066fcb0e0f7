import { html, LitElement, nothing, type TemplateResult } from 'lit';
import type { PanelRequest } from '../../src/protocol/panelMessages.ts';
import type { AgentQuestion, QuestionAnswer } from '../../src/protocol/question.ts';
import { safeLine, safeText } from '../../src/protocol/safeText.ts';
import type { TalkMessage } from '../../src/protocol/talkMessages.ts';
import { hasEnded, isAtRest, type TaskState, isAsking } from '../../src/protocol/taskState.ts';
import { icon } from './icons.ts';
import { QuestionForms } from './questionForm.ts';

/** Pixels; more than this is scrolled. */
const maxHeight = 220;

/** What the box needs of the page around it. */
export interface TalkHost {
  send(request: PanelRequest): void;
  /** What is typed and not sent, to outlive the page. */
  draft(text: string): void;
  /** What the user said so far, oldest first. */
  history(): readonly string[];
}

/** What can be said to the agent now, and how that is put. */
export type TalkMode = 'closed' | 'busy' | 'works' | 'waits' | 'over';

export function talkMode(state: TaskState): TalkMode {
  if (hasEnded(state)) return isAtRest(state) ? 'over' : 'busy';
  if (state.conversation === undefined) return 'closed';
  if (state.phase === 'stopping') return 'busy';
  // While it asks it is in the middle of its turn.
  return state.phase === 'waiting' && !isAsking(state) ? 'waits' : 'works';
}

const placeholders: Readonly<Record<TalkMode, string>> = {
  closed: '',
  busy: 'The task is being brought to its end…',
  works: 'Message to the agent, for the end of its turn',
  waits: 'The agent waits for your message',
  over: 'Follow-up: the agent goes on from here',
};

/** Where the user talks to the agent: its questions, what is queued, and the next message. */
export class TalkBox extends LitElement {
  static override properties = {
    state: { attribute: false },
    steer: { type: Boolean },
    text: { state: true },
    sending: { state: true },
    problem: { state: true },
  };
  declare state: TaskState | undefined;
  /** The user may say something. */
  declare steer: boolean;
  declare text: string;
  declare sending: boolean;
  declare problem: string;
  host: TalkHost | undefined;
  private readonly forms = new QuestionForms(() => this.requestUpdate());
  private request = 0;
  /** What each request that waits for its answer was. */
  private readonly waiting = new Map<number, { said?: string }>();
  /** How far back in the history the box is; 0 is what was typed. */
  private back = 0;

  constructor() {
    super();
    this.steer = false;
    this.text = '';
    this.sending = false;
    this.problem = '';
  }

  protected override createRenderRoot(): HTMLElement {
    return this;
  }

  receive({ request, error }: TalkMessage): void {
    const done = this.waiting.get(request);
    if (done === undefined) return;
    this.waiting.delete(request);
    this.sending = this.waiting.size > 0;
    this.problem = error === undefined ? '' : `${error.message} ${error.mend}`;
    // Only what was taken is cleared away; what was typed since stays.
    if (error === undefined && done.said !== undefined && done.said === this.text.trim()) this.setText('');
  }

  override focus(): void {
    this.querySelector('textarea')?.focus();
  }

  protected override updated(changed: Map<PropertyKey, unknown>): void {
    if (!changed.has('text')) return;
    const box = this.querySelector('textarea');
    if (box === null) return;
    box.style.height = 'auto';
    box.style.height = `${Math.min(maxHeight, box.scrollHeight + 2)}px`;
  }

  override render(): TemplateResult | typeof nothing {
    const { state } = this;
    if (state === undefined || !this.steer) return nothing;
    const mode = talkMode(state);
    if (mode === 'closed') return nothing;
    const { questions = [], answers = [], undelivered = [], interrupting = false } = state.conversation ?? {};
    const answered = new Set(answers.map(({ id }) => id));
    const works = mode === 'works';
    return html`<div class="talk">
      ${questions
        .filter(({ id }) => !answered.has(id))
        .slice(0, 3)
        .map((question) =>
          this.forms.view(question, this.sending, (answer) => this.answer(question, answer)),
        )}
      ${undelivered.map(
        ({ text }) =>
          html`<div class="queued" role="status">
            ${icon('clock')}<span class="queued-text" title=${safeText(text.slice(0, 2000))}
              >Queued: ${safeLine(text, 160)}</span
            >
            ${
              works
                ? html`<vscode-button secondary ?disabled=${interrupting} @click=${() => this.interrupt()}
                    >${interrupting ? 'Stopping the Turn…' : 'Stop and Send Now'}</vscode-button
                  >`
                : nothing
            }
          </div>`,
      )}
      ${this.problem === '' ? nothing : html`<div class="error-text small" role="alert">${safeText(this.problem)}</div>`}
      <div class="talk-line">
        <textarea
          rows="1"
          aria-label=${mode === 'over' ? 'Follow-up' : 'Message to the agent'}
          placeholder=${placeholders[mode]}
          ?disabled=${mode === 'busy'}
          .value=${this.text}
          @input=${(event: Event) => {
            this.back = 0;
            this.setText((event.target as HTMLTextAreaElement).value);
          }}
          @keydown=${(event: KeyboardEvent) => this.key(event)}
        ></textarea>
        ${
          works
            ? html`<vscode-button
                secondary
                title="Ends the agent's turn; it gets the message at once"
                ?disabled=${this.sending || this.text.trim() === '' || interrupting || undelivered.length > 0}
                @click=${() => this.say(true)}
                >Stop and Send</vscode-button
              >`
            : nothing
        }
        <vscode-button
          title="Send (Ctrl+Enter)"
          ?disabled=${mode === 'busy' || this.sending || this.text.trim() === ''}
          @click=${() => this.say(false)}
          >${works ? 'Queue' : 'Send'}</vscode-button
        >
      </div>
    </div>`;
  }

  private setText(text: string): void {
    this.text = text;
    this.host?.draft(text);
  }

  private key(event: KeyboardEvent): void {
    if (event.isComposing) return;
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) this.say(false);
    else if (event.key === 'ArrowUp' && (this.text === '' || this.back > 0)) this.recall(1);
    else if (event.key === 'ArrowDown' && this.back > 0) this.recall(-1);
    else return;
    event.preventDefault();
  }

  private recall(by: number): void {
    const history = this.host?.history() ?? [];
    const back = Math.max(0, Math.min(history.length, this.back + by));
    if (back === this.back) return;
    this.back = back;
    this.setText(back === 0 ? '' : (history[history.length - back] ?? ''));
  }

  private say(now: boolean): void {
    const text = this.text.trim();
    if (text === '' || this.sending) return;
    this.back = 0;
    const request = this.begin({ said: text });
    this.host?.send({ type: 'say', request, text, now });
  }

  private interrupt(): void {
    this.host?.send({ type: 'interrupt', request: this.begin({}) });
  }

  private answer(question: AgentQuestion, answer: QuestionAnswer): void {
    this.host?.send({ type: 'answer', request: this.begin({}), question: question.id, answer });
  }

  private begin(what: { said?: string }): number {
    this.request += 1;
    this.waiting.set(this.request, what);
    this.sending = true;
    this.problem = '';
    return this.request;
  }
}
