import * as z from 'zod/mini';
import { orAbsent, unless } from './asking.ts';
import { stateOf } from './checks.ts';
import { stillDraft, titleFor, unmarked } from './draftTitle.ts';
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
import { fits, segmentOf } from './segments.ts';

const Path = z
  .string()
  .check(z.refine((name) => isRepositoryName(name, 'gitlab'), 'not a name of a project'));
const Access = z.catch(z.nullable(z.object({ access_level: z.int() })), null);
const noAccess = { project_access: null, group_access: null };

const Project = z.object({
  id: z.int().check(z.positive()),
  path_with_namespace: Path,
  description: z.catch(z.nullable(z.string()), null),
  visibility: z.catch(z.string(), 'private'),
  archived: z.catch(z.boolean(), false),
  default_branch: z.catch(z.nullable(z.string()), null),
  permissions: z.catch(z.object({ project_access: Access, group_access: Access }), noAccess),
  forked_from_project: z.catch(z.optional(z.object({ path_with_namespace: Path })), undefined),
});

const MergeRequest = z.object({
  iid: z.int().check(z.positive()),
  web_url: z.url({ protocol: /^https?$/ }),
  state: z.enum(['opened', 'closed', 'locked', 'merged']),
  draft: z.catch(z.boolean(), false),
  title: z.string(),
  description: z.catch(z.nullable(z.string()), null),
  source_branch: z.string(),
  target_branch: z.string(),
  sha: z.catch(z.nullable(z.string()), null),
  source_project_id: z.catch(z.nullable(z.int()), null),
  target_project_id: z.int(),
  head_pipeline: z.catch(z.nullish(z.object({ status: z.string() })), null),
});
type MergeRequest = z.infer<typeof MergeRequest>;

const ProtectedBranch = z.object({ name: z.string() });

/** The least role that may push. */
const developer = 30;
const maxProtected = 1000;

/** gitlab.com, or a GitLab of somebody's own. Its pull requests are called merge requests. */
export class GitLab extends RestForge<typeof MergeRequest> implements Forge {
  readonly kind = 'gitlab';

  constructor(options: ForgeOptions) {
    super(options, {
      kind: 'gitlab',
      gitUser: 'oauth2',
      rights: 'the scope "api", and its user the role of a developer in this project',
      headers: { authorization: `Bearer ${options.token}` },
      schema: MergeRequest,
      read: pullRequestOf,
      noun: 'merge request',
      changing: 'PUT',
    });
  }

  async repository(name: string, signal: AbortSignal): Promise<ForgeRepository> {
    const project = await this.project(name, signal);
    const { project_access: own, group_access: group } = project.permissions;
    const level = Math.max(own?.access_level ?? 0, group?.access_level ?? 0);
    const parent = project.forked_from_project?.path_with_namespace;
    return {
      name: project.path_with_namespace,
      description: project.description ?? '',
      private: project.visibility !== 'public',
      archived: project.archived,
      ...(own === null && group === null ? {} : { mayPush: level >= developer }),
      ...(project.default_branch === null ? {} : { defaultBranch: project.default_branch }),
      ...(parent === undefined ? {} : { parent }),
    };
  }

  async isProtected(repository: string, branch: string, signal: AbortSignal): Promise<boolean | undefined> {
    const found = await orAbsent(
      this.rest.ask(z.object({ protected: z.boolean() }), {
        path: `${projectPath(repository)}/repository/branches/${segmentOf(branch)}`,
        what: `branch ${branch} of ${repository}`,
        signal,
      }),
    );
    if (found !== undefined) return found.value.protected;
    // One that is not there yet may be guarded by a pattern, which not every token is told.
    const path = `${projectPath(repository)}/protected_branches?per_page=100`;
    const what = `protected branches of ${repository}`;
    const guarded = await unless(
      this.list(ProtectedBranch, path, { what, max: maxProtected, signal }),
      'forge_refused',
      'repository_not_found',
    );
    return guarded?.items.some(({ name }) => fits(branch, name));
  }

  async findPullRequest(head: PullRequestHead, signal: AbortSignal): Promise<PullRequest | undefined> {
    const { repository, branch, headRepository = repository } = head;
    const source = (await this.project(headRepository, signal)).id;
    const query = new URLSearchParams({ state: 'opened', source_branch: branch, per_page: '100' });
    const path = `${this.pullsOf(repository)}?${query.toString()}`;
    const what = `merge requests in ${repository}`;
    const { items } = await this.list(MergeRequest, path, { what, max: maxSameName, signal });
    // Branches of forks have the same names.
    const found = items.find((one) => one.source_branch === branch && one.source_project_id === source);
    return found && pullRequestOf(found);
  }

  async changePullRequest(
    repository: string,
    number: number,
    { title, body }: { title?: string; body?: string },
    signal: AbortSignal,
  ): Promise<PullRequest> {
    const change: { title?: string; description?: string } = {};
    if (body !== undefined) change.description = body;
    if (title !== undefined) {
      const { draft } = await this.pull(repository, number, signal);
      change.title = titleFor(this.kind, title, draft);
    }
    return pullRequestOf(await this.change(repository, number, change, signal));
  }

  async markReady(repository: string, number: number, signal: AbortSignal): Promise<PullRequest> {
    const there = await this.pull(repository, number, signal);
    if (there.state !== 'opened' || !there.draft) return pullRequestOf(there);
    const title = unmarked(this.kind, there.title);
    const ready = pullRequestOf(await this.change(repository, number, { title }, signal));
    if (ready.state === 'draft') throw stillDraft(this.name, `merge request ${number} in ${repository}`);
    return ready;
  }

  /** Of the newest pipeline, wherever it ran: in a fork, of the branch, or of what a merge would give. */
  async checks(
    repository: string,
    { number }: Pick<PullRequest, 'number'>,
    signal: AbortSignal,
  ): Promise<Checks> {
    const { head_pipeline: pipeline } = await this.pull(repository, number, signal);
    return pipeline === null || pipeline === undefined ? 'none' : stateOf(pipeline.status);
  }

  private async project(name: string, signal: AbortSignal): Promise<z.infer<typeof Project>> {
    const path = projectPath(name);
    return (await this.rest.ask(Project, { path, what: `project ${name}`, signal })).value;
  }

  protected override pullsOf(repository: string): string {
    return `${projectPath(repository)}/merge_requests`;
  }

  /** It is made where its branch is. */
  protected override async opening(
    wish: PullRequestWish,
    signal: AbortSignal,
  ): Promise<{ path: string; body: object }> {
    const { repository, branch, base, title, body, draft, headRepository = repository } = wish;
    const elsewhere = sameRepository(headRepository, repository)
      ? {}
      : { target_project_id: (await this.project(repository, signal)).id, allow_collaboration: true };
    return {
      path: this.pullsOf(headRepository),
      body: {
        source_branch: branch,
        target_branch: base,
        title: titleFor(this.kind, title, draft),
        description: body,
        ...elsewhere,
      },
    };
  }
}

const maxSameName = 1000;

function projectPath(repository: string): string {
  return `/projects/${encodeURIComponent(named(repository, 'gitlab'))}`;
}

function pullRequestOf(one: MergeRequest): PullRequest {
  const { iid: number, web_url: url, state, draft, title, description, sha } = one;
  return {
    number,
    url,
    title: unmarked('gitlab', title),
    body: description ?? '',
    // One that is being merged is locked for that moment.
    state: state === 'opened' || state === 'locked' ? (draft ? 'draft' : 'open') : state,
    branch: one.source_branch,
    base: one.target_branch,
    ...(sha === null ? {} : { commit: sha }),
  };
}
