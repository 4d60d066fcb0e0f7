/** What streams may take; times in milliseconds. */
export interface StreamLimits {
  /** That much, and one batch, waits at most for one reader to take it. */
  inFlightBytes: number;
  /** How much of a task's newest events is kept for all its followers together, in characters. */
  ringBytes: number;
  /** Between two batches of one task. */
  pauseMs: number;
  /** Between two tellings of changed tasks to one client, on average. */
  changesMs: number;
  /** A reader that takes nothing for so long is closed. */
  slowMs: number;
  /** So long it may then still hear why. */
  graceMs: number;
  /** After so long a silence a sign of life is sent. */
  heartbeatMs: number;
  /** A client that does not answer for so long is gone. */
  silenceMs: number;
  /** How often readers and their credentials are looked at. */
  sweepMs: number;
  followsPerSocket: number;
  /** Of sockets and other streams together. */
  connectionsPerUser: number;
  connections: number;
  /** Messages of one client between two looks. */
  messagesPerSweep: number;
}

export const streamLimits: StreamLimits = {
  inFlightBytes: 256 << 10,
  ringBytes: 1 << 20,
  pauseMs: 10,
  changesMs: 1000,
  slowMs: 30_000,
  graceMs: 10_000,
  heartbeatMs: 20_000,
  silenceMs: 75_000,
  sweepMs: 1000,
  followsPerSocket: 500,
  connectionsPerUser: 2000,
  connections: 10_000,
  messagesPerSweep: 1000,
};
