import assert from 'node:assert/strict';
import { createOptions } from '../../src/engine/hardening.ts';
import type { ContainerSpec } from '../../src/engine/engine.ts';

const spec: ContainerSpec = {
  name: 'box',
  image: 'image:1',
  command: ['tini', '--', 'true'],
  user: 'agent',
  env: { A: '1', B: 'x=y' },
  labels: { l: 'v' },
  network: 'none',
  limits: { memoryBytes: 1000, cpus: 1.5, pids: 7 },
  volumes: [{ name: 'v', target: '/v', readonly: true }],
  workingDir: '/w',
};

describe('engine hardening', () => {
  it('makes exactly this of a sandbox on Docker', () => {
    assert.deepEqual(createOptions(spec, 'docker'), {
      name: 'box',
      Image: 'image:1',
      Entrypoint: [],
      Cmd: ['tini', '--', 'true'],
      User: 'agent',
      WorkingDir: '/w',
      Env: ['A=1', 'B=x=y'],
      Labels: { l: 'v' },
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
        NetworkMode: 'none',
        Memory: 1000,
        MemorySwap: 1000,
        OomKillDisable: false,
        NanoCpus: 1.5e9,
        PidsLimit: 7,
        Ulimits: [{ Name: 'core', Soft: 0, Hard: 0 }],
        RestartPolicy: { Name: 'no' },
        AutoRemove: false,
        Init: false,
        IpcMode: 'private',
        Mounts: [{ Type: 'volume', Source: 'v', Target: '/v', ReadOnly: true }],
        LogConfig: { Type: 'local', Config: { 'max-size': '1g', 'max-file': '2', compress: 'false' } },
      },
    });
  });

  it('names the host only where there is a network', () => {
    const bridge = createOptions({ ...spec, network: 'bridge' }, 'docker').HostConfig;
    assert.equal(bridge.NetworkMode, 'bridge');
    assert.deepEqual(bridge.ExtraHosts, ['host.docker.internal:host-gateway']);
    assert.equal(createOptions({ ...spec, network: 'bridge' }, 'podman').HostConfig.ExtraHosts, undefined);
  });

  it('differs on Podman by its log and the limits that it cannot be given', () => {
    const docker = createOptions(spec, 'docker');
    const podman = createOptions(spec, 'podman');
    const { Ulimits, ...rest } = docker.HostConfig;
    assert.ok(Ulimits);
    const LogConfig = { Type: 'k8s-file', Config: { 'max-size': '2gb' } };
    assert.deepEqual(podman, { ...docker, HostConfig: { ...rest, LogConfig } });
  });
});
