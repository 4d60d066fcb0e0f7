import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Engine } from '../../src/engine/engine.ts';
import { createOptions } from '../../src/engine/hardening.ts';
import { seccompProfile } from '../../src/engine/seccomp.ts';
import type { Upstream } from '../../src/protocol/control.ts';
import { newTaskId, type TaskSpec } from '../../src/protocol/task.ts';
import { request } from '../../src/runner/control.ts';
import { gatewayContainer, sandboxContainer, volumeName } from '../../src/runner/sandboxNames.ts';
import { output } from './attack.ts';
import type { AttackRange } from './attackRange.ts';
import { testLabels } from './engines.ts';
import { aSpec } from './specs.ts';

const folder = resolve(import.meta.dirname, '..', 'attack');
const read = (file: string): string => readFileSync(join(folder, file), 'utf8');

export const carelessSocket = '/run/sallyport/careless.sock';
export const carelessModelSocket = '/run/sallyport/careless-model.sock';

/** Names by what they resolve to; every other name is a place of its own. */
const names = {
  'allowed.example.com': ['203.0.113.7'],
  'paths.example.com': ['203.0.113.7'],
  'posts.example.com': ['203.0.113.7'],
  'model.example.com': ['203.0.113.8'],
  'loop.example.com': ['127.0.0.1'],
  'loop6.example.com': ['::1'],
  'metadata.example.com': ['169.254.169.254'],
  'task-metadata.example.com': ['169.254.170.2'],
  'metadata6.example.com': ['fd00:ec2::254'],
  'bridge.example.com': ['172.17.0.1'],
  'lan.example.com': ['192.168.1.1'],
  'mapped.example.com': ['::ffff:127.0.0.1'],
  'nat64.example.com': ['64:ff9b::a9fe:a9fe'],
  'sixtofour.example.com': ['2002:7f00:1::1'],
  'mixed.example.com': ['203.0.113.7', '127.0.0.1'],
  'zero.example.com': ['0.0.0.0'],
  'cgnat.example.com': ['100.64.0.1'],
  'multicast-free.example.com': ['240.0.0.1'],
};

const rules = [
  'allowed.example.com',
  'paths.example.com/ok/',
  'posts.example.com POST',
  'localhost',
  ...Object.keys(names).filter((name) => !/^(allowed|paths|posts|model)\./.test(name)),
];

/**
 * A sandbox and a gateway as a task has them, in a network that is made of a loopback: every address answers there, every
 * name resolves, and what arrives is written down. A careless proxy stands beside the gateway, for comparison.
 */
export class AttackUniverse {
  readonly sandbox: string;
  readonly gateway: string;
  readonly token: string;
  readonly secret: string;

  private readonly engine: Engine;

  private constructor(
    engine: Engine,
    fields: { sandbox: string; gateway: string; token: string; secret: string },
  ) {
    this.engine = engine;
    this.sandbox = fields.sandbox;
    this.gateway = fields.gateway;
    this.token = fields.token;
    this.secret = fields.secret;
  }

  /** Its containers belong to the range, and go with it. */
  static async open(range: AttackRange, upstream?: (secret: string) => Upstream): Promise<AttackUniverse> {
    const { engine, weak } = range;
    const spec: TaskSpec = aSpec({
      id: newTaskId(Date.now()),
      model: { label: 'test', demonstration: false },
    });
    const volume = await weak.volume(volumeName(spec));
    const universe = await weak.startReady({
      network: 'none',
      capabilities: ['NET_ADMIN', 'NET_BIND_SERVICE'],
      sysctls: { 'net.ipv6.conf.all.disable_ipv6': '0' },
      command: ['python3', '-c', read('universe.py'), JSON.stringify(names)],
    });
    await weak.startReady({
      network: `container:${universe}`,
      binds: [`${volume}:/run/sallyport`],
      command: ['python3', '-c', read('careless.py'), carelessSocket, carelessModelSocket],
    });
    const own = gatewayContainer(spec, 'test', weak.imageName);
    const options = createOptions(
      { ...own, labels: testLabels },
      {
        kind: engine.info.kind,
        seccomp: engine.info.kind === 'docker' ? seccompProfile(own.syscalls) : undefined,
        quota: false,
      },
    );
    const { Hostname: _hostname, ...withoutName } = options;
    const { ExtraHosts: _hosts, ...host } = withoutName.HostConfig;
    const gateway = await weak.startAs({
      ...withoutName,
      HostConfig: { ...host, NetworkMode: `container:${universe}` },
    });
    const sandbox = await engine.create({
      ...sandboxContainer(spec, 'test', weak.imageName),
      labels: testLabels,
    });
    weak.adopt(sandbox);
    await engine.start(sandbox);
    const token = randomBytes(24).toString('hex');
    const secret = `sk-ant-api03-${randomBytes(24).toString('hex')}`;
    await request(engine, gateway, {
      op: 'configure',
      token,
      upstream: upstream?.(secret) ?? {
        kind: 'anthropic',
        baseUrl: 'http://model.example.com:8000',
        auth: { type: 'api_key', value: secret },
      },
      egress: { mode: 'list', rules },
      holdMs: 100,
      refused: [],
      network: {},
      spentUsd: 0,
      allowanceUsd: null,
      after: 0,
    });
    return new AttackUniverse(engine, { sandbox, gateway, token, secret });
  }

  /** Which of these texts arrived anywhere. */
  async arrived(texts: string[]): Promise<string[]> {
    const url = `http://seen.example.com:81/seen/${texts.join(',')}`;
    const argv = ['curl', '-sS', '-m', '60', '--unix-socket', carelessSocket, '--request-target', url, url];
    const { text } = await output(this.engine, this.sandbox, argv, '1000:1000');
    const found = /^\(([^)]*)\)$/.exec(text.trim())?.[1];
    assert.ok(found !== undefined, `nobody says what arrived: ${text}`);
    return found.split(',').filter((one) => one !== '');
  }
}
