import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import type { Engine } from '../../src/engine/engine.ts';
import type { Logger } from '../../src/base/logger.ts';
import { connectEngine } from '../../src/engine/connect.ts';
import type { Upstream } from '../../src/protocol/control.ts';
import type { TaskEvent } from '../../src/protocol/taskEvent.ts';
import type { TaskState } from '../../src/protocol/taskState.ts';
import { openDataFolder } from '../../src/runner/dataFolder.ts';
import { createTaskService } from '../../src/runner/localTasks.ts';
import { labelNames } from '../../src/runner/sandboxNames.ts';
import type { ResolvedModel, SubmitRequest, TaskService } from '../../src/runner/taskService.ts';
import { defaultPolicy, type UserPolicy } from '../../src/runner/userPolicy.ts';

const run = promisify(execFile);
const root = resolve(import.meta.dirname, '..', '..');

export type Turns = Extract<Upstream, { kind: 'scripted' }>['turns'];

/** A turn in which the model runs a command. */
export function bash(command: string): Turns[number] {
  return { tools: [{ name: 'Bash', input: { command, timeout: 600_000 } }] };
}

export async function gitIn(folder: string, ...args: string[]): Promise<string> {
  const { stdout } = await run('git', ['-C', folder, ...args], { maxBuffer: 64 << 20 });
  return stdout.trimEnd();
}

/** A repository with one commit on main. */
export async function aRepository(
  files: Record<string, string> = { 'README.md': '# Test\n' },
): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'sallyport-repo-'));
  await gitIn(folder, 'init', '-q', '-b', 'main');
  await gitIn(folder, 'config', 'user.name', 'Ada Lovelace');
  await gitIn(folder, 'config', 'user.email', 'ada@example.com');
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), text);
  }
  await gitIn(folder, 'add', '-A');
  await gitIn(folder, 'commit', '-qm', 'First');
  return folder;
}

/**
 * A user with a data folder of their own on a real engine, and a scripted model behind the real gateway and the real
 * agent.
 */
export class Bench {
  readonly data: string;
  readonly address: string;
  service: TaskService;
  /** What the model answers from the next task on. */
  upstream: Upstream = { kind: 'scripted', turns: [] };
  demonstration = true;
  renew: ResolvedModel['renew'];
  /** The protocol that the agent speaks, from the next task on. */
  modelService: ResolvedModel['service'];
  /** The user's settings, from the next task on. */
  policy: UserPolicy = defaultPolicy;
  logBytes: number | undefined;
  readonly log: string[] = [];
  protected readonly containerFolder: string;
  private readonly repositories: string[] = [];

  protected constructor(
    data: string,
    address: string,
    containerFolder: string,
    service: TaskService | undefined,
  ) {
    this.data = data;
    this.address = address;
    this.containerFolder = containerFolder;
    this.service = service as TaskService;
  }

  static async open(
    address: string,
    { data, containerFolder = join(root, 'container') }: { data?: string; containerFolder?: string } = {},
  ): Promise<Bench> {
    const folder = data ?? (await mkdtemp(join(tmpdir(), 'sallyport-home-')));
    const bench = new Bench(folder, address, containerFolder, undefined);
    bench.service = await bench.another();
    return bench;
  }

  /** Writes to `log`. */
  protected logger(): Logger {
    const line =
      (level: string) =>
      (message: string): number =>
        this.log.push(`${level} ${message}`);
    return { debug: line('debug'), info: line('info'), warn: line('warn'), error: line('error') };
  }

  protected credentials(): Promise<ResolvedModel> {
    return Promise.resolve({
      label: 'scripted model',
      demonstration: this.demonstration,
      upstream: this.upstream,
      ...(this.renew === undefined ? {} : { renew: this.renew }),
      ...(this.modelService === undefined ? {} : { service: this.modelService }),
    });
  }

  /** One more service on the same data, as a second window has it. */
  another(): Promise<TaskService> {
    return createTaskService({
      dataFolder: this.data,
      distFolder: join(root, 'dist'),
      containerFolder: this.containerFolder,
      engineSetting: () => this.address,
      policy: () => this.policy,
      credentials: () => this.credentials(),
      ...(this.logBytes === undefined ? {} : { logBytes: this.logBytes }),
      log: this.logger(),
    });
  }

  /** Nobody attends to the tasks any more, until `reopen`. */
  leave(): Promise<void> {
    this.service.dispose();
    return Promise.resolve();
  }

  /** As after a restart of the editor. */
  async reopen(): Promise<void> {
    await this.leave();
    this.service = await this.another();
    await this.service.open();
  }

  async repository(files?: Record<string, string>): Promise<string> {
    const folder = await aRepository(files);
    this.repositories.push(folder);
    return folder;
  }

  async submit(
    turns: Turns,
    request: Partial<SubmitRequest> & { repositoryPath: string },
  ): Promise<TaskState> {
    this.upstream = { kind: 'scripted', turns };
    return await this.service.submit({ prompt: 'Do it.', snapshot: 'head', ...request });
  }

  /** Every event until the sandbox is gone, or until `enough` says so. Throws when `late` aborts before. */
  async events(
    id: string,
    enough: (event: TaskEvent) => boolean = () => false,
    late?: AbortSignal,
  ): Promise<TaskEvent[]> {
    const all: TaskEvent[] = [];
    const over = new AbortController();
    const signal = late === undefined ? over.signal : AbortSignal.any([over.signal, late]);
    for await (const batch of this.service.events(id, 0, signal)) {
      all.push(...batch);
      if (batch.some(enough)) over.abort();
    }
    if (late?.aborted === true && !over.signal.aborted)
      throw new Error(`The task did not end in time: ${JSON.stringify(all.slice(-5))}`);
    return all;
  }

  state(id: string): TaskState {
    const state = this.service.task(id);
    assert.ok(state, `no task ${id}`);
    return state;
  }

  engine(): Promise<Engine> {
    return connectEngine({ setting: this.address });
  }

  /** The data folder of whoever runs the tasks. */
  get home(): string {
    return this.data;
  }

  /** Names of the containers and volumes of this user's tasks. */
  async remains(): Promise<string[]> {
    const { id } = await openDataFolder(this.home);
    const engine = await this.engine();
    try {
      const labels = { [labelNames.home]: id };
      const names = [...(await engine.list(labels)), ...(await engine.listVolumes(labels))];
      return names.map(({ name }) => name);
    } finally {
      engine.dispose();
    }
  }

  async logText(id: string): Promise<string> {
    return await readFile(join(this.data, 'tasks', id, 'events.ndjson'), 'utf8');
  }

  /** What the agent has written down of its conversation. */
  async kept(id: string): Promise<string> {
    return await readFile(join(this.data, 'tasks', id, 'session.jsonl'), 'utf8');
  }

  async close(): Promise<void> {
    for (const { spec } of this.service.tasks()) {
      await this.service
        .remove(spec.id, { force: true })
        .catch((thrown: unknown) => this.log.push(String(thrown)));
    }
    await this.leave();
    for (const folder of [...this.repositories, this.data])
      await rm(folder, { recursive: true, force: true });
  }
}

/** Events are numbered from 1 without a gap. */
export function assertNumbered(events: readonly TaskEvent[]): void {
  assert.deepEqual(
    events.map((event) => event.n),
    events.map((_, index) => index + 1),
  );
}

/** Likewise, and so is what the sandbox said, and the gateway. */
export function assertWhole(events: readonly TaskEvent[]): void {
  assertNumbered(events);
  for (const said of [events.flatMap((event) => event.s ?? []), events.flatMap((event) => event.g ?? [])]) {
    assert.deepEqual(
      said,
      said.map((_, index) => index + 1),
    );
  }
}

/** Events of one kind. */
export function only<T extends TaskEvent['type']>(
  events: readonly TaskEvent[],
  type: T,
): Extract<TaskEvent, { type: T }>[] {
  return events.filter((event): event is Extract<TaskEvent, { type: T }> => event.type === type);
}

/** What the agent's commands have printed, in order. */
export function printed(events: readonly TaskEvent[]): string[] {
  return only(events, 'tool_result').map(({ text }) => text);
}
