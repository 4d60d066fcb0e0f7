import * as z from 'zod/mini';
import { Usage } from './usage.ts';

/**
 * What a gateway says, one line of JSON each on its stdout, numbered `g` from 1 on. The gateway is ours and on the trusted side, but
 * what it tells of requests (hosts, paths, methods) was chosen by the sandbox: text, and nothing else.
 */

/** Longest host, path or method that the ledger keeps, in characters. */
export const maxLedgerText = 300;
const Text = z.string().check(z.maxLength(maxLedgerText));

/** What every entry of the ledger says of its request. */
const Target = {
  /** Number of the request at this gateway; the entries of one request share it. */
  id: z.int(),
  /** `tunnel`: CONNECT, of which only the host is visible; `http`: plain HTTP; `model`: a request to the model; `forge`: to the forge. */
  kind: z.enum(['tunnel', 'http', 'model', 'forge']),
  host: Text,
  port: z.int(),
  method: z.optional(Text),
  path: z.optional(Text),
};

export const GatewayBody = z.discriminatedUnion('type', [
  /** A request is over, or was refused. `started` is its first byte, in ms since the epoch; the event's `t` its end. */
  z.object({
    type: z.literal('request'),
    ...Target,
    verdict: z.enum(['allowed', 'blocked', 'failed']),
    /** The rule that let it through, for people; or why it was refused or failed, a sentence. */
    reason: z.optional(z.string().check(z.maxLength(1000))),
    /** Of a refusal: a rule would let it through. */
    askable: z.optional(z.boolean()),
    status: z.optional(z.int()),
    /** From the sandbox, and to it; payload bytes. */
    bytesOut: z.number(),
    bytesIn: z.number(),
    started: z.number(),
  }),
  /** No rule lets it through; it waits until `until` (ms since the epoch) for the user's answer. A `request` ends it. */
  z.object({ type: z.literal('request_waiting'), ...Target, until: z.number() }),
  /** What one answer of the model has used. Comes once for each answer, when it is over or broke off. */
  z.object({
    type: z.literal('spend'),
    request: z.int(),
    model: Text,
    usage: Usage,
    usd: z.number(),
    /** The model's price is not known; the highest that is known was taken. */
    estimated: z.boolean(),
  }),
  /** The allowance is used up: requests to the model wait for another one. */
  z.object({ type: z.literal('spend_paused'), spentUsd: z.number(), allowanceUsd: z.number() }),
  z.object({ type: z.literal('spend_resumed') }),
  /** The model's service refused the credential, or it expires: requests wait for another one. */
  z.object({
    type: z.literal('credential_wanted'),
    reason: z.enum(['expired', 'refused']),
    status: z.optional(z.int()),
  }),
  z.object({
    type: z.literal('gateway_notice'),
    level: z.enum(['info', 'warning', 'error']),
    text: z.string(),
  }),
]);
export type GatewayBody = z.infer<typeof GatewayBody>;
export type LedgerEntry = Extract<GatewayBody, { type: 'request' }>;

/** A whole line of the gateway's stdout: its number, its clock in ms, the body's fields. */
export type GatewayEvent = GatewayBody & { g: number; t: number };

const Envelope = z.looseObject({ g: z.int().check(z.positive()), t: z.number() });

/** Checks one line of a gateway, parsed. Throws when it is no event. */
export function parseGatewayEvent(json: unknown): GatewayEvent {
  const { g, t } = Envelope.parse(json);
  return { ...GatewayBody.parse(json), g, t };
}
