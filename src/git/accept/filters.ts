import { randomBytes } from 'node:crypto';
import { open, type FileHandle } from 'node:fs/promises';
import { SallyportError } from '../../base/errors.ts';
import { git, gitStream } from '../process.ts';
import { bytesOf, shownPath, type GitPath } from './paths.ts';
import type { Scratch } from './scratch.ts';

/** A content of the repository that is to be a file of the work tree. */
export interface Smudging {
  path: GitPath;
  oid: string;
  /** Where it is written. */
  file: string;
  /** Of the new file, less the user's mask. */
  mode: number;
}

/**
 * The names of what the user's files are to git, by their clean filters and line endings; the contents go to the scratch store.
 * In the order of the paths, which must be of plain files.
 */
export async function clean(scratch: Scratch, paths: readonly GitPath[]): Promise<string[]> {
  if (paths.length === 0) return [];
  const { stdout } = await git(['hash-object', '-w', '--stdin-paths'], {
    ...scratch.asUserAside(),
    config: [['core.safecrlf', 'false']],
    input: paths.map((path) => `${quoted(path)}\n`).join(''),
  }).catch((thrown: unknown) => {
    throw filterFailure(thrown);
  });
  return stdout.toString('latin1').trimEnd().split('\n');
}

/**
 * Writes contents, not durably yet, as files of the work tree have them: with the user's filters and line endings, by the attributes that the
 * work tree has now, whatever comes in with them.
 */
export async function smudge(scratch: Scratch, all: readonly Smudging[]): Promise<void> {
  const isOdd = ({ path }: Smudging): boolean => /[\n\r]|^[ \t]/.test(path);
  for (const each of all.filter(isOdd)) await smudgeOne(scratch, each);
  await smudgeMany(
    scratch,
    all.filter((each) => !isOdd(each)),
  );
}

/** For paths that a line cannot hold. */
async function smudgeOne(scratch: Scratch, { path, oid, file, mode }: Smudging): Promise<void> {
  const args = ['cat-file', '--filters', `--path=${path}`, oid];
  const bytes = bytesOf(path);
  if (!bytes.equals(Buffer.from(bytes.toString('utf8'))))
    throw new SallyportError(
      'accept_refused',
      `The name of ${JSON.stringify(shownPath(path))} holds a line break and bytes that are no text.`,
      'Leave this file out.',
    );
  args[2] = `--path=${bytes.toString('utf8')}`;
  const handle = await open(file, 'wx', mode);
  try {
    for await (const chunk of gitStream(args, scratch.asUserReading()).stdout) await handle.writeFile(chunk);
  } catch (thrown) {
    throw filterFailure(thrown);
  } finally {
    await handle.close();
  }
}

/**
 * One process for all. It says how long each content is before filters, which is of no use; so after each it is asked for
 * something that does not exist, by a name that nobody can know, and its answer ends the content.
 */
async function smudgeMany(scratch: Scratch, all: readonly Smudging[]): Promise<void> {
  if (all.length === 0) return;
  const mark = `end-${randomBytes(16).toString('hex')}`;
  const end = Buffer.from(`\n${mark} missing\n`);
  const input = all.map(({ path, oid }) => Buffer.from(`${oid} ${path}\n${mark}\n`, 'latin1'));
  const running = gitStream(['cat-file', '--batch', '--filters', '--buffer'], {
    ...scratch.asUserReading(),
    input: Buffer.concat(input),
  });
  let rest: Buffer = Buffer.alloc(0);
  let index = 0;
  let handle: FileHandle | undefined;
  try {
    for await (const chunk of running.stdout) {
      rest = rest.length === 0 ? Buffer.from(chunk) : Buffer.concat([rest, chunk]);
      for (;;) {
        const next = all[index];
        if (next === undefined) break;
        if (handle === undefined) {
          const head = rest.indexOf(10);
          if (head === -1) break;
          if (!rest.subarray(0, head).toString('latin1').startsWith(`${next.oid} blob `))
            throw new Error('git printed something unexpected: not a blob');
          rest = rest.subarray(head + 1);
          handle = await open(next.file, 'wx', next.mode);
        }
        const at = rest.indexOf(end);
        const whole = at === -1 ? Math.max(0, rest.length - end.length + 1) : at;
        if (whole > 0) await handle.writeFile(rest.subarray(0, whole));
        rest = rest.subarray(at === -1 ? whole : at + end.length);
        if (at === -1) break;
        await handle.close();
        handle = undefined;
        index++;
      }
    }
  } catch (thrown) {
    throw filterFailure(thrown);
  } finally {
    await handle?.close();
  }
  if (index < all.length) throw new Error('git printed something unexpected: it ended early');
}

/** As git reads paths from lines: in quotes, every byte that is not plain as an octal number. */
function quoted(path: GitPath): string {
  const escaped = path.replaceAll(
    /[^A-Za-z0-9_./-]/g,
    (byte) => `\\${byte.charCodeAt(0).toString(8).padStart(3, '0')}`,
  );
  return `"${escaped}"`;
}

function filterFailure(thrown: unknown): unknown {
  if (!(thrown instanceof SallyportError) || thrown.code !== 'git_failed') return thrown;
  return new SallyportError(
    'accept_refused',
    `One of your git filters failed: ${thrown.message}`,
    'Try "git checkout" of such a file, and mend the filter; then accept again. Nothing was changed.',
    { cause: thrown },
  );
}
