import * as vscode from 'vscode';
import { asSallyportError, isAbort } from '../base/errors.ts';
import { safeLine } from '../protocol/safeText.ts';
import type { TaskState } from '../protocol/taskState.ts';
import type { Terminal, TerminalEnd, TerminalSize } from '../protocol/terminal.ts';
import type { TaskService } from '../runner/taskService.ts';
import type { Tasks } from './tasks.ts';
import { TerminalText } from './view/terminalText.ts';

/** Opens a shell in the sandbox of a task, beside its agent. */
export async function openTerminal(tasks: Tasks, state: TaskState): Promise<void> {
  const service = await tasks.open();
  vscode.window
    .createTerminal({
      name: `Sandbox: ${safeLine(state.spec.title, 40)}`,
      pty: new SandboxTerminal(service, state.spec.id),
      iconPath: new vscode.ThemeIcon('vm'),
      // A shell of a sandbox is not opened again by itself.
      isTransient: true,
    })
    .show();
}

class SandboxTerminal implements vscode.Pseudoterminal {
  private readonly service: TaskService;
  private readonly id: string;
  private readonly text = new TerminalText();
  private readonly written = new vscode.EventEmitter<string>();
  private readonly closing = new vscode.EventEmitter<number | undefined>();
  private readonly leaving = new AbortController();
  private terminal: Terminal | undefined;
  private size: TerminalSize = { cols: 80, rows: 24 };
  readonly onDidWrite = this.written.event;
  readonly onDidClose = this.closing.event;

  constructor(service: TaskService, id: string) {
    this.service = service;
    this.id = id;
  }

  open(dimensions: vscode.TerminalDimensions | undefined): void {
    if (dimensions !== undefined) this.setDimensions(dimensions);
    void this.show();
  }

  setDimensions({ columns, rows }: vscode.TerminalDimensions): void {
    const within = (cells: number): number => Math.min(1000, Math.max(1, Math.round(cells)));
    this.size = { cols: within(columns), rows: within(rows) };
    this.terminal?.resize(this.size);
  }

  handleInput(data: string): void {
    // Whoever types faster than the network takes it has it waiting in memory, and what ended says so by itself.
    this.terminal?.write(new TextEncoder().encode(data)).catch(() => undefined);
  }

  close(): void {
    this.leaving.abort();
    this.terminal?.dispose();
  }

  private async show(): Promise<void> {
    try {
      const terminal = await this.service.terminal(this.id, this.size, this.leaving.signal);
      if (this.leaving.signal.aborted) {
        terminal.dispose();
        return;
      }
      this.terminal = terminal;
      terminal.resize(this.size);
      for await (const bytes of terminal.output) this.written.fire(this.text.take(bytes));
      this.say(endWords(await terminal.ended));
    } catch (thrown) {
      if (this.leaving.signal.aborted || isAbort(thrown)) return;
      const { message, mend } = asSallyportError(thrown);
      this.say(`${safeLine(message, 500)} ${safeLine(mend, 500)}`);
    } finally {
      this.terminal?.dispose();
      this.terminal = undefined;
    }
  }

  /** A line of ours; the terminal stays, so that it can be read. */
  private say(text: string): void {
    this.written.fire(`\r\n\x1b[0m\x1b[2m${text}\x1b[0m\r\n`);
  }
}

function endWords(end: TerminalEnd): string {
  switch (end.reason) {
    case 'exit':
      return `The shell has ended (${end.code}). Open the terminal again for a new one.`;
    case 'gone':
      return 'The sandbox is gone.';
    case 'slow':
      return 'The terminal was cut off, because this side did not keep up. Open it again.';
    case 'left':
      return 'The connection has ended. Open the terminal again.';
  }
}
