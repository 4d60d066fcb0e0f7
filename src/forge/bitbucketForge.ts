import * as z from 'zod/mini';
import type { Forge, PullRequest } from './forge.ts';
import { pagesOf } from './pages.ts';
import type { RestAnswer } from './restClient.ts';
import { RestForge } from './restForge.ts';

/** What of a pull request is changed; the rest stays as it is. */
export interface Changes {
  title: string;
  body: string;
  /** As it is where it is left out. */
  draft?: boolean;
}

/** Where the next page is: the cloud gives its address, a server of somebody's own the number of its first item. */
export interface NextPage {
  next?: string | undefined;
  nextPageStart?: number | null | undefined;
}

/** What the two Bitbuckets have in common: a pull request is changed by sending the whole of it, and lists come in pages. */
export abstract class BitbucketForge<S extends z.ZodMiniType>
  extends RestForge<S>
  implements Pick<Forge, 'changePullRequest' | 'markReady'>
{
  /** The whole pull request: what is not sent along is taken away, such as the reviewers. */
  protected abstract whole(repository: string, there: z.output<S>, changes: Changes): object;
  /** Address of the page after this one; undefined for the last. */
  protected abstract pageAfter(first: string, page: NextPage): string | undefined;

  async changePullRequest(
    repository: string,
    number: number,
    change: { title?: string; body?: string },
    signal: AbortSignal,
  ): Promise<PullRequest> {
    const there = await this.pull(repository, number, signal);
    const now = this.read(there);
    const { title = now.title, body = now.body } = change;
    return await this.put(repository, there, { title, body }, signal);
  }

  async markReady(repository: string, number: number, signal: AbortSignal): Promise<PullRequest> {
    const there = await this.pull(repository, number, signal);
    const now = this.read(there);
    if (now.state !== 'draft') return now;
    return await this.put(repository, there, { title: now.title, body: now.body, draft: false }, signal);
  }

  protected async all<I extends z.ZodMiniType>(
    item: I,
    first: string,
    what: string,
    max: number,
    signal: AbortSignal,
  ): Promise<z.output<I>[]> {
    const Page = z.object({
      values: z.array(item),
      next: z.catch(z.optional(z.url()), undefined),
      nextPageStart: z.catch(z.nullish(z.int().check(z.nonnegative())), null),
    });
    const ask = async (path: string): Promise<RestAnswer<z.output<I>[]>> => {
      const { value } = await this.rest.ask(Page, { path, what, signal });
      const next = this.pageAfter(first, value);
      return { value: value.values, ...(next === undefined ? {} : { next }) };
    };
    return (await pagesOf(ask, first, max)).items;
  }

  private async put(
    repository: string,
    there: z.output<S>,
    changes: Changes,
    signal: AbortSignal,
  ): Promise<PullRequest> {
    const { number } = this.read(there);
    return this.read(await this.change(repository, number, this.whole(repository, there, changes), signal));
  }
}
