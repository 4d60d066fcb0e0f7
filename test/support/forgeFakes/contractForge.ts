import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Forge } from '../../../src/forge/forge.ts';
import type { ForgePlace } from '../../../src/forge/forgeOf.ts';
import { forgeNames, type ForgeKind } from '../../../src/forge/names.ts';
import { openForge } from '../../../src/forge/openForge.ts';
import { bodyOf } from '../modelGateway.ts';
import type { ContractRequest, Matched, OpenApi } from './openApi.ts';

export type CheckWord = 'running' | 'passed' | 'failed';

export interface HeldRepository {
  id: number;
  name: string;
  defaultBranch: string;
  private: boolean;
  mayPush: boolean;
  parent?: string;
  branches: string[];
  /** Names, or patterns with stars. */
  guarded: string[];
  /** What guards is told to this token. */
  tellsGuards: boolean;
}

export interface HeldPull {
  number: number;
  repository: string;
  headRepository: string;
  branch: string;
  base: string;
  /** As the forge has it, with the mark of a draft. */
  title: string;
  body: string;
  draft: boolean;
  state: 'open' | 'closed' | 'merged';
  checks: CheckWord[];
  reviewers: string[];
}

export interface Answer {
  status: number;
  values: unknown;
  /** Of the next page, for forges that say it in a header. */
  next?: string | undefined;
}

/**
 * A forge over HTTP that knows its published document: what breaks it is refused, noted, and fails the test; what it answers
 * satisfies it.
 */
export abstract class ContractForge {
  abstract readonly kind: ForgeKind;
  /** Before the paths of the document. */
  abstract readonly apiRoot: string;
  readonly token = 'the-token-of-the-test';
  readonly repositories: HeldRepository[] = [];
  readonly pulls: HeldPull[] = [];
  readonly requests: (ContractRequest & { operation?: string })[] = [];
  /** What broke the document. */
  readonly breaches: string[] = [];
  /** However much is asked for at once. */
  pageSize = 100;
  /** Answers in place of the forge, where it says true. */
  instead: (request: ContractRequest, response: ServerResponse) => boolean = () => false;
  /** What becomes of an answer after it was held against the document. */
  twist: (values: unknown) => unknown = (values) => values;
  readonly document: OpenApi;
  private readonly server: Server;

  protected constructor(document: OpenApi) {
    this.document = document;
    this.server = createServer((request, response) => {
      this.handle(request, response).catch((thrown: unknown) => {
        this.breaches.push(String(thrown));
        response.destroy();
      });
    });
  }

  async open(): Promise<this> {
    this.server.listen(0, '127.0.0.1');
    await once(this.server, 'listening');
    return this;
  }

  get origin(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  get apiUrl(): string {
    return `${this.origin}${this.apiRoot}`;
  }

  get place(): ForgePlace {
    return {
      kind: this.kind,
      name: forgeNames[this.kind],
      host: 'forge.example.com',
      webUrl: 'https://forge.example.com',
      apiUrl: this.apiUrl,
      repository: 'octo/app',
    };
  }

  client(token = this.token): Forge {
    return openForge(this.place, { token, owner: 'user' });
  }

  add(name: string, change: Partial<HeldRepository> = {}): HeldRepository {
    const repository = {
      id: this.repositories.length + 100,
      name,
      defaultBranch: 'main',
      private: true,
      mayPush: true,
      branches: ['main'],
      guarded: [],
      tellsGuards: true,
      ...change,
    };
    this.repositories.push(repository);
    return repository;
  }

  /** As if somebody had opened it at the forge. */
  addPull(change: Partial<HeldPull> = {}): HeldPull {
    const repository = change.repository ?? 'octo/app';
    const pull: HeldPull = {
      number: this.pulls.length + 1,
      repository,
      headRepository: repository,
      branch: 'claude/x',
      base: 'main',
      title: 'Of somebody',
      body: 'Words',
      draft: false,
      state: 'open',
      checks: [],
      reviewers: [],
      ...change,
    };
    this.pulls.push(pull);
    return pull;
  }

  /** Requests with this method. */
  asked(method: string): ContractRequest[] {
    return this.requests.filter((one) => one.method === method);
  }

  async close(): Promise<void> {
    this.server.closeAllConnections();
    this.server.close();
    await once(this.server, 'close');
  }

  protected abstract isAuthorized(request: ContractRequest): boolean;
  protected abstract answerTo(matched: Matched, body: unknown): Answer;
  /** A refusal in the forge's own form. */
  protected abstract refusal(status: number, message: string): Answer;

  /** Beside the document; undefined where there is nothing. */
  protected aside(_request: ContractRequest): Answer | undefined {
    return undefined;
  }

  /** However it is written. */
  protected held(name: string): HeldRepository | undefined {
    const wanted = name.toLowerCase();
    return this.repositories.find((one) => one.name.toLowerCase() === wanted || String(one.id) === name);
  }

  protected pull(repository: string, number: string | undefined): HeldPull | undefined {
    return this.pulls.find((one) => one.repository === repository && one.number === Number(number));
  }

  /** The one that is open for such a head already. */
  protected same(wish: Pick<HeldPull, 'repository' | 'headRepository' | 'branch'>): HeldPull | undefined {
    return this.pulls.find(
      (one) =>
        one.state === 'open' &&
        one.repository === wish.repository &&
        one.headRepository === wish.headRepository &&
        one.branch === wish.branch,
    );
  }

  protected guards(repository: HeldRepository, branch: string): boolean {
    return repository.guarded.some((one) =>
      one.endsWith('*') ? branch.startsWith(one.slice(0, -1)) : one === branch,
    );
  }

  protected sha(pull: HeldPull): string {
    return pull.number.toString(16).padStart(40, 'c');
  }

  protected urlOf(pull: HeldPull): string {
    return `https://forge.example.com/${pull.repository}/pull/${pull.number}`;
  }

  /** One page of a list, and the address of the next. */
  protected page<T>(items: readonly T[], query: URLSearchParams, size: string, path: string): [T[], string?] {
    const count = Math.min(this.pageSize, Number(query.get(size) ?? 20));
    const page = Number(query.get('page') ?? 1);
    const some = items.slice((page - 1) * count, page * count);
    if (page * count >= items.length) return [some];
    const next = new URLSearchParams(query);
    next.set('page', String(page + 1));
    return [some, `${this.apiUrl}${path}?${next.toString()}`];
  }

  private async handle(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const text = await bodyOf(incoming);
    const { method = '', url = '', headers } = incoming;
    const request: ContractRequest & { operation?: string } = {
      method,
      path: url.startsWith(this.apiRoot) ? url.slice(this.apiRoot.length) : url,
      headers,
      body: text === '' ? undefined : JSON.parse(text),
    };
    this.requests.push(request);
    if (this.instead(request, response)) return;
    const { status, values, next } = this.answered(request);
    if (next !== undefined) response.setHeader('link', `<${next}>; rel="next"`);
    response
      .writeHead(status, { 'content-type': 'application/json; charset=utf-8' })
      .end(JSON.stringify(this.twist(values)));
  }

  private answered(request: ContractRequest & { operation?: string }): Answer {
    if (!this.isAuthorized(request)) return this.refusal(401, 'Bad credentials');
    const aside = this.aside(request);
    if (aside !== undefined) return aside;
    const matched = this.document.read(request);
    if (typeof matched === 'string') {
      this.breaches.push(`${request.method} ${request.path}: ${matched}`);
      return this.refusal(400, matched);
    }
    request.operation = matched.operation;
    const answer = this.answerTo(matched, request.body);
    if (answer.status >= 300) {
      this.document.refusal(matched.operation, answer.status, answer.values);
      return answer;
    }
    return { ...answer, values: this.document.answer(matched.operation, answer.status, answer.values) };
  }
}
