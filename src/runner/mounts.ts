import { posix, resolve, sep } from 'node:path';
import * as z from 'zod/mini';
import { SallyportError } from '../base/errors.ts';
import { paths } from '../protocol/control.ts';
import type { Mount } from '../protocol/task.ts';

/** Mounts as they stand in settings. */
export const MountWishes = z.array(
  z.union([
    z.string(),
    z.strictObject({ source: z.string(), target: z.string(), readonly: z.optional(z.boolean()) }),
  ]),
);

/**
 * A mount as a user writes it. Source relative to the workspace folder, target to /workspace; `$NAME`, `${NAME}` and a
 * leading `~/` are expanded. Read-only unless `readonly` is false.
 */
export interface MountObject {
  source: string;
  target: string;
  readonly?: boolean | undefined;
}

/** The object, or `source:target`, which is read-only, `source:target:ro`, or `source:target:rw`. */
export type MountWish = string | MountObject;

/** What a mount's source is. */
export interface Found {
  /** Without any link in it. */
  real: string;
  kind: 'folder' | 'file' | 'other';
}

/** What wishes are read against. */
export interface MountSurroundings {
  env: Readonly<Record<string, string | undefined>>;
  /** The user's own folder. */
  home: string;
  /** Sallyport's folder with logs and quarantines. */
  dataFolder: string;
  /** Where the workspace is on this machine. */
  workspaceFolder: string;
  /** Sockets that container engines may listen on. */
  sockets: readonly string[];
  /** Looks at a path of this machine; undefined where there is nothing. */
  look: (path: string) => Promise<Found | undefined>;
}

/** Folders of the system that make a sandbox none, and the engines' own. */
const systemFolders = ['/proc', '/sys', '/dev', '/run', '/var/run', '/var/lib/docker', '/var/lib/containers'];
/** In the sandbox; with all that is below. */
const reservedTargets = [paths.tools, paths.shared, '/proc', '/sys', '/dev'];
/** In the sandbox; these themselves, and not what is below. */
const neededTargets = [paths.workspace, paths.home, '/tmp'];

/** Reads mounts as a user wrote them. Throws `invalid_input` for the first that cannot be, and says why. */
export async function readMounts(wishes: readonly MountWish[], around: MountSurroundings): Promise<Mount[]> {
  const guarded = await guardedPaths(around);
  const mounts: Mount[] = [];
  for (const wish of wishes) {
    const told = typeof wish === 'string' ? wish : `${wish.source}:${wish.target}`;
    const mount = await readMount(wish, told, around, guarded);
    if (mounts.some(({ target }) => holds(target, mount.target) || holds(mount.target, target)))
      throw refused(told, `${mount.target} is the target of another mount, or within one`, 'Choose another.');
    mounts.push(mount);
  }
  return mounts;
}

/** What a user has to know about a mount; undefined where nothing can be written through it. */
export function mountWarning({ source, target, readonly }: Mount): string | undefined {
  if (readonly) return undefined;
  return `The agent can change ${source} on this machine (${target} in the sandbox). What it writes there is in no commit, and nobody looks at it before it is there.`;
}

async function readMount(
  wish: MountWish,
  told: string,
  around: MountSurroundings,
  guarded: Guarded,
): Promise<Mount> {
  const { source, target, readonly = true } = typeof wish === 'string' ? parse(wish) : wish;
  const targetPath = targetOf(expand(target, told, around.env), told);
  const sourcePath = resolve(
    around.workspaceFolder,
    expandHome(expand(source, told, around.env), around.home),
  );
  checkText(sourcePath, told);
  const found = await around.look(sourcePath);
  if (found === undefined)
    throw refused(told, `there is no ${sourcePath} on this machine`, 'Make it first, or correct the source.');
  checkText(found.real, told);
  if (found.kind === 'other')
    throw refused(told, `${found.real} is neither a folder nor a file`, 'Sockets and devices stay outside.');
  const problem = problemWithSource(found.real, readonly, guarded);
  if (problem !== undefined)
    throw refused(told, problem, 'Mount a folder below it that holds only what the task needs.');
  return { source: found.real, target: targetPath, readonly };
}

/** Throws where a text is no mount. A drive letter of Windows is no separator. */
function parse(text: string): MountObject {
  const [, source, target, mode] = /^((?:[A-Za-z]:[\\/])?[^:]+):([^:]+)(?::([^:]*))?$/.exec(text) ?? [];
  if (source === undefined || target === undefined)
    throw refused(text, 'it is not of the form source:target', 'Write it as in /data:/data:ro.');
  if (mode !== undefined && mode !== 'ro' && mode !== 'rw')
    throw refused(text, `"${mode}" is neither ro nor rw`, 'Write it as in /data:/data:ro.');
  return { source, target, readonly: mode !== 'rw' };
}

/** `$$` is a dollar sign. A variable that is not set is an error: what would be mounted instead is anybody's guess. */
function expand(text: string, told: string, env: MountSurroundings['env']): string {
  return text.replaceAll(/\$(?:\$|\{([^}]*)\}|([A-Za-z_][A-Za-z0-9_]*))?/g, (whole, braced, bare) => {
    if (whole === '$$') return '$';
    const name = (braced ?? bare ?? '') as string;
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name))
      throw refused(
        told,
        `"${whole}" names no variable`,
        'Write $NAME or ${NAME}, and $$ for a dollar sign.',
      );
    const value = env[name];
    if (value === undefined || value === '')
      throw refused(told, `the variable ${name} is not set`, 'Set it where Sallyport is started.');
    return value;
  });
}

function expandHome(path: string, home: string): string {
  return path === '~' || path.startsWith('~/') ? `${home}${path.slice(1)}` : path;
}

function targetOf(text: string, told: string): string {
  checkText(text, told);
  const path = posix.resolve(paths.workspace, text);
  const reserved = [...reservedTargets, ...neededTargets].find(
    (one) => holds(path, one) || (!neededTargets.some((needed) => needed === one) && holds(one, path)),
  );
  if (reserved !== undefined || path === '/')
    throw refused(
      told,
      `${path} is a place that the sandbox itself needs`,
      'Choose another, such as /mnt/data.',
    );
  if (holds(`${paths.workspace}/.git`, path))
    throw refused(told, `${path} is the repository's own`, 'Choose another, such as /mnt/data.');
  return path;
}

/** Engines read commas and quotes in some places, and nobody can read the rest. */
function checkText(path: string, told: string): void {
  if (path === '' || path.length > 4096 || /[\x00-\x1f\x7f",]/.test(path))
    throw refused(
      told,
      'a path is empty, too long, or has a comma, a quote or a control character in it',
      'Rename it.',
    );
}

/** What must not get into a sandbox, without links. */
interface Guarded {
  /** Neither these nor what holds them. */
  never: { path: string; what: string }[];
  /** Nor what is in these. */
  nothingOf: { path: string; what: string }[];
  repository: string;
}

async function guardedPaths(around: MountSurroundings): Promise<Guarded> {
  const real = async (path: string): Promise<string> => (await around.look(path))?.real ?? resolve(path);
  const both = async (path: string, what: string): Promise<{ path: string; what: string }[]> =>
    [...new Set([resolve(path), await real(path)])].map((one) => ({ path: one, what }));
  const sockets = await Promise.all(
    around.sockets.map((path) => both(path, 'the socket of a container engine')),
  );
  const data = await both(around.dataFolder, "Sallyport's data folder");
  const system = systemFolders.map((path) => ({ path, what: `the system's ${path}` }));
  return {
    never: [...(await both(around.home, 'your whole home folder')), ...sockets.flat(), ...data, ...system],
    nothingOf: [...data, ...system],
    repository: await real(around.workspaceFolder),
  };
}

function problemWithSource(path: string, readonly: boolean, guarded: Guarded): string | undefined {
  const inside = guarded.nothingOf.find((one) => holds(one.path, path));
  if (inside !== undefined) return `${path} is in ${inside.what}`;
  const over = guarded.never.find((one) => holds(path, one.path));
  if (over !== undefined)
    return path === over.path ? `${path} is ${over.what}` : `${path} holds ${over.path}, ${over.what}`;
  if (readonly) return undefined;
  // Host git runs there, and an agent that can write its configuration runs programs with it.
  if (holds(path, guarded.repository)) return `${path} holds the repository, which nobody but you writes`;
  if (path.split(/[\\/]/).includes('.git')) return `${path} is part of a git repository's own files`;
  return undefined;
}

/** True when `inner` is `outer` or below it. */
function holds(outer: string, inner: string): boolean {
  if (inner === outer) return true;
  const end = /[\\/]$/.test(outer) ? '' : outer.startsWith('/') ? '/' : sep;
  return inner.startsWith(outer + end);
}

function refused(told: string, problem: string, mend: string): SallyportError {
  return new SallyportError(
    'invalid_input',
    `The mount ${JSON.stringify(told)} is refused: ${problem}.`,
    mend,
  );
}
