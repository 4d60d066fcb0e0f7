import { SallyportError } from '../base/errors.ts';
import { isBranchName, Sha } from '../protocol/grammar.ts';
import type { ByteStream } from '../protocol/runner.ts';
import { safeLine } from '../protocol/safeText.ts';
import { flush, pktLine, PktReader } from './pktLine.ts';
import { git, gitStream } from './process.ts';
import type { Quarantine } from './quarantine.ts';
import { objectKinds } from './receive.ts';
import { GitRemote, SideBand, type Advertisement, type RemoteOptions } from './smartHttp.ts';

export interface PushOptions extends RemoteOptions {
  quarantine: Quarantine;
  /** Is in the quarantine. */
  commit: string;
  branch: string;
  /**
   * Where the branch may stand when it is there already. Without `rewrite` it is only moved forward from there; with it,
   * what it holds may be given up. Without a lease it may stand anywhere that it can be moved forward from.
   */
  lease?: { at: readonly string[]; rewrite: boolean };
  /** In milliseconds; ten minutes by default. */
  timeoutMs?: number;
}

export interface Pushed {
  /** False when the branch stood there already. */
  changed: boolean;
  /** What the server said to people, such as an address at which to open a pull request. */
  words: string;
}

const defaultTimeoutMs = 10 * 60_000;
const noCommit = '0'.repeat(40);
/** What is shorter is sent with its length, because some servers take nothing else. */
const bufferBytes = 1 << 20;
/** How many of the server's branches are looked at for what need not be sent. */
const maxHaves = 2000;

/**
 * Moves a branch of a repository to a commit of the quarantine, or makes it. Nothing of what the commit holds is run. The
 * server changes the branch only if it still stands where this looked. Throws `push_refused` with the server's words,
 * `invalid_branch` for the default branch, and as `fetchCommit` where the repository cannot be reached.
 */
export async function pushBranch(options: PushOptions): Promise<Pushed> {
  const { quarantine, commit, branch } = options;
  if (!isBranchName(branch) || !Sha.safeParse(commit).success)
    throw new SallyportError(
      'invalid_branch',
      `${JSON.stringify(branch)} cannot be pushed.`,
      'Choose another name.',
    );
  const signal = AbortSignal.any([
    options.signal,
    AbortSignal.timeout(options.timeoutMs ?? defaultTimeoutMs),
  ]);
  const remote = await GitRemote.open({ ...options, signal });
  try {
    // Who receives does not say which branch is the default.
    const look = await remote.advertisement('git-upload-pack');
    const there = await remote.advertisement('git-receive-pack');
    const ref = `refs/heads/${branch}`;
    if (isDefault(ref, look, there)) {
      throw new SallyportError(
        'invalid_branch',
        `${branch} is the default branch of the repository, which is never pushed to.`,
        'Submit the task with a branch of its own.',
      );
    }
    const before = there.refs.get(ref);
    if (before === commit) return { changed: false, words: '' };
    if (before !== undefined) await checkLease(options, before, signal);
    return await quarantine.use(signal, () =>
      send(remote, there, before ?? noCommit, { ...options, signal }),
    );
  } finally {
    remote.dispose();
  }
}

/** Where a server does not say which branch HEAD is, every one at the same commit may be; and the first of an empty repository. */
function isDefault(ref: string, { head, refs }: Advertisement, there: Advertisement): boolean {
  if (head !== undefined) return ref === head;
  return there.refs.size === 0 || (refs.has('HEAD') && refs.get(ref) === refs.get('HEAD'));
}

async function checkLease(
  { quarantine, commit, branch, lease }: PushOptions,
  before: string,
  signal: AbortSignal,
): Promise<void> {
  const ours = lease === undefined || lease.at.includes(before);
  if (ours && (lease?.rewrite === true || (await isAncestor(quarantine, before, commit, signal)))) return;
  throw new SallyportError(
    'push_refused',
    ours
      ? `The branch ${branch} holds commits that this push would take away.`
      : `The branch ${branch} is there already, with commits that are not of this task.`,
    'Submit the task with another branch, or delete that one at the forge.',
  );
}

async function isAncestor(
  quarantine: Quarantine,
  older: string,
  newer: string,
  signal: AbortSignal,
): Promise<boolean> {
  if (!(await quarantine.has(older, signal))) return false;
  const options = { ...quarantine.options(signal), okCodes: [0, 1] };
  return (await git(['merge-base', '--is-ancestor', older, newer], options)).code === 0;
}

async function send(
  remote: GitRemote,
  { refs, capabilities }: Advertisement,
  before: string,
  options: PushOptions,
): Promise<Pushed> {
  const { quarantine, commit, branch, signal } = options;
  const ref = `refs/heads/${branch}`;
  const theirs = [...new Set(refs.values())].slice(0, maxHaves);
  const kinds = await objectKinds([...theirs, commit], quarantine.options(signal));
  if (kinds.get(commit) !== 'commit')
    throw new SallyportError(
      'push_refused',
      `Commit ${commit} is not in the quarantine.`,
      'Wait for its import.',
    );
  const have = theirs.filter((sha) => kinds.get(sha) === 'commit');
  const wanted = ['report-status', 'side-band-64k', 'ofs-delta'];
  const spoken = [...wanted.filter((one) => capabilities.has(one)), 'agent=sallyport'];
  if (!spoken.includes('report-status') || !spoken.includes('side-band-64k'))
    throw new SallyportError('push_refused', `The git server at ${remote.host} is too old.`, 'Push by hand.');
  const head = Buffer.concat([pktLine(`${before} ${commit} ${ref}\0 ${spoken.join(' ')}`), flush]);
  const packing = gitStream(['pack-objects', '--revs', '--stdout', '--thin', '--delta-base-offset', '-q'], {
    ...quarantine.options(signal),
    input: [commit, ...have.map((sha) => `^${sha}`)].map((line) => `${line}\n`).join(''),
  });
  const answer = await remote.ask('git-receive-pack', await buffered(head, packing.stdout));
  return await remote.told(async () => {
    const band = new SideBand(new PktReader(answer));
    const refusal = await readReport(
      band.data(() => undefined),
      ref,
    );
    if (refusal === undefined) return { changed: true, words: band.words };
    const said = band.words === '' ? '' : ` It said: ${band.words}`;
    throw new SallyportError(
      'push_refused',
      `${remote.host} did not take the branch ${branch}: ${safeLine(refusal, 300)}.${said}`,
      'See what the forge demands of branches, or submit the task with another branch.',
    );
  });
}

/** The whole body where it is short; else a stream of it. */
async function buffered(head: Buffer, pack: ByteStream): Promise<Buffer | AsyncIterable<Uint8Array>> {
  const parts: Uint8Array[] = [head];
  let size = head.length;
  const iterator = pack[Symbol.asyncIterator]();
  for (;;) {
    const next = await iterator.next();
    if (next.done === true) return Buffer.concat(parts);
    parts.push(next.value);
    size += next.value.length;
    if (size > bufferBytes) break;
  }
  return (async function* (): AsyncGenerator<Uint8Array> {
    try {
      yield* parts;
      for (;;) {
        const next = await iterator.next();
        if (next.done === true) return;
        yield next.value;
      }
    } finally {
      await iterator.return?.();
    }
  })();
}

/** Why the server did not take the branch; undefined when it did. */
async function readReport(data: AsyncIterable<Uint8Array>, ref: string): Promise<string | undefined> {
  const reader = new PktReader(data);
  let taken = false;
  let refusal: string | undefined;
  for (;;) {
    const line = await reader.next();
    if (line === 'end') break;
    if (line === 'flush') continue;
    const text = line.toString('utf8').trimEnd();
    if (text === `ok ${ref}`) taken = true;
    else if (text.startsWith(`ng ${ref} `)) refusal = text.slice(`ng ${ref} `.length);
    else if (text.startsWith('unpack ') && text !== 'unpack ok') refusal ??= text;
  }
  return taken && refusal === undefined ? undefined : (refusal ?? 'it did not say why');
}
