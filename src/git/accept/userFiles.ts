import { SallyportError } from '../../base/errors.ts';
import { git } from '../process.ts';
import { clean } from './filters.ts';
import { isRegular, modes, type Side } from './entries.ts';
import { inParallel } from './inParallel.ts';
import { foldersOf, shownPath, type GitPath } from './paths.ts';
import type { Scratch } from './scratch.ts';
import { Blocked, type Found, type WorkTree } from './workTree.ts';

/** A path that is to go from one version to another. */
export interface Wanted {
  path: GitPath;
  from: Side;
  to: Side;
  /** Another way to the same end: where the user's version still is `from`, it becomes `to`. */
  or?: { from: Side; to: Side };
}

/** What the user has at a path. */
export interface UserFile {
  found: Found;
  /** As git has it. */
  side: Side;
  /** A sentence, where something is in the way that no content can settle. */
  inTheWay?: string;
}

/** How the file system of the work tree keeps what git wants to know of a file. */
export interface Keeps {
  programs: boolean;
  links: boolean;
  /** Whether names that differ in case only are two. */
  cases: boolean;
}

/** More things than this in a folder are not looked through. */
const maxBelow = 10_000;

export async function whatIsKept(scratch: Scratch): Promise<Keeps> {
  const read = async (key: string): Promise<string> => {
    const args = ['config', '--type=bool', '--get', key];
    const { stdout } = await git(args, { ...scratch.asUser(), okCodes: [0, 1] });
    return stdout.toString().trim();
  };
  return {
    programs: (await read('core.fileMode')) !== 'false',
    links: (await read('core.symlinks')) !== 'false',
    cases: (await read('core.ignoreCase')) !== 'true',
  };
}

/** Looks at the user's files. Fails with `accept_refused` where a way to one leads elsewhere. */
export async function lookAt(
  scratch: Scratch,
  tree: WorkTree,
  wanted: ReadonlyMap<GitPath, Wanted>,
  keeps: Keeps,
): Promise<Map<GitPath, UserFile>> {
  if (!keeps.cases) refuseDoubles(wanted.values());
  const files = new Map<GitPath, UserFile>();
  const unclear: GitPath[] = [];
  await inParallel(wanted.values(), async (each) => {
    scratch.signal?.throwIfAborted();
    const seen = await lookAtOne(tree, wanted, each);
    files.set(each.path, seen);
    const { found } = seen;
    if (found.kind === 'other')
      throw refused(each.path, 'it is neither a file nor a link there', 'Move it away, or leave it out.');
    if (found.kind === 'link') {
      // Its name among objects is made below, like a file's, but its content goes through no filter.
      seen.side = { mode: modes.link, oid: await scratch.writeBlob(found.target) };
    } else if (found.kind === 'file') {
      const mode = modeOf(found.mode, each, keeps);
      const known = [each.from, each.to, each.or?.from, each.or?.to].some((side) => side?.oid === found.oid);
      // What git would write as it is now is what git has, whatever filters would make of it.
      if (known || mode === modes.link) seen.side = { mode, oid: found.oid };
      else unclear.push(each.path);
      if (mode === modes.link && !known)
        throw refused(each.path, 'it is a link to git, and no longer one', '');
    }
  });
  const names = await clean(scratch, unclear);
  for (const [index, path] of unclear.entries()) {
    const seen = files.get(path);
    const each = wanted.get(path);
    const oid = names[index];
    if (seen?.found.kind !== 'file' || each === undefined || oid === undefined)
      throw new Error('git printed something unexpected: too few names');
    seen.side = { mode: modeOf(seen.found.mode, each, keeps), oid };
  }
  return files;
}

async function lookAtOne(
  tree: WorkTree,
  wanted: ReadonlyMap<GitPath, Wanted>,
  { path, to }: Wanted,
): Promise<UserFile> {
  const goes = (each: GitPath): boolean => wanted.has(each) && wanted.get(each)?.to === undefined;
  try {
    const found = await tree.look(path, { exact: true });
    if (found.kind !== 'folder') return { found, side: undefined };
    // To git a folder is not there; what is in it is.
    const absent: UserFile = { found: { kind: 'absent' }, side: undefined };
    if (to === undefined) return absent;
    const inside = await tree.below(path, maxBelow);
    const leaving = new Set([...wanted.keys()].filter(goes).flatMap((each) => [each, ...foldersOf(each)]));
    if (inside?.every((each) => leaving.has(each)) === true) return absent;
    return { ...absent, inTheWay: `a folder of yours has its name, with files that are not the task's` };
  } catch (thrown) {
    if (!(thrown instanceof Blocked)) throw thrown;
    const at = JSON.stringify(shownPath(thrown.at));
    const absent: UserFile = { found: { kind: 'absent' }, side: undefined };
    if (thrown.why === 'repository')
      throw refused(
        path,
        `it lies in another repository, ${at}`,
        'Leave it out, or move that repository away.',
      );
    if (thrown.why === 'double')
      throw refused(path, `this disk takes ${at} for another name that is there`, 'Rename one of the two.');
    // What is a link or a file now goes away before anything is written below its name.
    if (goes(thrown.at)) return absent;
    if (thrown.why === 'file') return to === undefined ? absent : { ...absent, inTheWay: `${at} is a file` };
    throw refused(
      path,
      `${at} is a link in your work tree, and nothing is written through links`,
      'Put a folder in its place, or leave out what lies in it.',
    );
  }
}

/** Two of what comes in that are one on this disk. */
function refuseDoubles(wanted: Iterable<Wanted>): void {
  const names = new Map<string, GitPath>();
  for (const { path, to } of wanted) {
    if (to === undefined) continue;
    for (const each of [...foldersOf(path), path]) {
      const folded = shownPath(each).normalize('NFC').toLowerCase();
      const other = names.get(folded) ?? each;
      if (other !== each)
        throw refused(
          path,
          `this disk takes ${JSON.stringify(shownPath(each))} and ${JSON.stringify(shownPath(other))} for one name`,
          'Leave one of the two out, or accept as a branch.',
        );
      names.set(folded, each);
    }
  }
}

/** Where the file system does not know, what git has of the file. */
function modeOf(mode: number, { from, to }: Wanted, keeps: Keeps): string {
  if (!keeps.links && (from ?? to)?.mode === modes.link) return modes.link;
  if (!keeps.programs) return isRegular(from) ? from.mode : isRegular(to) ? to.mode : modes.file;
  return (mode & 0o100) === 0 ? modes.file : modes.program;
}

function refused(path: GitPath, why: string, mend: string): SallyportError {
  return new SallyportError(
    'accept_refused',
    `${JSON.stringify(shownPath(path))} cannot be written: ${why}.`,
    mend === '' ? 'Leave it out, or put back what was there.' : mend,
  );
}
