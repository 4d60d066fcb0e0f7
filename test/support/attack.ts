import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import * as z from 'zod/mini';
import { dial } from '../../src/engine/dial.ts';
import { parseAddress } from '../../src/engine/discovery.ts';
import type { Engine } from '../../src/engine/engine.ts';
import { paths } from '../../src/protocol/control.ts';
import { testLabels } from './engines.ts';

/**
 * Attacks are Python programs (test/attack/*.py). Each attack is first run in a container whose walls are down, where it
 * has to get what it wants; so none passes because it could never work. Then it is run in a sandbox, and has to fail.
 */

const folder = resolve(import.meta.dirname, '..', 'attack');
/** An attack that takes longer has failed, in seconds. */
const limitS = 15;

const Verdict = z.object({
  attack: z.string(),
  got: z.boolean(),
  detail: z.string(),
  /** This kernel does not have what would be attacked. */
  absent: z.optional(z.boolean()),
});
type Verdict = z.infer<typeof Verdict>;
/** By the title of the attack. */
export type Verdicts = Map<string, Verdict>;

interface Attack {
  title: string;
  /** The containers in which it has to succeed. */
  worlds: string[];
}

/** The attacks of a program, from its text: so that each is a test of its own before anything has run. */
export function attacksOf(program: string): Attack[] {
  const text = readFileSync(join(folder, program), 'utf8');
  const found = [...text.matchAll(/^@attack\((?:'([^'\n]+)'|"([^"\n]+)"), '([a-z ]+)'\)$/gm)];
  assert.equal(found.length, text.split('\n@attack(').length - 1, `an attack in ${program} cannot be read`);
  return found.map(([, single, double, worlds]) => ({
    title: single ?? double ?? '',
    worlds: (worlds ?? '').split(' '),
  }));
}

/** Runs a program's attacks in a container, all side by side. */
export async function runAttacks(
  engine: Engine,
  container: string,
  program: string,
  args: Record<string, unknown>,
  user = '0:0',
): Promise<Verdicts> {
  const source = ['prelude.py', 'marks.py', program]
    .map((file) => readFileSync(join(folder, file), 'utf8'))
    .join('\n');
  const argv = ['python3', '-c', `${source}\nmain()\n`, JSON.stringify({ limitS, ...args })];
  const { text, exitCode, stderr } = await output(engine, container, argv, user);
  const verdicts = text
    .split('\n')
    .filter((line) => line.startsWith('{"attack"'))
    .map((line) => Verdict.parse(JSON.parse(line)));
  assert.ok(verdicts.length > 0, `${program} said nothing (exit code ${exitCode}): ${stderr}\n${text}`);
  return new Map(verdicts.map((verdict) => [verdict.attack, verdict]));
}

/** What a program in a container prints. */
export async function output(
  engine: Engine,
  container: string,
  argv: string[],
  user = '0:0',
): Promise<{ text: string; exitCode: number; stderr: string }> {
  const exec = await engine.exec(container, argv, { user });
  const parts: Uint8Array[] = [];
  for await (const part of exec.stdout) parts.push(part);
  return { text: Buffer.concat(parts).toString('utf8'), ...(await exec.done) };
}

/** Every verdict that a sandbox gave, by who asked. */
export interface Strong {
  by: string;
  verdicts: Verdicts;
}

/** One test for each attack of a program: it works without the walls, and gets nothing in the sandbox. */
export function judge(
  program: string,
  results: () => { weak: Map<string, Verdicts>; strong: Strong[] },
): void {
  for (const { title, worlds } of attacksOf(program)) {
    it(`${title}: works where the walls are down, and gets nothing in the sandbox`, function () {
      const { weak, strong } = results();
      for (const world of worlds) {
        const verdict = weak.get(world)?.get(title);
        assert.ok(verdict, `not tried in ${world}`);
        if (verdict.absent === true) this.skip();
        assert.ok(verdict.got, `cannot fail: it gets nothing in ${world} either (${verdict.detail})`);
      }
      for (const { by, verdicts } of strong) {
        const verdict = verdicts.get(title);
        assert.ok(verdict, `not tried by ${by}`);
        assert.ok(!verdict.got, `${by} got: ${verdict.detail}`);
      }
    });
  }
}

interface Weakening {
  /** `none`, `bridge`, `host`, or `container:ID`. */
  network?: string;
  /** Every capability, and no path of the kernel's hidden: as `--privileged`, but where that is not permitted too. */
  almighty?: boolean;
  capabilities?: string[];
  devices?: string[];
  /** Size of /dev/shm. */
  shmBytes?: number;
  /** Whose processes it sees: `host` or `container:ID`. */
  pids?: string;
  /** Host paths as `SOURCE:TARGET`, or volumes as `NAME:TARGET`. */
  binds?: string[];
  sysctls?: Record<string, string>;
  env?: Record<string, string>;
  user?: string;
  command?: string[];
}

/** Not SYS_RESOURCE: an engine that is itself in a container may not have it to give. */
const allCapabilities =
  'CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE SETFCAP SYSLOG WAKE_ALARM'.split(
    ' ',
  );

type ContainerCreateOptions = Parameters<ReturnType<typeof dial>['createContainer']>[0];

/** Containers with walls down, made past our own hardening, and removed together. */
export class WeakContainers {
  private readonly engine: Engine;
  private image = '';
  private readonly made: string[] = [];
  private readonly volumes: string[] = [];

  constructor(engine: Engine) {
    this.engine = engine;
  }

  /** They are made of the same image as this sandbox. */
  async takeImageOf(sandbox: string): Promise<void> {
    this.image = (await this.raw().getContainer(sandbox).inspect()).Config.Image;
  }

  /** A volume as a task's own, with its sockets' names in it. */
  async volume(name = `sallyport-attack-${randomBytes(6).toString('hex')}`): Promise<string> {
    await this.engine.createVolume(name, testLabels);
    this.volumes.push(name);
    const filler = await this.start({ binds: [`${name}:/run/sallyport`] });
    await output(this.engine, filler, ['touch', paths.modelSocket, paths.proxySocket]);
    return name;
  }

  /** Starts one; resolves to its id. */
  async start(weakening: Weakening): Promise<string> {
    const podman = this.engine.info.kind === 'podman';
    const {
      network = 'none',
      capabilities = [],
      almighty = false,
      pids,
      binds,
      sysctls,
      env = {},
      user = '0:0',
    } = weakening;
    return await this.startAs({
      Image: this.image,
      Entrypoint: [],
      Cmd: weakening.command ?? ['tail', '-f', '/dev/null'],
      User: user,
      Env: Object.entries(env).map(([name, value]) => `${name}=${value}`),
      Labels: testLabels,
      HostConfig: {
        NetworkMode: network,
        SecurityOpt: ['seccomp=unconfined', ...(almighty && podman ? ['unmask=ALL'] : [])],
        ...(almighty && !podman ? { MaskedPaths: [], ReadonlyPaths: [] } : {}),
        Devices: (weakening.devices ?? []).map((path) => ({
          PathOnHost: path,
          PathInContainer: path,
          CgroupPermissions: 'rwm',
        })),
        Init: false,
        // A test that goes wrong must not take the machine along.
        Memory: 6 * 2 ** 30,
        Ulimits: [
          { Name: 'nofile', Soft: 19_000, Hard: 19_000 },
          { Name: 'nproc', Soft: 4096, Hard: 4096 },
        ],
        ...(weakening.shmBytes === undefined ? {} : { ShmSize: weakening.shmBytes }),
        PidsLimit: 2048,
        // Podman names the host by itself.
        ...(network === 'bridge' && !podman ? { ExtraHosts: ['host.docker.internal:host-gateway'] } : {}),
        CapAdd: almighty ? allCapabilities : capabilities,
        ...(pids === undefined ? {} : { PidMode: pids }),
        ...(binds === undefined ? {} : { Binds: binds }),
        ...(sysctls === undefined ? {} : { Sysctls: sysctls }),
      },
    });
  }

  /** Starts one that prints "ready" when it is. */
  async startReady(weakening: Weakening): Promise<string> {
    const id = await this.start(weakening);
    const over = new AbortController();
    const signal = AbortSignal.any([over.signal, AbortSignal.timeout(60_000)]);
    try {
      for await (const chunk of this.engine.logs(id, signal))
        if (Buffer.from(chunk).toString().includes('ready')) return id;
    } finally {
      over.abort();
    }
    throw new Error('The container ended before it was ready');
  }

  /** With options of the engine's own. */
  async startAs(options: ContainerCreateOptions): Promise<string> {
    const container = await this.raw().createContainer(options);
    this.adopt(container.id);
    await container.start();
    return container.id;
  }

  /** It is removed with the others. */
  adopt(id: string): void {
    this.made.push(id);
  }

  get imageName(): string {
    return this.image;
  }

  /** A network in which every address answers, made of a loopback alone: for who joins it (`container:ID`). */
  async everywhere(): Promise<string> {
    const id = await this.startReady({
      network: 'none',
      capabilities: ['NET_ADMIN', 'NET_BIND_SERVICE'],
      sysctls: { 'net.ipv6.conf.all.disable_ipv6': '0', 'net.ipv4.ping_group_range': '0 2147483647' },
      command: ['python3', '-c', readFileSync(join(folder, 'everywhere.py'), 'utf8')],
    });
    return await this.start({ network: `container:${id}`, capabilities: ['NET_RAW'] });
  }

  async addresses(id: string): Promise<string[]> {
    const { NetworkSettings } = await this.raw().getContainer(id).inspect();
    return Object.values(NetworkSettings.Networks).flatMap(({ IPAddress, Gateway }) =>
      [IPAddress, Gateway].filter((address) => address !== ''),
    );
  }

  /** All that the engine tells of a container. */
  async inspection(id: string): Promise<string> {
    return JSON.stringify(await this.raw().getContainer(id).inspect());
  }

  async imageHistory(): Promise<string> {
    const image = this.raw().getImage(this.image);
    return JSON.stringify([await image.history(), await image.inspect()]);
  }

  private raw() {
    const { address, apiVersion } = this.engine.info;
    return dial(parseAddress(address, 'test'), {}, apiVersion);
  }

  async dispose(): Promise<void> {
    // Who joined another's network goes first.
    for (const id of this.made.splice(0).reverse()) await this.engine.remove(id);
    for (const name of this.volumes.splice(0)) await this.engine.removeVolume(name);
  }
}
