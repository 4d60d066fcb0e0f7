import { SallyportError, type ErrorCode } from '../../base/errors.ts';
import { stripEscapes } from '../../protocol/safeText.ts';
import type { FailureKind, TaskEvent } from '../../protocol/taskEvent.ts';

/** What an agent has said until it was done. */
export interface TurnAnswer {
  /** What it said in the end. */
  text: string;
  /** How many messages there were: the beginning, what it said and did, what came of that, the result. */
  messages: number;
  /** Why it is no answer. */
  failure?: SallyportError;
  /** Number of the event with which it was over. */
  last: number;
  /** The whole task is over, and not one turn of a conversation. */
  ended: boolean;
}

const codes: Partial<Record<FailureKind, ErrorCode>> = {
  auth_refused: 'auth_refused',
  rate_limited: 'capacity_reached',
  model_unavailable: 'model_unreachable',
  engine_gone: 'engine_gone',
  disk_full: 'disk_full',
};

/**
 * Reads a task's events until the agent's turn or the whole task is over. Gives each text as it is said, and in the end
 * the answer; undefined when the events end before that.
 */
export async function* readTurn(
  source: AsyncIterable<TaskEvent[]>,
): AsyncGenerator<string, TurnAnswer | undefined> {
  let result: string | undefined;
  let said = '';
  let messages = 0;
  for await (const events of source) {
    for (const event of events) {
      switch (event.type) {
        case 'session':
        case 'tool_use':
        case 'tool_result':
          messages += 1;
          break;
        case 'text':
          messages += 1;
          said = stripEscapes(event.text);
          yield said;
          break;
        case 'result':
          messages += 1;
          result = stripEscapes(event.text);
          break;
        case 'turn':
        case 'ended': {
          const failure = failureOf(event);
          return {
            text: result === undefined || result === '' ? said : result,
            messages,
            ...(failure === undefined ? {} : { failure }),
            last: event.n,
            ended: event.type === 'ended',
          };
        }
        default:
          break;
      }
    }
  }
  return undefined;
}

/** As `readTurn`, for who waits for the end. */
export async function answerOf(source: AsyncIterable<TaskEvent[]>): Promise<TurnAnswer | undefined> {
  const turn = readTurn(source);
  let step = await turn.next();
  while (step.done !== true) step = await turn.next();
  return step.value;
}

function failureOf(event: Extract<TaskEvent, { type: 'turn' | 'ended' }>): SallyportError | undefined {
  if (event.outcome === 'succeeded') return undefined;
  if (event.outcome === 'interrupted')
    return new SallyportError('cancelled', 'The agent was interrupted.', 'Say what it is to do instead.');
  const mend = event.mend ?? "The task's log says more.";
  const message = event.message ?? 'The agent has failed.';
  if (event.type === 'turn') return new SallyportError('sandbox_failed', message, mend);
  if (event.outcome === 'stopped')
    return new SallyportError('cancelled', message, 'Ask again when you like.');
  return new SallyportError(codes[event.kind ?? 'internal'] ?? 'sandbox_failed', message, mend);
}
