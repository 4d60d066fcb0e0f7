import type { ContainerSpec } from '../engine/engine.ts';
import { paths } from '../protocol/control.ts';
import type { TaskSpec } from '../protocol/task.ts';

/** How the containers and the volume of a task are named, labelled and made: pure, the same on every engine. */

export const labelNames = {
  home: 'dev.sallyport.home',
  task: 'dev.sallyport.task',
  role: 'dev.sallyport.role',
  spec: 'dev.sallyport.spec',
} as const;

export type Role = 'sandbox' | 'gateway';

export function containerName(spec: TaskSpec, role: Role): string {
  return role === 'sandbox' ? `sallyport-${spec.id}` : `sallyport-${spec.id}-gateway`;
}

export function volumeName(spec: TaskSpec): string {
  return `sallyport-${spec.id}`;
}

export function labels(spec: TaskSpec, home: string, role?: Role): Record<string, string> {
  return {
    [labelNames.home]: home,
    [labelNames.task]: spec.id,
    ...(role === undefined ? {} : { [labelNames.role]: role }),
    // Written by the host, so that a task can be taken up again even when its files are lost. The prompt is left out.
    ...(role === 'sandbox' ? { [labelNames.spec]: JSON.stringify({ ...spec, prompt: '' }) } : {}),
  };
}

export function sandboxContainer(spec: TaskSpec, home: string, image: string): ContainerSpec {
  return {
    name: containerName(spec, 'sandbox'),
    image,
    command: ['tini', '-g', '--', 'node', paths.supervisor],
    user: '1000:1000',
    env: {},
    labels: labels(spec, home, 'sandbox'),
    network: 'none',
    limits: spec.limits,
    volumes: [{ name: volumeName(spec), target: paths.shared, readonly: true }],
    workingDir: paths.workspace,
    ...(spec.isolation?.runtime === undefined ? {} : { runtime: spec.isolation.runtime }),
    ...(spec.isolation?.readonlyRoot === true ? readonlyRoot(spec.limits.memoryBytes) : {}),
  };
}

/** What can be written where the root cannot: the work outlives a restart, as in a root that can be written. */
function readonlyRoot(
  memoryBytes: number,
): Required<Pick<ContainerSpec, 'readonlyRoot' | 'kept' | 'scratch'>> {
  // What is in memory counts as the sandbox's, so half of it is left for programs.
  const bytes = Math.floor(memoryBytes / 4);
  return {
    readonlyRoot: true,
    kept: [paths.workspace, '/home/agent'],
    scratch: [
      { path: '/tmp', bytes },
      { path: '/var/tmp', bytes },
    ],
  };
}

/**
 * A gateway passes bytes on and counts them. It holds one request of the model at a time as text and as what was read of
 * it (16 MiB at most as text), and the short program that brings it its orders.
 */
const gatewayLimits = { memoryBytes: 256 * 2 ** 20, cpus: 1, pids: 64, diskBytes: 16 * 2 ** 20 };

export function gatewayContainer(spec: TaskSpec, home: string, image: string): ContainerSpec {
  return {
    name: containerName(spec, 'gateway'),
    image,
    // V8's small form: many gateways run beside each other, and none computes much.
    command: ['tini', '-g', '--', 'node', '--lite-mode', paths.gateway],
    user: '1001:1001',
    env: {},
    labels: labels(spec, home, 'gateway'),
    network: needsNetwork(spec) ? 'bridge' : 'none',
    limits: gatewayLimits,
    volumes: [{ name: volumeName(spec), target: paths.shared, readonly: false }],
    workingDir: '/',
    readonlyRoot: true,
    scratch: [{ path: '/tmp', bytes: 16 * 2 ** 20 }],
    syscalls: 'service',
  };
}

/** The demonstration answers from inside the gateway; then there is only what the sandbox itself may reach. */
export function needsNetwork(spec: TaskSpec): boolean {
  return !spec.model.demonstration || (spec.egress !== undefined && spec.egress.mode !== 'closed');
}
