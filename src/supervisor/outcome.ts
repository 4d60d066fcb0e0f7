import { defaultIdleMs } from '../protocol/task.ts';
import type { FailureKind, SandboxBody } from '../protocol/taskEvent.ts';
import type { AgentExit } from './agentProcess.ts';

/** The last event of a task's work. */
export type Ended = Extract<SandboxBody, { type: 'ended' }>;

export interface Circumstances {
  agent: string;
  exit: AgentExit;
  /** Why it was asked to end, if it was. */
  interrupted: 'stop' | 'time' | undefined;
  /** Why a conversation that waited for its user was brought to its end. */
  finished?: 'asked' | 'idle' | undefined;
  /** The user had the agent stop its last turn. */
  turnInterrupted?: boolean;
  limits: { timeMs: number; memoryBytes: number; idleMs?: number | undefined };
  /** How many processes were killed for want of memory while it worked. */
  oomKills: number;
  diskFull: boolean;
}

/** How a task ended, from what can be known about it. Pure. */
export function outcome(circumstances: Circumstances): Ended {
  const { agent, exit, interrupted, limits } = circumstances;
  const code = {
    ...(exit.code === undefined ? {} : { exitCode: exit.code }),
    ...(exit.signal === undefined ? {} : { signal: exit.signal }),
  };
  if (interrupted === 'stop') {
    return { type: 'ended', outcome: 'stopped', ...code, message: 'The task was stopped on request.' };
  }
  if (interrupted === 'time') {
    return {
      type: 'ended',
      outcome: 'timed_out',
      ...code,
      message: `${agent} did not finish within ${duration(limits.timeMs)} and was ended.`,
      mend: 'Give the task more time, or make it smaller.',
    };
  }
  if (circumstances.finished !== undefined && circumstances.turnInterrupted === true) {
    return { type: 'ended', outcome: 'stopped', ...code, message: 'The task was stopped on request.' };
  }
  if (circumstances.finished !== undefined && exit.succeeded) {
    const idle = duration(limits.idleMs ?? defaultIdleMs);
    return {
      type: 'ended',
      outcome: 'succeeded',
      ...code,
      message:
        circumstances.finished === 'asked'
          ? 'The conversation was finished.'
          : `The conversation was finished, because no message came for ${idle}.`,
    };
  }
  if (exit.succeeded && exit.code === 0) {
    return { type: 'ended', outcome: 'succeeded', exitCode: 0, message: `${agent} finished.` };
  }
  const failure = cause(circumstances);
  return { type: 'ended', outcome: 'failed', ...code, ...failure };
}

/** An `ended` event for a failure before or beside the agent's own end. */
export function failed(kind: FailureKind, message: string, mend: string): Ended {
  return { type: 'ended', outcome: 'failed', kind, message, mend };
}

function cause({ agent, exit, limits, oomKills, diskFull }: Circumstances): {
  kind: FailureKind;
  message: string;
  mend: string;
} {
  if (exit.startError !== undefined) {
    const missing = exit.startError.code === 'ENOENT';
    return {
      kind: 'agent_missing',
      message: missing
        ? `${agent} is not installed in the sandbox image.`
        : `${agent} could not be started in the sandbox: ${exit.startError.message}.`,
      mend: 'Build the sandbox image again.',
    };
  }
  if (oomKills > 0) {
    return {
      kind: 'out_of_memory',
      message: `The sandbox ran out of memory (${Math.round(limits.memoryBytes / 2 ** 20)} MiB), and ${agent} did not survive it.`,
      mend: 'Raise the memory limit, or give the agent a smaller task.',
    };
  }
  if (diskFull || /ENOSPC|No space left on device/.test(exit.stderr)) {
    return {
      kind: 'disk_full',
      message: `The disk of the sandbox is full, and ${agent} could not go on.`,
      mend: "Free some space on the disk that holds the engine's data, then start the task again.",
    };
  }
  if (exit.verdict !== undefined) return exit.verdict;
  const said = exit.stderr.trim() === '' ? '' : ` It said at last: ${lastLine(exit.stderr)}`;
  if (exit.signal !== undefined) {
    return {
      kind: 'killed',
      message: `${agent} was killed by ${exit.signal}.${said}`,
      mend: "Read the end of the task's log for what happened before, then start the task again.",
    };
  }
  const how = exit.code === 0 ? 'without a result (exit code 0)' : `with exit code ${exit.code ?? 'unknown'}`;
  return {
    kind: 'exit',
    message: `${agent} ended ${how}.${said}`,
    mend: "Read the end of the task's log for the cause, then start the task again.",
  };
}

function lastLine(text: string): string {
  const line = text.trim().split('\n').at(-1)?.trim() ?? '';
  return line.length <= 300 ? line : `${line.slice(0, 299)}…`;
}

function duration(ms: number): string {
  if (ms < 60_000) return `${Math.round(ms / 1000)} s`;
  const minutes = Math.round(ms / 60_000);
  return minutes === 1 ? '1 minute' : `${minutes} minutes`;
}
