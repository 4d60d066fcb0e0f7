import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdir, readFile, readdir, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { PassThrough, type Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import type { AgentCommand, AgentReader, OpenQuestion, Verdict } from '../agent/adapter.ts';
import type { SandboxBody } from '../protocol/taskEvent.ts';
import { AgentOutput } from './agentOutput.ts';
import type { EventLog } from './eventLog.ts';

/** After a SIGINT, in milliseconds: the next signals. */
const termAfterMs = 3000;
const killAfterMs = 5000;
/** How long a pipe may stay open and silent when its writers should all be gone, in milliseconds. */
const silenceMs = 1000;
/** How much of the end of stderr is kept for the message, in characters. */
const stderrTail = 500;

export interface AgentExit {
  /** Set when the program could not be started at all. */
  startError?: NodeJS.ErrnoException;
  code?: number;
  signal?: string;
  /** The agent said a result, and that it is no error. */
  succeeded: boolean;
  verdict?: Verdict;
  /** The end of what it wrote to stderr. */
  stderr: string;
}

export interface AgentRun {
  /** Resolves when the agent and all that it started is gone, and its output is in the log. Never rejects. */
  ended: Promise<AgentExit>;
  /** Writes to the stdin of an agent that was started with a listener. */
  write(text: string): void;
  /** Ends that stdin. */
  endInput(): void;
  /** Asks it to end: SIGINT, then SIGTERM, then SIGKILL, to all its group. */
  interrupt(): void;
}

/** Hears of the turns of an agent whose stdin stays open. */
export interface Listener {
  /** Before each event of the agent's is in the log. */
  before(body: SandboxBody): void;
  /** The agent asks something, and it is in the log; or it does not ask it any more. */
  asked(question: OpenQuestion): void;
  withdrawn(id: string): void;
  /** The agent has said the result of a turn, and it is in the log. */
  turnEnded(verdict: Verdict | undefined, succeeded: boolean): void;
}

/** Every process that the agent starts inherits this variable, even one that leaves its group. */
const markName = 'SALLYPORT_RUN';

/** Starts the agent in a process group of its own. With a listener its stdin stays open. */
export function runAgent(
  command: AgentCommand,
  cwd: string,
  reader: AgentReader,
  log: EventLog,
  listener?: Listener,
): AgentRun {
  const abort = new AbortController();
  const input = new PassThrough();
  let interrupt = (): void => abort.abort();
  return {
    ended: run(),
    interrupt: () => interrupt(),
    write: (text) => {
      if (!input.writableEnded) input.write(text);
    },
    endInput: () => input.end(),
  };

  async function run(): Promise<AgentExit> {
    const exit: AgentExit = { succeeded: false, stderr: '' };
    for (const { path, content } of command.files) {
      await mkdir(dirname(path), { recursive: true });
      await writeFile(path, content, { mode: 0o600 });
    }
    if (abort.signal.aborted) return { ...exit, signal: 'SIGINT' };
    const mark = randomUUID();
    const [program = '', ...args] = command.argv;
    const child = spawn(program, args, {
      cwd,
      env: { ...command.env, [markName]: mark },
      detached: true,
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    const { pid } = child;
    const timers: NodeJS.Timeout[] = [];
    if (pid !== undefined) {
      let interrupted = false;
      interrupt = () => {
        if (interrupted || child.exitCode !== null || child.signalCode !== null) return;
        interrupted = true;
        signalGroup(pid, 'SIGINT');
        timers.push(setTimeout(() => signalGroup(pid, 'SIGTERM'), termAfterMs));
        timers.push(setTimeout(() => signalGroup(pid, 'SIGKILL'), killAfterMs));
      };
      // When memory runs out the kernel takes the agent, or what it started, and not this program.
      await writeFile(`/proc/${pid}/oom_score_adj`, '500').catch(() => undefined);
    }
    // An agent that ends before it has read its prompt breaks the pipe; its exit says why.
    child.stdin.on('error', () => undefined);
    input.write(command.stdin);
    if (listener === undefined) input.end();
    input.pipe(child.stdin);

    const emit = (body: SandboxBody): void => {
      listener?.before(body);
      if (body.type === 'result') exit.succeeded = !body.isError;
      log.emit(body);
    };
    const stdout = new AgentOutput(
      'stdout',
      reader,
      emit,
      ({ bodies, verdict, question, withdrawn, reply }) => {
        if (reply !== undefined && !input.writableEnded) input.write(reply);
        if (question !== undefined) listener?.asked(question);
        if (withdrawn !== undefined) listener?.withdrawn(withdrawn);
        const isResult = bodies.some(({ type }) => type === 'result');
        // Of several turns the last one's counts.
        if (isResult) delete exit.verdict;
        if (verdict !== undefined) exit.verdict = verdict;
        if (isResult) listener?.turnEnded(verdict, exit.succeeded);
      },
    );
    const stderr = new AgentOutput('stderr', undefined, (body) => {
      if (body.type === 'output') exit.stderr = `${exit.stderr}${body.text ?? ''}\n`.slice(-stderrTail);
      log.emit(body);
    });
    const out = [follow(child.stdout, stdout, log), follow(child.stderr, stderr, log)];

    const { error, code, signal } = await whenExited(child);
    for (const timer of timers) clearTimeout(timer);
    if (pid !== undefined) {
      signalGroup(pid, 'SIGKILL');
      await killMarked(mark);
    }
    await Promise.all(out.map((following) => following.ended()));
    if (error !== undefined) exit.startError = error;
    if (code !== null) exit.code = code;
    if (signal !== null) exit.signal = signal;
    return exit;
  }
}

function whenExited(
  child: ChildProcessWithoutNullStreams,
): Promise<{ error?: NodeJS.ErrnoException; code: number | null; signal: string | null }> {
  return new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) {
      resolve({ code: child.exitCode, signal: child.signalCode });
      return;
    }
    child.once('error', (error) => {
      if (child.pid === undefined) resolve({ error, code: null, signal: null });
    });
    child.once('exit', (code, signal) => resolve({ code, signal }));
  });
}

/** Reads a stream, but no faster than the log is read. */
function follow(stream: Readable, output: AgentOutput, log: EventLog): { ended: () => Promise<void> } {
  let lastData = Date.now();
  let held = false;
  stream.on('data', (chunk: Buffer) => {
    lastData = Date.now();
    output.push(chunk);
    if (!log.backedUp || held) return;
    held = true;
    stream.pause();
    void log.room().then(() => {
      held = false;
      lastData = Date.now();
      stream.resume();
    });
  });
  stream.on('error', () => undefined);
  const closed = new Promise<void>((resolve) => stream.once('close', resolve));
  return {
    ended: async () => {
      const waiting = new AbortController();
      void closed.then(() => waiting.abort());
      while (!waiting.signal.aborted) {
        await delay(50, undefined, { signal: waiting.signal }).catch(() => undefined);
        // Somebody who could not be killed holds the pipe open.
        if (!held && Date.now() - lastData > silenceMs) stream.destroy();
      }
      output.end();
    },
  };
}

function signalGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid, signal);
  } catch {
    // Gone already.
  }
}

/** Kills every process with the mark in its environment, and looks again, because they may be forking. */
async function killMarked(mark: string): Promise<void> {
  for (let round = 0; round < 20; round++) {
    const pids = await marked(mark);
    if (pids.length === 0) return;
    for (const pid of pids) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // Gone already.
      }
    }
    await delay(10);
  }
}

async function marked(mark: string): Promise<number[]> {
  const needle = `${markName}=${mark}`;
  const found: number[] = [];
  for (const name of await readdir('/proc').catch(() => [])) {
    if (!/^\d+$/.test(name)) continue;
    const environment = await readFile(`/proc/${name}/environ`, 'latin1').catch(() => '');
    if (environment.includes(needle)) found.push(Number(name));
  }
  return found;
}
