import * as z from 'zod/mini';
import { EgressRuleText } from './egress.ts';
import { maxLedgerText } from './gatewayEvent.ts';
import { Sha } from './grammar.ts';
import type { ReviewScope } from './review.ts';
import { type ReviewMessage, reviewRequests } from './reviewMessages.ts';
import { type TalkMessage, talkRequests } from './talkMessages.ts';
import type { FileChange, TaskEvent } from './taskEvent.ts';
import type { TaskState } from './taskState.ts';

/**
 * What the panel of a task and its host say to each other. The panel holds no truth: it says `ready`, and gets the
 * state and the whole log again.
 */

/** From one commit to another. */
const Range = z.object({ from: Sha, to: Sha });

/** What the user can do with the task from its panel. */
export const PanelAction = z.enum([
  'stop',
  'showDiff',
  'acceptAsBranch',
  'whatNext',
  'remove',
  'showOutput',
  'setCredential',
  'credentials',
  'setBudget',
  'editNetworkRules',
  'doctor',
  'newTask',
  'reconnectRunner',
]);
export type PanelAction = z.infer<typeof PanelAction>;

/** Panel → host. Checked by the host. */
export const PanelRequest = z.discriminatedUnion('type', [
  /** The panel is drawn and can take messages. `after` is the number of the last event that it has already. */
  z.object({ type: z.literal('ready'), after: z.int().check(z.nonnegative()) }),
  /** The batch with this number was taken in. */
  z.object({ type: z.literal('ack'), batch: z.int() }),
  z.object({ type: z.literal('action'), action: PanelAction }),
  /** Opens the diff in the editor; with `path` that of one file. */
  z.object({
    type: z.literal('openDiff'),
    range: Range,
    title: z.string().check(z.maxLength(500)),
    path: z.optional(z.string()),
  }),
  /** Opens the whole text of an event in the editor. */
  z.object({ type: z.literal('openText'), event: z.int().check(z.positive()) }),
  z.object({ type: z.literal('copy'), text: z.string().check(z.maxLength(10_000_000)) }),
  /** Asks how the requests that pass the filter are to be exported, and does it. */
  z.object({
    type: z.literal('export'),
    filter: z.object({
      show: z.enum(['all', 'allowed', 'blocked', 'model']),
      withoutModel: z.boolean(),
      words: z.string().check(z.maxLength(500)),
    }),
  }),
  /** What the user says to a request that no rule lets through. */
  z.object({ type: z.literal('allow'), scope: z.enum(['task', 'workspace']), rule: EgressRuleText }),
  z.object({ type: z.literal('refuse'), host: z.string().check(z.maxLength(maxLedgerText)) }),
  /** Another budget for what is used up now, in US dollars. */
  z.object({
    type: z.literal('raise'),
    scope: z.enum(['task', 'day']),
    usd: z.number().check(z.positive(), z.maximum(1_000_000)),
  }),
  ...reviewRequests,
  ...talkRequests,
]);
export type PanelRequest = z.infer<typeof PanelRequest>;

/** Host → panel. */
export type PanelMessage =
  | {
      type: 'state';
      state: TaskState;
      /** What would be accepted; undefined while nothing is in the quarantine. */
      result?: { from: string; to: string };
      leftovers?: { from: string; to: string };
      /**
       * Where it runs, when there are several places; since when nothing can come from there, by the host's clock; and
       * whether it is another user's, and can only be looked at.
       */
      runner?: { name: string; since?: number; readOnly?: boolean };
      /** Clock of the host when it was sent. */
      now: number;
    }
  /**
   * Events as lines of JSON, in UTF-8: bytes go over much faster than objects. With `first` the panel forgets what it
   * has. With `live` all that the log held at the time of `ready` is through.
   */
  | { type: 'events'; batch: number; data: Uint8Array; first: boolean; live: boolean }
  /** Brings one of the views to the front; of the review, that of a scope. */
  | { type: 'show'; tab: 'log' | 'raw' | 'network' | 'commits' | 'review'; scope?: ReviewScope }
  | ReviewMessage
  | TalkMessage
  /** The task does not exist any more. */
  | { type: 'removed' };

const encoder = new TextEncoder();

/** One event as a line. */
export function encodeEvent(event: TaskEvent): Uint8Array {
  return encoder.encode(`${JSON.stringify(event)}\n`);
}

/** Reads what `encodeEvent` wrote, many lines at once. */
export function decodeEvents(data: Uint8Array): TaskEvent[] {
  const text = new TextDecoder().decode(data);
  if (text === '') return [];
  // One parse of an array is faster than many small ones. A line holds no raw newline: JSON escapes it.
  return JSON.parse(`[${text.slice(0, -1).replaceAll('\n', ',')}]`) as TaskEvent[];
}

/** A short word for a file's status. */
export function statusLetter(status: FileChange['status']): string {
  return { added: 'A', modified: 'M', deleted: 'D', renamed: 'R', copied: 'C', 'type-changed': 'T' }[status];
}
