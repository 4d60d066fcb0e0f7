import '@xterm/xterm/css/xterm.css';
import { FitAddon } from '@xterm/addon-fit';
import { Terminal } from '@xterm/xterm';
import { TerminalMessage } from '../../src/protocol/terminal.ts';

/** Loaded when a terminal is first opened. */

export interface OpenTerminal {
  dispose(): void;
}

/**
 * A shell in the sandbox of a task. What the shell prints is the sandbox's: it is drawn, and steers nothing but the
 * terminal.
 * @param ended says in a sentence why nothing more comes
 */
export function openTerminal(place: HTMLElement, task: string, ended: (why: string) => void): OpenTerminal {
  const style = getComputedStyle(document.documentElement);
  const color = (name: string): string => style.getPropertyValue(`--vscode-${name}`).trim();
  const ansi = (name: string): string => color(`terminal-ansi${name}`);
  const terminal = new Terminal({
    fontFamily: color('editor-font-family'),
    fontSize: 13,
    scrollback: 5000,
    screenReaderMode: true,
    // Links, titles and the clipboard are nothing that a sandbox may use.
    linkHandler: { activate: () => undefined },
    theme: {
      background: color('editor-background'),
      foreground: color('editor-foreground'),
      cursor: color('editor-foreground'),
      selectionBackground: color('list-activeSelectionBackground'),
      black: ansi('Black'),
      red: ansi('Red'),
      green: ansi('Green'),
      yellow: ansi('Yellow'),
      blue: ansi('Blue'),
      magenta: ansi('Magenta'),
      cyan: ansi('Cyan'),
      white: ansi('White'),
      brightBlack: ansi('BrightBlack'),
      brightRed: ansi('BrightRed'),
      brightGreen: ansi('BrightGreen'),
      brightYellow: ansi('BrightYellow'),
      brightBlue: ansi('BrightBlue'),
      brightMagenta: ansi('BrightMagenta'),
      brightCyan: ansi('BrightCyan'),
      brightWhite: ansi('BrightWhite'),
    },
  });
  const fit = new FitAddon();
  terminal.loadAddon(fit);
  terminal.open(place);
  fit.fit();

  const scheme = location.protocol === 'https:' ? 'wss:' : 'ws:';
  const size = new URLSearchParams({ cols: String(terminal.cols), rows: String(terminal.rows) });
  const socket = new WebSocket(`${scheme}//${location.host}/api/v1/tasks/${task}/terminal?${size}`);
  socket.binaryType = 'arraybuffer';
  let told = false;
  const tell = (why: string): void => {
    if (told) return;
    told = true;
    terminal.options.disableStdin = true;
    ended(why);
  };
  const send = (data: Uint8Array<ArrayBuffer>): void => {
    if (socket.readyState === WebSocket.OPEN) socket.send(data);
  };
  const encoder = new TextEncoder();
  terminal.onData((text) => send(encoder.encode(text)));
  terminal.onBinary((text) => send(Uint8Array.from(text, (character) => character.charCodeAt(0))));
  terminal.onResize(({ cols, rows }) => {
    if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ type: 'resize', cols, rows }));
  });
  socket.addEventListener('message', ({ data }: MessageEvent<unknown>) => {
    if (data instanceof ArrayBuffer) {
      terminal.write(new Uint8Array(data));
      return;
    }
    const message = TerminalMessage.safeParse(JSON.parse(String(data)));
    if (!message.success) return;
    switch (message.data.type) {
      case 'opened':
        terminal.focus();
        return;
      case 'problem':
        tell(`${message.data.problem.detail} ${message.data.problem.mend}`);
        return;
      case 'end':
        tell(
          message.data.reason === 'exit'
            ? `The shell has ended with code ${message.data.code}.`
            : message.data.reason === 'gone'
              ? 'The sandbox is gone.'
              : 'The runner leaves. Open the terminal again in a moment.',
        );
    }
  });
  socket.addEventListener('close', () =>
    tell('The connection to the shell is lost. Open the terminal again.'),
  );
  const resize = new ResizeObserver(() => fit.fit());
  resize.observe(place);
  return {
    dispose() {
      told = true;
      resize.disconnect();
      socket.close();
      terminal.dispose();
    },
  };
}
