import * as vscode from 'vscode';

/**
 * The sound of a notification is the editor's own: an extension may run on another machine than the one that the user sits
 * at, and only the editor knows its volume and whether it is to be silent. The bell of a terminal that nobody sees plays its
 * signal "Terminal Bell". What rings is a moment of the Node.js that runs this extension.
 */

const signal = 'accessibility.signals.terminalBell';
/** The editor listens for a bell a second after a terminal has begun; and it has read it when the program ends. */
const program = "setTimeout(()=>process.stdout.write('\\u0007'),2000);setTimeout(()=>undefined,3000)";

export function ringBell(): void {
  vscode.window.createTerminal({
    name: 'Sallyport Bell',
    hideFromUser: true,
    isTransient: true,
    shellPath: process.execPath,
    shellArgs: ['-e', program],
    // On the desktop it is Electron otherwise.
    env: { ELECTRON_RUN_AS_NODE: '1' },
  });
}

/** Who wants a sound is told where it is switched on, if it is not. Nothing is changed unasked. */
export async function suggestBell(
  ask: (text: string, action: string) => Thenable<string | undefined>,
): Promise<void> {
  const configuration = vscode.workspace.getConfiguration();
  const now = configuration.get<unknown>(signal);
  const sound = typeof now === 'object' && now !== null && 'sound' in now ? now.sound : undefined;
  if (sound === 'on') return;
  const on = 'Switch On';
  const picked = await ask(
    'The sound is the terminal bell of the editor, which is not switched on for everybody (Accessibility › Signals: Terminal Bell).',
    on,
  );
  if (picked !== on) return;
  const before = typeof now === 'object' && now !== null ? now : {};
  await configuration.update(signal, { ...before, sound: 'on' }, vscode.ConfigurationTarget.Global);
}
