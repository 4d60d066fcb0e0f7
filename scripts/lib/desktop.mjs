// The desktop VS Code, with folders of its own: nothing of the user's own VS Code is read or changed.
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { presetUserData } from './codeServer.mjs';
import { run } from './processes.mjs';
import { bold, Refusal, say } from './say.mjs';

/** The path of the command `code` where there is one and a screen to show it on. */
export async function desktopCode() {
  if (process.platform === 'linux' && !process.env.DISPLAY && !process.env.WAYLAND_DISPLAY) return undefined;
  // On Windows it is a command file, which cannot be started without a shell; VS Code in the browser serves there.
  if (process.platform === 'win32') return undefined;
  return (process.env.PATH ?? '')
    .split(delimiter)
    .map((folder) => join(folder, 'code'))
    .find((path) => existsSync(path));
}

/** Opens the folder, and resolves when its window is closed. */
export async function openDesktop({ code, home, vsix, repo, env }) {
  presetUserData(join(home, 'user-data'));
  const folders = ['--user-data-dir', join(home, 'user-data'), '--extensions-dir', join(home, 'extensions')];
  // VS Code refuses root otherwise.
  const root = process.getuid?.() === 0 ? ['--no-sandbox'] : [];
  const installed = await run([code, ...folders, ...root, '--install-extension', vsix, '--force'], {
    quiet: true,
  });
  if (installed !== 0)
    throw new Refusal('The extension could not be installed into VS Code.', 'What is wrong stands above.');
  const trust = repo.demonstration ? ['--disable-workspace-trust'] : [];
  say(
    `Opening ${bold(repo.path)} in VS Code, in a profile of its own. Run "Sallyport: New Task" from the palette (F1).`,
  );
  return await run([code, ...folders, ...root, ...trust, '--new-window', '--wait', repo.path], { env });
}
