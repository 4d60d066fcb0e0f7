import { ContractForge, type Answer, type HeldPull, type HeldRepository } from './contractForge.ts';
import { OpenApi, type ContractRequest, type Matched } from './openApi.ts';

const draftMark = /^(draft:|\[draft\]|\(draft\))\s*/i;

export class GitLabContract extends ContractForge {
  readonly kind = 'gitlab';
  readonly apiRoot = '/api/v4';

  constructor() {
    super(new OpenApi('gitlab'));
  }

  protected isAuthorized({ headers }: ContractRequest): boolean {
    return headers.authorization === `Bearer ${this.token}` || headers['private-token'] === this.token;
  }

  protected refusal(status: number, message: string): Answer {
    return { status, values: { message: `${status} ${message}` } };
  }

  protected answerTo({ operation, parameters, query }: Matched, body: unknown): Answer {
    const project = this.held(parameters.id ?? '');
    if (project === undefined) return this.refusal(404, 'Project Not Found');
    const [method = '', path = ''] = operation.split(' ');
    const { name } = project;
    const pull = this.pull(name, parameters.merge_request_iid);
    const id = encodeURIComponent(name);
    switch (path.replace('/projects/{id}', '')) {
      case '':
        return { status: 200, values: this.shown(project) };
      case '/repository/branches/{branch}': {
        const branch = parameters.branch ?? '';
        if (!project.branches.includes(branch)) return this.refusal(404, 'Branch Not Found');
        return {
          status: 200,
          values: { name: branch, protected: this.guards(project, branch), default: false },
        };
      }
      case '/protected_branches': {
        if (!project.tellsGuards) return this.refusal(403, 'Forbidden');
        const [some, next] = this.page(
          project.guarded,
          query,
          'per_page',
          `/projects/${id}/protected_branches`,
        );
        return { status: 200, values: some.map((one, i) => ({ id: i + 1, name: one })), next };
      }
      case '/merge_requests':
        return method === 'post' ? this.made(project, body) : this.list(project, query);
      default:
        if (pull === undefined) return this.refusal(404, 'Not found');
        if (method === 'put') this.change(pull, body as { title?: string; description?: string });
        return { status: 200, values: this.view(pull, true) };
    }
  }

  private shown({ id, name, parent, defaultBranch, mayPush, ...rest }: HeldRepository): object {
    const above = parent === undefined ? undefined : this.held(parent);
    return {
      id,
      path_with_namespace: name,
      description: null,
      visibility: rest.private ? 'private' : 'public',
      archived: false,
      default_branch: defaultBranch,
      permissions: { project_access: null, group_access: { access_level: mayPush ? 30 : 20 } },
      ...(above === undefined
        ? {}
        : { forked_from_project: { id: above.id, path_with_namespace: above.name } }),
    };
  }

  private list({ name }: HeldRepository, query: URLSearchParams): Answer {
    const found = this.pulls.filter(
      (one) =>
        one.repository === name &&
        (query.get('state') !== 'opened' || one.state === 'open') &&
        (query.get('source_branch') ?? one.branch) === one.branch,
    );
    const path = `/projects/${encodeURIComponent(name)}/merge_requests`;
    const [some, next] = this.page(found, query, 'per_page', path);
    return { status: 200, values: some.map((one) => this.view(one, false)), next };
  }

  private made(source: HeldRepository, body: unknown): Answer {
    const wish = body as Record<'title' | 'description' | 'source_branch' | 'target_branch', string> & {
      target_project_id?: number;
    };
    if (!source.mayPush) return this.refusal(403, 'Forbidden');
    const target = this.held(String(wish.target_project_id ?? source.id));
    if (target === undefined) return this.refusal(404, 'Project Not Found');
    const fresh = { repository: target.name, headRepository: source.name, branch: wish.source_branch };
    const there = this.same(fresh);
    if (there !== undefined) {
      const message = `Another open merge request already exists for this source branch: !${there.number}`;
      return { status: 409, values: { message: [message] } };
    }
    if (!target.branches.includes(wish.target_branch))
      return { status: 422, values: { error: ['base is invalid'] } };
    const { title, description, target_branch: base } = wish;
    const pull = this.addPull({ ...fresh, title, body: description, base, draft: draftMark.test(title) });
    return { status: 201, values: this.view(pull, true) };
  }

  private change(pull: HeldPull, { title, description }: { title?: string; description?: string }): void {
    if (description !== undefined) pull.body = description;
    if (title === undefined) return;
    pull.title = title;
    pull.draft = draftMark.test(title);
  }

  private view(pull: HeldPull, whole: boolean): object {
    const { number, title, body, draft, state, checks } = pull;
    const status = checks.includes('failed') ? 'failed' : checks.includes('running') ? 'running' : 'success';
    const pipeline = { id: 5, sha: this.sha(pull), status };
    return {
      iid: number,
      web_url: this.urlOf(pull),
      state: state === 'open' ? 'opened' : state,
      draft,
      title,
      description: body,
      source_branch: pull.branch,
      target_branch: pull.base,
      sha: this.sha(pull),
      source_project_id: this.held(pull.headRepository)?.id ?? null,
      target_project_id: this.held(pull.repository)?.id ?? 1,
      ...(whole ? { head_pipeline: checks.length === 0 ? null : pipeline } : {}),
    };
  }
}
