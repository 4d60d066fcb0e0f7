import type { PanelAction, PanelMessage, PanelRequest } from '../../src/protocol/panelMessages.ts';
import { encodeEvent } from '../../src/protocol/panelMessages.ts';
import type { QuestionAnswer } from '../../src/protocol/question.ts';
import { leftoversRange, resultRange } from '../../src/protocol/ranges.ts';
import type { EgressAnswerBody } from '../../src/protocol/runnerApi.ts';
import type { TaskEvent } from '../../src/protocol/taskEvent.ts';
import { reduce } from '../../src/protocol/foldTask.ts';
import { initialState, type TaskState } from '../../src/protocol/taskState.ts';
import type { Capabilities, Host } from '../shared/host.ts';
import type { Saved } from '../task/saved.ts';
import type { Follower } from './live.ts';
import { PatchReview } from './patchReviewHost.ts';

/** Changes of the state are gathered for so long, in milliseconds. */
const stateMs = 100;

type ExportFilter = Extract<PanelRequest, { type: 'export' }>['filter'];
type Talk = Extract<PanelRequest, { type: 'say' | 'interrupt' | 'answer' | 'continueFrom' }>;

/** What a task's page needs of the server and of the page around it. */
export interface TaskSurroundings {
  /** The task's state as the server has it now, if its log has begun; undefined when there is no such task. */
  state(): Promise<{ state: TaskState | undefined } | undefined>;
  follow(follower: Follower): () => void;
  patch(range: { from: string; to: string } | undefined): Promise<{ text: string; truncated: boolean }>;
  answer(answer: EgressAnswerBody): Promise<void>;
  raise(scope: 'task' | 'day', usd: number): Promise<void>;
  act(action: PanelAction): Promise<void>;
  /** To the agent, or as the follow-up of a task that is over. */
  say(text: string): Promise<void>;
  interrupt(): Promise<void>;
  answerQuestion(question: string, answer: QuestionAnswer): Promise<void>;
  copy(text: string): Promise<void>;
  /** One that the page has. */
  event(number: number): TaskEvent | undefined;
  showText(title: string, text: string): void;
  exportLedger(filter: ExportFilter): Promise<void>;
  /** Tells of what went wrong. */
  failed(thrown: unknown): void;
  saved(): unknown;
  save(state: Saved): void;
}

/**
 * Gives a task's page in a browser the messages that it gets in an editor. The state is the server's at first, and from
 * then on the fold of the events that come.
 */
export class TaskHost implements Host<Saved>, Follower {
  readonly can: Capabilities;
  private readonly around: TaskSurroundings;
  private listener: (message: PanelMessage) => void = () => undefined;
  private state: TaskState | undefined;
  private lastEvent = 0;
  /** Number of the newest event when the page was ready. */
  private newest = 0;
  private batch = 0;
  private first = true;
  private unfollow: (() => void) | undefined;
  private stateTimer: ReturnType<typeof setTimeout> | undefined;
  private disposed = false;
  private readonly review: PatchReview;

  /** @param steer the user may do more than look */
  constructor(around: TaskSurroundings, steer: boolean) {
    this.around = around;
    this.can = {
      steer,
      buttons: false,
      accept: false,
      review: false,
      continue: false,
      editor: false,
      machine: false,
      place: 'Repository',
    };
    this.review = new PatchReview({
      state: () => this.state,
      patch: (range) => around.patch(range),
      post: (message) => {
        if (!this.disposed) this.listener(message);
      },
    });
  }

  onMessage(listener: (message: PanelMessage) => void): void {
    this.listener = listener;
  }

  saved(): unknown {
    return this.around.saved();
  }

  save(state: Saved): void {
    this.around.save(state);
  }

  send(request: PanelRequest): void {
    switch (request.type) {
      case 'ready':
        this.attempt(() => this.begin(request.after));
        return;
      case 'ack':
      case 'openDiff':
        return;
      case 'action':
        this.attempt(() => this.around.act(request.action));
        return;
      case 'openText':
        this.showText(request.event);
        return;
      case 'review':
      case 'reviewText':
        this.review.receive(request);
        return;
      case 'say':
      case 'interrupt':
      case 'answer':
      case 'continueFrom':
        void this.talk(request);
        return;
      case 'copy':
        this.attempt(() => this.around.copy(request.text));
        return;
      case 'export':
        this.attempt(() => this.around.exportLedger(request.filter));
        return;
      case 'allow':
        this.attempt(() => this.around.answer({ allow: request.scope, rule: request.rule }));
        return;
      case 'refuse':
        this.attempt(() => this.around.answer({ refuse: request.host }));
        return;
      case 'raise':
        this.attempt(() => this.around.raise(request.scope, request.usd));
        return;
      default:
      // Decisions are made where the repository is: the page does not offer them here.
    }
  }

  private async talk(request: Talk): Promise<void> {
    let error: { message: string; mend: string } | undefined;
    try {
      if (request.type === 'say') {
        await this.around.say(request.text);
        if (request.now) await this.around.interrupt();
      } else if (request.type === 'answer')
        await this.around.answerQuestion(request.question, request.answer);
      else if (request.type === 'interrupt') await this.around.interrupt();
    } catch (thrown) {
      const { message, mend } = thrown as { message: string; mend?: string };
      error = { message, mend: mend ?? '' };
    }
    if (!this.disposed)
      this.listener({ type: 'talked', request: request.request, ...(error === undefined ? {} : { error }) });
  }

  // Of the stream

  last(): number {
    return this.lastEvent;
  }

  events(events: readonly TaskEvent[]): void {
    if (this.disposed) return;
    const fresh = events.filter(({ n }) => n > this.lastEvent);
    if (fresh.length === 0) return;
    const lines = fresh.map(encodeEvent);
    this.lastEvent = fresh.at(-1)?.n ?? this.lastEvent;
    for (const event of fresh) this.fold(event);
    this.post(lines);
    this.stateTimer ??= setTimeout(() => this.sendState(), stateMs);
  }

  over(): void {
    if (!this.disposed) this.post([], true);
  }

  /** The task was removed. */
  removed(): void {
    this.listener({ type: 'removed' });
    this.dispose();
  }

  dispose(): void {
    this.disposed = true;
    clearTimeout(this.stateTimer);
    this.unfollow?.();
    this.unfollow = undefined;
  }

  private async begin(after: number): Promise<void> {
    this.unfollow?.();
    const known = await this.around.state();
    if (this.disposed) return;
    if (known === undefined) {
      this.removed();
      return;
    }
    this.state = known.state;
    this.newest = known.state?.lastEvent ?? 0;
    this.lastEvent = after;
    this.first = after === 0;
    this.sendState();
    this.post([]);
    this.unfollow = this.around.follow(this);
  }

  /** Events that the server's state holds already are left out by their numbers. */
  private fold(event: TaskEvent): void {
    if (this.state !== undefined) this.state = reduce(this.state, event);
    else if (event.type === 'submitted') this.state = reduce(initialState(event.spec, event.t), event);
  }

  private post(lines: readonly Uint8Array[], live = this.lastEvent >= this.newest): void {
    const data = new Uint8Array(lines.reduce((sum, { length }) => sum + length, 0));
    let at = 0;
    for (const line of lines) {
      data.set(line, at);
      at += line.length;
    }
    this.batch += 1;
    this.listener({ type: 'events', batch: this.batch, data, first: this.first, live });
    this.first = false;
  }

  private sendState(): void {
    this.stateTimer = undefined;
    const { state } = this;
    if (state === undefined || this.disposed) return;
    const result = resultRange(state);
    const leftovers = leftoversRange(state);
    this.listener({
      type: 'state',
      state,
      ...(result === undefined ? {} : { result }),
      ...(leftovers === undefined ? {} : { leftovers }),
      now: Date.now(),
    });
    this.review.stateChanged();
  }

  /** The page shows long texts cut; the whole of one is asked for by the number of its event. */
  private showText(number: number): void {
    const event = this.around.event(number);
    if (event === undefined) return;
    const text =
      'text' in event && typeof event.text === 'string' ? event.text : JSON.stringify(event, undefined, 2);
    this.around.showText(`Event ${number}`, text);
  }

  private attempt(act: () => Promise<unknown>): void {
    act().catch((thrown: unknown) => {
      if (!this.disposed) this.around.failed(thrown);
    });
  }
}
