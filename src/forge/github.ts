import * as z from 'zod/mini';
import { SallyportError } from '../base/errors.ts';
import type { GitCredential } from '../git/smartHttp.ts';
import {
  isRepositoryName,
  type Forge,
  type ForgeRepository,
  type PullRequest,
  type PullRequestWish,
} from './forge.ts';
import { RestClient } from './restClient.ts';

export interface GitHubOptions {
  /** `https://api.github.com`, or `https://github.example.com/api/v3` of an Enterprise server. */
  apiUrl: string;
  /** `https://github.com` */
  webUrl: string;
  token: string;
}

const Repository = z.object({
  full_name: z.string().check(z.refine(isRepositoryName, 'not a name of a repository')),
  description: z.catch(z.nullable(z.string()), null),
  private: z.catch(z.boolean(), true),
  archived: z.catch(z.boolean(), false),
  default_branch: z.catch(z.nullable(z.string()), null),
  permissions: z.catch(z.object({ push: z.boolean() }), { push: false }),
});

const Pull = z.object({
  node_id: z.string(),
  number: z.int().check(z.positive()),
  html_url: z.url(),
  state: z.enum(['open', 'closed']),
  draft: z.catch(z.boolean(), false),
  merged_at: z.catch(z.nullable(z.string()), null),
  title: z.string(),
  body: z.catch(z.nullable(z.string()), null),
});
type Pull = z.infer<typeof Pull>;

const Marked = z.object({
  data: z.catch(z.nullable(z.unknown()), null),
  errors: z.optional(z.array(z.object({ message: z.string() }))),
});

const perPage = 100;

/** github.com, or a GitHub Enterprise server. */
export class GitHub implements Forge {
  readonly name = 'GitHub';
  readonly credential: GitCredential;
  private readonly web: URL;
  private readonly rest: RestClient;
  private readonly graphql: RestClient;

  constructor({ apiUrl, webUrl, token }: GitHubOptions) {
    this.web = new URL(webUrl);
    this.credential = { origin: this.web.origin, user: 'x-access-token', password: token };
    this.rest = new RestClient(this.name, apiUrl, token);
    // An Enterprise server has it beside the REST API, github.com below it.
    this.graphql = new RestClient(this.name, apiUrl.replace(/\/+$/, '').replace(/\/api\/v3$/, '/api'), token);
  }

  repositoryAt(url: string): string | undefined {
    if (!URL.canParse(url)) return undefined;
    const { origin, pathname, username, password, search, hash } = new URL(url);
    if (origin !== this.web.origin || `${username}${password}${search}${hash}` !== '') return undefined;
    const root = this.web.pathname.replace(/\/+$/, '');
    if (!pathname.startsWith(`${root}/`)) return undefined;
    const name = pathname
      .slice(root.length + 1)
      .replace(/\/+$/, '')
      .replace(/\.git$/, '');
    return isRepositoryName(name) ? name : undefined;
  }

  urlOf(repository: string): string {
    return `${this.web.href.replace(/\/+$/, '')}/${named(repository)}.git`;
  }

  async repositories(
    max: number,
    signal: AbortSignal,
  ): Promise<{ repositories: ForgeRepository[]; more: boolean }> {
    const repositories: ForgeRepository[] = [];
    let path: string | undefined = `/user/repos?per_page=${Math.min(perPage, max)}&sort=pushed`;
    while (path !== undefined && repositories.length < max) {
      const page: { value: z.infer<typeof Repository>[]; next?: string } = await this.rest.ask(
        z.array(Repository),
        { path, what: 'list of repositories', signal },
      );
      repositories.push(...page.value.map(repositoryOf));
      path = page.next;
    }
    const more = path !== undefined || repositories.length > max;
    return { repositories: repositories.slice(0, max), more };
  }

  async repository(name: string, signal: AbortSignal): Promise<ForgeRepository> {
    const { value } = await this.rest.ask(Repository, {
      path: `/repos/${named(name)}`,
      what: `repository ${name}`,
      signal,
    });
    return repositoryOf(value);
  }

  async openPullRequest(wish: PullRequestWish, signal: AbortSignal): Promise<PullRequest> {
    const there = await this.openOne(wish, signal);
    if (there !== undefined) return there;
    const { repository, branch, base, title, body, draft } = wish;
    try {
      const { value } = await this.rest.ask(Pull, {
        method: 'POST',
        path: `/repos/${named(repository)}/pulls`,
        body: { title, body, head: branch, base, draft, maintainer_can_modify: true },
        what: `pull request in ${repository}`,
        signal,
      });
      return pullRequestOf(value);
    } catch (thrown) {
      // Somebody else, or this process before it was killed, was faster.
      const made = await this.openOne(wish, signal).catch(() => undefined);
      if (made !== undefined) return made;
      throw thrown;
    }
  }

  async pullRequest(repository: string, number: number, signal: AbortSignal): Promise<PullRequest> {
    return pullRequestOf(await this.pull(repository, number, signal));
  }

  async changePullRequest(
    repository: string,
    number: number,
    change: { title?: string; body?: string },
    signal: AbortSignal,
  ): Promise<PullRequest> {
    const { value } = await this.rest.ask(Pull, {
      method: 'PATCH',
      path: `/repos/${named(repository)}/pulls/${number}`,
      body: change,
      what: `pull request ${number} in ${repository}`,
      signal,
    });
    return pullRequestOf(value);
  }

  async markReady(repository: string, number: number, signal: AbortSignal): Promise<PullRequest> {
    const pull = await this.pull(repository, number, signal);
    if (pull.state !== 'open' || !pull.draft) return pullRequestOf(pull);
    const { value } = await this.graphql.ask(Marked, {
      method: 'POST',
      path: '/graphql',
      body: {
        query:
          'mutation($id: ID!) { markPullRequestReadyForReview(input: {pullRequestId: $id}) { pullRequest { isDraft } } }',
        variables: { id: pull.node_id },
      },
      what: `pull request ${number} in ${repository}`,
      signal,
    });
    const [refusal] = value.errors ?? [];
    if (refusal !== undefined) {
      throw new SallyportError(
        'forge_refused',
        `${this.name} did not mark the pull request ${number} in ${repository} as ready. It said: ${refusal.message.slice(0, 300)}`,
        'Mark it as ready by hand, and check what the token may do.',
      );
    }
    return await this.pullRequest(repository, number, signal);
  }

  private async pull(repository: string, number: number, signal: AbortSignal): Promise<Pull> {
    const path = `/repos/${named(repository)}/pulls/${number}`;
    return (await this.rest.ask(Pull, { path, what: `pull request ${number} in ${repository}`, signal }))
      .value;
  }

  private async openOne(
    { repository, branch }: Pick<PullRequestWish, 'repository' | 'branch'>,
    signal: AbortSignal,
  ): Promise<PullRequest | undefined> {
    const [owner = ''] = named(repository).split('/');
    const query = new URLSearchParams({ head: `${owner}:${branch}`, state: 'open', per_page: '1' });
    const { value } = await this.rest.ask(z.array(Pull), {
      path: `/repos/${repository}/pulls?${query.toString()}`,
      what: `pull requests in ${repository}`,
      signal,
    });
    return value[0] && pullRequestOf(value[0]);
  }
}

function repositoryOf(value: z.infer<typeof Repository>): ForgeRepository {
  return {
    name: value.full_name,
    description: value.description ?? '',
    private: value.private,
    archived: value.archived,
    mayPush: value.permissions.push,
    ...(value.default_branch === null ? {} : { defaultBranch: value.default_branch }),
  };
}

function pullRequestOf(pull: Pull): PullRequest {
  const { number, html_url: url, title, body, state, draft, merged_at: merged } = pull;
  return {
    number,
    url,
    title,
    body: body ?? '',
    state: state === 'open' ? (draft ? 'draft' : 'open') : merged === null ? 'closed' : 'merged',
  };
}

function named(repository: string): string {
  if (isRepositoryName(repository)) return repository;
  throw new SallyportError(
    'invalid_input',
    `${JSON.stringify(repository.slice(0, 200))} is no name of a repository.`,
    'Give it as owner/name.',
  );
}
