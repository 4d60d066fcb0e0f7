import * as z from 'zod/mini';
import type { GitCredential } from '../git/smartHttp.ts';
import { onceOnly } from './asking.ts';
import type { Forge, PullRequest, PullRequestHead, PullRequestWish } from './forge.ts';
import type { ForgeOptions } from './forgeOptions.ts';
import { forgeNames, type ForgeKind } from './names.ts';
import { pagesOf } from './pages.ts';
import { RestClient, type RestApi } from './restClient.ts';
import { WebAddress } from './webAddress.ts';

/** How one forge is asked. */
interface Manner<S extends z.ZodMiniType> {
  kind: ForgeKind;
  /** Of a user at git, whose password is the token. */
  gitUser: string;
  /** What a token has to be allowed, for people. */
  rights: string;
  /** Go with every request. */
  headers: Readonly<Record<string, string>>;
  /** Of a pull request in the forge's own words, what these mean, and what they call it. */
  schema: S;
  read: (pull: z.output<S>) => PullRequest;
  noun: 'pull request' | 'merge request';
  changing: 'PATCH' | 'PUT';
}

type Shared =
  'name' | 'credential' | 'repositoryAt' | 'urlOf' | 'findPullRequest' | 'openPullRequest' | 'pullRequest';

/** What forges with a REST API have in common. */
export abstract class RestForge<S extends z.ZodMiniType> implements Pick<Forge, Shared> {
  readonly name: string;
  readonly credential: GitCredential;
  protected readonly api: RestApi;
  protected readonly rest: RestClient;
  private readonly manner: Manner<S>;
  private readonly web: WebAddress;

  protected constructor({ apiUrl, webUrl, token, owner = 'runner' }: ForgeOptions, manner: Manner<S>) {
    const { kind, gitUser, rights, headers } = manner;
    this.name = forgeNames[kind];
    this.manner = manner;
    this.web = new WebAddress(kind, webUrl);
    this.credential = { origin: this.web.origin, user: gitUser, password: token };
    this.api = { forge: this.name, owner, rights, base: apiUrl, headers };
    this.rest = new RestClient(this.api);
  }

  abstract findPullRequest(head: PullRequestHead, signal: AbortSignal): Promise<PullRequest | undefined>;

  /** Path of a repository's pull requests. */
  protected abstract pullsOf(repository: string): string;
  /** How a new one is asked for. */
  protected abstract opening(wish: PullRequestWish, signal: AbortSignal): Promise<Opening> | Opening;

  repositoryAt(url: string): string | undefined {
    return this.web.repositoryAt(url);
  }

  urlOf(repository: string): string {
    return this.web.urlOf(repository);
  }

  async openPullRequest(wish: PullRequestWish, signal: AbortSignal): Promise<PullRequest> {
    return await onceOnly(
      () => this.findPullRequest(wish, signal),
      async () => {
        const { schema, noun } = this.manner;
        const what = `${noun} in ${wish.repository} from ${wish.branch}`;
        const { path = this.pullsOf(wish.repository), body } = await this.opening(wish, signal);
        return this.read((await this.rest.ask(schema, { method: 'POST', path, body, what, signal })).value);
      },
    );
  }

  async pullRequest(repository: string, number: number, signal: AbortSignal): Promise<PullRequest> {
    return this.read(await this.pull(repository, number, signal));
  }

  protected read(pull: z.output<S>): PullRequest {
    return this.manner.read(pull);
  }

  protected async pull(repository: string, number: number, signal: AbortSignal): Promise<z.output<S>> {
    const request = { ...this.one(repository, number), signal };
    return (await this.rest.ask(this.manner.schema, request)).value;
  }

  protected async change(
    repository: string,
    number: number,
    body: object,
    signal: AbortSignal,
  ): Promise<z.output<S>> {
    const { schema, changing: method } = this.manner;
    const request = { method, body, ...this.one(repository, number), signal };
    return (await this.rest.ask(schema, request)).value;
  }

  /** A list, whose next page a header names. */
  protected async list<I extends z.ZodMiniType>(
    item: I,
    first: string,
    { what, max, signal }: { what: string; max: number; signal: AbortSignal },
  ): Promise<{ items: z.output<I>[]; more: boolean }> {
    return await pagesOf((path) => this.rest.ask(z.array(item), { path, what, signal }), first, max);
  }

  private one(repository: string, number: number): { path: string; what: string } {
    const what = `${this.manner.noun} ${number} in ${repository}`;
    return { path: `${this.pullsOf(repository)}/${number}`, what };
  }
}

interface Opening {
  /** The repository's pull requests where it is none. */
  path?: string;
  body: object;
}
