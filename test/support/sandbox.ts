import { mkdirSync, openSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { join } from 'node:path';
import type { AgentAdapter } from '../../src/agent/adapter.ts';
import type { TaskSpec } from '../../src/protocol/task.ts';
import type { SandboxBody, SandboxEvent } from '../../src/protocol/taskEvent.ts';
import { WireDecoder } from '../../src/protocol/wire.ts';
import { EventLog } from '../../src/supervisor/eventLog.ts';
import { Supervisor, type SupervisorOptions } from '../../src/supervisor/supervisor.ts';
import { GitRepo, temporaryFolder } from './gitRepo.ts';
import { aSpec } from './specs.ts';

/**
 * The supervisor without its container: folders of its own, a gateway that only listens, an agent that is a shell
 * script. Its messages are lines of JSON that are event bodies already.
 */
export class Sandbox {
  private readonly folder = temporaryFolder();
  readonly repository: GitRepo;
  readonly commit: string;
  readonly workspace: GitRepo;
  readonly modelSocket: string;
  readonly proxySocket: string;
  private readonly log: string;
  private readonly gateway: Server;
  private readonly proxy: Server;
  supervisor: Supervisor;

  constructor() {
    const { path } = this.folder;
    this.repository = new GitRepo(join(path, 'repository'));
    this.repository.write('a.txt', 'one\n');
    this.repository.write('.gitignore', 'ignored\n');
    this.commit = this.repository.commit('first');
    mkdirSync(join(path, 'workspace'));
    mkdirSync(join(path, 'home'));
    this.workspace = new GitRepo(join(path, 'workspace'), { init: false });
    this.modelSocket = join(path, 'model.sock');
    this.proxySocket = join(path, 'proxy.sock');
    this.log = join(path, 'log');
    this.gateway = createServer((_, response) => response.end('hello from the gateway'));
    this.proxy = createServer((request, response) => response.end(`proxied ${request.url ?? ''}`));
    this.supervisor = this.restart();
  }

  async listen(): Promise<void> {
    await new Promise<void>((resolve) => this.gateway.listen(this.modelSocket, resolve));
    await new Promise<void>((resolve) => this.proxy.listen(this.proxySocket, resolve));
  }

  /** A new supervisor on the same files, as after a restart of the container. */
  restart(change: Partial<SupervisorOptions> = {}): Supervisor {
    this.supervisor = new Supervisor({
      log: new EventLog(openSync(this.log, 'a')),
      version: 'test',
      workspace: this.workspace.path,
      modelSocket: this.modelSocket,
      proxySocket: this.proxySocket,
      socketWaitMs: 100,
      home: join(this.folder.path, 'home'),
      path: process.env.PATH ?? '',
      adapters: { 'claude-code': scriptAgent },
      proveEgress: () => Promise.resolve([{ what: 'everything', blocked: true, detail: 'closed' }]),
      ...change,
    });
    return this.supervisor;
  }

  spec(script: string, change: Partial<TaskSpec> = {}): TaskSpec {
    return aSpec({
      prompt: script,
      snapshot: { mode: 'head', commit: this.commit, head: this.commit },
      ...change,
    });
  }

  /** Starts a task whose agent is `script`, a shell script with the events of the log as its language. */
  start(script: string, change: Partial<TaskSpec> = {}, bundle = this.bundle()): Promise<unknown> {
    return this.ask({ op: 'start', spec: this.spec(script, change), token: 'task-token' }, bundle);
  }

  async ask(
    request: unknown,
    data: Uint8Array = new Uint8Array(),
    send?: (chunk: Uint8Array) => void,
  ): Promise<unknown> {
    async function* chunks(): AsyncIterable<Uint8Array> {
      await Promise.resolve();
      // In small pieces: nothing may depend on where they are cut.
      for (let at = 0; at < data.length; at += 100) yield data.subarray(at, at + 100);
    }
    return await this.supervisor.handle({
      request,
      data: chunks(),
      send: async (answer) => {
        for await (const chunk of answer) send?.(chunk);
      },
    });
  }

  bundle(): Uint8Array {
    const path = join(this.folder.path, 'snapshot.bundle');
    this.repository.git('bundle', 'create', '--quiet', path, 'HEAD');
    return readFileSync(path);
  }

  /** Runs a script as the agent to the end; resolves to the whole log. */
  async run(script: string, change: Partial<TaskSpec> = {}): Promise<SandboxEvent[]> {
    await this.listen();
    await this.start(script, change);
    await this.supervisor.over;
    return this.events();
  }

  /** What is in the log now; numbered without a gap. */
  events(after = 0): SandboxEvent[] {
    const decoder = new WireDecoder(after);
    const lines = readFileSync(this.log, 'utf8').split('\n');
    return lines
      .flatMap((line) => decoder.push(line))
      .map((item) => {
        if (item.kind !== 'event') throw new Error(`The log holds ${JSON.stringify(item)}`);
        return item.event;
      });
  }

  /** Resolves when the log holds what is looked for. */
  async until<T>(find: (events: SandboxEvent[]) => T | undefined): Promise<T> {
    for (;;) {
      const found = find(this.events());
      if (found !== undefined) return found;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  file(name: string, content: Uint8Array): string {
    const path = join(this.folder.path, name);
    writeFileSync(path, content);
    return path;
  }

  dispose(): void {
    this.supervisor.dispose();
    for (const server of [this.gateway, this.proxy]) {
      server.close();
      server.closeAllConnections();
    }
    this.folder.dispose();
  }
}

/** Events of one kind. */
export function ofType<T extends SandboxBody['type']>(
  events: readonly SandboxEvent[],
  type: T,
): Extract<SandboxEvent, { type: T }>[] {
  return events.filter((event): event is Extract<SandboxEvent, { type: T }> => event.type === type);
}

/** Processes whose command line holds `needle`. */
export function processesWith(needle: string): string[] {
  return readdirSync('/proc').filter((pid) => {
    if (!/^\d+$/.test(pid)) return false;
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes(needle);
    } catch {
      return false;
    }
  });
}

const scriptAgent: AgentAdapter = {
  name: 'The script',
  command: ({ prompt }, place) => ({
    argv: prompt === 'missing' ? ['there-is-no-such-program'] : ['bash', '-s'],
    env: {
      PATH: place.path,
      HOME: place.home,
      BASE_URL: place.baseUrl,
      TOKEN: place.token,
      GIT_CONFIG_GLOBAL: '/dev/null',
      OK: '{"type":"result","isError":false,"text":"done","durationMs":1,"costUsd":0,"turns":1,"usage":{"inputTokens":0,"outputTokens":0,"cacheReadTokens":0,"cacheWriteTokens":0}}',
    },
    stdin: `${prompt}\n`,
    files: [{ path: join(place.home, 'sub', 'settings'), content: 'set' }],
  }),
  message: (text) => `${text}\n`,
  // The script has functions of these names.
  answer: (_question, answer) => `ANSWER='${JSON.stringify(answer)}'; answered\n`,
  interrupt: () => 'interrupted\n',
  sessionFile: (id, { home }) => join(home, 'sessions', id),
  reader: () => (line) => {
    try {
      const json = JSON.parse(line) as SandboxBody;
      if (json.type === 'unknown') return { bodies: [json] };
      if (json.type === 'asked') return { bodies: [json], question: { question: json.question, input: {} } };
      if (json.type === 'settled') return { bodies: [], withdrawn: json.id };
      const verdict = { kind: 'auth_refused', message: 'Refused.', mend: 'Mend it.' } as const;
      return json.type === 'result' && json.isError ? { bodies: [json], verdict } : { bodies: [json] };
    } catch {
      return undefined;
    }
  },
};
