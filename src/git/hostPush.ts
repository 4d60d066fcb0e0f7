import { randomBytes } from 'node:crypto';
import { SallyportError } from '../base/errors.ts';
import { isBranchName, Sha } from '../protocol/grammar.ts';
import { safeLine } from '../protocol/safeText.ts';
import { type HostEnvironment, hostGit, type HostGitOptions, sshCommand, sshMayAsk } from './hostGit.ts';
import type { HostRemote } from './hostRemotes.ts';
import type { GitResult } from './process.ts';
import { branchRefusal, connectionFailure } from './pushFailure.ts';
import type { Quarantine } from './quarantine.ts';
import { alternate } from './receive.ts';
import type { Repository } from './repository.ts';
import { offeredUrl, serverWords } from './serverWords.ts';

/** What a remote has, as far as it matters before a push. */
export interface RemoteLook {
  /** Undefined where the server does not say which it is. */
  defaultBranch?: string;
  /** Commits by branch. */
  branches: ReadonlyMap<string, string>;
}

export interface HostLookOptions {
  repository: Repository;
  remote: HostRemote;
  /** Of this process by default. */
  env?: HostEnvironment;
  signal?: AbortSignal | undefined;
  /** In milliseconds; a minute by default. */
  timeoutMs?: number;
}

export interface HostPushOptions extends HostLookOptions {
  quarantine: Quarantine;
  /** Is in the quarantine, or in the user's repository. */
  commit: string;
  branch: string;
  /** The user has said yes to a branch that is the default one, or that is protected. */
  protectedToo?: boolean;
  /** Further branches that need that yes. */
  protectedBranches?: readonly string[];
  /** The user has said yes to giving up this very commit, at which the branch stands. */
  overwrite?: string;
  /** Hears how far it is: "Writing objects: 45% (9/20)". */
  onProgress?: (line: string) => void;
  /** In milliseconds; ten minutes by default. */
  timeoutMs?: number;
}

export interface HostPushed {
  /** False when the branch stood there already. */
  changed: boolean;
  /** What the server said to people, a line each, fit to be shown. */
  words: string[];
  /** An address at the same host that it gave. */
  url?: string;
}

const lookMs = 60_000;
const pushMs = 10 * 60_000;
const maxLookBytes = 32 << 20;
/** Names that people give to branches from which everything comes, for where a server does not say. */
const usualDefaults =
  /^(?:main|master|trunk|develop|development|production|release(?:\/.*)?|stable(?:\/.*)?)$/;

/** Asks the remote for its branches, with the user's credentials. Throws as `pushFromHost` where it cannot be reached. */
export async function lookAtRemote(options: HostLookOptions): Promise<RemoteLook> {
  const args = (name: string): string[] => [
    'ls-remote',
    '--quiet',
    '--symref',
    '--',
    name,
    'HEAD',
    'refs/heads/*',
  ];
  const { stdout } = await reach(args, options, {
    timeoutMs: options.timeoutMs ?? lookMs,
    maxBytes: maxLookBytes,
  });
  const branches = new Map<string, string>();
  let defaultBranch: string | undefined;
  for (const line of stdout.toString().split('\n')) {
    const [left = '', name = ''] = line.split('\t');
    if (name === 'HEAD' && left.startsWith('ref: refs/heads/'))
      defaultBranch = left.slice('ref: refs/heads/'.length);
    else if (name.startsWith('refs/heads/') && Sha.safeParse(left).success)
      branches.set(name.slice('refs/heads/'.length), left);
  }
  return { branches, ...(defaultBranch === undefined ? {} : { defaultBranch }) };
}

/**
 * Why a branch needs a second yes, a sentence: because it is the remote's default branch, or may be it, or is protected.
 * Undefined when it does not. Pure.
 */
export function whyProtected(
  branch: string,
  { defaultBranch, branches }: RemoteLook,
  protectedBranches: readonly string[] = [],
): string | undefined {
  if (branch === defaultBranch) return `${branch} is the default branch of the remote.`;
  if (protectedBranches.includes(branch)) return `${branch} is a protected branch at the forge.`;
  if (branches.size === 0) return 'The remote is empty: its first branch becomes the default one.';
  if (defaultBranch === undefined && usualDefaults.test(branch))
    return `The remote does not say which branch is its default, and ${branch} may be it.`;
  return undefined;
}

/**
 * Pushes a commit of the quarantine to a branch of a remote of the user's repository, with the user's own configuration and
 * credentials. Nothing of the repository changes; no hook of it runs. The branch is made, or moved forward; it is overwritten
 * only where it stands at `overwrite`. Throws `push_protected` for a branch that needs a second yes, `push_unauthorized`,
 * `push_refused` with the server's words, `repository_unreachable`, `repository_not_found`, `invalid_branch`, `cancelled`.
 */
export async function pushFromHost(options: HostPushOptions): Promise<HostPushed> {
  const { branch, commit, remote, quarantine, signal, overwrite } = options;
  if (!isBranchName(branch)) {
    throw new SallyportError(
      'invalid_branch',
      `${JSON.stringify(branch.slice(0, 200))} is not a valid branch name.`,
      'Use letters, digits, dashes and slashes.',
    );
  }
  for (const name of overwrite === undefined ? [commit] : [commit, overwrite])
    if (!Sha.safeParse(name).success)
      throw new SallyportError(
        'invalid_input',
        `Not an object name: ${JSON.stringify(name)}.`,
        'Report this.',
      );
  return await quarantine.use(signal, async () => {
    const look = await lookAtRemote({ ...options, timeoutMs: lookMs });
    const why = whyProtected(branch, look, options.protectedBranches);
    if (why !== undefined && options.protectedToo !== true) {
      throw new SallyportError(
        'push_protected',
        `${why} Nothing was pushed.`,
        'Push to a branch of its own, or confirm that this one is meant.',
      );
    }
    const before = look.branches.get(branch);
    if (before === commit) return { changed: false, words: [] };
    checkClash(branch, look, remote);
    const forced = before !== undefined && overwrite !== undefined;
    const ref = `refs/heads/${branch}`;
    const args = (name: string): string[] => [
      'push',
      '--porcelain',
      '--progress',
      '--no-verify',
      '--no-tags',
      '--no-follow-tags',
      '--recurse-submodules=no',
      // The lease is what the user has seen and said yes to, not what stands there now.
      ...(forced ? [`--force-with-lease=${ref}:${overwrite}`] : []),
      '--',
      name,
      `${commit}:${ref}`,
    ];
    let stderr = '';
    const progress = progressReader(options.onProgress);
    const answer = await reach(args, options, {
      timeoutMs: options.timeoutMs ?? pushMs,
      set: alternate(quarantine.objects),
      okCodes: [0, 1],
      onStderr: (text) => {
        stderr = (stderr + text).slice(-(256 << 10));
        progress(text);
      },
    });
    const line = answer.stdout
      .toString()
      .split('\n')
      .find((each) => each.split('\t')[1]?.endsWith(`:${ref}`) === true);
    const [flag = '', , summary = ''] = line?.split('\t') ?? [];
    if (flag === '!') throw branchRefusal(remote, branch, summary, stderr);
    if (answer.code !== 0 || line === undefined) throw connectionFailure(remote, stderr);
    const words = serverWords(stderr);
    const url = offeredUrl(words, remote.host);
    return { changed: flag !== '=', words, ...(url === undefined ? {} : { url }) };
  });
}

/** A branch cannot be a folder of another. Git says so in its own words only after everything was sent. */
function checkClash(branch: string, { branches }: RemoteLook, remote: HostRemote): void {
  const other = [...branches.keys()].find(
    (name) => name.startsWith(`${branch}/`) || branch.startsWith(`${name}/`),
  );
  if (other === undefined) return;
  throw new SallyportError(
    'invalid_branch',
    `The branch ${branch} cannot be made beside the branch ${safeLine(other, 200)} of ${safeLine(remote.name, 60)}.`,
    'Choose another name.',
  );
}

/** Runs git against the remote; what goes wrong on the way is told in the user's terms. */
async function reach(
  args: (remote: string) => readonly string[],
  { repository, remote, env = process.env, signal }: HostLookOptions,
  options: HostGitOptions,
): Promise<GitResult> {
  const configured = await hostGit(['config', '--get', 'core.sshCommand'], repository, {
    env,
    signal,
    okCodes: [0, 1],
  });
  const ownCommand = configured.stdout.toString().trim();
  const command = sshMayAsk(env) ? undefined : sshCommand(env, ownCommand === '' ? undefined : ownCommand);
  // For this one command, so that no address is in an argument of ours; a name that no configuration can have settings for.
  const name = `sallyport-${randomBytes(8).toString('hex')}`;
  const config: [string, string][] = [
    [`remote.${name}.url`, remote.url],
    [`remote.${name}.pushurl`, remote.url],
  ];
  const proxy = await hostGit(['config', '--get', `remote.${remote.name}.proxy`], repository, {
    env,
    signal,
    okCodes: [0, 1],
  });
  if (proxy.code === 0) config.push([`remote.${name}.proxy`, proxy.stdout.toString().trim()]);
  const set = { ...options.set, ...(command === undefined ? {} : { GIT_SSH_COMMAND: command }) };
  await checkRewriting(name, remote, repository, { env, signal, config });
  try {
    const result = await hostGit(args(name), repository, {
      ...options,
      env,
      signal,
      set,
      config,
      okCodes: [...(options.okCodes ?? [0]), 128, 129],
    });
    if (result.code >= 128) throw connectionFailure(remote, result.stderr);
    return result;
  } catch (thrown) {
    // Killed by its time limit, or by a signal: its own words may hold an address with a password.
    if (thrown instanceof SallyportError && thrown.code === 'git_failed')
      throw connectionFailure(remote, thrown.message);
    throw thrown;
  }
}

/** `url.<base>.insteadOf` was applied once already. What a second time would lead elsewhere is not pushed to. */
async function checkRewriting(
  name: string,
  remote: HostRemote,
  repository: Repository,
  options: HostGitOptions,
): Promise<void> {
  // With a push URL of its own both ways of rewriting are the same.
  const { stdout } = await hostGit(['ls-remote', '--get-url', '--', name], repository, options);
  if (stdout.toString().replace(/\n$/, '') === remote.url) return;
  throw new SallyportError(
    'push_refused',
    `The rules url.<base>.insteadOf of your git configuration lead the address of ${safeLine(remote.name, 60)} to two places.`,
    'Give the remote a push address that no rule changes: git remote set-url --push.',
  );
}

function progressReader(tell: ((line: string) => void) | undefined): (text: string) => void {
  let rest = '';
  return (text) => {
    if (tell === undefined) return;
    const lines = (rest + text).split(/[\r\n]/);
    rest = (lines.pop() ?? '').slice(-1000);
    const last = lines.findLast((line) => /^(?:remote: )?[A-Z][a-z]+ [a-z ]*[a-z]:\s+\d+%/.test(line));
    if (last !== undefined) tell(safeLine(last.replace(/^remote: /, ''), 100));
  };
}
