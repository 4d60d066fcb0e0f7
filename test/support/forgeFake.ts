import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { bodyOf } from './modelGateway.ts';

export interface FakeRepository {
  name: string;
  description?: string;
  private?: boolean;
  archived?: boolean;
  defaultBranch?: string | null;
  mayPush?: boolean;
  files?: Record<string, string>;
}

export interface FakePull {
  number: number;
  repository: string;
  head: string;
  base: string;
  title: string;
  body: string;
  draft: boolean;
  state: 'open' | 'closed';
  merged: boolean;
}

export interface ForgeRequest {
  method: string;
  path: string;
  authorization: string | undefined;
  body: unknown;
}

/** Secrets that the real one puts into its answers. */
export const forgeSecrets = {
  clone: 'AABBtemporary-clone-token',
  download: 'CCDDtoken-of-a-download',
} as const;

/**
 * GitHub's REST API over HTTP, as far as it is used: with the shapes of its published description, and with more in them than
 * anybody wants to see. `/api/v3` as on an Enterprise server, `/api/graphql` beside it.
 */
export class ForgeFake {
  token = 'ghs_the-token-of-the-test';
  readonly requests: ForgeRequest[] = [];
  readonly repositories: FakeRepository[] = [];
  readonly pulls: FakePull[] = [];
  /** Under which the forge is known. */
  host = 'localhost';
  /** Answers in place of the forge, where it says true. */
  instead: (request: ForgeRequest, response: ServerResponse) => boolean = () => false;
  private readonly server: Server;

  private constructor(server: Server) {
    this.server = server;
  }

  static async open(address = '127.0.0.1'): Promise<ForgeFake> {
    const server = createServer((request, response) => {
      void opened.handle(request, response);
    });
    const opened = new ForgeFake(server);
    server.listen(0, address);
    await once(server, 'listening');
    return opened;
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  get apiUrl(): string {
    return `http://${this.host}:${this.port}/api/v3`;
  }

  /** Requests of one kind, such as `POST /repos/a/b/pulls`. */
  asked(method: string, path: string): ForgeRequest[] {
    return this.requests.filter((one) => one.method === method && one.path.split('?')[0] === path);
  }

  async close(): Promise<void> {
    this.server.closeAllConnections();
    this.server.close();
    await once(this.server, 'close');
  }

  private async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const text = await bodyOf(request);
    const { method = '', url = '', headers } = request;
    const path = url.replace(/^\/api\/v3/, '');
    const body: unknown = text === '' ? undefined : JSON.parse(text);
    const seen = { method, path, authorization: headers.authorization, body };
    this.requests.push(seen);
    if (this.instead(seen, response)) return;
    if (headers.authorization !== `Bearer ${this.token}`) {
      answer(response, 401, { message: 'Bad credentials', documentation_url: 'https://example.com/rest' });
      return;
    }
    const { status, json, link } = this.answerTo(seen);
    if (link !== undefined) response.setHeader('link', link);
    answer(response, status, json);
  }

  private answerTo({ method, path, body }: ForgeRequest): { status: number; json: unknown; link?: string } {
    const url = new URL(path, 'http://x');
    const known = (one: FakeRepository | undefined): one is FakeRepository => one !== undefined;
    if (method === 'GET' && url.pathname === '/user/repos') {
      const size = Number(url.searchParams.get('per_page') ?? 30);
      const page = Number(url.searchParams.get('page') ?? 1);
      const some = this.repositories.slice((page - 1) * size, page * size);
      const next = `${this.apiUrl}/user/repos?per_page=${size}&page=${page + 1}`;
      return {
        status: 200,
        json: some.map((one) => this.shown(one)),
        ...(page * size < this.repositories.length
          ? { link: `<${next}>; rel="next", <${next}>; rel="last"` }
          : {}),
      };
    }
    if (method === 'GET' && url.pathname === '/search/repositories') {
      const words = (url.searchParams.get('q') ?? '').toLowerCase().split(/\s+/);
      const found = this.repositories.filter(({ name, description = '' }) =>
        words.every((word) => `${name} ${description}`.toLowerCase().includes(word)),
      );
      return {
        status: 200,
        json: {
          total_count: found.length,
          incomplete_results: false,
          items: found.map((one) => this.shown(one)),
        },
      };
    }
    if (method === 'POST' && path === '/api/graphql') return this.graphql(body);
    const [, , owner = '', name = '', what, ...rest] = url.pathname.split('/');
    const repository = this.repositories.find((one) => one.name === `${owner}/${name}`);
    if (!url.pathname.startsWith('/repos/') || !known(repository)) return notFound;
    if (what === undefined) return { status: 200, json: this.shown(repository) };
    if (what === 'branches') return { status: 200, json: [{ name: 'main', commit: {}, protected: true }] };
    if (what === 'readme') return this.file(repository, 'README.md');
    if (what === 'contents') return this.contents(repository, rest.map(decodeURIComponent).join('/'));
    if (what === 'pulls') return this.pullRequests(method, repository, rest, url.searchParams, body);
    return notFound;
  }

  private shown({ name, description = '', defaultBranch = 'main', ...rest }: FakeRepository): object {
    return {
      id: 1,
      node_id: 'R_1',
      full_name: name,
      name: name.split('/')[1],
      owner: { login: name.split('/')[0] },
      description,
      private: rest.private ?? true,
      archived: rest.archived ?? false,
      fork: false,
      default_branch: defaultBranch,
      language: 'TypeScript',
      topics: ['test'],
      pushed_at: '2026-01-01T00:00:00Z',
      permissions: { admin: false, push: rest.mayPush ?? true, pull: true },
      temp_clone_token: forgeSecrets.clone,
    };
  }

  private contents(repository: FakeRepository, path: string): { status: number; json: unknown } {
    const files = Object.keys(repository.files ?? {});
    if (path !== '') return this.file(repository, path);
    return { status: 200, json: files.map((file) => entry(file, repository.files?.[file] ?? '')) };
  }

  private file({ files = {} }: FakeRepository, path: string): { status: number; json: unknown } {
    const text = files[path];
    if (text === undefined) return notFound;
    const content = Buffer.from(text).toString('base64');
    return { status: 200, json: { ...entry(path, text), encoding: 'base64', content } };
  }

  private pullRequests(
    method: string,
    { name, mayPush = true }: FakeRepository,
    [number]: string[],
    query: URLSearchParams,
    body: unknown,
  ): { status: number; json: unknown } {
    if (number !== undefined) {
      const pull = this.pulls.find((one) => one.repository === name && one.number === Number(number));
      if (pull === undefined) return notFound;
      if (method === 'PATCH') Object.assign(pull, body);
      return { status: 200, json: pullView(pull) };
    }
    if (method === 'GET') {
      const found = this.pulls.filter(
        (one) =>
          one.repository === name &&
          one.state === query.get('state') &&
          `${name.split('/')[0] ?? ''}:${one.head}` === query.get('head'),
      );
      return { status: 200, json: found.map(pullView) };
    }
    if (!mayPush)
      return { status: 403, json: { message: 'Resource not accessible by personal access token' } };
    const wish = body as Pick<FakePull, 'head' | 'base' | 'title' | 'body' | 'draft'>;
    if (this.pulls.some((one) => one.repository === name && one.head === wish.head && one.state === 'open')) {
      const message = `A pull request already exists for ${wish.head}.`;
      return { status: 422, json: { message: 'Validation Failed', errors: [{ code: 'custom', message }] } };
    }
    const { head, base, title, draft } = wish;
    const pull: FakePull = {
      number: this.pulls.length + 1,
      repository: name,
      head,
      base,
      title,
      body: wish.body,
      draft,
      state: 'open',
      merged: false,
    };
    this.pulls.push(pull);
    return { status: 201, json: pullView(pull) };
  }

  private graphql(body: unknown): { status: number; json: unknown } {
    const { query, variables } = body as { query: string; variables: { id: string } };
    const pull = this.pulls.find((one) => nodeOf(one) === variables.id);
    if (pull === undefined || !query.includes('markPullRequestReadyForReview'))
      return { status: 200, json: { data: null, errors: [{ message: 'Could not resolve to a node' }] } };
    pull.draft = false;
    return {
      status: 200,
      json: { data: { markPullRequestReadyForReview: { pullRequest: { isDraft: false } } } },
    };
  }
}

const notFound = {
  status: 404,
  json: { message: 'Not Found', documentation_url: 'https://example.com/rest' },
};

function entry(path: string, text: string): object {
  return {
    name: path.split('/').at(-1),
    path,
    type: 'file',
    size: text.length,
    download_url: `https://raw.example.com/${path}?token=${forgeSecrets.download}`,
  };
}

function nodeOf({ number }: FakePull): string {
  return `PR_${number}`;
}

function pullView(pull: FakePull): object {
  const { number, repository, title, body, draft, state, merged } = pull;
  return {
    node_id: nodeOf(pull),
    number,
    html_url: `https://forge.example.com/${repository}/pull/${number}`,
    state,
    draft,
    merged_at: merged ? '2026-01-01T00:00:00Z' : null,
    title,
    body,
    head: { ref: pull.head, sha: 'c'.repeat(40) },
    base: { ref: pull.base },
  };
}

function answer(response: ServerResponse, status: number, json: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json; charset=utf-8' }).end(JSON.stringify(json));
}
