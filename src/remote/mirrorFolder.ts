import { createHash } from 'node:crypto';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod/mini';
import { RepositoryRef, Snapshot, type TaskSpec } from '../protocol/task.ts';

/** What this machine keeps of one runner. */
export interface MirrorFolder {
  root: string;
  tasks: string;
  /** Of tasks that this machine did not submit: a runner chooses their names, so they are kept from this machine's own. */
  quarantine: string;
  /** Bundles on their way to the runner; they outlive a submission that breaks off. */
  uploads: string;
  /** Bundles from the runner that are being looked at. */
  spool: string;
}

/** Makes the folder, readable for its owner only, or opens it. */
export async function openMirrorFolder(dataFolder: string, url: URL): Promise<MirrorFolder> {
  const root = join(dataFolder, 'remote', createHash('sha256').update(url.href).digest('hex').slice(0, 16));
  const folder = {
    root,
    tasks: join(root, 'tasks'),
    quarantine: join(root, 'quarantine'),
    uploads: join(root, 'uploads'),
    spool: join(root, 'spool'),
  };
  for (const path of [folder.tasks, folder.uploads, folder.spool])
    await mkdir(path, { recursive: true, mode: 0o700 });
  // For people who look into the folder.
  await writeFile(join(root, 'address'), `${url.href}\n`, { mode: 0o600 });
  return folder;
}

/** What this machine knows of a task that it submitted itself, and takes no word of the runner's for. */
export const Origin = z.object({ repository: RepositoryRef, snapshot: Snapshot });
export type Origin = z.infer<typeof Origin>;

export async function readOrigin(folder: string): Promise<Origin | undefined> {
  try {
    return Origin.parse(JSON.parse(await readFile(join(folder, 'origin.json'), 'utf8')));
  } catch {
    return undefined;
  }
}

export async function writeOrigin(folder: string, { repository, snapshot }: Origin): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const aside = join(folder, `origin.json.${process.pid}`);
  await writeFile(aside, JSON.stringify({ repository, snapshot }), { mode: 0o600 });
  await rename(aside, join(folder, 'origin.json'));
}

/**
 * The spec of a mirrored task. Where it was submitted here, repository and snapshot are this machine's own. Elsewhere
 * the runner's word for a path means nothing here, and its id for a repository must not be one of this machine's.
 */
export function localSpec(said: TaskSpec, origin: Origin | undefined): TaskSpec {
  if (origin !== undefined) return { ...said, repository: origin.repository, snapshot: origin.snapshot };
  const { id, name } = said.repository;
  const hash = createHash('sha256').update(id).digest('hex').slice(0, 24);
  return { ...said, repository: { id: `remote-${hash}`, name: name.slice(0, 200), path: '' } };
}
