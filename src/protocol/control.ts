import * as z from 'zod/mini';
import { EgressPolicy } from './egress.ts';
import { maxPromptLength, MessageId, SessionId, Sha } from './grammar.ts';
import { QuestionAnswer, QuestionId } from './question.ts';
import { TaskSpec } from './task.ts';
import { Usage } from './usage.ts';

/**
 * What the host says to the programs in its containers, over exec stdin, framed (base/frames). Each exec carries one
 * request, and what data belongs to it; the answer is data, where there is any, and one `Reply`.
 */

/** Paths inside the containers; the image makes the folders. */
export const paths = {
  workspace: '/workspace',
  home: '/home/agent',
  /** Our programs and what they run on: part of our image, a read-only volume in another. */
  tools: '/opt/sallyport',
  /** Programs that may be missing in another image. */
  toolsBin: '/opt/sallyport/bin',
  /** The authorities that our image trusts. */
  toolsAuthorities: '/opt/sallyport/ca-certificates.crt',
  supervisor: '/opt/sallyport/supervisor.js',
  gateway: '/opt/sallyport/gateway.js',
  /** Mount point of the volume that a sandbox shares with its gateway: read-only in the sandbox. */
  shared: '/run/sallyport',
  /** The model broker's unix socket, in the shared volume. */
  modelSocket: '/run/sallyport/model.sock',
  /** The egress proxy's unix socket (HTTP and CONNECT), in the shared volume. */
  proxySocket: '/run/sallyport/proxy.sock',
} as const;

/**
 * How the supervisor is run, in every image alike: by our Node.js with our C library, whatever Node.js and C library the
 * image has. Our init comes before it.
 */
export const supervisorCommand = [
  `${paths.tools}/lib/ld.so`,
  '--library-path',
  `${paths.tools}/lib`,
  `${paths.toolsBin}/node`,
  paths.supervisor,
] as const;

/** Longest conversation that is kept and taken up again, in bytes. */
export const maxSessionBytes = 64 << 20;

/** Of a task that goes on after its end. */
export const Again = z.object({
  /** How many turns there were. */
  turn: z.int().check(z.gte(0)),
  /** Id of the message with which it goes on. */
  message: z.optional(MessageId),
  /** Commits that need not be announced again. */
  known: z.array(Sha),
});
export type Again = z.infer<typeof Again>;

export const SupervisorRequest = z.discriminatedUnion('op', [
  /** Prepare the workspace from the bundle that follows as data, prove that egress is closed, run the agent. */
  z.object({ op: z.literal('start'), spec: TaskSpec, token: z.string(), again: z.optional(Again) }),
  /**
   * In a sandbox that was kept: everything is there as it was left. Events are numbered from `after` + 1. Refused with
   * `no_session` when the agent has not written down the conversation that it is to go on with. With `adopt` a bundle follows
   * as data: `spec.from.commit` was made outside of what is uncommitted there.
   */
  z.object({
    op: z.literal('continue'),
    spec: TaskSpec,
    token: z.string(),
    after: z.int(),
    again: Again,
    adopt: z._default(z.boolean(), false),
  }),
  /** After an engine restart: do not run the agent again; say what is there, numbered from `after` + 1, and wait. */
  z.object({
    op: z.literal('resume'),
    after: z.int(),
    spec: TaskSpec,
    /** The turn that was under way, or the last one. */
    turn: z._default(z.int().check(z.gte(0)), 0),
    /** How the agent names its conversation. */
    session: z.optional(SessionId),
  }),
  /** A git bundle of `want` without what `have` reaches, as data. */
  z.object({ op: z.literal('bundle'), want: z.array(Sha), have: z.array(Sha) }),
  /** Ends the agent's work. A conversation that waits for its user is finished by it. */
  z.object({ op: z.literal('stop') }),
  /** A message of the user's in a conversation: for the agent now, or when its turn ends. Known by its id when it comes twice. */
  z.object({ op: z.literal('say'), id: MessageId, text: z.string().check(z.maxLength(maxPromptLength)) }),
  /** What the user says to a question of the agent's. Nothing happens when it is not open any more. */
  z.object({ op: z.literal('answer'), id: QuestionId, answer: QuestionAnswer }),
  /** In a conversation: the agent is to stop what it does, and to wait. Nothing happens between turns. */
  z.object({ op: z.literal('interrupt') }),
  /** Stops the clock of the time limit while the user is asked for something, and starts it again. */
  z.object({ op: z.literal('clock'), running: z.boolean() }),
  /** What the agent has written down of a conversation, as data. */
  z.object({ op: z.literal('session'), id: SessionId }),
  /** Before `start`: a conversation for the agent to go on with; it follows as data. */
  z.object({ op: z.literal('restore'), id: SessionId }),
  /** How a shell for the user is to be run beside the agent; the answer is `shell`. */
  z.object({ op: z.literal('shell') }),
  /** Whether it was told a task since its container was started; the answer is `busy`. */
  z.object({ op: z.literal('status') }),
]);
export type SupervisorRequest = z.infer<typeof SupervisorRequest>;

/** Milliseconds since the epoch after which a credential is refused; undefined when it does not expire by itself. */
const ExpiresAt = z.optional(z.number());

/** How the gateway answers the sandbox's model requests. Holds the credential: it is never stored and never logged. */
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
    expiresAt: ExpiresAt,
  }),
  /** Amazon Bedrock: the gateway signs each request (SigV4), or shows a Bedrock API key. */
  z.object({
    kind: z.literal('bedrock'),
    region: z.string().check(z.regex(/^[a-z]{2}(-[a-z]+)+-\d$/)),
    /** Another endpoint than the region's own, such as a VPC endpoint. */
    endpoint: z.optional(z.url()),
    auth: z.discriminatedUnion('type', [
      z.object({
        type: z.literal('keys'),
        accessKeyId: z.string(),
        secretAccessKey: z.string(),
        sessionToken: z.optional(z.string()),
      }),
      z.object({ type: z.literal('bearer'), value: z.string() }),
    ]),
    expiresAt: ExpiresAt,
  }),
  /** Claude on Google's Vertex AI. */
  z.object({
    kind: z.literal('vertex'),
    project: z.string().check(z.regex(/^[a-z0-9][a-z0-9:.-]{1,62}$/)),
    region: z.string().check(z.regex(/^[a-z0-9-]{2,40}$/)),
    endpoint: z.optional(z.url()),
    accessToken: z.string(),
    expiresAt: ExpiresAt,
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
        /** The answer is of this model and has used this much, and costs what that costs. Without them it is free. */
        model: z.optional(z.string()),
        usage: z.optional(Usage),
      }),
    ),
  }),
]);
export type Upstream = z.infer<typeof Upstream>;

/** How the gateway itself reaches the network. */
export const NetworkWay = z.object({
  /** A proxy of the user's company, for the model and for the sandbox's requests alike: `http://[user:password@]host:port`. */
  proxy: z.optional(z.url()),
  /** Hosts that are reached without that proxy, as NO_PROXY has them. */
  noProxy: z.optional(z.string()),
});
export type NetworkWay = z.infer<typeof NetworkWay>;

/** Holds the token: it is never stored and never logged. */
export const ForgeAccess = z.object({
  /** Of the REST API of GitHub's kind. */
  apiUrl: z.url(),
  token: z.string(),
});
export type ForgeAccess = z.infer<typeof ForgeAccess>;

export const GatewayRequest = z.discriminatedUnion('op', [
  /** Comes first, once; answered when both sockets listen. */
  z.object({
    op: z.literal('configure'),
    token: z.string(),
    upstream: Upstream,
    egress: EgressPolicy,
    /** How long a request that no rule lets through waits for the user's answer, in milliseconds. */
    holdMs: z.int(),
    /** Hosts to which the user said no. */
    refused: z.array(z.string()),
    network: NetworkWay,
    /** What the task has spent, and what it may spend in all, in US dollars; null is no limit. */
    spentUsd: z.number(),
    allowanceUsd: z.nullable(z.number()),
    /** The forge's REST API, which the sandbox may read; not at all when it is not there. */
    forge: z.optional(ForgeAccess),
    /** Events are numbered from `after` + 1 on. */
    after: z.int(),
  }),
  /** Takes effect at once, also for requests that wait. */
  z.object({ op: z.literal('egress'), egress: EgressPolicy, refused: z.array(z.string()) }),
  z.object({ op: z.literal('allowance'), allowanceUsd: z.nullable(z.number()) }),
  /** A new credential of the same kind; requests that wait for it go on. */
  z.object({ op: z.literal('credential'), upstream: Upstream }),
]);
export type GatewayRequest = z.infer<typeof GatewayRequest>;

/** A shell of the sandbox's, and what its environment has besides the container's. It is run there and nowhere else. */
export const Shell = z.object({
  path: z.string().check(z.regex(/^\/(?:usr\/(?:local\/)?)?bin\/(?:bash|sh)$/)),
  env: z
    .record(
      z.string().check(z.regex(/^[A-Za-z_][A-Za-z0-9_]{0,199}$/)),
      z.string().check(z.maxLength(32 << 10), z.regex(/^[^\0]*$/)),
    )
    .check(z.refine((env) => Object.keys(env).length <= 500, 'too many variables')),
});
export type Shell = z.infer<typeof Shell>;

export const Reply = z.discriminatedUnion('ok', [
  z.object({
    ok: z.literal(true),
    missing: z.optional(z.array(Sha)),
    busy: z.optional(z.boolean()),
    shell: z.optional(Shell),
  }),
  z.object({ ok: z.literal(false), code: z.string(), message: z.string() }),
]);
export type Reply = z.infer<typeof Reply>;
