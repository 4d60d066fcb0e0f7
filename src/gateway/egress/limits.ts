/** Bounds of the proxy, for one sandbox. Times in milliseconds. */
export interface Limits {
  /** Connections of the sandbox's at once. */
  connections: number;
  /** Requests that wait for the user's answer at once. */
  waiting: number;
  /** Hosts that are remembered as asked for, until the next change of the policy. */
  asked: number;
  /** How long a client may take for the head of its request. */
  headMs: number;
  /** How long a client may take for its ClientHello. */
  helloMs: number;
  /** How long the resolver may take. */
  resolveMs: number;
  /** How long one address of several, and the last one, may take to answer. */
  connectMs: number;
  lastConnectMs: number;
  /** How long a connection may be silent in both directions. */
  idleMs: number;
  /** The same, once one direction has ended: a client that is gone looks like one that only has nothing more to say. */
  halfIdleMs: number;
  /** How long a client may go on sending what nobody reads after it was refused. */
  lingerMs: number;
  /** Refused and failed requests that are listed one by one within one window; further ones are counted. */
  listedRefusals: number;
  windowMs: number;
}

export const defaultLimits: Limits = {
  connections: 256,
  waiting: 32,
  asked: 1000,
  headMs: 30_000,
  helloMs: 20_000,
  resolveMs: 10_000,
  connectMs: 5_000,
  lastConnectMs: 20_000,
  idleMs: 15 * 60_000,
  halfIdleMs: 2 * 60_000,
  lingerMs: 2_000,
  listedRefusals: 500,
  windowMs: 60_000,
};
