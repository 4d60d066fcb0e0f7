import * as z from 'zod/mini';
import type { GitCredential } from '../git/smartHttp.ts';
import { onceOnly, orAbsent, unless } from './asking.ts';
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
import { isRepositoryName, named } from './names.ts';
import { pagesOf } from './pages.ts';
import { RestClient } from './restClient.ts';
import { fits, segmentOf } from './segments.ts';
import { WebAddress } from './webAddress.ts';

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
export class GitLab implements Forge {
  readonly kind = 'gitlab';
  readonly name = 'GitLab';
  readonly credential: GitCredential;
  private readonly web: WebAddress;
  private readonly rest: RestClient;

  constructor({ apiUrl, webUrl, token, owner = 'runner' }: ForgeOptions) {
    this.web = new WebAddress(this.kind, webUrl);
    this.credential = { origin: this.web.origin, user: 'oauth2', password: token };
    this.rest = new RestClient({
      forge: this.name,
      owner,
      rights: 'the scope "api", and its user the role of a developer in this project',
      base: apiUrl,
      headers: { authorization: `Bearer ${token}` },
    });
  }

  repositoryAt(url: string): string | undefined {
    return this.web.repositoryAt(url);
  }

  urlOf(repository: string): string {
    return this.web.urlOf(repository);
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
    const guarded = await unless(
      pagesOf(
        (path) =>
          this.rest.ask(z.array(ProtectedBranch), {
            path,
            what: `protected branches of ${repository}`,
            signal,
          }),
        `${projectPath(repository)}/protected_branches?per_page=100`,
        maxProtected,
      ),
      'forge_refused',
      'repository_not_found',
    );
    return guarded?.items.some(({ name }) => fits(branch, name));
  }

  async findPullRequest(head: PullRequestHead, signal: AbortSignal): Promise<PullRequest | undefined> {
    const source = (await this.project(head.headRepository ?? head.repository, signal)).id;
    return await this.find(head, source, signal);
  }

  async openPullRequest(wish: PullRequestWish, signal: AbortSignal): Promise<PullRequest> {
    const { repository, branch, base, title, body, draft, headRepository = repository } = wish;
    const source = (await this.project(headRepository, signal)).id;
    const target = headRepository === repository ? source : (await this.project(repository, signal)).id;
    return await onceOnly(
      () => this.find(wish, source, signal),
      async () => {
        // It is made where its branch is.
        const { value } = await this.rest.ask(MergeRequest, {
          method: 'POST',
          path: `${projectPath(headRepository)}/merge_requests`,
          body: {
            source_branch: branch,
            target_branch: base,
            target_project_id: target,
            title: titleFor(this.kind, title, draft),
            description: body,
            ...(source === target ? {} : { allow_collaboration: true }),
          },
          what: `merge request in ${repository} from ${branch}`,
          signal,
        });
        return pullRequestOf(value);
      },
    );
  }

  async pullRequest(repository: string, number: number, signal: AbortSignal): Promise<PullRequest> {
    return pullRequestOf(await this.mergeRequest(repository, number, signal));
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
      const { draft } = await this.mergeRequest(repository, number, signal);
      change.title = titleFor(this.kind, title, draft);
    }
    return await this.change(repository, number, change, signal);
  }

  async markReady(repository: string, number: number, signal: AbortSignal): Promise<PullRequest> {
    const there = await this.mergeRequest(repository, number, signal);
    if (there.state !== 'opened' || !there.draft) return pullRequestOf(there);
    const title = unmarked(this.kind, there.title);
    const ready = await this.change(repository, number, { title }, signal);
    if (ready.state === 'draft') throw stillDraft(this.name, `merge request ${number} in ${repository}`);
    return ready;
  }

  /** Of the newest pipeline, wherever it ran: in a fork, of the branch, or of what a merge would give. */
  async checks(
    repository: string,
    { number }: Pick<PullRequest, 'number'>,
    signal: AbortSignal,
  ): Promise<Checks> {
    const { head_pipeline: pipeline } = await this.mergeRequest(repository, number, signal);
    return pipeline === null || pipeline === undefined ? 'none' : stateOf(pipeline.status);
  }

  private async project(name: string, signal: AbortSignal): Promise<z.infer<typeof Project>> {
    const path = projectPath(name);
    return (await this.rest.ask(Project, { path, what: `project ${name}`, signal })).value;
  }

  private async mergeRequest(repository: string, number: number, signal: AbortSignal): Promise<MergeRequest> {
    const path = `${projectPath(repository)}/merge_requests/${number}`;
    const what = `merge request ${number} in ${repository}`;
    return (await this.rest.ask(MergeRequest, { path, what, signal })).value;
  }

  private async find(
    { repository, branch }: PullRequestHead,
    source: number,
    signal: AbortSignal,
  ): Promise<PullRequest | undefined> {
    const query = new URLSearchParams({ state: 'opened', source_branch: branch, per_page: '100' });
    const { items } = await pagesOf(
      (path) =>
        this.rest.ask(z.array(MergeRequest), { path, what: `merge requests in ${repository}`, signal }),
      `${projectPath(repository)}/merge_requests?${query.toString()}`,
      maxSameName,
    );
    // Branches of forks have the same names.
    const found = items.find((one) => one.source_branch === branch && one.source_project_id === source);
    return found && pullRequestOf(found);
  }

  private async change(
    repository: string,
    number: number,
    body: { title?: string; description?: string },
    signal: AbortSignal,
  ): Promise<PullRequest> {
    const { value } = await this.rest.ask(MergeRequest, {
      method: 'PUT',
      path: `${projectPath(repository)}/merge_requests/${number}`,
      body,
      what: `merge request ${number} in ${repository}`,
      signal,
    });
    return pullRequestOf(value);
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
