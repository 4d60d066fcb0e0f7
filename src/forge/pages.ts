import type { RestAnswer } from './restClient.ts';

/** A forge that has more pages than this goes round in a circle. */
const maxPages = 100;

/** What a list holds, page after page, up to `max`. */
export async function pagesOf<T>(
  ask: (path: string) => Promise<RestAnswer<readonly T[]>>,
  first: string,
  max: number,
): Promise<{ items: T[]; more: boolean }> {
  const items: T[] = [];
  let path: string | undefined = first;
  for (let page = 0; path !== undefined && items.length < max && page < maxPages; page++) {
    const answer: RestAnswer<readonly T[]> = await ask(path);
    items.push(...answer.value);
    path = answer.next;
  }
  return { items: items.slice(0, max), more: path !== undefined || items.length > max };
}
