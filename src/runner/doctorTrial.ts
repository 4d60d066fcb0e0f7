import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { asSallyportError, SallyportError } from '../base/errors.ts';
import { concat, LineSplitter } from '../base/lines.ts';
import type { Engine } from '../engine/engine.ts';
import { git } from '../git/process.ts';
import { paths } from '../protocol/control.ts';
import type { EgressPolicy } from '../protocol/egress.ts';
import type { ByteStream } from '../protocol/runner.ts';
import { newTaskId, type Isolation, type TaskSpec } from '../protocol/task.ts';
import type { SandboxEvent } from '../protocol/taskEvent.ts';
import { WireDecoder } from '../protocol/wire.ts';
import { request } from './control.ts';
import { gatewayContainer, labelNames, labels, sandboxContainer, volumeName } from './sandboxNames.ts';

/** What a gateway and a sandbox did that were started for a look. */
export interface Trial {
  /** Milliseconds until the agent had its answer. */
  answeredMs: number;
  agent: string;
  answer: string;
  egress: Extract<SandboxEvent, { type: 'egress' }>;
  /** What the proxy said to requests that it has to refuse. */
  proxy: { target: string; status: number; blocked: string | undefined }[];
  /** Free bytes on the engine's disk. */
  freeBytes: number;
}

/** Marks what a doctor made, apart from every data folder's. */
const home = 'doctor';
/** Older than this, what a doctor made was left behind, in milliseconds. */
const abandonedMs = 10 * 60_000;
const listOnly: EgressPolicy = { mode: 'list', rules: [] };
const open: EgressPolicy = { mode: 'open', rules: [] };

/** Each is refused by a decision of the gateway's, whatever the network around it is like. */
const unlisted = ['example.com:443'];
const inside = [
  '127.0.0.1:443',
  'localhost:443',
  '169.254.169.254:443',
  '10.0.0.1:443',
  '[::1]:443',
  '[fd00:ec2::254]:443',
];

/**
 * Starts a gateway and a sandbox as every task has them, lets the demonstration model answer the agent through them, and
 * tries to get out. Everything is removed, also what an earlier trial left. Throws what stands in the way.
 */
export async function tryOut(
  engine: Engine,
  image: string,
  isolation: Isolation,
  signal: AbortSignal,
): Promise<Trial> {
  await removeAbandoned(engine);
  const spec = specOf(isolation, await emptySnapshot(signal));
  const token = randomBytes(24).toString('base64url');
  try {
    await engine.createVolume(volumeName(spec.task), labels(spec.task, home));
    const gateway = await engine.create(gatewayContainer(spec.task, home, image));
    const sandbox = await engine.create(sandboxContainer(spec.task, home, image));
    await Promise.all([engine.start(gateway), engine.start(sandbox)]);
    const began = performance.now();
    const configure = {
      op: 'configure' as const,
      token,
      upstream: { kind: 'demonstration' as const },
      egress: listOnly,
      holdMs: 0,
      refused: [],
      network: {},
      spentUsd: 0,
      allowanceUsd: null,
      after: 0,
    };
    await request(engine, gateway, configure, { signal });
    const events = until(engine, sandbox, 'ended', signal);
    events.catch(() => undefined);
    await request(
      engine,
      sandbox,
      { op: 'start', spec: spec.task, token },
      { data: once(spec.bundle), signal },
    );
    const said = await events;
    const answeredMs = performance.now() - began;
    const proxy = await askProxy(engine, sandbox, unlisted, signal);
    await request(engine, gateway, { op: 'egress', egress: open, refused: [] }, { signal });
    proxy.push(...(await askProxy(engine, sandbox, inside, signal)));
    return { ...judge(said), answeredMs, proxy, freeBytes: await freeSpace(engine, gateway, signal) };
  } finally {
    await removeTask(engine, spec.task.id);
  }
}

/** Throws unless the agent had an answer. */
function judge(said: readonly SandboxEvent[]): Pick<Trial, 'agent' | 'answer' | 'egress'> {
  const egress = said.find((event) => event.type === 'egress');
  const ended = said.find((event) => event.type === 'ended');
  if (egress === undefined || ended === undefined || (ended.outcome !== 'succeeded' && egress.closed)) {
    throw new SallyportError(
      'sandbox_failed',
      `The agent had no answer: ${ended?.message ?? 'the sandbox ended early'}`,
      ended?.mend ?? 'Look into the log of the engine.',
    );
  }
  const session = said.find((event) => event.type === 'session');
  const text = said.find((event) => event.type === 'text');
  return {
    egress,
    agent: session === undefined ? 'the agent' : `Claude Code ${session.version}`,
    answer: text?.text ?? '',
  };
}

function specOf(isolation: Isolation, { commit, bundle }: { commit: string; bundle: Uint8Array }) {
  const createdAt = Date.now();
  const task: TaskSpec = {
    id: newTaskId(createdAt),
    title: 'Doctor',
    prompt: 'Say hello.',
    agent: { kind: 'claude-code' },
    repository: { id: 'doctor', name: 'doctor', path: '/doctor' },
    snapshot: { mode: 'head', commit, head: commit },
    branch: 'claude/doctor',
    identity: { name: 'Sallyport', email: 'sallyport@localhost' },
    limits: { memoryBytes: 2 ** 30, cpus: 1, pids: 256, timeMs: 60_000, diskBytes: 2 ** 30 },
    model: { label: 'demonstration model', demonstration: true },
    egress: listOnly,
    isolation,
    createdAt,
  };
  return { task, bundle };
}

/** A repository with one empty commit, as a bundle. */
async function emptySnapshot(signal: AbortSignal): Promise<{ commit: string; bundle: Uint8Array }> {
  const folder = await mkdtemp(join(tmpdir(), 'sallyport-doctor-'));
  try {
    const names = { GIT_AUTHOR_NAME: 'Sallyport', GIT_AUTHOR_EMAIL: 'sallyport@localhost' };
    const env = {
      ...names,
      GIT_COMMITTER_NAME: names.GIT_AUTHOR_NAME,
      GIT_COMMITTER_EMAIL: names.GIT_AUTHOR_EMAIL,
    };
    await git(['init', '-q', folder], { cwd: folder, signal });
    await git(['commit', '-q', '--allow-empty', '-m', 'Doctor'], { cwd: folder, env, signal });
    const { stdout } = await git(['rev-parse', 'HEAD'], { cwd: folder, signal });
    const path = join(folder, 'snapshot.bundle');
    await git(['bundle', 'create', '-q', path, 'HEAD'], { cwd: folder, signal });
    return { commit: stdout.toString().trim(), bundle: await readFile(path) };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function* once(bytes: Uint8Array): ByteStream {
  yield await Promise.resolve(bytes);
}

/** What the sandbox says, up to an event of this type. */
async function until(
  engine: Engine,
  sandbox: string,
  last: SandboxEvent['type'],
  signal: AbortSignal,
): Promise<SandboxEvent[]> {
  const decoder = new WireDecoder(0);
  const said: SandboxEvent[] = [];
  const splitter = new LineSplitter((line) => {
    for (const item of decoder.push(line)) if (item.kind === 'event') said.push(item.event);
  }, 32 << 10);
  for await (const chunk of engine.logs(sandbox, signal)) {
    splitter.push(chunk);
    if (said.some((event) => event.type === last)) break;
  }
  signal.throwIfAborted();
  return said;
}

/** Asks for a tunnel to each target, over the socket that an agent's requests go through. */
const askProgram = `
const net = require('node:net');
const [socket, ...targets] = process.argv.slice(1);
const ask = (target) => new Promise((resolve) => {
  let text = '';
  const end = () => resolve({
    target,
    status: Number(/^HTTP\\/1\\.1 (\\d{3})/.exec(text)?.[1] ?? 0),
    blocked: /\\r\\nx-sallyport-blocked: (\\w+)/i.exec(text)?.[1] ?? '',
  });
  const client = net.connect(socket, () =>
    client.write('CONNECT ' + target + ' HTTP/1.1\\r\\nHost: ' + target + '\\r\\n\\r\\n'));
  client.setTimeout(8000, () => client.destroy());
  client.on('data', (data) => { text += data; if (text.includes('\\r\\n\\r\\n')) client.destroy(); });
  client.on('error', () => undefined);
  client.on('close', end);
});
Promise.all(targets.map(ask)).then((all) => {
  for (const one of all) console.log([one.target, one.status, one.blocked].join(' '));
});
`;

async function askProxy(
  engine: Engine,
  sandbox: string,
  targets: readonly string[],
  signal: AbortSignal,
): Promise<Trial['proxy']> {
  const lines = (
    await output(engine, sandbox, ['node', '-e', askProgram, paths.proxySocket, ...targets], signal)
  ).split('\n');
  return targets.map((target) => {
    const [, status, blocked] = lines.find((line) => line.startsWith(`${target} `))?.split(' ') ?? [];
    return { target, status: Number(status ?? 0), blocked: blocked === '' ? undefined : blocked };
  });
}

async function freeSpace(engine: Engine, gateway: string, signal: AbortSignal): Promise<number> {
  const [free = 0, size = 0] = (await output(engine, gateway, ['stat', '-f', '-c', '%a %S', '/'], signal))
    .split(' ')
    .map(Number);
  return free * size;
}

async function output(
  engine: Engine,
  container: string,
  argv: string[],
  signal: AbortSignal,
): Promise<string> {
  const exec = await engine.exec(container, argv, { signal });
  const parts: Uint8Array[] = [];
  for await (const part of exec.stdout) parts.push(part);
  await exec.done;
  return Buffer.from(concat(parts)).toString('utf8').trim();
}

async function removeTask(engine: Engine, id: string): Promise<void> {
  const mine = { [labelNames.home]: home, [labelNames.task]: id };
  await Promise.all((await engine.list(mine)).map((container) => engine.remove(container.id)));
  await Promise.all((await engine.listVolumes(mine)).map(({ name }) => engine.removeVolume(name)));
}

/** A doctor that was killed leaves its containers; the time is in their task's id. */
async function removeAbandoned(engine: Engine): Promise<void> {
  const mine = { [labelNames.home]: home };
  const found = [...(await engine.list(mine)), ...(await engine.listVolumes(mine))];
  const ids = new Set(found.map((one) => one.labels[labelNames.task] ?? ''));
  for (const id of ids) {
    const madeAt = Number.parseInt(id.slice(0, 9), 36);
    if (madeAt < Date.now() - abandonedMs) {
      await removeTask(engine, id).catch((thrown: unknown) => {
        if (asSallyportError(thrown).code === 'engine_gone') throw thrown;
      });
    }
  }
}
