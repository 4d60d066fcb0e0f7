import { SallyportError } from '../base/errors.ts';
import type { ByteStream } from '../protocol/runner.ts';
import { safeLine } from '../protocol/safeText.ts';
import { fetchedDefects } from './oldDefects.ts';
import { flush, pktLine, PktReader } from './pktLine.ts';
import type { Quarantine } from './quarantine.ts';
import { receivePack } from './receive.ts';
import { GitRemote, SideBand, type Advertisement, type RemoteOptions } from './smartHttp.ts';

export interface FetchOptions extends RemoteOptions {
  quarantine: Quarantine;
  /** The repository's own default when it is not said. */
  branch?: string | undefined;
  /** Of what comes, in bytes; 2 GiB by default. */
  maxBytes?: number;
  /** In milliseconds; ten minutes by default. */
  timeoutMs?: number;
}

export interface Fetched {
  commit: string;
  headBranch: string;
}

const defaultMaxBytes = 2 * 2 ** 30;
const defaultTimeoutMs = 10 * 60_000;
/** How many commits a server is told of that are here already. */
const maxHaves = 256;

/**
 * Brings a branch of a repository into the quarantine, with its whole history, and keeps it as something that tasks start
 * from. Every object is checked by git's fsck, as those of a sandbox are. Throws `invalid_input`, `repository_not_found`,
 * `repository_unreachable`, `invalid_branch`, `no_commit`, `repository_too_large`, `unsupported_repository`.
 */
export async function fetchCommit(options: FetchOptions): Promise<Fetched> {
  const { quarantine, timeoutMs = defaultTimeoutMs } = options;
  const late = AbortSignal.timeout(timeoutMs);
  const signal = AbortSignal.any([options.signal, late]);
  const remote = await GitRemote.open({ ...options, signal });
  try {
    const there = await remote.advertisement('git-upload-pack');
    const found = chosen(there, options.branch, remote.host);
    await quarantine.use(signal, async () => {
      if (!(await isWhole(quarantine, found.commit, signal)))
        await bring(remote, there, found.commit, { ...options, signal, timeoutMs });
      await quarantine.keep(found.commit, signal);
    });
    return found;
  } catch (thrown) {
    if (late.aborted && !options.signal.aborted)
      throw tooLarge(`takes longer than ${timeoutMs / 60_000} minutes`);
    throw thrown;
  } finally {
    remote.dispose();
  }
}

/** What is a base already, or was made by a task, came in whole. */
async function isWhole(quarantine: Quarantine, commit: string, signal: AbortSignal): Promise<boolean> {
  return (await quarantine.bases(signal)).includes(commit);
}

function chosen({ refs, head }: Advertisement, branch: string | undefined, host: string): Fetched {
  const branches = [...refs.keys()].filter((ref) => ref.startsWith('refs/heads/'));
  if (branch !== undefined) {
    const commit = refs.get(`refs/heads/${branch}`);
    if (commit !== undefined) return { commit, headBranch: branch };
    const names = branches.slice(0, 10).map((ref) => safeLine(ref.slice('refs/heads/'.length), 80));
    throw new SallyportError(
      'invalid_branch',
      `The repository at ${host} has no branch ${branch}.`,
      names.length === 0
        ? 'It has no branch at all: push a first commit.'
        : `It has ${names.join(', ')}${branches.length > names.length ? ' and others' : ''}.`,
    );
  }
  const tip = refs.get('HEAD');
  // An old server does not say which branch HEAD is: the one at the same commit.
  const ref = head ?? branches.find((name) => refs.get(name) === tip);
  const commit = tip ?? (ref === undefined ? undefined : refs.get(ref));
  if (commit === undefined || ref?.startsWith('refs/heads/') !== true) {
    throw branches.length === 0
      ? new SallyportError(
          'no_commit',
          `The repository at ${host} is empty.`,
          'Push a first commit, then submit the task again.',
        )
      : new SallyportError(
          'invalid_branch',
          `The repository at ${host} has no default branch.`,
          'Name the branch to start from.',
        );
  }
  return { commit, headBranch: ref.slice('refs/heads/'.length) };
}

async function bring(
  remote: GitRemote,
  { refs, capabilities }: Advertisement,
  commit: string,
  options: FetchOptions & { timeoutMs: number },
): Promise<void> {
  const { quarantine, maxBytes = defaultMaxBytes, timeoutMs, signal } = options;
  const theirs = new Set(refs.values());
  const bases = await quarantine.bases(signal);
  // What the server has at a tip says most; the newest of the others may be known to it too.
  const haves = [...bases.filter((sha) => theirs.has(sha)), ...bases.filter((sha) => !theirs.has(sha))];
  const wanted = ['side-band-64k', 'ofs-delta', 'thin-pack', 'no-progress', 'multi_ack_detailed'];
  const spoken = [...wanted.filter((one) => capabilities.has(one)), 'agent=sallyport'];
  if (!spoken.includes('side-band-64k')) {
    throw new SallyportError(
      'unsupported_repository',
      `The git server at ${remote.host} is too old.`,
      'Take a copy of the repository at another forge.',
    );
  }
  const answer = await remote.ask(
    'git-upload-pack',
    Buffer.concat([
      pktLine(`want ${commit} ${spoken.join(' ')}\n`),
      flush,
      ...haves.slice(0, maxHaves).map((sha) => pktLine(`have ${sha}\n`)),
      pktLine('done\n'),
    ]),
  );
  let broken: unknown;
  async function* pack(): ByteStream {
    let size = 0;
    try {
      for await (const chunk of new SideBand(new PktReader(answer)).data(acknowledgement)) {
        size += chunk.length;
        if (size > maxBytes) throw tooLarge(`has more than ${Math.floor(maxBytes / 2 ** 20)} MiB`);
        yield chunk;
      }
    } catch (thrown) {
      // What git says of an input that broke off hides why it did.
      broken = thrown;
      throw thrown;
    } finally {
      answer.destroy();
    }
  }
  try {
    const strict = { strict: true, tolerate: fetchedDefects };
    await receivePack(quarantine, pack(), { ...strict, tips: [commit], maxBytes, timeoutMs, signal });
  } catch (thrown) {
    if (broken !== undefined) await remote.told(() => Promise.reject(broken as Error));
    throw notTaken(thrown);
  }
}

/** The server's word on what both have; it sends what is missing in any case. */
function acknowledgement(line: string): void {
  if (!/^(ACK|NAK|shallow|unshallow)\b/.test(line)) throw new Error(`it said: ${safeLine(line, 300)}`);
}

function tooLarge(what: string): SallyportError {
  return new SallyportError(
    'repository_too_large',
    `The repository ${what}.`,
    'Submit it from a clone of your own, whose files are then uploaded; or take a smaller repository.',
  );
}

function notTaken(thrown: unknown): unknown {
  if (!(thrown instanceof SallyportError) || thrown.code !== 'git_failed') return thrown;
  if (/exceeds maximum|are allowed|attempting to allocate|out of memory/i.test(thrown.message))
    return tooLarge(`is not taken in: ${safeLine(thrown.message, 300)}`);
  return new SallyportError(
    'unsupported_repository',
    `What the server sent was not taken in: ${safeLine(thrown.message, 500)}`,
    'Check the repository with "git fsck"; nothing of it was kept.',
    { cause: thrown },
  );
}
