import * as z from 'zod/mini';
import { orAbsent } from './asking.ts';
import { stateOf } from './checks.ts';
import { isMarked, stillDraft, titleFor, unmarked } from './draftTitle.ts';
import type {
  Checks,
  Forge,
  ForgeRepository,
  PullRequest,
  PullRequestHead,
  PullRequestWish,
} from './forge.ts';
import type { ForgeOptions } from './forgeOptions.ts';
import { isRepositoryName, named, sameRepository } from './names.ts';
import { RestForge } from './restForge.ts';
import { segmentOf } from './segments.ts';

const Name = z
  .string()
  .check(z.refine((name) => isRepositoryName(name, 'gitea'), 'not a name of a repository'));

const Repository = z.object({
  full_name: Name,
  description: z.catch(z.string(), ''),
  private: z.catch(z.boolean(), true),
  archived: z.catch(z.boolean(), false),
  empty: z.catch(z.boolean(), false),
  default_branch: z.catch(z.nullable(z.string()), null),
  permissions: z.catch(z.optional(z.object({ push: z.boolean() })), undefined),
  parent: z.catch(z.nullish(z.object({ full_name: Name })), null),
});

const Pull = z.object({
  number: z.int().check(z.positive()),
  html_url: z.url({ protocol: /^https?$/ }),
  state: z.enum(['open', 'closed']),
  /** Only newer ones say it. */
  draft: z.catch(z.optional(z.boolean()), undefined),
  merged: z.catch(z.boolean(), false),
  title: z.string(),
  body: z.catch(z.nullable(z.string()), null),
  head: z.object({
    ref: z.string(),
    sha: z.catch(z.string(), ''),
    /** A fork may be gone. */
    repo: z.catch(z.nullish(z.object({ full_name: z.string() })), null),
  }),
  base: z.object({ ref: z.string() }),
});
type Pull = z.infer<typeof Pull>;

const Status = z.object({ state: z.catch(z.string(), ''), total_count: z.catch(z.int(), 0) });

/** Gitea gives no more at once. */
const perPage = 50;
/** How many open pull requests are looked through for the one of a branch: it cannot be asked for by name. */
const maxLooked = 2000;

/** Gitea or Forgejo: codeberg.org, gitea.com, or one of somebody's own. */
export class Gitea extends RestForge<typeof Pull> implements Forge {
  readonly kind = 'gitea';

  constructor(options: ForgeOptions) {
    super(options, {
      kind: 'gitea',
      // It takes the token for the password, and asks for no user.
      gitUser: 'oauth2',
      rights:
        'the right to read and write repositories (write:repository), and its user that of writing to this one',
      headers: { authorization: `token ${options.token}` },
      schema: Pull,
      read: pullRequestOf,
      noun: 'pull request',
      changing: 'PATCH',
    });
  }

  async repository(name: string, signal: AbortSignal): Promise<ForgeRepository> {
    const { value } = await this.rest.ask(Repository, {
      path: repositoryPath(name),
      what: `repository ${name}`,
      signal,
    });
    const { default_branch: branch, empty, permissions, parent } = value;
    return {
      name: value.full_name,
      description: value.description,
      private: value.private,
      archived: value.archived,
      ...(permissions === undefined ? {} : { mayPush: permissions.push }),
      // It names one for an empty repository too, which is not there.
      ...(branch === null || branch === '' || empty ? {} : { defaultBranch: branch }),
      ...(parent === null || parent === undefined ? {} : { parent: parent.full_name }),
    };
  }

  async isProtected(repository: string, branch: string, signal: AbortSignal): Promise<boolean> {
    const found = await orAbsent(
      this.rest.ask(z.object({ protected: z.boolean() }), {
        path: `${repositoryPath(repository)}/branches/${segmentOf(branch)}`,
        what: `branch ${branch} of ${repository}`,
        signal,
      }),
    );
    return found?.value.protected ?? false;
  }

  async findPullRequest(
    { repository, branch, headRepository = repository }: PullRequestHead,
    signal: AbortSignal,
  ): Promise<PullRequest | undefined> {
    const wanted = named(headRepository, this.kind);
    const path = `${this.pullsOf(repository)}?state=open&limit=${perPage}`;
    const what = `pull requests in ${repository}`;
    const { items } = await this.list(Pull, path, { what, max: maxLooked, signal });
    const found = items.find(
      ({ head }) => head.ref === branch && sameRepository(head.repo?.full_name ?? '', wanted),
    );
    return found && pullRequestOf(found);
  }

  async changePullRequest(
    repository: string,
    number: number,
    { title, body }: { title?: string; body?: string },
    signal: AbortSignal,
  ): Promise<PullRequest> {
    const change: { title?: string; body?: string } = {};
    if (body !== undefined) change.body = body;
    if (title !== undefined)
      change.title = titleFor(this.kind, title, isDraft(await this.pull(repository, number, signal)));
    return pullRequestOf(await this.change(repository, number, change, signal));
  }

  async markReady(repository: string, number: number, signal: AbortSignal): Promise<PullRequest> {
    const there = await this.pull(repository, number, signal);
    if (there.state !== 'open' || !isDraft(there)) return pullRequestOf(there);
    const title = unmarked(this.kind, there.title);
    const changed = await this.change(repository, number, { title }, signal);
    if (isDraft(changed)) throw stillDraft(this.name, `pull request ${number} in ${repository}`);
    return pullRequestOf(changed);
  }

  async checks(
    repository: string,
    { commit }: Pick<PullRequest, 'commit'>,
    signal: AbortSignal,
  ): Promise<Checks> {
    if (commit === undefined) return 'none';
    const { value } = await this.rest.ask(Status, {
      path: `${repositoryPath(repository)}/commits/${segmentOf(commit)}/status`,
      what: `checks in ${repository}`,
      signal,
    });
    return value.total_count === 0 || value.state === '' ? 'none' : stateOf(value.state);
  }

  protected override pullsOf(repository: string): string {
    return `${repositoryPath(repository)}/pulls`;
  }

  protected override opening(wish: PullRequestWish): { body: object } {
    const { repository, branch, base, title, body, draft, headRepository = repository } = wish;
    const owner = named(headRepository, this.kind).split('/')[0] ?? '';
    const head = sameRepository(headRepository, repository) ? branch : `${owner}:${branch}`;
    return { body: { title: titleFor(this.kind, title, draft), body, base, head } };
  }
}

function repositoryPath(repository: string): string {
  return `/repos/${named(repository, 'gitea')}`;
}

function isDraft({ draft, title }: Pull): boolean {
  return draft ?? isMarked('gitea', title);
}

function pullRequestOf(pull: Pull): PullRequest {
  const { number, html_url: url, state, merged, title, body, head, base } = pull;
  return {
    number,
    url,
    title: unmarked('gitea', title),
    body: body ?? '',
    state: merged ? 'merged' : state === 'closed' ? 'closed' : isDraft(pull) ? 'draft' : 'open',
    branch: head.ref,
    base: base.ref,
    ...(head.sha === '' ? {} : { commit: head.sha }),
  };
}
