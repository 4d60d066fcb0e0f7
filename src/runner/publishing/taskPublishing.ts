import type { HostRemote } from '../../git/hostRemotes.ts';
import type { PullRequestRecord, PushRecord } from '../../protocol/review.ts';
import type { PushOffer } from './pushOffers.ts';
import type { PullRequestText } from './pullRequestDocument.ts';

/** The forge that a remote belongs to. */
export interface RemoteForge {
  /** For people: "GitHub". */
  name: string;
  kind: string;
  /** What a token belongs to. */
  host: string;
  /** `owner/name` */
  repository: string;
}

export interface RemoteChoice extends HostRemote {
  /** Undefined where it is not known to be one: then there is a push, and no pull request. */
  forge?: RemoteForge;
}

/** A token for one forge, that the user has seen and confirmed. */
export interface ForgeToken {
  host: string;
  token: string;
  /** Login, where the forge takes one beside the token. */
  user?: string;
}

/** How a branch of a remote stands to what is to be pushed to it. */
export interface BranchLook {
  defaultBranch?: string;
  /** Names of all branches. */
  branches: string[];
  /** The commit at which the branch stands; undefined for a new one. */
  at?: string;
  /** `ahead`: the push only adds to it. `other`: it would give up what is there. */
  relation: 'new' | 'same' | 'ahead' | 'other';
  /** Why it needs a second yes. */
  protectedWhy?: string;
  /** How many commits from before the task go along, which the remote has not. */
  earlierCommits: number;
}

export interface PushWish {
  remote: RemoteChoice;
  branch: string;
  commit: string;
  /** The second yes, to a branch that is the default one or protected. */
  protectedToo?: boolean;
  /** The yes to giving up this commit. */
  overwrite?: string;
  token?: ForgeToken | undefined;
  onProgress?: (line: string) => void;
  signal?: AbortSignal | undefined;
}

export interface PushOutcome {
  record: PushRecord;
  changed: boolean;
  /** What the server said, a line each, fit to be shown. */
  words: string[];
}

/** Where a pull request can be opened. */
export interface PullRequestPlace {
  repository: string;
  defaultBranch?: string;
}

export interface PullRequestRequest extends PullRequestText {
  remote: RemoteChoice;
  /** Where it is opened: the remote's own repository, or the one that it is a fork of. */
  repository: string;
  branch: string;
  base: string;
  draft: boolean;
  token: ForgeToken;
  signal?: AbortSignal | undefined;
}

/**
 * What leaves this machine of one task's work. Nothing does by itself: each call is something that a user has just decided, or
 * has switched on for this task. Failures are SallyportErrors.
 */
export interface TaskPublishing {
  /** Where it can be pushed to. Throws `no_repository`, `no_remote`. */
  remotes(signal?: AbortSignal): Promise<RemoteChoice[]>;
  /** What can be pushed, with what has to be read before. Throws `nothing_to_accept`. */
  offers(signal?: AbortSignal): Promise<PushOffer[]>;
  /**
   * Makes the commit of an offer that has none, as a new branch of the user's repository. Throws as `TaskReview.accept`, and
   * `conflict` where the user's own work is in the way.
   */
  compose(offer: PushOffer, branch: string, message: string, signal?: AbortSignal): Promise<string>;
  /** Asks the remote, with the user's credentials; and the forge, if there is a token. */
  look(wish: Pick<PushWish, 'remote' | 'branch' | 'commit' | 'token' | 'signal'>): Promise<BranchLook>;
  /** Throws as `pushFromHost`. The push is in the review then. */
  push(wish: PushWish): Promise<PushOutcome>;
  /** Where a pull request from that remote can be opened, the usual one first. */
  places(remote: RemoteChoice, token: ForgeToken, signal?: AbortSignal): Promise<PullRequestPlace[]>;
  /** Title and body out of the commits, and what is in the way. */
  draft(commit: string, signal?: AbortSignal): Promise<PullRequestText>;
  /** Opens it, or finds the one that is open; it is in the review then. */
  openPullRequest(request: PullRequestRequest): Promise<PullRequestRecord>;
  markReady(token: ForgeToken, signal?: AbortSignal): Promise<PullRequestRecord>;
  /** Asks the forge for the state and the checks; undefined when there is no pull request. What is new is in the review then. */
  refresh(token: ForgeToken, signal?: AbortSignal): Promise<PullRequestRecord | undefined>;
  /**
   * Does what the task's own switches say, and nothing when it has none. `token` is the account that was confirmed for a forge.
   * Throws what is in the way; `task_busy` while another window is at it.
   */
  bySwitches(
    token: (forge: RemoteForge) => Promise<ForgeToken | undefined>,
    signal: AbortSignal,
  ): Promise<void>;
  /** The forge of the task's pull request. */
  forgeOfPullRequest(): Promise<RemoteForge | undefined>;
}
