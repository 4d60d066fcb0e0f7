import { randomUUID } from 'node:crypto';
import type { OpenQuestion, Verdict } from '../agent/adapter.ts';
import { ControlFailure } from '../base/controlSocket.ts';
import type { Disposable } from '../base/disposable.ts';
import { PausableTimer } from '../base/pausableTimer.ts';
import { misfit, type QuestionAnswer } from '../protocol/question.ts';
import type { SandboxBody } from '../protocol/taskEvent.ts';
import type { AgentRun, Listener } from './agentProcess.ts';

export interface ConversationOptions {
  emit: (body: SandboxBody) => void;
  /** A message as the agent's stdin takes it. */
  message: (text: string) => string;
  /** An answer, and the wish that it stops, likewise. */
  answer: (question: OpenQuestion, answer: QuestionAnswer) => string;
  interrupt: (id: string) => string;
  /** Looks for what the turn has brought. Never rejects. */
  collect: (turn: number) => Promise<void>;
  /** Says whether the agent works now, or waits for the user. */
  onWorking: (working: boolean) => void;
  /** How long it waits for the next message in all, whatever the agent does meanwhile by itself, in milliseconds. */
  idleMs: number;
  /** Turns of before. */
  turn?: number;
  /** Id of the message that is the prompt, where it has one. */
  prompt?: string | undefined;
}

/** How long an agent whose input has ended may take to end, in milliseconds. */
const partingMs = 5000;
/** Questions that can be open at once; an agent asks one at a time, or a few. */
const maxQuestions = 20;
/** Messages that are known again when they come twice. */
const maxKnown = 1000;

/** What an agent says only while it works. */
const work: ReadonlySet<SandboxBody['type']> = new Set([
  'session',
  'text',
  'thinking',
  'tool_use',
  'tool_result',
  'result',
]);

/**
 * A conversation with the agent, turn by turn. It works on one message at a time; one more can wait for the end of its turn.
 */
export class Conversation implements Disposable, Listener {
  private readonly options: ConversationOptions;
  private run: AgentRun | undefined;
  private number: number;
  private state: 'before' | 'working' | 'collecting' | 'waiting' | 'over' = 'before';
  private next: { id: string; text: string } | undefined;
  private readonly known = new Set<string>();
  private idle: PausableTimer | undefined;
  private parting: NodeJS.Timeout | undefined;
  private readonly questions = new Map<string, { open: OpenQuestion; timer: NodeJS.Timeout }>();
  private interrupting = false;
  /** How often a turn was wrapped up, or was to be. */
  private collections = 0;
  /** Why it was brought to its end while the agent waited. */
  finished: 'asked' | 'idle' | undefined;
  private lastInterrupted = false;

  constructor(options: ConversationOptions) {
    this.options = options;
    this.number = options.turn ?? 0;
  }

  /** Number of the newest turn. */
  get turn(): number {
    return this.number;
  }

  get isWaiting(): boolean {
    return this.state === 'waiting';
  }

  /** The agent waits for an answer, in the middle of its turn. */
  get isAsking(): boolean {
    return this.questions.size > 0;
  }

  /** The user had it stop its last turn. */
  get wasInterrupted(): boolean {
    return this.lastInterrupted;
  }

  /** The agent gets its prompt, which is the first message. */
  begin(run: AgentRun): void {
    this.run = run;
    this.beginTurn(this.options.prompt);
  }

  /** Hands a message to the agent now, or keeps it until the agent's turn ends. One that came before is left aside. */
  say(id: string, text: string): void {
    if (this.known.has(id)) return;
    if (this.state === 'over') throw new ControlFailure('conflict', 'The conversation is over.');
    if (this.next !== undefined) {
      throw new ControlFailure('busy', "A message waits already for the end of the agent's turn.");
    }
    if (this.known.size >= maxKnown) this.known.clear();
    this.known.add(id);
    this.next = { id, text };
    if (this.state === 'waiting') this.goOn();
  }

  asked(open: OpenQuestion): void {
    const { id } = open.question;
    if (this.state === 'over' || this.questions.has(id)) return;
    if (this.questions.size >= maxQuestions) {
      this.settle(open, { kind: 'refuse', why: 'Too many questions are open.' }, 'agent');
      return;
    }
    const { idleMs } = this.options;
    const timer = setTimeout(() => {
      const why =
        'The user did not answer in time. Go on as you think best, or end your turn and say what is open.';
      this.settle(open, { kind: 'refuse', why }, 'time');
    }, idleMs);
    this.questions.set(id, { open, timer });
    this.options.onWorking(true);
  }

  withdrawn(id: string): void {
    if (this.forget(id)) this.options.emit({ type: 'settled', id, by: 'agent' });
    this.options.onWorking(true);
  }

  /** Hands the user's answer to the agent. One to a question that is not open is left aside: it comes twice after a crash. */
  answer(id: string, answer: QuestionAnswer): void {
    const known = this.questions.get(id);
    if (known === undefined) return;
    const wrong = misfit(known.open.question, answer);
    if (wrong !== undefined) throw new ControlFailure('invalid_input', wrong);
    this.settle(known.open, answer, 'user');
  }

  /** Has the agent end its turn, to wait for the next message, or to take up the one that waits. */
  interrupt(): void {
    if (this.state !== 'working' || this.interrupting) return;
    this.interrupting = true;
    this.run?.write(this.options.interrupt(randomUUID()));
  }

  private settle(open: OpenQuestion, answer: QuestionAnswer, by: 'user' | 'agent' | 'time'): void {
    const { id } = open.question;
    this.forget(id);
    this.run?.write(this.options.answer(open, answer));
    this.options.emit({ type: 'settled', id, by });
    this.options.onWorking(true);
  }

  private forget(id: string): boolean {
    clearTimeout(this.questions.get(id)?.timer);
    return this.questions.delete(id);
  }

  private forgetAll(): void {
    for (const id of [...this.questions.keys()]) this.forget(id);
  }

  /** Brings a conversation that waits to its end: the agent is told that nothing more comes. */
  finish(why: 'asked' | 'idle'): void {
    if (this.state !== 'waiting') return;
    this.state = 'over';
    this.finished = why;
    this.idle?.dispose();
    this.run?.endInput();
    this.parting = setTimeout(() => this.run?.interrupt(), partingMs);
  }

  /** An agent can begin by itself, such as when a command that it left running has ended. */
  before(body: SandboxBody): void {
    if (!work.has(body.type)) return;
    if (this.state === 'waiting') this.beginTurn();
    // Before its turn was over for everybody else: it is the same turn, and ends anew.
    else if (this.state === 'collecting') this.state = 'working';
  }

  turnEnded(verdict: Verdict | undefined, succeeded: boolean): void {
    if (this.state !== 'working') return;
    this.state = 'collecting';
    // What is open with the end of a turn is asked by nobody any more; `turn` says so.
    this.forgetAll();
    const { interrupting } = this;
    this.interrupting = false;
    this.lastInterrupted = interrupting && !succeeded;
    this.collections += 1;
    const mine = this.collections;
    void this.options.collect(this.number).then(() => {
      if (this.state !== 'collecting' || this.collections !== mine) return;
      this.options.emit({
        type: 'turn',
        number: this.number,
        outcome: succeeded ? 'succeeded' : interrupting ? 'interrupted' : 'failed',
        ...(verdict === undefined || interrupting ? {} : { message: verdict.message, mend: verdict.mend }),
      });
      this.state = 'waiting';
      if (this.next !== undefined) {
        this.goOn();
        return;
      }
      this.options.onWorking(false);
      this.idle ??= new PausableTimer(this.options.idleMs, () => this.finish('idle'), false);
      this.idle.setRunning(true);
    });
  }

  /** After the agent has ended, or when it is to end at once. */
  dispose(): void {
    this.state = 'over';
    this.forgetAll();
    this.idle?.dispose();
    clearTimeout(this.parting);
  }

  private goOn(): void {
    const { next } = this;
    if (next === undefined) return;
    this.next = undefined;
    this.beginTurn(next.id);
    this.run?.write(this.options.message(next.text));
  }

  private beginTurn(message?: string): void {
    this.idle?.setRunning(false);
    if (message !== undefined) {
      this.idle?.dispose();
      this.idle = undefined;
    }
    this.state = 'working';
    this.number++;
    this.options.emit({
      type: 'turn_began',
      number: this.number,
      ...(message === undefined ? {} : { message }),
    });
    this.options.onWorking(true);
  }
}
