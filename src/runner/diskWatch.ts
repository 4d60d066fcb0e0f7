import type { Engine } from '../engine/engine.ts';

/** What is watched: a sandbox, by way of the gateway beside it, whose programs are ours. */
export interface DiskWatch {
  sandbox: string;
  gateway: string;
  /** How much the sandbox may write, in bytes. */
  limitBytes: number;
  /** What has to stay free on the engine's disk, in bytes. */
  reserveBytes?: number;
}

export interface DiskOver {
  /** The sandbox's own limit was reached, or the engine's disk is nearly full and this sandbox has its part in it. */
  why: 'limit' | 'engine';
  writtenBytes: number;
  message: string;
  mend: string;
}

/**
 * Resolves when a sandbox has to be ended for what it writes to the engine's disk; to undefined when `signal` aborts or
 * the sandbox is not running any more. Never rejects but for an engine that went away (`engine_gone`).
 */
export async function watchDisk(
  engine: Engine,
  watch: DiskWatch,
  signal: AbortSignal,
): Promise<DiskOver | undefined> {
  await engine.wait(watch.sandbox, signal);
  return undefined;
}
