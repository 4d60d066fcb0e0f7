import assert from 'node:assert/strict';
import { mkdirSync, linkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { abilities } from '../../src/engine/abilities.ts';
import { checkRuntime } from '../../src/engine/runtimes.ts';
import { engineWarnings } from '../../src/engine/warnings.ts';
import { trialChecks } from '../../src/runner/doctor.ts';
import { doctorTable } from '../../src/runner/doctorTable.ts';
import type { Trial } from '../../src/runner/doctorTrial.ts';
import { folderBytes } from '../../src/runner/folderBytes.ts';
import { temporaryFolder } from '../support/gitRepo.ts';

const trial: Trial = {
  answeredMs: 1500,
  agent: 'Claude Code 2.0.0',
  answer: 'Hello',
  egress: {
    type: 'egress',
    closed: true,
    checks: [{ what: 'IPv4', blocked: true, detail: 'ENETUNREACH' }],
    s: 3,
    t: 0,
  },
  proxy: [
    { target: 'example.com:443', status: 403, blocked: 'not_listed' },
    { target: '127.0.0.1:443', status: 403, blocked: 'ip_literal' },
  ],
  freeBytes: 50 * 2 ** 30,
};
const states = (change: Partial<Trial>) =>
  Object.fromEntries(trialChecks({ ...trial, ...change }).map(({ name, ok }) => [name, ok]));
const good = { Gateway: true, 'Sandbox closed': true, 'Egress proxy': true, 'Engine disk': true };

describe('doctor’s findings', () => {
  it('are good when all is', () => assert.deepEqual(states({}), good));

  it('tell a way out of the sandbox', () => {
    const checks = [{ what: 'UDP to a name server', blocked: false, detail: 'answered' }];
    const egress = { ...trial.egress, closed: false, checks };
    assert.deepEqual(states({ egress }), { ...good, 'Sandbox closed': false });
    assert.match(trialChecks({ ...trial, egress })[1]?.detail ?? '', /UDP to a name server \(answered\)/);
  });

  it('tell a proxy that lets through, fails on the way, or does not answer', () => {
    for (const answer of [
      { status: 200, blocked: undefined },
      { status: 502, blocked: 'unreachable' },
      { status: 502, blocked: undefined },
      { status: 0, blocked: undefined },
    ]) {
      const proxy = [{ target: '127.0.0.1:443', ...answer }];
      assert.deepEqual(states({ proxy }), { ...good, 'Egress proxy': false }, JSON.stringify(answer));
    }
    const unknown = [{ target: 'localhost:443', status: 502, blocked: 'unresolved' }];
    assert.deepEqual(states({ proxy: unknown }), good);
  });

  it('tell a disk that is nearly full', () => {
    assert.deepEqual(states({ freeBytes: 2 ** 30 }), { ...good, 'Engine disk': 'warning' });
  });

  it('stand in a table that holds no escape sequence of theirs', () => {
    const checks = [
      { name: 'Engine', ok: true, detail: 'Docker\x1b[31m 1' },
      { name: 'Git', ok: 'warning' as const, detail: 'old\nsecond line', mend: 'Install it.' },
      { name: 'Disk', ok: false, detail: 'full', mend: 'Make room.' },
    ];
    const plain = doctorTable(checks, false);
    assert.ok(!plain.includes('\x1b'));
    const lines = plain.split('\n');
    assert.match(lines[0] ?? '', /^ok {4}Engine {2}Docker/);
    assert.deepEqual(lines.slice(1, 4), [
      'warn  Git     old',
      '              second line',
      '              → Install it.',
    ]);
    assert.match(plain, /Tasks cannot run here yet\.\n$/);
    assert.match(
      doctorTable(checks.slice(0, 2), true),
      /\x1b\[33mwarn\x1b\[0m.*\n.*\n.*\n\n.*Tasks can run here/,
    );
  });

  it('count what a folder takes once for each file, within its time', async () => {
    const folder = temporaryFolder();
    mkdirSync(join(folder.path, 'a', 'b'), { recursive: true });
    writeFileSync(join(folder.path, 'a', 'b', 'one'), Buffer.alloc(1 << 20, 1));
    linkSync(join(folder.path, 'a', 'b', 'one'), join(folder.path, 'two'));
    const { bytes, whole } = await folderBytes(folder.path, 60_000);
    assert.deepEqual([Math.round(bytes / 2 ** 20), whole], [1, true]);
    assert.equal((await folderBytes(folder.path, -1)).whole, false);
    assert.deepEqual(await folderBytes(join(folder.path, 'none'), 1000), { bytes: 0, whole: true });
    folder.dispose();
  });
});

describe('what an engine can hold', () => {
  const docker = {
    SecurityOptions: ['name=seccomp,profile=default', 'name=cgroupns'],
    CgroupVersion: '2',
    MemoryLimit: true,
    SwapLimit: true,
    PidsLimit: true,
    CpuCfsQuota: true,
    Runtimes: { runc: {}, runsc: {} },
    DefaultRuntime: 'runc',
    Driver: 'overlay2',
    DriverStatus: [['Backing Filesystem', 'xfs']],
  };
  const base = {
    kind: 'docker' as const,
    version: '1',
    apiVersion: '1.41',
    platform: 'linux/amd64',
    address: 'a',
    source: 's',
  };

  it('is read from what it says', () => {
    assert.deepEqual(abilities(docker, false), {
      rootless: false,
      seccomp: true,
      cgroupVersion: 2,
      ignoredLimits: [],
      runtimes: ['runc', 'runsc'],
      storageDriver: 'overlay2',
      backingFilesystem: 'xfs',
    });
    assert.deepEqual(engineWarnings({ ...base, ...abilities(docker, false) }), []);
  });

  it('warns of limits that a rootless engine ignores, of those that a kernel lacks, and of no seccomp', () => {
    const rootless = abilities({ ...docker, Rootless: true, CgroupVersion: '1' }, true);
    assert.deepEqual(rootless.ignoredLimits, ['memory', 'swap', 'processors', 'processes']);
    const [warning] = engineWarnings({ ...base, kind: 'podman', ...rootless });
    assert.match(warning?.text ?? '', /Podman does not hold .* memory, swap, processors, processes/);
    assert.match(warning?.mend ?? '', /version 2/);
    const swapless = abilities({ ...docker, SwapLimit: false, SecurityOptions: null }, false);
    assert.deepEqual(swapless.ignoredLimits, ['swap']);
    assert.deepEqual(
      engineWarnings({ ...base, ...swapless }).map(({ text }) => /seccomp|swap/.exec(text)?.[0]),
      ['seccomp', 'swap'],
    );
  });

  it('names the runtimes that can be chosen: with Podman only the one of its service', () => {
    const info = { ...base, ...abilities(docker, false) };
    checkRuntime(info, undefined);
    checkRuntime(info, 'runsc');
    assert.throws(() => checkRuntime(info, 'kata'), {
      code: 'invalid_input',
      message: /"kata"; it knows runc, runsc/,
    });
    const podman = { kind: 'podman' as const, runtimes: abilities(docker, true).runtimes };
    checkRuntime(podman, 'runc');
    assert.throws(() => checkRuntime(podman, 'runsc'), {
      code: 'invalid_input',
      mend: /podman --runtime runsc/,
    });
  });
});
