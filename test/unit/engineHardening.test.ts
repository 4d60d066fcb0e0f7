import assert from 'node:assert/strict';
import { pathForEngine } from '../../src/engine/create.ts';
import { createOptions, type EngineWays } from '../../src/engine/hardening.ts';
import type { ContainerSpec } from '../../src/engine/engine.ts';
import { seccompProfile } from '../../src/engine/seccomp.ts';

const docker: EngineWays = { kind: 'docker', seccomp: '{}', quota: false };
const podman: EngineWays = { kind: 'podman', seccomp: '/p', quota: false };

const spec: ContainerSpec = {
  name: 'box',
  image: 'image:1',
  command: ['tini', '--', 'true'],
  user: 'agent',
  env: { A: '1', B: 'x=y' },
  labels: { l: 'v' },
  network: 'none',
  limits: { memoryBytes: 1000, cpus: 1.5, pids: 7, diskBytes: 5000 },
  volumes: [{ name: 'v', target: '/v', readonly: true }],
  workingDir: '/w',
};

describe('engine hardening', () => {
  it('makes exactly this of a sandbox on Docker', () => {
    assert.deepEqual(createOptions(spec, docker), {
      name: 'box',
      Image: 'image:1',
      Entrypoint: ['tini'],
      Healthcheck: { Test: ['NONE'] },
      StopSignal: 'SIGTERM',
      Cmd: ['--', 'true'],
      Hostname: 'sandbox',
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
        SecurityOpt: ['no-new-privileges', 'seccomp={}'],
        Privileged: false,
        ReadonlyRootfs: false,
        NetworkMode: 'none',
        Memory: 1000,
        MemorySwap: 1000,
        OomKillDisable: false,
        NanoCpus: 1.5e9,
        PidsLimit: 7,
        Ulimits: [
          { Name: 'core', Soft: 0, Hard: 0 },
          { Name: 'nofile', Soft: 1024, Hard: 16_384 },
          { Name: 'fsize', Soft: 5000, Hard: 5000 },
        ],
        Tmpfs: {},
        Devices: [],
        GroupAdd: [],
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
    const bridge = createOptions({ ...spec, network: 'bridge' }, docker).HostConfig;
    assert.equal(bridge.NetworkMode, 'bridge');
    assert.deepEqual(bridge.ExtraHosts, ['host.docker.internal:host-gateway']);
    assert.equal(createOptions({ ...spec, network: 'bridge' }, podman).HostConfig.ExtraHosts, undefined);
  });

  it('differs on Podman by its log, the path of the profile, and a limit that has to be named', () => {
    const { HostConfig, ...rest } = createOptions(spec, docker);
    assert.deepEqual(createOptions(spec, podman), {
      ...rest,
      HostConfig: {
        ...HostConfig,
        SecurityOpt: ['no-new-privileges', 'seccomp=/p'],
        Ulimits: [
          { Name: 'core', Soft: 0, Hard: 0 },
          { Name: 'nofile', Soft: 1024, Hard: 16_384 },
          { Name: 'nproc', Soft: 4096, Hard: 4096 },
          { Name: 'fsize', Soft: 5000, Hard: 5000 },
        ],
        LogConfig: { Type: 'k8s-file', Config: { 'max-size': '2gb' } },
      },
    });
  });

  it('names runtime, read-only root, kept folders and folders in memory where they are asked for', () => {
    const { Volumes, HostConfig } = createOptions(
      {
        ...spec,
        runtime: 'runsc',
        readonlyRoot: true,
        kept: ['/work'],
        scratch: [{ path: '/tmp', bytes: 4096.4 }],
      },
      docker,
    );
    assert.deepEqual(Volumes, { '/work': {} });
    assert.equal(HostConfig.Runtime, 'runsc');
    assert.equal(HostConfig.ReadonlyRootfs, true);
    assert.deepEqual(HostConfig.Tmpfs, { '/tmp': 'rw,exec,nosuid,nodev,mode=1777,size=4096' });
  });

  it('lets the storage hold the disk limit where it can, a little above what is watched', () => {
    const limits = { ...spec.limits, diskBytes: 1000 << 20 };
    const size = createOptions({ ...spec, limits }, { ...docker, quota: true }).HostConfig.StorageOpt?.size;
    assert.equal(size, String((1050 << 20) + (64 << 20)));
    assert.equal(createOptions({ ...spec, limits }, docker).HostConfig.StorageOpt, undefined);
  });

  it('says nothing of seccomp to an engine that has none', () => {
    assert.deepEqual(createOptions(spec, { ...docker, seccomp: undefined }).HostConfig.SecurityOpt, [
      'no-new-privileges',
    ]);
  });

  it('finds a file of Windows where Podman has it', () => {
    assert.equal(pathForEngine('C:\\Users\\a b\\s.json', 'win32'), '/mnt/c/Users/a b/s.json');
    assert.equal(pathForEngine('/tmp/s.json', 'linux'), '/tmp/s.json');
  });
});

describe('seccomp profile', () => {
  interface Rule {
    names: string[];
    action: string;
    args?: unknown[];
  }
  const rulesOf = (text: string) => (JSON.parse(text) as { syscalls: Rule[] }).syscalls;
  const open = (rules: Rule[]) =>
    new Set(rules.filter((rule) => rule.action === 'SCMP_ACT_ALLOW').flatMap((rule) => rule.names));

  it('refuses what it does not name', () => {
    const { defaultAction, archMap } = JSON.parse(seccompProfile()) as {
      defaultAction: string;
      archMap: { subArchitectures: string[] }[];
    };
    assert.equal(defaultAction, 'SCMP_ACT_ERRNO');
    assert.ok(!archMap.some(({ subArchitectures }) => subArchitectures.includes('SCMP_ARCH_X32')));
  });

  it('opens nothing that leads around the walls', () => {
    const names = open(rulesOf(seccompProfile()));
    const closed =
      'io_uring_setup io_uring_enter io_uring_register userfaultfd add_key keyctl request_key bpf perf_event_open ' +
      'mount umount umount2 pivot_root unshare setns clone3 fallocate socketcall open_by_handle_at init_module ' +
      'finit_module kexec_load reboot swapon fsopen fsmount move_mount open_tree mount_setattr chroot acct ' +
      'quotactl syslog iopl ioperm settimeofday clock_settime sethostname process_madvise kcmp pidfd_getfd';
    assert.deepEqual(
      closed.split(' ').filter((name) => names.has(name)),
      [],
    );
    for (const name of [
      'read',
      'execve',
      'ptrace',
      'inotify_add_watch',
      'memfd_create',
      'landlock_restrict_self',
    ])
      assert.ok(names.has(name), name);
  });

  it('has no rule without conditions for what is open only in part', () => {
    for (const rule of rulesOf(seccompProfile()))
      for (const name of ['socket', 'socketpair', 'clone', 'personality'])
        if (rule.names.includes(name)) assert.ok((rule.args ?? []).length > 0, name);
  });

  it('takes debugging from a service, and nothing else', () => {
    const [work, service] = [open(rulesOf(seccompProfile())), open(rulesOf(seccompProfile('service')))];
    assert.deepEqual([...work].filter((name) => !service.has(name)).sort(), [
      'process_vm_readv',
      'process_vm_writev',
      'ptrace',
    ]);
  });
});
