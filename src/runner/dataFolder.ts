import { randomBytes } from 'node:crypto';
import { link, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { isErrno } from '../base/errors.ts';

/** Where Sallyport keeps task logs and quarantines on this machine. */
export interface DataFolder {
  root: string;
  tasks: string;
  quarantine: string;
  /** What tasks cost, by day. */
  spend: string;
  /** Settings by repository. */
  workspaces: string;
  /** Marks the containers of this folder, so that two folders on one engine leave each other's alone. */
  id: string;
}

/** `SALLYPORT_HOME`, or the platform's folder for application data. */
export function defaultDataRoot(
  env: NodeJS.ProcessEnv = process.env,
  platform = process.platform,
  home = homedir(),
): string {
  if (env['SALLYPORT_HOME']) return env['SALLYPORT_HOME'];
  if (platform === 'darwin') return join(home, 'Library', 'Application Support', 'sallyport');
  if (platform === 'win32') return join(env['LOCALAPPDATA'] ?? join(home, 'AppData', 'Local'), 'sallyport');
  return join(env['XDG_DATA_HOME'] ?? join(home, '.local', 'share'), 'sallyport');
}

/** Makes the folder, readable for its owner only, or opens it. */
export async function openDataFolder(root: string): Promise<DataFolder> {
  const folder = {
    root,
    tasks: join(root, 'tasks'),
    quarantine: join(root, 'quarantine'),
    spend: join(root, 'spend'),
    workspaces: join(root, 'workspaces'),
  };
  await mkdir(folder.tasks, { recursive: true, mode: 0o700 });
  await mkdir(folder.quarantine, { recursive: true, mode: 0o700 });
  return { ...folder, id: await readOrCreateId(join(root, 'id')) };
}

/** Written aside and linked into place, so that no process ever reads half an id. */
async function readOrCreateId(path: string): Promise<string> {
  const known = await readFile(path, 'utf8').catch(() => '');
  if (/^[0-9a-f]{16}$/.test(known)) return known;
  const fresh = randomBytes(8).toString('hex');
  const aside = `${path}.${fresh}`;
  await writeFile(aside, fresh, { mode: 0o600 });
  try {
    await link(aside, path);
    return fresh;
  } catch (thrown) {
    if (!isErrno(thrown, 'EEXIST')) throw thrown;
    return await readFile(path, 'utf8');
  } finally {
    await rm(aside, { force: true });
  }
}
