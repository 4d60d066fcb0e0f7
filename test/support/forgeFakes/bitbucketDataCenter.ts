import { ContractForge, type Answer, type HeldPull, type HeldRepository } from './contractForge.ts';
import { OpenApi, type ContractRequest, type Matched } from './openApi.ts';

const heads = 'refs/heads/';

interface Wish {
  title: string;
  description?: string;
  draft?: boolean;
  version?: number;
  reviewers?: { user: { name: string } }[];
  fromRef: RefWish;
  toRef: RefWish;
}

interface RefWish {
  id: string;
  repository: { slug: string; project: { key: string } };
}

export class BitbucketDataCenterContract extends ContractForge {
  readonly kind = 'bitbucket-data-center';
  readonly apiRoot = '/rest';
  /** Guards by kinds of branches instead of names. */
  modelGuards: string[] = [];
  private readonly versions = new Map<HeldPull, number>();

  constructor() {
    super(new OpenApi('bitbucket-data-center'));
  }

  protected isAuthorized({ headers }: ContractRequest): boolean {
    return headers.authorization === `Bearer ${this.token}`;
  }

  protected refusal(status: number, message: string): Answer {
    return {
      status,
      values: { errors: [{ context: 'name', message, exceptionName: 'com.example.Refused' }] },
    };
  }

  private thrown(status: number, message: string, name: string): Answer {
    const exceptionName = `com.atlassian.bitbucket.${name}`;
    return { status, values: { errors: [{ context: 'name', message, exceptionName }] } };
  }

  /** With the status of a wrong token. */
  private denied(message: string): Answer {
    return this.thrown(401, message, 'AuthorisationException');
  }

  protected answerTo({ operation, parameters, query }: Matched, body: unknown): Answer {
    const [method = '', path = ''] = operation.split(' ');
    if (path.startsWith('/build-status')) return this.stats(parameters.commitId ?? '');
    const repository = this.held(`${parameters.projectKey ?? ''}/${parameters.repositorySlug ?? ''}`);
    if (repository === undefined) return this.refusal(404, 'Repository does not exist');
    const pull = this.pull(repository.name, parameters.pullRequestId);
    switch (path.replace(/^.*\{repositorySlug\}/, '')) {
      case '':
        return { status: 200, values: this.shown(repository) };
      case '/default-branch':
        return this.main(repository);
      case '/restrictions':
        return this.restrictions(repository, query);
      case '/pull-requests':
        return method === 'post' ? this.made(repository, body as Wish) : this.list(repository.name, query);
      default:
        if (pull === undefined) return this.refusal(404, 'Pull request does not exist');
        if (method === 'put' && !this.change(pull, body as Wish))
          return this.refusal(
            409,
            'You are attempting to modify a pull request based on out-of-date information',
          );
        return { status: 200, values: this.view(pull) };
    }
  }

  private shown(repository: HeldRepository): object {
    const parent = repository.parent === undefined ? undefined : this.held(repository.parent);
    return {
      ...namesOf(repository.name),
      description: 'The app',
      public: !repository.private,
      archived: false,
      ...(parent === undefined ? {} : { origin: namesOf(parent.name) }),
    };
  }

  private main({ defaultBranch, branches }: HeldRepository): Answer {
    if (!branches.includes(defaultBranch)) return this.refusal(404, 'There is no default branch');
    return {
      status: 200,
      values: { id: `${heads}${defaultBranch}`, displayId: defaultBranch, type: 'BRANCH' },
    };
  }

  private restrictions(repository: HeldRepository, query: URLSearchParams): Answer {
    if (!repository.tellsGuards) return this.denied('You are not permitted to see that');
    const rules = [
      ...repository.guarded.map((id) => ({
        type: 'read-only',
        matcher: { id, type: { id: id.includes('*') ? 'PATTERN' : 'BRANCH' } },
      })),
      ...this.modelGuards.map((id) => ({
        type: 'pull-request-only',
        matcher: { id, type: { id: 'MODEL_CATEGORY' } },
      })),
    ];
    return this.listed(rules, query);
  }

  private list(name: string, query: URLSearchParams): Answer {
    if (query.get('direction') !== 'OUTGOING' || query.get('state') !== 'OPEN')
      return this.refusal(400, 'Only what goes out is asked for');
    const found = this.pulls.filter(
      (one) =>
        one.headRepository === name && one.state === 'open' && `${heads}${one.branch}` === query.get('at'),
    );
    return this.listed(
      found.map((one) => this.view(one)),
      query,
    );
  }

  private made(repository: HeldRepository, wish: Wish): Answer {
    if (!repository.mayPush) return this.denied('You are not permitted to do that');
    const headRepository = this.nameOf(wish.fromRef);
    const branch = wish.fromRef.id.slice(heads.length);
    const fresh = { repository: repository.name, headRepository, branch };
    if (this.same(fresh) !== undefined) return this.refusal(409, 'Only one pull request may be open');
    const base = wish.toRef.id.slice(heads.length);
    if (!repository.branches.includes(base)) return this.refusal(404, 'base is invalid');
    const { title, description: body = '', draft = false } = wish;
    return { status: 201, values: this.view(this.addPull({ ...fresh, title, body, draft, base })) };
  }

  /** Not where somebody else was faster. What does not come along is gone. */
  private change(pull: HeldPull, wish: Wish): boolean {
    const version = this.versions.get(pull) ?? 0;
    if (wish.version !== version) return false;
    this.versions.set(pull, version + 1);
    pull.title = wish.title;
    pull.body = wish.description ?? '';
    pull.draft = wish.draft ?? false;
    pull.reviewers = (wish.reviewers ?? []).map(({ user }) => user.name);
    return true;
  }

  private nameOf({ repository: { project, slug } }: RefWish): string {
    return this.held(`${project.key}/${slug}`)?.name ?? '';
  }

  private view(pull: HeldPull): object {
    const { number, title, body, draft, state } = pull;
    return {
      id: number,
      version: this.versions.get(pull) ?? 0,
      title,
      description: body,
      state: state === 'open' ? 'OPEN' : state === 'merged' ? 'MERGED' : 'DECLINED',
      draft,
      fromRef: {
        id: `${heads}${pull.branch}`,
        latestCommit: this.sha(pull),
        repository: namesOf(pull.headRepository),
      },
      toRef: { id: `${heads}${pull.base}`, repository: namesOf(pull.repository) },
      reviewers: pull.reviewers.map((name) => ({ user: { name } })),
      links: { self: [{ href: this.urlOf(pull) }] },
    };
  }

  private stats(commit: string): Answer {
    const checks = this.pulls.find((one) => this.sha(one) === commit)?.checks ?? [];
    const count = (word: string): number => checks.filter((one) => one === word).length;
    const values = { successful: count('passed'), inProgress: count('running'), failed: count('failed') };
    return { status: 200, values: { ...values, cancelled: 0, unknown: 0 } };
  }

  private listed(items: readonly object[], query: URLSearchParams): Answer {
    const start = Number(query.get('start') ?? 0);
    const end = start + Math.min(this.pageSize, Number(query.get('limit') ?? 25));
    const isLastPage = end >= items.length;
    const values = items.slice(start, end);
    return { status: 200, values: { values, isLastPage, ...(isLastPage ? {} : { nextPageStart: end }) } };
  }
}

function namesOf(name: string): { slug: string; project: { key: string } } {
  const [key = '', slug = ''] = name.split('/');
  return { slug, project: { key } };
}
