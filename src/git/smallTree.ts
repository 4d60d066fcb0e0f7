import { SallyportError } from '../base/errors.ts';
import { Sha } from '../protocol/grammar.ts';
import { blob } from './diff.ts';
import { git } from './process.ts';
import type { Quarantine } from './quarantine.ts';

const author = { name: 'Sallyport', email: 'sallyport@localhost', date: '2026-01-01T00:00:00Z' };

/**
 * Makes a commit without parents of a few files, and keeps it as something that tasks start from. The same files always
 * give the same commit.
 * @param files text by name; in no folder
 */
export async function writeCommit(
  quarantine: Quarantine,
  files: Readonly<Record<string, string>>,
  message: string,
  signal?: AbortSignal,
): Promise<string> {
  return await quarantine.use(signal, async () => {
    const options = quarantine.options(signal);
    const entries: string[] = [];
    for (const [name, text] of Object.entries(files)) {
      const { stdout } = await git(['hash-object', '-w', '--stdin'], { ...options, input: text });
      entries.push(`100644 blob ${stdout.toString().trim()}\t${name}\0`);
    }
    const tree = await git(['mktree', '-z'], { ...options, input: entries.join('') });
    const made = await git(['commit-tree', '-m', message, tree.stdout.toString().trim()], {
      ...options,
      env: {
        GIT_AUTHOR_NAME: author.name,
        GIT_AUTHOR_EMAIL: author.email,
        GIT_AUTHOR_DATE: author.date,
        GIT_COMMITTER_NAME: author.name,
        GIT_COMMITTER_EMAIL: author.email,
        GIT_COMMITTER_DATE: author.date,
      },
    });
    const commit = made.stdout.toString().trim();
    await quarantine.keep(commit, signal);
    return commit;
  });
}

/** A file of a commit's root; undefined when there is none, it is a link or a folder, or longer than `maxBytes`. */
export async function readFileAt(
  quarantine: Quarantine,
  commit: string,
  name: string,
  maxBytes: number,
  signal?: AbortSignal,
): Promise<Uint8Array | undefined> {
  if (!Sha.safeParse(commit).success)
    throw new SallyportError('invalid_input', 'Not a name of a commit.', 'Report this.');
  const { stdout } = await git(['ls-tree', '-z', '--long', '--end-of-options', commit, '--', name], {
    ...quarantine.options(signal),
    bounded: true,
    maxBytes: 64 << 10,
  });
  const found = /^100(?:644|755) blob ([0-9a-f]{40,64}) +(\d+)\t/.exec(stdout.toString('latin1'));
  if (found === null || Number(found[2]) > maxBytes) return undefined;
  return await blob(quarantine, found[1] ?? '', maxBytes, signal);
}
