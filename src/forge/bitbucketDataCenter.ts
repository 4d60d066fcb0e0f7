import * as z from 'zod/mini';
import { orAbsent, unless } from './asking.ts';
import { BitbucketForge, type Changes, type NextPage } from './bitbucketForge.ts';
import { guardsPush, Restriction } from './dataCenterRules.ts';
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

const Repository = z.object({
  slug: z.string(),
  project: z.object({ key: z.string() }),
  description: z.catch(z.nullish(z.string()), null),
  public: z.catch(z.boolean(), false),
  archived: z.catch(z.boolean(), false),
  origin: z.catch(z.nullish(z.object({ slug: z.string(), project: z.object({ key: z.string() }) })), null),
});

const Ref = z.object({
  id: z.string(),
  latestCommit: z.catch(z.optional(z.string()), undefined),
  repository: z.object({ slug: z.string(), project: z.object({ key: z.string() }) }),
});

const Pull = z.object({
  id: z.int().check(z.positive()),
  /** Counts its changes: one is refused that was made of an older one. */
  version: z.int(),
  title: z.string(),
  description: z.catch(z.nullish(z.string()), null),
  state: z.enum(['OPEN', 'MERGED', 'DECLINED']),
  /** Only newer ones have drafts. */
  draft: z.catch(z.boolean(), false),
  fromRef: Ref,
  toRef: Ref,
  reviewers: z.catch(z.array(z.object({ user: z.object({ name: z.string() }) })), []),
  links: z.object({
    self: z.array(z.object({ href: z.url({ protocol: /^https?$/ }) })).check(z.minLength(1)),
  }),
});
type Pull = z.infer<typeof Pull>;

const BuildStats = z.object({
  successful: z.catch(z.int(), 0),
  inProgress: z.catch(z.int(), 0),
  failed: z.catch(z.int(), 0),
  cancelled: z.catch(z.int(), 0),
  unknown: z.catch(z.int(), 0),
});

const kind = 'bitbucket-data-center';
const heads = 'refs/heads/';
const maxSameName = 200;
const maxRules = 1000;

/** Bitbucket Data Center, of somebody's own. Its cloud has another API. */
export class BitbucketDataCenter extends BitbucketForge<typeof Pull> implements Forge {
  readonly kind = kind;

  constructor(options: ForgeOptions) {
    super(options, {
      kind,
      gitUser: 'x-token-auth',
      rights: 'the right to read and write this repository, which holds its pull requests',
      headers: { authorization: `Bearer ${options.token}` },
      schema: Pull,
      read: pullRequestOf,
      noun: 'pull request',
      changing: 'PUT',
    });
  }

  async repository(name: string, signal: AbortSignal): Promise<ForgeRepository> {
    const path = `/api/latest${repositoryPath(name)}`;
    const what = `repository ${name}`;
    const { value } = await this.rest.ask(Repository, { path, what, signal });
    // An empty repository has none, and says so by an empty answer.
    const Main = z.optional(z.object({ displayId: z.string() }));
    const main = await orAbsent(this.rest.ask(Main, { path: `${path}/default-branch`, what, signal }));
    const branch = main?.value?.displayId;
    return {
      name: this.nameOf(value),
      description: value.description ?? '',
      private: !value.public,
      archived: value.archived,
      ...(branch === undefined ? {} : { defaultBranch: branch }),
      ...(value.origin === null || value.origin === undefined ? {} : { parent: this.nameOf(value.origin) }),
    };
  }

  /** Undefined also where a rule is about a kind of branch, which it does not tell by this API. */
  async isProtected(repository: string, branch: string, signal: AbortSignal): Promise<boolean | undefined> {
    segmentOf(branch);
    const path = `/branch-permissions/latest${repositoryPath(repository)}/restrictions?limit=100`;
    const what = `branch restrictions of ${repository}`;
    const rules = await unless(
      this.all(Restriction, path, what, maxRules, signal),
      'forge_refused',
      'repository_not_found',
    );
    const said = rules?.map((rule) => guardsPush(rule, branch)) ?? [undefined];
    return said.includes(true) ? true : said.includes(undefined) ? undefined : false;
  }

  async findPullRequest(head: PullRequestHead, signal: AbortSignal): Promise<PullRequest | undefined> {
    const { repository, branch, headRepository = repository } = head;
    segmentOf(branch);
    // It is asked where the branch is.
    const query = new URLSearchParams({
      direction: 'OUTGOING',
      at: `${heads}${branch}`,
      state: 'OPEN',
      limit: '50',
    });
    const path = `${this.pullsOf(headRepository)}?${query.toString()}`;
    const found = await this.all(Pull, path, `pull requests in ${repository}`, maxSameName, signal);
    const mine = found.find(
      ({ fromRef, toRef, state }) =>
        state === 'OPEN' &&
        fromRef.id === `${heads}${branch}` &&
        sameRepository(written(fromRef.repository), headRepository) &&
        sameRepository(written(toRef.repository), repository),
    );
    return mine && pullRequestOf(mine);
  }

  async checks(
    repository: string,
    { commit }: Pick<PullRequest, 'commit'>,
    signal: AbortSignal,
  ): Promise<Checks> {
    if (commit === undefined) return 'none';
    const path = `/build-status/latest/commits/stats/${segmentOf(commit)}`;
    const { value } = await this.rest.ask(BuildStats, { path, what: `checks in ${repository}`, signal });
    if (value.failed + value.cancelled > 0) return 'failed';
    if (value.inProgress + value.unknown > 0) return 'running';
    return value.successful > 0 ? 'passed' : 'none';
  }

  protected override pullsOf(repository: string): string {
    return `/api/latest${repositoryPath(repository)}/pull-requests`;
  }

  protected override opening(wish: PullRequestWish): { body: object } {
    const { repository, branch, base, title, body, draft, headRepository = repository } = wish;
    return {
      body: {
        title,
        description: body,
        draft,
        fromRef: { id: `${heads}${branch}`, repository: partsOf(headRepository) },
        toRef: { id: `${heads}${base}`, repository: partsOf(repository) },
      },
    };
  }

  protected override whole(repository: string, there: Pull, changes: Changes): object {
    const { title, body, draft = there.draft } = changes;
    return {
      version: there.version,
      title,
      description: body,
      draft,
      toRef: { id: there.toRef.id, repository: partsOf(repository) },
      reviewers: there.reviewers.map(({ user }) => ({ user: { name: user.name } })),
    };
  }

  protected override pageAfter(first: string, { nextPageStart }: NextPage): string | undefined {
    return nextPageStart === null || nextPageStart === undefined
      ? undefined
      : `${first}&start=${nextPageStart}`;
  }

  /** A name goes into paths further on. */
  private nameOf(repository: z.infer<typeof Ref>['repository']): string {
    const name = written(repository);
    if (!isRepositoryName(name, kind)) throw this.rest.strange('an answer that is none of its API');
    return name;
  }
}

function repositoryPath(repository: string): string {
  const { project, slug } = partsOf(repository);
  return `/projects/${project.key}/repos/${slug}`;
}

function partsOf(repository: string): { slug: string; project: { key: string } } {
  const [key = '', slug = ''] = named(repository, kind).split('/');
  return { slug, project: { key } };
}

function written({ project, slug }: z.infer<typeof Ref>['repository']): string {
  return `${project.key}/${slug}`;
}

const states = { MERGED: 'merged', DECLINED: 'closed' } as const;

function pullRequestOf(pull: Pull): PullRequest {
  const { id: number, title, description, state, draft, fromRef, toRef, links } = pull;
  const [self] = links.self;
  return {
    number,
    url: self?.href ?? '',
    title,
    body: description ?? '',
    state: state === 'OPEN' ? (draft ? 'draft' : 'open') : states[state],
    branch: branchOf(fromRef),
    base: branchOf(toRef),
    ...(fromRef.latestCommit === undefined ? {} : { commit: fromRef.latestCommit }),
  };
}

function branchOf({ id }: z.infer<typeof Ref>): string {
  return id.startsWith(heads) ? id.slice(heads.length) : id;
}
