import type { GitCredential } from '../git/smartHttp.ts';
import type { ForgeKind } from './names.ts';

/** A repository of a forge, as far as it matters here. */
export interface ForgeRepository {
  /** `owner/name`, or with groups between them, as the forge writes it. */
  name: string;
  description: string;
  private: boolean;
  archived: boolean;
  /** Undefined for an empty repository, where the forge says so. */
  defaultBranch?: string;
  /** The token may push to it. Undefined where the forge does not say. */
  mayPush?: boolean;
  /** What it is a fork of, where the token sees that. */
  parent?: string;
}

export interface PullRequest {
  /** As people of that repository say it. */
  number: number;
  /** For people. */
  url: string;
  state: 'draft' | 'open' | 'closed' | 'merged';
  /** Without the words with which some forges mark a draft. */
  title: string;
  body: string;
  /** Whose commits it asks to take; in the repository of the fork where it is from one. */
  branch: string;
  /** Where they are to go. */
  base: string;
  /** The newest of its commits, where the forge says it. A forge may shorten it. */
  commit?: string;
}

/** Where a pull request comes from. */
export interface PullRequestHead {
  /** Where it is opened. */
  repository: string;
  branch: string;
  /** Where the branch is, when that is a fork of `repository`. Both are at the same forge. */
  headRepository?: string;
}

export interface PullRequestWish extends PullRequestHead {
  base: string;
  title: string;
  body: string;
  draft: boolean;
}

/** What the forge's checks say of a pull request's newest commit: `failed` as soon as one has, `none` where there are none. */
export type Checks = 'running' | 'passed' | 'failed' | 'none';

/**
 * A forge, with somebody's token. Every call throws `repository_not_found` for what the token does not see, `forge_refused`
 * for what it may not do, with the forge's words, and `forge_unreachable` for what may go better later (`TooManyRequests`
 * says when).
 */
export interface Forge {
  readonly kind: ForgeKind;
  /** For people: "GitHub". */
  readonly name: string;
  /** For fetching and pushing, at this forge only. */
  readonly credential: GitCredential;
  /** Name of the repository at an https address of this forge; undefined for any other address. */
  repositoryAt(url: string): string | undefined;
  /** The address to fetch a repository from. */
  urlOf(repository: string): string;
  repository(name: string, signal: AbortSignal): Promise<ForgeRepository>;
  /**
   * Whether the forge guards that branch. False also for a branch that is not there; undefined where the forge does not tell
   * the token. Says nothing of the default branch, which a forge may leave unguarded.
   */
  isProtected(repository: string, branch: string, signal: AbortSignal): Promise<boolean | undefined>;
  /** The open pull request of that branch, the newest one. */
  findPullRequest(head: PullRequestHead, signal: AbortSignal): Promise<PullRequest | undefined>;
  /** The open pull request of that branch, as it is; a new one where there is none. */
  openPullRequest(wish: PullRequestWish, signal: AbortSignal): Promise<PullRequest>;
  pullRequest(repository: string, number: number, signal: AbortSignal): Promise<PullRequest>;
  /** A draft stays one. */
  changePullRequest(
    repository: string,
    number: number,
    change: { title?: string; body?: string },
    signal: AbortSignal,
  ): Promise<PullRequest>;
  /** Takes the draft's mark off; nothing happens to one that has none. */
  markReady(repository: string, number: number, signal: AbortSignal): Promise<PullRequest>;
  /** Of a pull request that was just read. */
  checks(
    repository: string,
    pull: Pick<PullRequest, 'number' | 'commit'>,
    signal: AbortSignal,
  ): Promise<Checks>;
}

/** A forge of which it can be asked what there is. */
export interface BrowsableForge extends Forge {
  /** What the token may see, most recently changed first; `more` when there are further ones than `max`. */
  repositories(max: number, signal: AbortSignal): Promise<{ repositories: ForgeRepository[]; more: boolean }>;
}
