import {
  ContractForge,
  type Answer,
  type CheckWord,
  type HeldPull,
  type HeldRepository,
} from './contractForge.ts';
import { OpenApi, type ContractRequest, type Matched } from './openApi.ts';

export class BitbucketContract extends ContractForge {
  readonly kind = 'bitbucket';
  readonly apiRoot = '/2.0';
  /** Guards by kinds of branches instead of names. */
  modelGuards: string[] = [];

  constructor() {
    super(new OpenApi('bitbucket'));
  }

  protected isAuthorized({ headers }: ContractRequest): boolean {
    const basic = `Basic ${Buffer.from(`ada@example.com:${this.token}`).toString('base64')}`;
    return headers.authorization === `Bearer ${this.token}` || headers.authorization === basic;
  }

  protected refusal(status: number, message: string): Answer {
    return { status, values: { type: 'error', error: { message, detail: 'See the manual' } } };
  }

  protected answerTo({ operation, parameters, query }: Matched, body: unknown): Answer {
    const repository = this.held(`${parameters.workspace ?? ''}/${parameters.repo_slug ?? ''}`);
    if (repository === undefined) return this.refusal(404, 'Repository not found');
    const { name } = repository;
    const [method = '', path = ''] = operation.split(' ');
    const pull = this.pull(name, parameters.pull_request_id);
    switch (path.replace('/repositories/{workspace}/{repo_slug}', '')) {
      case '':
        return { status: 200, values: this.shown(repository) };
      case '/branch-restrictions':
        return this.restrictions(repository, query);
      case '/branching-model':
        return {
          status: 200,
          values: {
            development: { name: 'main', use_mainbranch: true, branch: { type: 'branch', name: 'main' } },
            branch_types: [{ kind: 'release', prefix: 'release/' }],
          },
        };
      case '/pullrequests':
        return method === 'post' ? this.made(repository, body) : this.list(name, query);
      default:
        if (pull === undefined) return this.refusal(404, 'Pull request not found');
        if (path.endsWith('/statuses')) return this.statuses(pull, query);
        if (method === 'put') this.change(pull, body);
        return { status: 200, values: this.view(pull) };
    }
  }

  private shown({ name, defaultBranch, parent, ...rest }: HeldRepository): object {
    return {
      full_name: name,
      description: 'The app',
      is_private: rest.private,
      ...(rest.branches.length === 0 ? {} : { mainbranch: { name: defaultBranch } }),
      ...(parent === undefined ? {} : { parent: { full_name: parent } }),
    };
  }

  private restrictions(repository: HeldRepository, query: URLSearchParams): Answer {
    if (!repository.tellsGuards) return this.refusal(403, 'You do not have admin access');
    const rules = [
      ...repository.guarded.map((pattern) => ({ kind: 'push', branch_match_kind: 'glob', pattern })),
      ...this.modelGuards.map((branch_type) => ({
        kind: 'push',
        branch_match_kind: 'branching_model',
        branch_type,
        pattern: '',
      })),
    ];
    return this.listed(rules, query, `/repositories/${repository.name}/branch-restrictions`);
  }

  private list(name: string, query: URLSearchParams): Answer {
    const branch = /^state="OPEN" AND source\.branch\.name="([^"\\]*)"$/.exec(query.get('q') ?? '')?.[1];
    if (branch === undefined) return this.refusal(400, 'Invalid filter');
    const found = this.pulls.filter(
      (one) => one.repository === name && one.state === 'open' && one.branch === branch,
    );
    return this.listed(
      found.map((one) => this.view(one)),
      query,
      `/repositories/${name}/pullrequests`,
    );
  }

  private made(repository: HeldRepository, body: unknown): Answer {
    const wish = body as {
      title: string;
      description: string;
      draft: boolean;
      source: { branch: { name: string }; repository: { full_name: string } };
      destination: { branch: { name: string } };
    };
    if (!repository.mayPush)
      return this.refusal(403, 'Your credentials lack one or more required privilege scopes.');
    const headRepository = this.held(wish.source.repository.full_name)?.name ?? '';
    const fresh = { repository: repository.name, headRepository, branch: wish.source.branch.name };
    if (this.same(fresh) !== undefined) return this.refusal(400, 'There is one already');
    if (!repository.branches.includes(wish.destination.branch.name))
      return this.refusal(400, 'base is invalid');
    const { title, description, draft, destination } = wish;
    const pull = this.addPull({ ...fresh, title, body: description, draft, base: destination.branch.name });
    return { status: 201, values: this.view(pull) };
  }

  /** What does not come along is gone. */
  private change(pull: HeldPull, body: unknown): void {
    const wish = body as {
      title?: string;
      description?: string;
      draft?: boolean;
      reviewers?: { uuid: string }[];
    };
    pull.title = wish.title ?? '';
    pull.body = wish.description ?? '';
    pull.draft = wish.draft ?? false;
    pull.reviewers = (wish.reviewers ?? []).map(({ uuid }) => uuid);
  }

  private view(pull: HeldPull): object {
    const { number, title, body, draft, state } = pull;
    return {
      id: number,
      title,
      description: body,
      state: state === 'open' ? 'OPEN' : state === 'merged' ? 'MERGED' : 'DECLINED',
      draft,
      source: {
        branch: { name: pull.branch },
        commit: { hash: this.sha(pull).slice(-12) },
        repository: { full_name: pull.headRepository },
      },
      destination: { branch: { name: pull.base }, repository: { full_name: pull.repository } },
      reviewers: pull.reviewers.map((uuid) => ({ uuid })),
      links: { html: { href: this.urlOf(pull) } },
    };
  }

  private statuses(pull: HeldPull, query: URLSearchParams): Answer {
    const words: Record<CheckWord, string> = {
      running: 'INPROGRESS',
      passed: 'SUCCESSFUL',
      failed: 'FAILED',
    };
    return this.listed(
      pull.checks.map((one, i) => ({ key: `BUILD-${i}`, state: words[one] })),
      query,
      `/repositories/${pull.repository}/pullrequests/${pull.number}/statuses`,
    );
  }

  private listed(items: readonly object[], query: URLSearchParams, path: string): Answer {
    const [values, next] = this.page(items, query, 'pagelen', path);
    return { status: 200, values: { values, ...(next === undefined ? {} : { next }) } };
  }
}
