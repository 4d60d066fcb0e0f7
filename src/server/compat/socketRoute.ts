import type { WebSocket } from '@fastify/websocket';
import * as z from 'zod/mini';
import { asSallyportError, SallyportError } from '../../base/errors.ts';
import type { TaskId } from '../../protocol/grammar.ts';
import type { ServerContext } from '../context.ts';
import { problemOf } from '../http/problem.ts';
import type { Router } from '../http/router.ts';
import { asking, type Principal, type User } from '../principal.ts';
import { streamsOf } from '../streams/hub.ts';
import { SocketClient } from '../streams/socketClient.ts';
import { emptySource } from './emptyRepository.ts';
import { PromptBody, promptOf } from './prompt.ts';
import { readTurn, type TurnAnswer } from './turn.ts';

/** What a client says: a prompt, by one of the names that such clients have for it; or that the agent is to stop. */
const ClientMessage = z.object({
  ...PromptBody.shape,
  type: z.optional(z.string()),
  text: z.optional(z.unknown()),
  content: z.optional(z.unknown()),
  message: z.optional(z.unknown()),
});
const stopping = new Set(['cancel', 'stop', 'interrupt', 'abort']);

/** `/ws`: a conversation with the agent. `ready`, then for each prompt `text` as it is said, and `done` or `error`. */
export function compatSocketRoute(router: Router, context: ServerContext): void {
  router.socket({
    url: '/ws',
    summary: 'A conversation with the agent: send {"prompt": "…"}, read ready, text, done and error',
    tag: 'compatibility',
    access: 'tasks:write',
    handle: (socket, { principal }) => {
      new Conversation(context, socket, asking(principal));
      return Promise.resolve();
    },
  });
}

/** One connection: one task, which goes on from prompt to prompt and is over with the connection. */
class Conversation {
  private readonly context: ServerContext;
  private readonly client: SocketClient;
  private task: TaskId | undefined;
  /** Number of the last event of the task that was told. */
  private position = 0;
  private answering = false;
  private over = true;

  constructor(context: ServerContext, socket: WebSocket, principal: Principal) {
    this.context = context;
    this.client = new SocketClient(streamsOf(context), socket, principal, {
      message: (text) => this.take(text),
    });
    this.client.signal.addEventListener('abort', () => {
      if (!this.over) void this.stop();
    });
    this.say({ type: 'ready', message: 'Sallyport runner', timestamp: this.time() });
  }

  private get user(): User {
    return this.client.connection.user;
  }

  private time(): string {
    return new Date(this.context.now()).toISOString();
  }

  private say(message: Record<string, unknown>): void {
    this.client.sink.send(Buffer.from(JSON.stringify(message)));
  }

  private fail(thrown: unknown): void {
    const problem = problemOf(thrown);
    if (problem.code === 'internal')
      this.context.log.error(`A conversation failed: ${asSallyportError(thrown).message}`);
    this.say({
      type: 'error',
      error: problem.detail,
      message: problem.detail,
      code: problem.code,
      mend: problem.mend,
    });
  }

  private take(text: string): void {
    try {
      const read = ClientMessage.safeParse(jsonOf(text));
      if (!read.success) {
        throw new SallyportError(
          'invalid_input',
          'The message is none that this server knows.',
          'Send {"prompt": "…"}.',
        );
      }
      const { type = '', prompt, text: said, content, message, options } = read.data;
      if (stopping.has(type)) {
        if (!this.over) void this.stop();
        return;
      }
      if (!this.client.connection.principal.scopes.has('tasks:write'))
        throw new SallyportError(
          'forbidden',
          'The credential may not start tasks any more.',
          'Ask an administrator of this runner.',
        );
      if (this.answering)
        throw new SallyportError(
          'task_busy',
          'The agent is still at work on the last prompt.',
          'Wait for "done", or send {"type": "cancel"}.',
        );
      const wanted = promptOf(prompt ?? said ?? content ?? message);
      this.answering = true;
      void this.answer(wanted, options?.model ?? undefined);
    } catch (thrown) {
      this.fail(thrown);
    }
  }

  private async answer(prompt: string, model: string | undefined): Promise<void> {
    try {
      await this.begin(prompt, model);
      const answer = await this.tell();
      if (this.client.signal.aborted) return;
      if (answer === undefined || answer.ended) this.over = true;
      // Where it ended badly the next prompt begins anew.
      if (answer === undefined || (answer.ended && answer.failure !== undefined)) this.task = undefined;
      if (answer?.failure !== undefined) this.fail(answer.failure);
      else if (answer === undefined) this.fail(this.problem());
      else {
        const { text, messages } = answer;
        this.say({
          type: 'done',
          success: true,
          response: text,
          messageCount: messages,
          timestamp: this.time(),
        });
      }
    } catch (thrown) {
      this.task = undefined;
      this.over = true;
      this.fail(thrown);
    } finally {
      this.answering = false;
      // The connection may have gone while the task was being made.
      if (this.client.signal.aborted && !this.over) void this.stop();
    }
  }

  /** The first prompt makes a task; another one is said to its agent, or makes one that goes on from there. */
  private async begin(prompt: string, model: string | undefined): Promise<void> {
    const { tasks } = this.context;
    const { user } = this;
    if (this.task !== undefined) {
      const { id } = await tasks.send(user, this.task, prompt);
      if (id !== this.task) this.position = 0;
      this.task = id;
    } else {
      const { id } = await tasks.submit(user, {
        prompt,
        source: await emptySource(tasks, user),
        ...(model === undefined ? {} : { model }),
        priority: 0,
        shared: false,
        conversation: true,
        // A client of this endpoint has no way to answer a question.
        agentArgs: ['--disallowedTools', 'AskUserQuestion,EnterPlanMode,ExitPlanMode'],
      });
      this.task = id;
      this.position = 0;
    }
    this.over = false;
  }

  /** Tells what the agent says until its turn is over. */
  private async tell(): Promise<TurnAnswer | undefined> {
    const { task } = this;
    if (task === undefined) return undefined;
    const { sink, signal } = this.client;
    const turn = readTurn(this.context.tasks.events(this.user, task, this.position, signal));
    for (;;) {
      const step = await turn.next();
      if (step.done === true) {
        this.position = step.value?.last ?? this.position;
        return step.value;
      }
      const end = await sink.turn();
      this.say({ type: 'text', text: step.value, content: step.value });
      end();
    }
  }

  private problem(): SallyportError {
    return new SallyportError(
      'sandbox_failed',
      'The task ended before there was an answer.',
      'Ask again; the list of tasks says what happened.',
    );
  }

  private async stop(): Promise<void> {
    const { task } = this;
    if (task === undefined) return;
    this.over = true;
    try {
      await this.context.tasks.cancel(this.user, task);
    } catch (thrown) {
      this.context.log.warn(
        `The conversation ${task} could not be ended: ${asSallyportError(thrown).message}`,
      );
    }
  }
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    // A plain text is a prompt.
    return { prompt: text };
  }
}
