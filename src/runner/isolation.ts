import { realpath, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, isAbsolute, relative, resolve, sep } from 'node:path';
import { isErrno, SallyportError } from '../base/errors.ts';
import { engineSockets } from '../engine/discovery.ts';
import { git, type GitOptions } from '../git/process.ts';
import { isImageReference } from '../protocol/grammar.ts';
import type { Isolation, Mount } from '../protocol/task.ts';
import { paths } from '../protocol/control.ts';
import { type Found, type MountWish, readMounts } from './mounts.ts';

/** How a user wants the container made: paths as they wrote them. */
export interface IsolationWish extends Omit<Isolation, 'mounts'> {
  mounts?: readonly MountWish[] | undefined;
}

/** What a wish is read against. */
export interface IsolationSurroundings {
  /** The work tree, to which relative paths belong. */
  workspaceFolder: string;
  dataFolder: string;
  engineSetting: string | undefined;
  env: Readonly<Record<string, string | undefined>>;
}

/** Makes a task's isolation of a user's wish. Throws `invalid_input` for what cannot be or must not be. */
export async function readIsolation(
  { image, dockerfile, mounts, ...rest }: IsolationWish,
  around: IsolationSurroundings,
): Promise<Isolation> {
  if (image !== undefined && dockerfile !== undefined)
    throw invalid('An image and a Dockerfile are both named.', 'Name one of them.');
  if (image !== undefined && !isImageReference(image))
    throw invalid(
      `${JSON.stringify(image)} is no reference of an image.`,
      'It looks like registry.example.com/team/tools:1.2, in small letters.',
    );
  return {
    ...rest,
    ...(image === undefined ? {} : { image }),
    ...(dockerfile === undefined ? {} : { dockerfile: await readDockerfilePath(dockerfile, around) }),
    ...(mounts === undefined || mounts.length === 0
      ? {}
      : {
          mounts: await readMounts(mounts, {
            ...around,
            home: homedir(),
            sockets: engineSockets(around.engineSetting, around.env, homedir()),
            look,
          }),
        }),
  };
}

/**
 * A mount point in the workspace must be no name of the commit's: the clone would write into the mount, or fail.
 * @param store options for git to run in a repository that holds the commit
 */
export async function checkMountPoints(
  mounts: readonly Mount[],
  store: GitOptions,
  commit: string,
): Promise<void> {
  for (const { target } of mounts) {
    if (!target.startsWith(`${paths.workspace}/`)) continue;
    const [first = ''] = target.slice(paths.workspace.length + 1).split('/');
    const named = ['rev-parse', '--quiet', '--verify', '--end-of-options', `${commit}:${first}`];
    const { code } = await git(named, { ...store, okCodes: [0, 1, 128] });
    if (code === 0)
      throw invalid(
        `The mount at ${target} is refused: the repository has ${first} itself.`,
        'Choose a target outside of the workspace, such as /mnt/data, or a name that the repository does not have.',
      );
  }
}

async function readDockerfilePath(text: string, { workspaceFolder }: IsolationSurroundings): Promise<string> {
  const path = resolve(workspaceFolder, text);
  const found = await look(path);
  if (found?.kind !== 'file')
    throw invalid(
      `There is no Dockerfile ${path}.`,
      'Correct its path; a relative one begins at the repository.',
    );
  const root = await realpath(workspaceFolder);
  const inside = relative(root, found.real);
  if (!isAbsolute(text) && (inside === '..' || inside.startsWith(`..${sep}`) || isAbsolute(inside)))
    throw invalid(
      `The Dockerfile ${text} is outside of the repository.`,
      'Give its absolute path if that is meant.',
    );
  const folder = dirname(found.real);
  if (folder === dirname(folder) || folder === (await realpath(homedir()).catch(() => homedir())))
    throw invalid(
      `The Dockerfile ${found.real} would have all of ${folder} as its context.`,
      'Put it into a folder of its own.',
    );
  return found.real;
}

async function look(path: string): Promise<Found | undefined> {
  try {
    const real = await realpath(path);
    const entry = await stat(real);
    return { real, kind: entry.isDirectory() ? 'folder' : entry.isFile() ? 'file' : 'other' };
  } catch (thrown) {
    if (isErrno(thrown, 'ENOENT', 'ENOTDIR')) return undefined;
    throw invalid(
      `${path} cannot be looked at: ${thrown instanceof Error ? thrown.message : String(thrown)}.`,
      'Make it readable for you.',
    );
  }
}

function invalid(message: string, mend: string): SallyportError {
  return new SallyportError('invalid_input', message, mend);
}
