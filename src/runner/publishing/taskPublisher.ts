import { join } from 'node:path';
import { SallyportError } from '../../base/errors.ts';
import type { Forge, PullRequest } from '../../forge/forge.ts';
import { pullRequestDraft } from '../../forge/pullRequestText.ts';
import { forgeOf, ForgeHosts, type ForgeHost, type ForgePlace } from '../../forge/forgeOf.ts';
import { lookAtRemote, pushFromHost, whyProtected, type RemoteLook } from '../../git/hostPush.ts';
import { hostRemotes, someRemote } from '../../git/hostRemotes.ts';
import type { Quarantine } from '../../git/quarantine.ts';
import { alternate } from '../../git/receive.ts';
import { openRepository, type Repository } from '../../git/repository.ts';
import { resultRange } from '../../protocol/ranges.ts';
import type { PullRequestRecord } from '../../protocol/review.ts';
import { safeLine } from '../../protocol/safeText.ts';
import type { TaskState } from '../../protocol/taskState.ts';
import type { TaskReview } from '../review/taskReview.ts';
import { type ConfirmedToken, publishBySwitches } from './bySwitches.ts';
import { isOlder, missingCommits, newCommits, onlyInHistory } from './history.ts';
import type { PullRequestText } from './pullRequestDocument.ts';
import { pushOffers, type PushOffer } from './pushOffers.ts';
import type {
  BranchLook,
  ForgeToken,
  PullRequestPlace,
  PullRequestRequest,
  PushOutcome,
  PushWish,
  RemoteChoice,
  RemoteForge,
  TaskPublishing,
} from './taskPublishing.ts';

export interface PublisherParts {
  state: () => TaskState;
  quarantine: Quarantine;
  review: Pick<TaskReview, 'state' | 'diff' | 'accept' | 'record'>;
  /** The task's switches were set on this machine. Those of a task of a remote runner are that runner's claim, and move nothing here. */
  ownSwitches: boolean;
  /** The task's own, in the data folder. */
  folder: string;
  /** The user's setting of which hosts are forges; it is checked here. */
  hosts: () => unknown;
  openForge: (place: ForgePlace, token: ForgeToken) => Forge;
}

/** What is done with one task's commits beyond this machine. */
export class TaskPublisher implements TaskPublishing {
  private readonly parts: PublisherParts;

  constructor(parts: PublisherParts) {
    this.parts = parts;
  }

  async remotes(signal?: AbortSignal): Promise<RemoteChoice[]> {
    const repository = await this.repository(signal);
    const hosts = this.hosts();
    const found = await hostRemotes(repository, signal);
    return someRemote(found, repository.ref.name).map((remote) => {
      const place = forgeOf(remote.url, hosts);
      return place === undefined ? remote : { ...remote, forge: shownForge(place) };
    });
  }

  async offers(signal?: AbortSignal): Promise<PushOffer[]> {
    const { quarantine, review } = this.parts;
    const state = this.parts.state();
    const range = resultRange(state);
    if (range === undefined) {
      throw new SallyportError(
        'nothing_to_accept',
        'This task has no commit to push yet.',
        state.leftovers === undefined
          ? 'Wait for its first commit.'
          : 'Commit what the agent left uncommitted first.',
      );
    }
    const diff = await review.diff({ kind: 'all' }, signal);
    const { spec } = state;
    return pushOffers({
      commit: range.to,
      commits: await missingCommits(quarantine, range.to, [range.from], signal),
      branch: spec.branch,
      diff,
      review: await review.state(),
      onlyInHistory: await onlyInHistory(quarantine, { ...range, files: diff.files }, signal),
      ownEdits: spec.snapshot.commit !== spec.snapshot.head,
    });
  }

  async compose(offer: PushOffer, branch: string, message: string, signal?: AbortSignal): Promise<string> {
    if (offer.commit !== undefined) return offer.commit;
    const outcome = await this.parts.review.accept({
      scope: { kind: 'all' },
      what: offer.kind === 'accepted' ? 'accepted' : 'rest',
      target: { kind: 'branch', branch },
      message,
      ...(signal === undefined ? {} : { signal }),
    });
    if (outcome.kind === 'conflicts') {
      throw new SallyportError(
        'conflict',
        `What is to be pushed is in conflict with your own work in ${outcome.conflicts
          .slice(0, 3)
          .map(({ path }) => safeLine(path, 100))
          .join(', ')}.`,
        'Accept it as a branch first, where you can resolve that, then push the branch.',
      );
    }
    const { commit } = outcome.record;
    if (commit !== undefined) return commit;
    throw new SallyportError('internal', 'The accept has made no commit.', 'Report this.');
  }

  async look({
    remote,
    branch,
    commit,
    token,
    signal,
  }: Pick<PushWish, 'remote' | 'branch' | 'commit' | 'token' | 'signal'>): Promise<BranchLook> {
    const repository = await this.repository(signal);
    const look = await lookAtRemote({ repository, remote, signal });
    const { quarantine } = this.parts;
    const at = look.branches.get(branch);
    const env = alternate(join(repository.commonDir, 'objects'));
    const relation =
      at === undefined
        ? 'new'
        : at === commit
          ? 'same'
          : (await isOlder(quarantine, at, commit, env, signal))
            ? 'ahead'
            : 'other';
    const guarded = await this.guarded(remote, branch, look, token, signal);
    const protectedWhy = whyProtected(branch, look, guarded ? [branch] : []);
    return {
      branches: [...look.branches.keys()],
      relation,
      earlierCommits: await missingCommits(
        quarantine,
        this.parts.state().spec.snapshot.head,
        [...look.branches.values()],
        signal,
      ),
      ...(look.defaultBranch === undefined ? {} : { defaultBranch: look.defaultBranch }),
      ...(at === undefined ? {} : { at }),
      ...(protectedWhy === undefined ? {} : { protectedWhy }),
    };
  }

  async push(wish: PushWish): Promise<PushOutcome> {
    const { remote, branch, commit, protectedToo, overwrite, token, onProgress, signal } = wish;
    const repository = await this.repository(signal);
    const guarded = await this.guarded(remote, branch, undefined, token, signal);
    const { changed, words, url } = await pushFromHost({
      repository,
      quarantine: this.parts.quarantine,
      remote,
      branch,
      commit,
      signal,
      protectedBranches: guarded ? [branch] : [],
      protectedToo: protectedToo === true,
      ...(overwrite === undefined ? {} : { overwrite }),
      ...(onProgress === undefined ? {} : { onProgress }),
    });
    const record = { remote: remote.name, branch, commit, ...(url === undefined ? {} : { url }) };
    await this.parts.review.record({ type: 'pushed', push: record });
    return { record, changed, words };
  }

  async places(remote: RemoteChoice, token: ForgeToken, signal?: AbortSignal): Promise<PullRequestPlace[]> {
    const { forge, place } = this.forgeAt(remote.url, token);
    const own = await forge.repository(place.repository, endless(signal));
    const here = placeIn(own.name, own.defaultBranch);
    if (own.parent === undefined) return [here];
    const parent = await forge.repository(own.parent, endless(signal)).catch(() => undefined);
    return parent === undefined ? [here] : [placeIn(parent.name, parent.defaultBranch), here];
  }

  async draft(commit: string, signal?: AbortSignal): Promise<PullRequestText> {
    const state = this.parts.state();
    const { commonDir } = await this.repository(signal);
    const commits = await newCommits(
      this.parts.quarantine,
      { from: state.spec.snapshot.commit, to: commit },
      // What was made out of the review is in the user's repository alone.
      alternate(join(commonDir, 'objects')),
      signal,
    );
    return pullRequestDraft({ state, commits, pushedCommit: commit });
  }

  async openPullRequest(request: PullRequestRequest): Promise<PullRequestRecord> {
    const { remote, repository, branch, base, title, body, draft, token, signal } = request;
    const { forge, place } = this.forgeAt(remote.url, token);
    if (repository === place.repository && base === branch) {
      throw new SallyportError(
        'invalid_input',
        `A pull request cannot go from ${branch} to itself.`,
        'Choose another base branch.',
      );
    }
    const pull = await forge.openPullRequest(
      {
        repository,
        branch,
        base,
        title,
        body,
        draft,
        ...(repository === place.repository ? {} : { headRepository: place.repository }),
      },
      endless(signal),
    );
    return await this.note({
      forge: place.name,
      repository,
      branch,
      remote: remote.shown,
      ...shownPull(pull, place),
    });
  }

  async markReady(token: ForgeToken, signal?: AbortSignal): Promise<PullRequestRecord> {
    const known = await this.known();
    const { forge, place } = this.forgeAt(addressOf(known), token);
    const pull = await forge.markReady(known.repository, known.number, endless(signal));
    return await this.note({ ...known, ...shownPull(pull, place) });
  }

  async refresh(token: ForgeToken, signal?: AbortSignal): Promise<PullRequestRecord | undefined> {
    const known = (await this.parts.review.state()).pullRequest;
    if (known === undefined) return undefined;
    const { forge, place } = this.forgeAt(addressOf(known), token);
    const pull = await forge.pullRequest(known.repository, known.number, endless(signal));
    const over = pull.state === 'merged' || pull.state === 'closed';
    // Of one that is over nobody waits for the checks any more.
    const checks = over ? known.checks : await forge.checks(known.repository, pull, endless(signal));
    const { at: _at, ...before } = known;
    const now: PullRequestRecord = {
      ...before,
      ...shownPull(pull, place),
      ...(checks === undefined ? {} : { checks }),
    };
    return now.state === known.state && now.checks === known.checks ? before : await this.note(now);
  }

  async forgeOfPullRequest(): Promise<RemoteForge | undefined> {
    const known = (await this.parts.review.state()).pullRequest;
    const place = known && forgeOf(addressOf(known), this.hosts());
    return place && shownForge(place);
  }

  async bySwitches(token: ConfirmedToken, signal: AbortSignal): Promise<void> {
    await publishBySwitches(this, this.parts, token, signal);
  }

  /** Notes how a pull request stands, where that is news. */
  async notePullRequest(
    remote: RemoteChoice,
    place: ForgePlace,
    branch: string,
    pull: PullRequest,
  ): Promise<void> {
    const known = (await this.parts.review.state()).pullRequest;
    const { name: forge, repository } = place;
    const now = { forge, repository, branch, remote: remote.shown, ...shownPull(pull, place) };
    if (known?.url === now.url && known.number === now.number && known.state === now.state) return;
    await this.note({
      ...now,
      ...(known?.url === now.url && known.checks !== undefined ? { checks: known.checks } : {}),
    });
  }

  /** Whether the forge says that the branch is protected; a forge that does not tell, or is not there, keeps nobody from pushing. */
  private async guarded(
    remote: RemoteChoice,
    branch: string,
    look: RemoteLook | undefined,
    token: ForgeToken | undefined,
    signal: AbortSignal | undefined,
  ): Promise<boolean> {
    if (token === undefined || forgeOf(remote.url, this.hosts())?.host !== token.host) return false;
    if (look !== undefined && !look.branches.has(branch)) return false;
    const { forge, place } = this.forgeAt(remote.url, token);
    try {
      return (await forge.isProtected(place.repository, branch, endless(signal))) === true;
    } catch (thrown) {
      if (thrown instanceof SallyportError && thrown.code === 'cancelled') throw thrown;
      return false;
    }
  }

  /** The forge at an address, with a token of its own. */
  forgeAt(url: string, token: ForgeToken): { forge: Forge; place: ForgePlace } {
    const place = forgeOf(url, this.hosts());
    if (place === undefined) {
      throw new SallyportError(
        'repository_not_found',
        'The remote belongs to no forge that Sallyport knows, so it cannot open a pull request there.',
        'If it is a GitLab, Gitea, Forgejo or GitHub Enterprise server, name its host in sallyport.forge.hosts.',
      );
    }
    // Once more, next to where it is used: a token never goes to another host.
    if (place.host !== token.host)
      throw new SallyportError(
        'internal',
        `A token for ${token.host} was about to go to ${place.host}.`,
        'Report this.',
      );
    return { forge: this.parts.openForge(place, token), place };
  }

  private hosts(): ForgeHost[] {
    const given = this.parts.hosts();
    const read = ForgeHosts.safeParse(given ?? []);
    if (read.success) return read.data;
    const [issue] = read.error.issues;
    throw new SallyportError(
      'invalid_input',
      `The setting sallyport.forge.hosts does not fit: ${issue?.path.join('.') ?? ''}: ${issue?.message ?? ''}.`,
      'It is a list such as [{ "host": "git.example.com", "kind": "gitlab" }].',
    );
  }

  private async known(): Promise<PullRequestRecord> {
    const known = (await this.parts.review.state()).pullRequest;
    if (known === undefined)
      throw new SallyportError('not_found', 'This task has no pull request.', 'Open one first.');
    const { at: _at, ...record } = known;
    return record;
  }

  private async note(pullRequest: PullRequestRecord): Promise<PullRequestRecord> {
    await this.parts.review.record({ type: 'pull_request', pullRequest });
    return pullRequest;
  }

  private async repository(signal: AbortSignal | undefined): Promise<Repository> {
    const { path } = this.parts.state().spec.repository;
    if (path === '') {
      throw new SallyportError(
        'no_repository',
        'The task was not submitted from a repository of this machine, so there is none to push from.',
        'The runner can push it with its switches; or push it where it was submitted.',
      );
    }
    return await openRepository(path, signal, { duringOperation: true });
  }
}

function shownForge({ name, kind, host, repository }: ForgePlace): RemoteForge {
  return { name, kind, host, repository };
}

function placeIn(repository: string, defaultBranch: string | undefined): PullRequestPlace {
  return { repository, ...(defaultBranch === undefined ? {} : { defaultBranch }) };
}

/** The address of the remote that it was opened from; without one, where the pull request itself is. */
function addressOf({ remote, url, repository }: PullRequestRecord): string {
  return remote ?? `${new URL(url).origin}/${repository}`;
}

/** What is kept of it. An address that is not on the web is not offered to anybody. */
function shownPull(
  { number, url, state }: PullRequest,
  { webUrl, repository }: ForgePlace,
): Pick<PullRequestRecord, 'number' | 'url' | 'state'> {
  const web = /^https?:\/\//i.test(url) ? url : `${webUrl}/${repository}`;
  return { number, state, url: web };
}

function endless(signal: AbortSignal | undefined): AbortSignal {
  return signal ?? new AbortController().signal;
}
