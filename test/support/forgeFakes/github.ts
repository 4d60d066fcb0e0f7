import {
  ContractForge,
  type Answer,
  type CheckWord,
  type HeldPull,
  type HeldRepository,
} from './contractForge.ts';
import { OpenApi, type ContractRequest, type Matched } from './openApi.ts';

/** An Enterprise server. Its GraphQL API is not in the document; what is asked there is read here. */
export class GitHubContract extends ContractForge {
  readonly kind = 'github';
  readonly apiRoot = '/api/v3';

  constructor() {
    super(new OpenApi('github'));
  }

  protected isAuthorized({ headers }: ContractRequest): boolean {
    return headers.authorization === `Bearer ${this.token}`;
  }

  protected refusal(status: number, message: string): Answer {
    return { status, values: { message, documentation_url: 'https://example.com/rest' } };
  }

  protected override aside({ method, path, body, headers }: ContractRequest): Answer | undefined {
    if (headers['x-github-api-version'] !== '2022-11-28') return this.refusal(400, 'No version');
    const operation = `${method.toLowerCase()} ${path}`;
    if (!this.document.isGap(operation, 'operation', 'markPullRequestReadyForReview')) return undefined;
    const { query, variables } = body as { query: string; variables: { id: string } };
    const pull = this.pulls.find((one) => nodeOf(one) === variables.id);
    const wanted =
      /^mutation\(\$id: ID!\) \{ markPullRequestReadyForReview\(input: \{pullRequestId: \$id\}\) \{ pullRequest \{ isDraft \} \} \}$/;
    if (pull === undefined || !wanted.test(query))
      return { status: 200, values: { data: null, errors: [{ message: 'Could not resolve to a node' }] } };
    pull.draft = false;
    return {
      status: 200,
      values: { data: { markPullRequestReadyForReview: { pullRequest: { isDraft: false } } } },
    };
  }

  protected answerTo({ operation, parameters, query }: Matched, body: unknown): Answer {
    const repository = this.held(`${parameters.owner ?? ''}/${parameters.repo ?? ''}`);
    if (repository === undefined) return this.refusal(404, 'Not Found');
    const { name } = repository;
    const [method = '', path = ''] = operation.split(' ');
    const pull = this.pull(name, parameters.pull_number);
    switch (path.replace('/repos/{owner}/{repo}', '')) {
      case '':
        return { status: 200, values: this.shown(repository) };
      case '/branches/{branch}': {
        const branch = parameters.branch ?? '';
        if (!repository.branches.includes(branch)) return this.refusal(404, 'Branch not found');
        return { status: 200, values: { name: branch, protected: this.guards(repository, branch) } };
      }
      case '/pulls':
        return method === 'post' ? this.made(repository, body) : this.list(name, query);
      case '/pulls/{pull_number}':
        if (pull === undefined) return this.refusal(404, 'Not Found');
        if (method === 'patch') Object.assign(pull, body);
        return { status: 200, values: this.view(pull) };
      default:
        return this.checksOf(name, path, parameters.ref ?? '', query);
    }
  }

  private shown(repository: HeldRepository): object {
    const { name, parent } = repository;
    return {
      full_name: name,
      description: 'The app',
      private: repository.private,
      archived: false,
      default_branch: repository.defaultBranch,
      permissions: { admin: false, push: repository.mayPush, pull: true },
      ...(parent === undefined ? {} : { fork: true, parent: { full_name: parent } }),
    };
  }

  private list(name: string, query: URLSearchParams): Answer {
    const found = this.pulls.filter(
      (one) =>
        one.repository === name &&
        (query.get('state') !== 'open' || one.state === 'open') &&
        `${one.headRepository.split('/')[0] ?? ''}:${one.branch}` === query.get('head'),
    );
    const [some, next] = this.page(found, query, 'per_page', `/repos/${name}/pulls`);
    return { status: 200, values: some.map((one) => this.view(one)), next };
  }

  private made(repository: HeldRepository, body: unknown): Answer {
    const wish = body as { title: string; body: string; head: string; base: string; draft: boolean };
    if (!repository.mayPush) return this.refusal(403, 'Resource not accessible by personal access token');
    const [owner, branch] = wish.head.includes(':')
      ? (wish.head.split(':') as [string, string])
      : [undefined, wish.head];
    const heads = this.repositories.filter((one) => owner === undefined || one.name.startsWith(`${owner}/`));
    const asked = (body as { head_repo?: string }).head_repo;
    const head =
      owner === undefined
        ? repository.name
        : (asked ?? heads.find((one) => one.parent === repository.name)?.name ?? repository.name);
    const fresh = { repository: repository.name, headRepository: head, branch };
    if (this.same(fresh) !== undefined) return invalid(`A pull request already exists for ${wish.head}.`);
    if (!repository.branches.includes(wish.base)) return invalid('base is invalid');
    const { title, base, draft } = wish;
    const pull = this.addPull({ ...fresh, title, body: wish.body, base, draft });
    return { status: 201, values: this.view(pull) };
  }

  private view(pull: HeldPull): object {
    const { number, title, body, draft, state } = pull;
    return {
      node_id: nodeOf(pull),
      number,
      html_url: this.urlOf(pull),
      state: state === 'open' ? 'open' : 'closed',
      draft,
      merged_at: state === 'merged' ? '2026-01-01T00:00:00Z' : null,
      title,
      body,
      head: { ref: pull.branch, sha: this.sha(pull), repo: { full_name: pull.headRepository } },
      base: { ref: pull.base },
    };
  }

  /** Every other check is a run of an app, every other a status of the commit. */
  private checksOf(name: string, path: string, ref: string, query: URLSearchParams): Answer {
    const checks = this.pulls.find((one) => this.sha(one) === ref)?.checks ?? [];
    if (path.endsWith('/check-runs')) {
      const runs = checks.filter((_, i) => i % 2 === 0);
      const [some, next] = this.page(runs, query, 'per_page', `/repos/${name}/commits/${ref}/check-runs`);
      const values = { total_count: runs.length, check_runs: some.map((one) => runOf[one]) };
      return { status: 200, values, next };
    }
    const statuses = checks.filter((_, i) => i % 2 === 1);
    const state = statuses.includes('failed')
      ? 'failure'
      : statuses.length === 0 || statuses.includes('running')
        ? 'pending'
        : 'success';
    return { status: 200, values: { state, total_count: statuses.length, statuses: [] } };
  }
}

const runOf: Record<CheckWord, object> = {
  running: { status: 'in_progress', conclusion: null },
  passed: { status: 'completed', conclusion: 'success' },
  failed: { status: 'completed', conclusion: 'failure' },
};

function nodeOf({ number }: HeldPull): string {
  return `PR_${number}`;
}

function invalid(message: string): Answer {
  return {
    status: 422,
    values: {
      message: 'Validation Failed',
      documentation_url: 'https://example.com/rest',
      errors: [{ resource: 'PullRequest', code: 'custom', message }],
    },
  };
}
