import * as z from 'zod/mini';
import { SallyportError } from '../base/errors.ts';
import { safeLine } from '../protocol/safeText.ts';
import { orAbsent } from './asking.ts';
import { stateOf, summary, type CheckState } from './checks.ts';
import type {
  BrowsableForge,
  Checks,
  ForgeRepository,
  PullRequest,
  PullRequestHead,
  PullRequestWish,
} from './forge.ts';
import type { ForgeOptions } from './forgeOptions.ts';
import { isRepositoryName, named, sameRepository } from './names.ts';
import { pagesOf } from './pages.ts';
import { RestClient } from './restClient.ts';
import { RestForge } from './restForge.ts';
import { segmentOf } from './segments.ts';

const Name = z.string().check(z.refine((name) => isRepositoryName(name), 'not a name of a repository'));

const Repository = z.object({
  full_name: Name,
  description: z.catch(z.nullable(z.string()), null),
  private: z.catch(z.boolean(), true),
  archived: z.catch(z.boolean(), false),
  default_branch: z.catch(z.nullable(z.string()), null),
  permissions: z.catch(z.object({ push: z.boolean() }), { push: false }),
  parent: z.catch(z.optional(z.object({ full_name: Name })), undefined),
});

const Pull = z.object({
  node_id: z.string(),
  number: z.int().check(z.positive()),
  html_url: z.url({ protocol: /^https?$/ }),
  state: z.enum(['open', 'closed']),
  draft: z.catch(z.boolean(), false),
  merged_at: z.catch(z.nullable(z.string()), null),
  title: z.string(),
  body: z.catch(z.nullable(z.string()), null),
  head: z.object({ ref: z.string(), sha: z.string() }),
  base: z.object({ ref: z.string() }),
});
type Pull = z.infer<typeof Pull>;

const Marked = z.object({
  data: z.catch(z.nullable(z.unknown()), null),
  errors: z.optional(z.array(z.object({ message: z.string() }))),
});

const CheckRuns = z.object({
  check_runs: z.array(z.object({ status: z.string(), conclusion: z.nullable(z.string()) })),
});
/** The state is `pending` where there are none. */
const Statuses = z.object({ state: z.string(), total_count: z.int() });

const perPage = 100;

/** github.com, or a GitHub Enterprise server. */
export class GitHub extends RestForge<typeof Pull> implements BrowsableForge {
  readonly kind = 'github';
  private readonly graphql: RestClient;

  constructor(options: ForgeOptions) {
    super(options, {
      kind: 'github',
      gitUser: 'x-access-token',
      rights: 'the right to read and write contents and pull requests of this repository',
      headers: {
        accept: 'application/vnd.github+json',
        authorization: `Bearer ${options.token}`,
        'x-github-api-version': '2022-11-28',
      },
      schema: Pull,
      read: pullRequestOf,
      noun: 'pull request',
      changing: 'PATCH',
    });
    // An Enterprise server has it beside the REST API, github.com below it.
    const base = options.apiUrl.replace(/\/+$/, '').replace(/\/api\/v3$/, '/api');
    this.graphql = new RestClient({ ...this.api, base });
  }

  async repositories(
    max: number,
    signal: AbortSignal,
  ): Promise<{ repositories: ForgeRepository[]; more: boolean }> {
    const path = `/user/repos?per_page=${Math.min(perPage, max)}&sort=pushed`;
    const { items, more } = await this.list(Repository, path, { what: 'list of repositories', max, signal });
    return { repositories: items.map(repositoryOf), more };
  }

  async repository(name: string, signal: AbortSignal): Promise<ForgeRepository> {
    const path = `/repos/${named(name, this.kind)}`;
    const { value } = await this.rest.ask(Repository, { path, what: `repository ${name}`, signal });
    return repositoryOf(value);
  }

  async isProtected(repository: string, branch: string, signal: AbortSignal): Promise<boolean> {
    const found = await orAbsent(
      this.rest.ask(z.object({ protected: z.boolean() }), {
        path: `/repos/${named(repository, this.kind)}/branches/${segmentOf(branch)}`,
        what: `branch ${branch} of ${repository}`,
        signal,
      }),
    );
    return found?.value.protected ?? false;
  }

  async findPullRequest(
    { repository, branch, headRepository }: PullRequestHead,
    signal: AbortSignal,
  ): Promise<PullRequest | undefined> {
    const from = ownerOf(headRepository ?? repository);
    const query = new URLSearchParams({ head: `${from}:${branch}`, state: 'open', per_page: '1' });
    const { value } = await this.rest.ask(z.array(Pull), {
      path: `${this.pullsOf(repository)}?${query.toString()}`,
      what: `pull requests in ${repository}`,
      signal,
    });
    return value[0] && pullRequestOf(value[0]);
  }

  async changePullRequest(
    repository: string,
    number: number,
    change: { title?: string; body?: string },
    signal: AbortSignal,
  ): Promise<PullRequest> {
    return pullRequestOf(await this.change(repository, number, change, signal));
  }

  async markReady(repository: string, number: number, signal: AbortSignal): Promise<PullRequest> {
    const pull = await this.pull(repository, number, signal);
    if (pull.state !== 'open' || !pull.draft) return pullRequestOf(pull);
    // The REST API cannot.
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
        `${this.name} did not mark the pull request ${number} in ${repository} as ready. It said: ${safeLine(refusal.message)}`,
        'Mark it as ready by hand, and check what the token may do.',
      );
    }
    return await this.pullRequest(repository, number, signal);
  }

  /** Two kinds at once: runs of apps, and statuses of commits. */
  async checks(
    repository: string,
    { commit }: Pick<PullRequest, 'commit'>,
    signal: AbortSignal,
  ): Promise<Checks> {
    if (commit === undefined) return 'none';
    const path = `/repos/${named(repository, this.kind)}/commits/${segmentOf(commit)}`;
    const what = `checks in ${repository}`;
    const [runs, statuses] = await Promise.allSettled([
      pagesOf(
        async (page) => {
          const { value, next } = await this.rest.ask(CheckRuns, { path: page, what, signal });
          return { value: value.check_runs, ...(next === undefined ? {} : { next }) };
        },
        `${path}/check-runs?per_page=${perPage}`,
        maxRuns,
      ),
      this.rest.ask(Statuses, { path: `${path}/status?per_page=1`, what, signal }),
    ]);
    const states: CheckState[] = [];
    if (runs.status === 'fulfilled')
      states.push(...runs.value.items.map(({ status, conclusion }) => runState(status, conclusion)));
    if (statuses.status === 'fulfilled' && statuses.value.value.total_count > 0)
      states.push(stateOf(statuses.value.value.state));
    // A token may see one kind only: then the other one could have failed, and nothing good is known.
    const found = summary(states);
    if (found === 'failed') return found;
    for (const one of [runs, statuses]) if (one.status === 'rejected') throw one.reason;
    return found;
  }

  protected override pullsOf(repository: string): string {
    return `/repos/${named(repository, this.kind)}/pulls`;
  }

  protected override opening(wish: PullRequestWish): { body: object } {
    const { title, body, base, draft } = wish;
    return { body: { title, body, base, draft, ...headOf(wish), maintainer_can_modify: true } };
  }
}

/** How many check runs are looked at. */
const maxRuns = 1000;

function runState(status: string, conclusion: string | null): CheckState {
  if (status !== 'completed') return 'running';
  return stateOf(conclusion ?? '');
}

function ownerOf(repository: string): string {
  return named(repository, 'github').split('/')[0] ?? '';
}

/** Of a fork by its owner; where one owner has both, by its name too. */
function headOf({ repository, branch, headRepository }: PullRequestHead): object {
  if (headRepository === undefined || sameRepository(headRepository, repository)) return { head: branch };
  const owner = ownerOf(headRepository);
  const head = `${owner}:${branch}`;
  return owner.toLowerCase() === ownerOf(repository).toLowerCase()
    ? { head, head_repo: headRepository }
    : { head };
}

function repositoryOf(value: z.infer<typeof Repository>): ForgeRepository {
  return {
    name: value.full_name,
    description: value.description ?? '',
    private: value.private,
    archived: value.archived,
    mayPush: value.permissions.push,
    ...(value.default_branch === null ? {} : { defaultBranch: value.default_branch }),
    ...(value.parent === undefined ? {} : { parent: value.parent.full_name }),
  };
}

function pullRequestOf(pull: Pull): PullRequest {
  const { number, html_url: url, title, body, state, draft, merged_at: merged, head, base } = pull;
  return {
    number,
    url,
    title,
    body: body ?? '',
    state: state === 'open' ? (draft ? 'draft' : 'open') : merged === null ? 'closed' : 'merged',
    branch: head.ref,
    base: base.ref,
    commit: head.sha,
  };
}
