import type { Disposable } from '../base/disposable.ts';
import { SallyportError } from '../base/errors.ts';
import { pause } from '../base/pause.ts';
import type { Engine } from '../engine/engine.ts';
import { paths } from '../protocol/control.ts';
import { hasEnded, type TaskState } from '../protocol/taskState.ts';
import type { Terminal, TerminalEnd, TerminalSize } from '../protocol/terminal.ts';
import { request } from './control.ts';
import { labelNames, sandboxUser } from './sandboxNames.ts';
import { SharedTerminal } from './sharedTerminal.ts';

/** How long the sandbox may take to say what shell it has, in milliseconds. */
const answerPatience = 15_000;
/** How long a sandbox may take to die after its programs, in milliseconds. */
const dyingMs = 2000;

/** The terminals of a runner's tasks: one for each, for all its viewers. */
export class Terminals implements Disposable {
  private readonly engine: () => Promise<Engine>;
  private readonly home: string;
  private readonly shared = new Map<string, Promise<SharedTerminal>>();
  /** Ends all of them in this process. */
  private readonly leaving = new AbortController();

  constructor(engine: () => Promise<Engine>, home: string) {
    this.engine = engine;
    this.home = home;
  }

  /** Throws `conflict` when no sandbox of the task runs. */
  async view(state: TaskState, size: TerminalSize, signal?: AbortSignal): Promise<Terminal> {
    signal?.throwIfAborted();
    if (hasEnded(state)) throw noSandbox();
    const { id } = state.spec;
    let shared = this.shared.get(id);
    if (shared === undefined) {
      shared = this.begin(id, size);
      this.shared.set(id, shared);
      const forget = (): void => {
        if (this.shared.get(id) === shared) this.shared.delete(id);
      };
      shared.then((terminal) => terminal.over.then(forget), forget);
    }
    const terminal = (await shared).view(size);
    const leave = (): void => terminal.dispose();
    if (signal?.aborted === true) leave();
    signal?.addEventListener('abort', leave, { once: true });
    void terminal.ended.then(() => signal?.removeEventListener('abort', leave));
    return terminal;
  }

  dispose(): void {
    this.leaving.abort(new DOMException('Leaving', 'AbortError'));
  }

  private async begin(id: string, size: TerminalSize): Promise<SharedTerminal> {
    const engine = await this.engine();
    const all = await engine.list({ [labelNames.home]: this.home, [labelNames.task]: id });
    const sandbox = all.find((one) => one.labels[labelNames.role] === 'sandbox' && one.status === 'running');
    if (sandbox === undefined) throw noSandbox();
    const signal = AbortSignal.any([AbortSignal.timeout(answerPatience), this.leaving.signal]);
    // What the sandbox says of its shell goes nowhere but into the sandbox.
    const { shell } = await request(engine, sandbox.id, { op: 'shell' }, { signal });
    if (shell === undefined) throw noSandbox();
    const source = await engine.terminal(sandbox.id, [shell.path], {
      size,
      user: sandboxUser,
      env: shell.env,
      workingDir: paths.workspace,
      signal: this.leaving.signal,
    });
    const judge = async (code: number): Promise<TerminalEnd> => {
      // Whoever kills a sandbox kills its programs first.
      const wasKilled = code > 128 || code < 0;
      const end = Date.now() + (wasKilled ? dyingMs : 0);
      for (;;) {
        if ((await engine.inspect(sandbox.id))?.status !== 'running') return { reason: 'gone' };
        if (Date.now() >= end) return { reason: 'exit', code };
        await pause(100, this.leaving.signal);
      }
    };
    return new SharedTerminal(source, size, judge);
  }
}

function noSandbox(): SallyportError {
  return new SallyportError(
    'conflict',
    'No sandbox of this task runs, so there is no terminal in it.',
    'Open the terminal while the agent works or waits for you.',
  );
}
