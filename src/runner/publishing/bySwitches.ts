import { join } from 'node:path';
import { claim } from '../../base/ownership.ts';
import { SallyportError } from '../../base/errors.ts';
import type { Forge, PullRequest } from '../../forge/forge.ts';
import { markOf, pullRequestBody, pullRequestTitle } from '../../forge/pullRequestText.ts';
import { safeLine } from '../../protocol/safeText.ts';
import type { Switches } from '../../protocol/switches.ts';
import type { TaskState } from '../../protocol/taskState.ts';
import { checkBranch, checkCiFiles, checkVerdicts, targetOf } from './switchRules.ts';
import type { PublisherParts, TaskPublisher } from './taskPublisher.ts';
import type { ForgeToken, RemoteChoice, RemoteForge } from './taskPublishing.ts';

/** The account that was confirmed for a forge; undefined when there is none. Asks nobody. */
export type ConfirmedToken = (forge: RemoteForge) => Promise<ForgeToken | undefined>;

/**
 * Pushes and proposes what the task's switches say: to its own branch, never to the default or a protected one, never over
 * somebody else's commits, never what a forge would run at once, never what the user has turned down. One process at a time.
 * Throws what is in the way; `task_busy` while another window is at it.
 */
export async function publishBySwitches(
  publisher: TaskPublisher,
  parts: PublisherParts,
  token: ConfirmedToken,
  signal: AbortSignal,
): Promise<void> {
  const { switches } = parts.state().spec;
  if (!parts.ownSwitches || switches?.autoPush !== true) return;
  const release = await claim(join(parts.folder, 'publishing'));
  if (release === undefined)
    throw new SallyportError('task_busy', 'Another window pushes this task.', 'Wait for it.');
  try {
    const state = parts.state();
    const target = targetOf(state);
    if (target === undefined) return;
    const remote = ownRemote(await publisher.remotes(signal));
    const known = remote.forge && (await token(remote.forge));
    await push(publisher, parts, state, { remote, target, token: known }, signal);
    await propose(publisher, parts, { state, switches, target, remote, token: known }, signal);
  } finally {
    await release();
  }
}

function ownRemote(remotes: readonly RemoteChoice[]): RemoteChoice {
  const [first] = remotes;
  if (first !== undefined && (remotes.length === 1 || first.name === 'origin')) return first;
  throw new SallyportError(
    'no_remote',
    'The repository has several remotes and none is called origin, so nothing is pushed by itself.',
    'Push the branch yourself with Push Branch….',
  );
}

async function push(
  publisher: TaskPublisher,
  { quarantine, review }: PublisherParts,
  { spec, imported }: TaskState,
  { remote, target, token }: { remote: RemoteChoice; target: string; token: ForgeToken | undefined },
  signal: AbortSignal,
): Promise<void> {
  const before = await review.state();
  const { branch } = spec;
  const pushes = before.pushes.filter((one) => one.remote === remote.name && one.branch === branch);
  if (pushes.at(-1)?.commit === target) return;
  checkVerdicts(before);
  // What is pushed is what came in, not what the sandbox says of it.
  const here = new Set((await quarantine.tips(spec.id, signal)).map(({ sha }) => sha));
  if (!here.has(target)) return;
  await checkCiFiles(quarantine, spec.snapshot.commit, target, 'host', signal);
  const wish = { remote, branch, commit: target, token, signal };
  const look = await publisher.look(wish);
  const overwrite = checkBranch(branch, look, {
    mine: imported.filter((sha) => here.has(sha)),
    pushed: pushes.map(({ commit }) => commit),
  });
  await publisher.push({ ...wish, ...(overwrite === undefined ? {} : { overwrite }) });
}

interface Proposal {
  state: TaskState;
  switches: Switches;
  target: string;
  remote: RemoteChoice;
  token: ForgeToken | undefined;
}

/** The pull request of the branch, as the switches say. */
async function propose(
  publisher: TaskPublisher,
  { review }: PublisherParts,
  { state, switches, target, remote, token }: Proposal,
  signal: AbortSignal,
): Promise<void> {
  const ready = switches.autoPullRequest && state.phase === 'succeeded';
  const known = (await review.state()).pullRequest;
  if (!ready && !switches.draftEarly) return;
  if (remote.forge === undefined || token === undefined) {
    throw new SallyportError(
      'forge_refused',
      remote.forge === undefined
        ? `The remote ${safeLine(remote.name, 60)} belongs to no forge that Sallyport knows, so no pull request was opened.`
        : `You have chosen no account at ${remote.forge.host} yet, so no pull request was opened.`,
      remote.forge === undefined
        ? 'Open it where the server shows it, or name the host in sallyport.forge.hosts.'
        : 'Open it once with Push and Create Pull Request…; from then on the account is known.',
    );
  }
  const { forge, place } = publisher.forgeAt(remote.url, token);
  const { spec } = state;
  const facts = { state, owner: spec.identity.name, pushedCommit: target };
  const body = pullRequestBody(facts, forge.kind);
  let pull: PullRequest;
  if (known === undefined) {
    const own = await forge.repository(place.repository, signal);
    const base = own.defaultBranch;
    if (base === undefined || base === spec.branch) return;
    pull = await forge.openPullRequest(
      {
        repository: place.repository,
        branch: spec.branch,
        base,
        title: pullRequestTitle(spec.title),
        body,
        draft: !ready,
      },
      signal,
    );
  } else pull = await forge.pullRequest(known.repository, known.number, signal);
  pull = await keepCurrent(
    forge,
    place.repository,
    pull,
    { body, mark: markOf(spec.id, forge.kind), ready },
    signal,
  );
  await publisher.notePullRequest(remote, place, spec.branch, pull);
}

/** What somebody else has opened for the branch, or has written anew, is theirs. */
async function keepCurrent(
  forge: Forge,
  repository: string,
  pull: PullRequest,
  { body, mark, ready }: { body: string; mark: string; ready: boolean },
  signal: AbortSignal,
): Promise<PullRequest> {
  const open = pull.state === 'draft' || pull.state === 'open';
  let now = pull;
  if (open && now.body.includes(mark) && plain(now.body) !== plain(body))
    now = await forge.changePullRequest(repository, now.number, { body }, signal);
  return now.state === 'draft' && ready ? await forge.markReady(repository, now.number, signal) : now;
}

/** A forge may write line ends its own way. */
function plain(text: string): string {
  return text.replace(/\r\n/g, '\n').trim();
}
