import * as z from 'zod/mini';
import { unless } from './asking.ts';
import { BitbucketForge, type Changes, type NextPage } from './bitbucketForge.ts';
import { BranchingModel, guards, Restriction } from './bitbucketRules.ts';
import { stateOf, summary } from './checks.ts';
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
import { segmentOf } from './segments.ts';

const Name = z.string().check(z.refine((name) => isRepositoryName(name), 'not a name of a repository'));

const Repository = z.object({
  full_name: Name,
  description: z.catch(z.nullable(z.string()), null),
  is_private: z.catch(z.boolean(), true),
  mainbranch: z.catch(z.nullish(z.object({ name: z.string() })), null),
  parent: z.catch(z.nullish(z.object({ full_name: Name })), null),
});

const Endpoint = z.object({
  branch: z.object({ name: z.string() }),
  commit: z.catch(z.nullish(z.object({ hash: z.string() })), null),
  repository: z.catch(z.nullish(z.object({ full_name: z.string() })), null),
});

const Pull = z.object({
  id: z.int().check(z.positive()),
  title: z.string(),
  description: z.catch(z.nullish(z.string()), null),
  summary: z.catch(z.nullish(z.object({ raw: z.string() })), null),
  state: z.enum(['OPEN', 'MERGED', 'DECLINED', 'SUPERSEDED']),
  draft: z.catch(z.boolean(), false),
  source: Endpoint,
  destination: Endpoint,
  reviewers: z.catch(z.array(z.object({ uuid: z.string() })), []),
  links: z.object({ html: z.object({ href: z.url({ protocol: /^https?$/ }) }) }),
});
type Pull = z.infer<typeof Pull>;

const Status = z.object({ state: z.string() });

const maxSameName = 200;
const maxStatuses = 1000;
const maxRules = 1000;

/** bitbucket.org. Bitbucket Data Center has another API, and is none of this. */
export class Bitbucket extends BitbucketForge<typeof Pull> implements Forge {
  readonly kind = 'bitbucket';

  /** With a user the token is an API token of that account's, without one an access token of a repository, project or workspace. */
  constructor(options: ForgeOptions) {
    const { token, user } = options;
    const basic = (name: string): string => Buffer.from(`${name}:${token}`).toString('base64');
    super(options, {
      kind: 'bitbucket',
      gitUser: user === undefined ? 'x-token-auth' : 'x-bitbucket-api-token-auth',
      rights: 'the right to read and write repositories and pull requests',
      headers: { authorization: user === undefined ? `Bearer ${token}` : `Basic ${basic(user)}` },
      schema: Pull,
      read: pullRequestOf,
      noun: 'pull request',
      changing: 'PUT',
    });
  }

  async repository(name: string, signal: AbortSignal): Promise<ForgeRepository> {
    const { value } = await this.rest.ask(Repository, {
      path: repositoryPath(name),
      what: `repository ${name}`,
      signal,
    });
    const { mainbranch: main, parent } = value;
    return {
      name: value.full_name,
      description: value.description ?? '',
      private: value.is_private,
      archived: false,
      ...(main === null || main === undefined ? {} : { defaultBranch: main.name }),
      ...(parent === null || parent === undefined ? {} : { parent: parent.full_name }),
    };
  }

  /** Only whoever administers a repository is told. */
  async isProtected(repository: string, branch: string, signal: AbortSignal): Promise<boolean | undefined> {
    segmentOf(branch);
    const path = repositoryPath(repository);
    const what = `branch restrictions of ${repository}`;
    const rules = await unless(
      this.all(Restriction, `${path}/branch-restrictions?kind=push&pagelen=100`, what, maxRules, signal),
      'forge_refused',
      'repository_not_found',
    );
    if (rules === undefined) return undefined;
    const modelled = rules.some((rule) => rule.branch_match_kind === 'branching_model');
    const asked = modelled
      ? await this.rest.ask(BranchingModel, { path: `${path}/branching-model`, what, signal })
      : undefined;
    return rules.some((rule) => guards(rule, branch, asked?.value));
  }

  async findPullRequest(head: PullRequestHead, signal: AbortSignal): Promise<PullRequest | undefined> {
    const { repository, branch, headRepository = repository } = head;
    // What is no name of a branch could say something else in the query.
    segmentOf(branch);
    const quoted = JSON.stringify(branch);
    const query = new URLSearchParams({
      state: 'OPEN',
      q: `state="OPEN" AND source.branch.name=${quoted}`,
      pagelen: '50',
    });
    const found = await this.all(
      Pull,
      `${this.pullsOf(repository)}?${query.toString()}`,
      `pull requests in ${repository}`,
      maxSameName,
      signal,
    );
    const wanted = named(headRepository, this.kind);
    const mine = found.find(
      ({ source, state }) =>
        state === 'OPEN' &&
        source.branch.name === branch &&
        sameRepository(source.repository?.full_name ?? '', wanted),
    );
    return mine && pullRequestOf(mine);
  }

  async checks(
    repository: string,
    { number }: Pick<PullRequest, 'number'>,
    signal: AbortSignal,
  ): Promise<Checks> {
    const found = await this.all(
      Status,
      `${this.pullsOf(repository)}/${number}/statuses?pagelen=100`,
      `checks in ${repository}`,
      maxStatuses,
      signal,
    );
    return summary(found.map(({ state }) => stateOf(state)));
  }

  protected override pullsOf(repository: string): string {
    return `${repositoryPath(repository)}/pullrequests`;
  }

  protected override opening(wish: PullRequestWish): { body: object } {
    const { repository, branch, base, title, body, draft, headRepository = repository } = wish;
    return {
      body: {
        type: 'pullrequest',
        title,
        description: body,
        draft,
        source: {
          branch: { name: branch },
          repository: { type: 'repository', full_name: named(headRepository, this.kind) },
        },
        destination: { branch: { name: base } },
        close_source_branch: false,
      },
    };
  }

  protected override whole(_repository: string, there: Pull, changes: Changes): object {
    const { title, body, draft = there.draft } = changes;
    return {
      type: 'pullrequest',
      title,
      description: body,
      draft,
      destination: { branch: { name: there.destination.branch.name } },
      reviewers: there.reviewers.map(({ uuid }) => ({ type: 'account', uuid })),
    };
  }

  protected override pageAfter(_first: string, { next }: NextPage): string | undefined {
    return next;
  }
}

function repositoryPath(repository: string): string {
  return `/repositories/${named(repository, 'bitbucket')}`;
}

function bodyOf({ description, summary: words }: Pull): string {
  return description ?? words?.raw ?? '';
}

const states = { MERGED: 'merged', DECLINED: 'closed', SUPERSEDED: 'closed' } as const;

function pullRequestOf(pull: Pull): PullRequest {
  const { id: number, title, state, draft, source, destination, links } = pull;
  const commit = source.commit?.hash;
  return {
    number,
    url: links.html.href,
    title,
    body: bodyOf(pull),
    state: state === 'OPEN' ? (draft ? 'draft' : 'open') : states[state],
    branch: source.branch.name,
    base: destination.branch.name,
    ...(commit === undefined ? {} : { commit }),
  };
}
