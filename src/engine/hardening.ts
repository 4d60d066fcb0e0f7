import type { ContainerSpec, EngineInfo } from './engine.ts';

/**
 * How a container is made. Pure, so that a test can hold every line of it. The engine's own seccomp profile stays in
 * force, because nothing is said about seccomp here.
 */
export function createOptions(spec: ContainerSpec, kind: EngineInfo['kind']) {
  const { limits } = spec;
  return {
    name: spec.name,
    Image: spec.image,
    Entrypoint: [],
    Cmd: spec.command,
    ...(spec.user === undefined ? {} : { User: spec.user }),
    ...(spec.workingDir === undefined ? {} : { WorkingDir: spec.workingDir }),
    Env: Object.entries(spec.env).map(([name, value]) => `${name}=${value}`),
    Labels: spec.labels,
    Tty: false,
    OpenStdin: false,
    AttachStdin: false,
    AttachStdout: false,
    AttachStderr: false,
    HostConfig: {
      CapDrop: ['ALL'],
      SecurityOpt: ['no-new-privileges'],
      Privileged: false,
      ReadonlyRootfs: false,
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
      // Podman drops the limits of its settings when one is given, and then may ask for more than is permitted.
      ...(kind === 'docker' ? { Ulimits: [{ Name: 'core', Soft: 0, Hard: 0 }] } : {}),
      RestartPolicy: { Name: 'no' },
      AutoRemove: false,
      Init: false,
      IpcMode: 'private',
      Mounts: spec.volumes.map(({ name, target, readonly }) => ({
        Type: 'volume' as const,
        Source: name,
        Target: target,
        ReadOnly: readonly,
      })),
      LogConfig: logConfig(kind),
    },
  };
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
