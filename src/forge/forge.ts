import type { GitCredential } from '../git/smartHttp.ts';

/** A repository of a forge, as far as it matters here. */
export interface ForgeRepository {
  /** `owner/name`, as the forge writes it. */
  name: string;
  description: string;
  private: boolean;
  archived: boolean;
  /** Undefined for an empty repository, where the forge says so. */
  defaultBranch?: string;
  /** The token may push to it. */
  mayPush: boolean;
}

export interface PullRequest {
  number: number;
  /** For people. */
  url: string;
  state: 'draft' | 'open' | 'closed' | 'merged';
  title: string;
  body: string;
}

export interface PullRequestWish {
  repository: string;
  /** Whose commits it asks to take. */
  branch: string;
  base: string;
  title: string;
  body: string;
  draft: boolean;
}

/**
 * A forge, with a token of ours. Every call throws `repository_not_found` for what the token does not see, `forge_refused`
 * for what it may not do, with the forge's words, and `forge_unreachable` for what may go better later.
 */
export interface Forge {
  /** For people: "GitHub". */
  readonly name: string;
  /** For fetching and pushing, at this forge only. */
  readonly credential: GitCredential;
  /** `owner/name` of an address of a repository at this forge; undefined for any other address. */
  repositoryAt(url: string): string | undefined;
  /** The address to fetch a repository from. */
  urlOf(repository: string): string;
  /** What the token may see, most recently changed first; `more` when there are further ones than `max`. */
  repositories(max: number, signal: AbortSignal): Promise<{ repositories: ForgeRepository[]; more: boolean }>;
  repository(name: string, signal: AbortSignal): Promise<ForgeRepository>;
  /** The open pull request of that branch; a new one where there is none. */
  openPullRequest(wish: PullRequestWish, signal: AbortSignal): Promise<PullRequest>;
  pullRequest(repository: string, number: number, signal: AbortSignal): Promise<PullRequest>;
  changePullRequest(
    repository: string,
    number: number,
    change: { title?: string; body?: string },
    signal: AbortSignal,
  ): Promise<PullRequest>;
  /** Takes the draft's mark off; nothing happens to one that has none. */
  markReady(repository: string, number: number, signal: AbortSignal): Promise<PullRequest>;
}

/** `owner/name`: what fits into a path and is no part of one. */
export function isRepositoryName(text: string): boolean {
  return /^[A-Za-z0-9_.-]{1,100}\/[A-Za-z0-9_.-]{1,100}$/.test(text) && !/(^|\/)\.{1,2}(\/|$)/.test(text);
}
