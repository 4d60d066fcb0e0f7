import type { SallyportError } from '../base/errors.ts';
import type { ContainerState } from '../engine/engine.ts';
import type { FailureKind, RunnerBody } from '../protocol/taskEvent.ts';

/** How a task ends, where this side has to say it. */
export type Ended = Extract<RunnerBody, { type: 'ended' }>;

export const stoppedEarly: Ended = {
  type: 'ended',
  outcome: 'stopped',
  message: 'Stopped before the agent began.',
};

/** Of an error that is final. */
export function failedBy(error: SallyportError): Ended {
  const { message, mend } = error;
  return { type: 'ended', outcome: 'failed', kind: failureKind(error), message, mend };
}

function failureKind({ code }: SallyportError): FailureKind {
  if (code === 'disk_full') return 'disk_full';
  if (code.startsWith('engine_')) return 'engine_gone';
  if (code.startsWith('image_')) return 'image';
  if (code === 'sandbox_failed') return 'workspace';
  return 'internal';
}

export function sandboxMissing(stopping: boolean): Ended {
  return {
    type: 'ended',
    outcome: stopping ? 'stopped' : 'failed',
    ...(stopping ? {} : { kind: 'sandbox_lost' }),
    message: 'The sandbox is gone: it was removed from outside.',
    mend: 'What was imported before is in the quarantine; start a new task for the rest.',
  };
}

export function logLimitReached(limitBytes: number): Ended {
  return {
    type: 'ended',
    outcome: 'failed',
    kind: 'log_limit',
    message: `The task's log has reached its limit of ${Math.round(limitBytes / 2 ** 20).toLocaleString('en')} MiB, and the agent was ended. What it printed after that is not in the log.`,
    mend: 'Look at the end of the log for what printed so much, and have it write less, or to a file.',
  };
}

/** What this process knows of a task whose container has ended. */
interface Knowledge {
  /** Why this process ended it. */
  verdict: Ended | undefined;
  timeIsUp: boolean;
  stopping: boolean;
}

/** What only the host can know about the end of a container; what remains is said by the revived supervisor. */
export function whyDead(
  { oomKilled, exitCode }: Pick<ContainerState, 'oomKilled' | 'exitCode'>,
  { verdict, timeIsUp, stopping }: Knowledge,
): Ended | undefined {
  if (verdict !== undefined) return verdict;
  if (timeIsUp) {
    const message = 'The time limit was reached and the sandbox had to be ended from outside.';
    return { type: 'ended', outcome: 'timed_out', message };
  }
  if (stopping) {
    const message = 'Stopped; the sandbox had to be ended from outside.';
    return { type: 'ended', outcome: 'stopped', message };
  }
  if (!oomKilled) return undefined;
  return {
    type: 'ended',
    outcome: 'failed',
    kind: 'out_of_memory',
    ...(exitCode === undefined ? {} : { exitCode }),
    message: 'The sandbox reached its memory limit and was ended.',
    mend: 'Raise the memory limit in the settings, or ask for less at once.',
  };
}
