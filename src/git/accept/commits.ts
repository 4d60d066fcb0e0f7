import { SallyportError } from '../../base/errors.ts';
import type { Identity } from '../../protocol/task.ts';
import { readObjects } from '../objects.ts';
import { git, type GitOptions } from '../process.ts';
import { line, type Scratch } from './scratch.ts';

/** A commit as it is written down. */
export interface RawCommit {
  sha: string;
  tree: string;
  parents: string[];
  author: Identity;
  /** As git writes it: seconds since the epoch, and the zone. */
  date: string;
  message: Buffer;
}

/** More commits than this are not made anew at once. */
const maxCommits = 5000;

/**
 * The commits that stand for a range, oldest first: from the last one back over first parents. What a merge brought in is part of
 * the merge, which becomes one ordinary commit.
 */
export async function linear(scratch: Scratch, shas: readonly string[]): Promise<RawCommit[]> {
  if (shas.length > maxCommits) {
    throw new SallyportError(
      'too_large',
      `The range has ${shas.length} commits, and at most ${maxCommits} are made anew.`,
      'Accept it as a branch.',
    );
  }
  const read = await readObjects(shas, scratch.options);
  const all = new Map(shas.map((sha, index) => [sha, parseCommit(sha, read[index] ?? Buffer.alloc(0))]));
  const chain: RawCommit[] = [];
  for (let at = all.get(shas.at(-1) ?? ''); at !== undefined; at = all.get(at.parents[0] ?? '')) {
    chain.push(at);
    all.delete(at.sha);
  }
  return chain.reverse();
}

function parseCommit(sha: string, content: Buffer): RawCommit {
  const end = content.indexOf('\n\n');
  const head = content.subarray(0, end === -1 ? content.length : end);
  const message = end === -1 ? Buffer.alloc(0) : content.subarray(end + 2);
  const lines = head.toString('latin1').split('\n');
  const value = (name: string): string | undefined =>
    lines.find((each) => each.startsWith(`${name} `))?.slice(name.length + 1);
  const encoding = value('encoding') ?? 'utf-8';
  const [, name = '', email = '', date = ''] =
    /^(.*?) ?<([^>]*)> (-?\d+ [+-]\d{4})$/.exec(
      decoded(Buffer.from(value('author') ?? '', 'latin1'), encoding),
    ) ?? [];
  return {
    sha,
    tree: value('tree') ?? '',
    parents: lines.filter((each) => each.startsWith('parent ')).map((each) => each.slice(7)),
    author: { name, email },
    date,
    message: /^utf-?8$/i.test(encoding) ? message : Buffer.from(decoded(message, encoding)),
  };
}

function decoded(bytes: Buffer, encoding: string): string {
  try {
    return new TextDecoder(encoding).decode(bytes);
  } catch {
    // An encoding that nobody knows.
    return bytes.toString('utf8');
  }
}

export interface NewCommit {
  tree: string;
  parent: string;
  message: Buffer | string;
  author: Identity;
  /** Now where there is none. */
  date?: string;
}

/**
 * Makes commits on the host: by the user as their configuration has it, signed if they sign. Fails with `accept_refused` when
 * signing does.
 */
export class Committer {
  private readonly options: GitOptions;
  private readonly sign: boolean;

  private constructor(options: GitOptions, sign: boolean) {
    this.options = options;
    this.sign = sign;
  }

  /** @param otherwise who commits where the user has not told git a name */
  static async of(scratch: Scratch, otherwise: Identity): Promise<Committer> {
    const args = ['config', '--type=bool', '--get', 'commit.gpgSign'];
    const { stdout } = await git(args, { ...scratch.asUser(), okCodes: [0, 1] });
    const options = scratch.asUserHere();
    const env =
      scratch.repository.identity === undefined
        ? { GIT_COMMITTER_NAME: otherwise.name, GIT_COMMITTER_EMAIL: otherwise.email }
        : {};
    return new Committer(
      { ...options, config: [['i18n.commitEncoding', 'UTF-8']], env: { ...options.env, ...env } },
      stdout.toString().trim() === 'true',
    );
  }

  async commit({ tree, parent, message, author, date }: NewCommit): Promise<string> {
    const args = ['commit-tree', ...(this.sign ? ['-S'] : []), '-p', parent, tree];
    const made = await git(args, {
      ...this.options,
      env: {
        ...this.options.env,
        // Git takes no name that is empty, or of nothing but punctuation.
        GIT_AUTHOR_NAME: /[^\0- .,:;<>"\\']/.test(author.name) ? author.name : 'Unknown',
        GIT_AUTHOR_EMAIL: author.email,
        ...(date === undefined || date === '' ? {} : { GIT_AUTHOR_DATE: `@${date}` }),
      },
      input: message,
    }).catch((thrown: unknown) => {
      if (!this.sign || !(thrown instanceof SallyportError) || thrown.code !== 'git_failed') throw thrown;
      throw new SallyportError(
        'accept_refused',
        `The commit could not be signed: ${thrown.message}`,
        'You sign your commits (commit.gpgSign). See that "git commit -S" works in a terminal here, and accept again. Nothing was changed.',
        { cause: thrown },
      );
    });
    return line(made);
  }
}
