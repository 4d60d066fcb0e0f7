import * as z from 'zod/mini';
import { QuestionAnswer, QuestionId } from './question.ts';
import type { Told } from './reviewMessages.ts';

/** What a task's panel and its host say to each other about talking to the agent. */

const Words = z.string().check(z.minLength(1), z.maxLength(200_000));

/** Panel → host. Each is answered by `talked`. */
export const talkRequests = [
  /** To the agent: at the end of its turn, or with `now` at once, by ending the turn; to a task that is over, as its follow-up. */
  z.object({ type: z.literal('say'), request: z.int(), text: Words, now: z.boolean() }),
  z.object({ type: z.literal('interrupt'), request: z.int() }),
  z.object({ type: z.literal('answer'), request: z.int(), question: QuestionId, answer: QuestionAnswer }),
  /** A new task from the end of a turn; the host asks what it is to do. */
  z.object({ type: z.literal('continueFrom'), request: z.int(), turn: z.int().check(z.positive()) }),
] as const;

export type TalkRequest = z.infer<(typeof talkRequests)[number]>;

/** Host → panel: it was done, or not. */
export interface TalkMessage {
  type: 'talked';
  request: number;
  error?: Told;
}
