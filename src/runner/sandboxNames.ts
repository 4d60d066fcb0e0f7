import type { ContainerSpec } from '../engine/engine.ts';
import { paths, supervisorCommand } from '../protocol/control.ts';
import { hasOwnImage, type TaskSpec } from '../protocol/task.ts';

/** How the containers and the volume of a task are named, labelled and made: pure, the same on every engine. */

export const labelNames = {
  home: 'dev.sallyport.home',
  task: 'dev.sallyport.task',
  role: 'dev.sallyport.role',
  spec: 'dev.sallyport.spec',
  tools: 'dev.sallyport.tools',
  /** How often the task had gone on when the sandbox was made. */
  stretch: 'dev.sallyport.stretch',
} as const;

/** Whoever works in a sandbox: the agent, and the user's shell beside it. */
export const sandboxUser = '1000:1000';

/** `volumes` fills the volumes of a sandbox in an image of the user's, and is gone before it starts. */
export type Role = 'sandbox' | 'gateway' | 'volumes';

export function containerName(spec: TaskSpec, role: Role): string {
  return role === 'sandbox' ? `sallyport-${spec.id}` : `sallyport-${spec.id}-gateway`;
}

export function volumeName(spec: TaskSpec): string {
  return `sallyport-${spec.id}`;
}

/** Workspace and home folder of a sandbox in an image of the user's. */
export function workVolumeName(spec: TaskSpec): string {
  return `sallyport-${spec.id}-work`;
}

export function homeVolumeName(spec: TaskSpec): string {
  return `sallyport-${spec.id}-home`;
}

/** What a sandbox is made of in an image of the user's. */
export interface OwnPlace {
  /** The image's id. */
  image: string;
  /** Name of the volume with our tools. */
  tools: string;
  /** What is set on top of the image's environment. */
  env: Record<string, string>;
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

/**
 * @param place the tag of our image, or what was made of the user's
 * @param stretch how often the task has gone on
 */
export function sandboxContainer(
  spec: TaskSpec,
  home: string,
  place: string | OwnPlace,
  stretch = 0,
): ContainerSpec {
  const own = typeof place === 'string' ? undefined : place;
  return {
    name: containerName(spec, 'sandbox'),
    image: typeof place === 'string' ? place : place.image,
    command: [`${paths.toolsBin}/tini`, '-g', '--', ...supervisorCommand],
    user: sandboxUser,
    env: own?.env ?? {},
    labels: { ...labels(spec, home, 'sandbox'), [labelNames.stretch]: String(stretch) },
    network: 'none',
    limits: spec.limits,
    volumes: [
      {
        name: volumeName(spec),
        target: paths.shared,
        readonly: true,
        ...(own === undefined ? {} : { asIs: true }),
      },
      ...(own === undefined ? [] : ownVolumes(spec, own)),
    ],
    ...(spec.isolation?.mounts === undefined ? {} : { binds: spec.isolation.mounts }),
    workingDir: paths.workspace,
    ...(spec.isolation?.runtime === undefined ? {} : { runtime: spec.isolation.runtime }),
    ...(spec.isolation?.readonlyRoot === true ? readonlyRoot(spec) : {}),
  };
}

function ownVolumes(spec: TaskSpec, { tools }: OwnPlace): ContainerSpec['volumes'] {
  return [
    { name: tools, target: paths.tools, readonly: true, asIs: true },
    { name: workVolumeName(spec), target: paths.workspace, readonly: false, asIs: true },
    { name: homeVolumeName(spec), target: paths.home, readonly: false, asIs: true },
  ];
}

/** What can be written where the root cannot: the work outlives a restart, as in a root that can be written. */
function readonlyRoot(spec: TaskSpec): Required<Pick<ContainerSpec, 'readonlyRoot' | 'kept' | 'scratch'>> {
  // What is in memory counts as the sandbox's, so half of it is left for programs.
  const bytes = Math.floor(spec.limits.memoryBytes / 4);
  return {
    readonlyRoot: true,
    // In an image of the user's they are volumes anyway.
    kept: hasOwnImage(spec) ? [] : [paths.workspace, paths.home],
    scratch: [
      { path: '/tmp', bytes },
      { path: '/var/tmp', bytes },
    ],
  };
}

/** True when the sandbox can make files outside of its own layer: in volumes, or in folders of yours. */
export function writesElsewhere(spec: TaskSpec): boolean {
  const { readonlyRoot = false, mounts = [] } = spec.isolation ?? {};
  return hasOwnImage(spec) || readonlyRoot || mounts.some((mount) => !mount.readonly);
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
  if (spec.forge === true) return true;
  return !spec.model.demonstration || (spec.egress !== undefined && spec.egress.mode !== 'closed');
}
