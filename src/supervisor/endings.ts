import { asSallyportError, type SallyportError } from '../base/errors.ts';
import type { EgressCheck } from './egress.ts';
import { type Ended, failed } from './outcome.ts';

/** Ends of a task in which its agent has no part: pure. */

export function stopped(): Ended {
  return { type: 'ended', outcome: 'stopped', message: 'The task was stopped on request.' };
}

export function workspaceFailure(error: SallyportError): Ended {
  const mend = "Free some space on the disk that holds the engine's data, then start the task again.";
  return error.code === 'disk_full'
    ? failed('disk_full', `The disk is too full for the workspace: ${error.message}`, mend)
    : failed(
        'workspace',
        `The workspace could not be made: ${error.message}`,
        'Start the task again; report this if it happens twice.',
      );
}

/** @param open what was not blocked */
export function egressFailure(open: readonly EgressCheck[]): Ended {
  return failed(
    'egress_open',
    `The sandbox is not closed (${open.map(({ what }) => what).join('; ')}), so the agent was not started.`,
    "Check that the container engine honours the network mode 'none', then start the task again.",
  );
}

export function gatewayFailure(thrown: unknown): Ended {
  return failed(
    'gateway',
    `The gateway did not answer: ${asSallyportError(thrown).message}.`,
    'Start the task again; the log of the gateway container says more.',
  );
}

/** After the container was restarted: the files are there, the agent is not. */
export function engineGone(): Ended {
  return failed(
    'engine_gone',
    'The container engine stopped while the agent worked, and the agent with it. What it had committed or left is kept.',
    'Start the task again, or go on from its commits.',
  );
}

export function internalFailure(thrown: unknown): Ended {
  const { message } = asSallyportError(thrown);
  return failed('internal', `The supervisor failed: ${message}`, 'Start the task again, and report this.');
}
