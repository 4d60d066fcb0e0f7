import { ContractForge, type Answer, type HeldPull, type HeldRepository } from './contractForge.ts';
import { OpenApi, type ContractRequest, type Matched } from './openApi.ts';

const draftMark = /^(wip:|\[wip\])\s*/i;

/** Gitea gives fifty at once, and no more. */
const maxPage = 50;

export class GiteaContract extends ContractForge {
  readonly kind = 'gitea';
  readonly apiRoot = '/api/v1';
  /** Newer ones say themselves whether it is a draft. */
  saysDraft = false;

  constructor() {
    super(new OpenApi('gitea'));
  }

  protected isAuthorized({ headers }: ContractRequest): boolean {
    return headers.authorization === `token ${this.token}`;
  }

  protected refusal(status: number, message: string): Answer {
    return { status, values: { message, url: 'https://forge.example.com/api/swagger' } };
  }

  protected answerTo({ operation, parameters, query }: Matched, body: unknown): Answer {
    const repository = this.held(`${parameters.owner ?? ''}/${parameters.repo ?? ''}`);
    if (repository === undefined) return this.refusal(404, 'Not Found');
    const { name } = repository;
    const [method = '', path = ''] = operation.split(' ');
    const pull = this.pull(name, parameters.index);
    switch (path.replace('/repos/{owner}/{repo}', '')) {
      case '':
        return { status: 200, values: this.shown(repository) };
      case '/branches/{branch}': {
        const branch = parameters.branch ?? '';
        if (!repository.branches.includes(branch)) return this.refusal(404, 'branch does not exist');
        return { status: 200, values: { name: branch, protected: this.guards(repository, branch) } };
      }
      case '/pulls':
        return method === 'post' ? this.made(repository, body) : this.list(name, query);
      case '/pulls/{index}':
        if (pull === undefined) return this.refusal(404, 'Not Found');
        if (method === 'patch') this.change(pull, body as { title?: string; body?: string });
        return { status: method === 'patch' ? 201 : 200, values: this.view(pull) };
      default:
        return this.statusOf(parameters.ref ?? '');
    }
  }

  private shown({ id, name, defaultBranch, mayPush, parent, ...rest }: HeldRepository): object {
    return {
      id,
      full_name: name,
      description: '',
      private: rest.private,
      archived: false,
      empty: rest.branches.length === 0,
      default_branch: defaultBranch,
      permissions: { admin: false, push: mayPush, pull: true },
      fork: parent !== undefined,
      ...(parent === undefined ? {} : { parent: { full_name: parent } }),
    };
  }

  private list(name: string, query: URLSearchParams): Answer {
    const found = this.pulls.filter(
      (one) => one.repository === name && (query.get('state') !== 'open' || one.state === 'open'),
    );
    if (Number(query.get('limit')) > maxPage) return this.refusal(400, 'Too many at once');
    const [some, next] = this.page(found, query, 'limit', `/repos/${name}/pulls`);
    return { status: 200, values: some.map((one) => this.view(one)), next };
  }

  private made(repository: HeldRepository, body: unknown): Answer {
    const wish = body as { title: string; body: string; head: string; base: string };
    if (!repository.mayPush) return this.refusal(403, 'user should have a permission to write code');
    const [owner, branch] = wish.head.includes(':')
      ? (wish.head.split(':') as [string, string])
      : [undefined, wish.head];
    const fork = this.repositories.find(
      (one) => one.name.startsWith(`${owner ?? ''}/`) && one.parent === repository.name,
    );
    const headRepository = owner === undefined ? repository.name : fork?.name;
    if (headRepository === undefined) return this.refusal(404, 'The target could not be found');
    const fresh = { repository: repository.name, headRepository, branch };
    if (this.same(fresh) !== undefined)
      return this.refusal(409, 'pull request already exists for these targets');
    if (!repository.branches.includes(wish.base)) return this.refusal(422, 'base is invalid');
    const { title, base } = wish;
    const pull = this.addPull({ ...fresh, title, body: wish.body, base, draft: draftMark.test(title) });
    return { status: 201, values: this.view(pull) };
  }

  private change(pull: HeldPull, change: { title?: string; body?: string }): void {
    Object.assign(pull, change);
    pull.draft = draftMark.test(pull.title);
  }

  private view(pull: HeldPull): object {
    const { number, title, body, state, draft } = pull;
    return {
      number,
      html_url: this.urlOf(pull),
      state: state === 'open' ? 'open' : 'closed',
      merged: state === 'merged',
      title,
      body,
      head: { ref: pull.branch, sha: this.sha(pull), repo: { full_name: pull.headRepository } },
      base: { ref: pull.base },
      ...(this.saysDraft ? { draft } : {}),
    };
  }

  private statusOf(ref: string): Answer {
    const checks = this.pulls.find((one) => this.sha(one) === ref)?.checks ?? [];
    const state = checks.includes('failed') ? 'failure' : checks.includes('running') ? 'pending' : 'success';
    // Without any it gives an empty word, which its document lets pass.
    const values = { sha: ref, total_count: checks.length, state: checks.length === 0 ? '' : state };
    return { status: 200, values };
  }
}
