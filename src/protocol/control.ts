import * as z from 'zod/mini';
import { Sha } from './grammar.ts';
import { TaskSpec } from './task.ts';

/**
 * What the host says to the programs in its containers, over exec stdin, framed (base/frames). Each exec carries one
 * request, and what data belongs to it; the answer is data, where there is any, and one `Reply`.
 */

/** Paths inside the containers; the image makes the folders. */
export const paths = {
  workspace: '/workspace',
  supervisor: '/opt/sallyport/supervisor.js',
  gateway: '/opt/sallyport/gateway.js',
  /** Mount point of the volume that a sandbox shares with its gateway: read-only in the sandbox. */
  shared: '/run/sallyport',
  /** The model broker's unix socket, in the shared volume. */
  modelSocket: '/run/sallyport/model.sock',
} as const;

export const SupervisorRequest = z.discriminatedUnion('op', [
  /** Prepare the workspace from the bundle that follows as data, prove that egress is closed, run the agent. */
  z.object({ op: z.literal('start'), spec: TaskSpec, token: z.string() }),
  /** After an engine restart: do not run the agent again; say what is there, numbered from `after` + 1, and wait. */
  z.object({ op: z.literal('resume'), after: z.int(), spec: TaskSpec }),
  /** A git bundle of `want` without what `have` reaches, as data. */
  z.object({ op: z.literal('bundle'), want: z.array(Sha), have: z.array(Sha) }),
  z.object({ op: z.literal('stop') }),
]);
export type SupervisorRequest = z.infer<typeof SupervisorRequest>;

/** How the gateway answers the sandbox's model requests. */
export const Upstream = z.discriminatedUnion('kind', [
  z.object({
    kind: z.literal('anthropic'),
    /** Without a trailing slash; paths under /v1 are added. */
    baseUrl: z.url(),
    auth: z.discriminatedUnion('type', [
      z.object({ type: z.literal('api_key'), value: z.string() }),
      z.object({ type: z.literal('bearer'), value: z.string() }),
      z.object({ type: z.literal('oauth'), value: z.string() }),
    ]),
  }),
  /** The embedded demonstration model. */
  z.object({ kind: z.literal('demonstration') }),
  /** The scripted model with turns of the caller's. */
  z.object({
    kind: z.literal('scripted'),
    turns: z.array(
      z.object({
        text: z.optional(z.string()),
        tools: z.optional(z.array(z.object({ name: z.string(), input: z.record(z.string(), z.unknown()) }))),
        /** Waits before the answer, in milliseconds. */
        delayMs: z.optional(z.number()),
        /** Answers with this HTTP status and an API error instead. */
        status: z.optional(z.number()),
      }),
    ),
  }),
]);
export type Upstream = z.infer<typeof Upstream>;

/** `configure` is answered when the socket listens. */
export const GatewayRequest = z.object({ op: z.literal('configure'), token: z.string(), upstream: Upstream });
export type GatewayRequest = z.infer<typeof GatewayRequest>;

export const Reply = z.discriminatedUnion('ok', [
  z.object({ ok: z.literal(true), missing: z.optional(z.array(Sha)) }),
  z.object({ ok: z.literal(false), code: z.string(), message: z.string() }),
]);
export type Reply = z.infer<typeof Reply>;
