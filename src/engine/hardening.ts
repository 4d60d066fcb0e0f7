import type { ContainerSpec, EngineInfo } from './engine.ts';

/** What depends on the engine that is asked, and is found out there. */
export interface EngineWays {
  kind: EngineInfo['kind'];
  /** The seccomp profile as this engine takes it: Docker its text, Podman a path. Undefined where there is no seccomp. */
  seccomp: string | undefined;
  /** True where the storage can limit a container's layer. */
  quota: boolean;
}

/** How a container is made. Pure, so that a test can hold every line of it. */
export function createOptions(spec: ContainerSpec, { kind, seccomp, quota }: EngineWays) {
  const { limits } = spec;
  return {
    name: spec.name,
    Image: spec.image,
    // Podman takes an empty entry point for none said, and puts the image's own before the command.
    Entrypoint: spec.command.slice(0, 1),
    // What an image says of these is nothing for a container of ours.
    Healthcheck: { Test: ['NONE'] },
    StopSignal: 'SIGTERM',
    Cmd: spec.command.slice(1),
    // The same for all: a container's name would tell the task's.
    Hostname: 'sandbox',
    ...(spec.user === undefined ? {} : { User: spec.user }),
    ...(spec.workingDir === undefined ? {} : { WorkingDir: spec.workingDir }),
    ...(spec.kept === undefined || spec.kept.length === 0
      ? {}
      : { Volumes: Object.fromEntries(spec.kept.map((path) => [path, {}])) }),
    Env: Object.entries(spec.env).map(([name, value]) => `${name}=${value}`),
    Labels: spec.labels,
    Tty: false,
    OpenStdin: false,
    AttachStdin: false,
    AttachStdout: false,
    AttachStderr: false,
    HostConfig: {
      CapDrop: ['ALL'],
      SecurityOpt: ['no-new-privileges', ...(seccomp === undefined ? [] : [`seccomp=${seccomp}`])],
      Privileged: false,
      ReadonlyRootfs: spec.readonlyRoot ?? false,
      ...(spec.runtime === undefined ? {} : { Runtime: spec.runtime }),
      NetworkMode: spec.network,
      // A name for the host's own services; Podman has one by itself and takes "host-gateway" for an address.
      ...(spec.network === 'bridge' && kind === 'docker'
        ? { ExtraHosts: ['host.docker.internal:host-gateway'] }
        : {}),
      Memory: limits.memoryBytes,
      // The same value: no swap on top.
      MemorySwap: limits.memoryBytes,
      OomKillDisable: false,
      NanoCpus: Math.round(limits.cpus * 1e9),
      PidsLimit: limits.pids,
      Ulimits: ulimits(kind, limits.diskBytes),
      ...(quota && limits.diskBytes !== undefined
        ? { StorageOpt: { size: String(layerBytes(limits.diskBytes)) } }
        : {}),
      Tmpfs: Object.fromEntries((spec.scratch ?? []).map(({ path, bytes }) => [path, scratchOptions(bytes)])),
      Devices: [],
      GroupAdd: [],
      RestartPolicy: { Name: 'no' },
      AutoRemove: false,
      Init: false,
      IpcMode: 'private',
      Mounts: [...spec.volumes.map(volumeMount), ...(spec.binds ?? []).map(bindMount)],
      LogConfig: logConfig(kind),
    },
  };
}

function volumeMount({ name, target, readonly, asIs }: ContainerSpec['volumes'][number]) {
  const mount = { Type: 'volume' as const, Source: name, Target: target, ReadOnly: readonly };
  return asIs === true ? { ...mount, VolumeOptions: { NoCopy: true } } : mount;
}

/**
 * Not recursive: what is mounted below the source stays out, because older engines leave it writable below a read-only
 * mount. Nothing that is mounted on either side later reaches the other.
 */
function bindMount({ source, target, readonly }: NonNullable<ContainerSpec['binds']>[number]) {
  return {
    Type: 'bind' as const,
    Source: source,
    Target: target,
    ReadOnly: readonly,
    BindOptions: { Propagation: 'rprivate' as const, NonRecursive: true },
  };
}

/**
 * No core files, no file above the disk limit, and a number of open files that every engine may give. Podman drops the
 * limits of its own settings when one is given, and then asks for more than may be permitted: so it is told all of them.
 */
function ulimits(kind: EngineInfo['kind'], diskBytes: number | undefined) {
  const limit = (Name: string, Soft: number, Hard = Soft) => ({ Name, Soft, Hard });
  return [
    limit('core', 0),
    limit('nofile', 1024, 16_384),
    ...(kind === 'podman' ? [limit('nproc', 4096)] : []),
    ...(diskBytes === undefined ? [] : [limit('fsize', diskBytes)]),
  ];
}

/** Above the limit that is watched, so that the watch comes first and what is in the sandbox can still be brought out. */
function layerBytes(diskBytes: number): number {
  return Math.ceil(diskBytes * 1.05) + (64 << 20);
}

/** Programs may be run from there: builds do so. */
function scratchOptions(bytes: number): string {
  return `rw,exec,nosuid,nodev,mode=1777,size=${Math.round(bytes)}`;
}

/**
 * The log is the task's log of record: kept whole up to 2 GB, and as bytes (Docker's json-file replaces what is no
 * UTF-8). Above that the oldest part goes, so that a flood fills no disk.
 */
function logConfig(kind: EngineInfo['kind']) {
  return kind === 'docker'
    ? { Type: 'local', Config: { 'max-size': '1g', 'max-file': '2', compress: 'false' } }
    : { Type: 'k8s-file', Config: { 'max-size': '2gb' } };
}
