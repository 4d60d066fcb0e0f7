import { access, constants } from 'node:fs/promises';
import { join } from 'node:path';
import { ControlFailure } from '../base/controlSocket.ts';
import type { Shell } from '../protocol/control.ts';

/** Where shells are looked for, the better one first. */
const folders = ['/bin', '/usr/bin', '/usr/local/bin'];
const names = ['bash', 'sh'];

/**
 * A shell for the user beside the agent, with its ways to the network and none of its tokens.
 * @param surroundings what is set below all that is the shell's own
 */
export async function shellFor(
  { home, path }: { home: string; path: string },
  surroundings: Readonly<Record<string, string>>,
): Promise<Shell> {
  for (const file of names.flatMap((name) => folders.map((folder) => join(folder, name)))) {
    try {
      await access(file, constants.X_OK);
    } catch {
      continue;
    }
    const own = {
      PATH: path,
      HOME: home,
      USER: 'agent',
      SHELL: file,
      LANG: 'C.UTF-8',
      TERM: 'xterm-256color',
    };
    return { path: file, env: { ...surroundings, ...own } };
  }
  throw new ControlFailure('no_shell', 'The image has neither bash nor sh.');
}
