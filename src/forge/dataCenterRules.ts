import * as z from 'zod/mini';
import { fits } from './segments.ts';

/** What may not be done with which branches. */
export const Restriction = z.object({
  type: z.string(),
  matcher: z.object({ id: z.string(), type: z.object({ id: z.string() }) }),
});

/** What keeps a push away; the others are about deleting and rewriting. */
const aboutPushes = new Set(['read-only', 'pull-request-only']);

/** Whether a rule keeps pushes to this branch away; undefined where it is about a kind of branch, which no name tells. Pure. */
export function guardsPush(
  { type, matcher }: z.infer<typeof Restriction>,
  branch: string,
): boolean | undefined {
  if (!aboutPushes.has(type)) return false;
  switch (matcher.type.id) {
    case 'ANY_REF':
      return true;
    case 'BRANCH':
      return matcher.id === `refs/heads/${branch}` || matcher.id === branch;
    case 'PATTERN':
      return fitsPattern(`refs/heads/${branch}`, matcher.id);
    default:
      return undefined;
  }
}

/** A pattern without the beginning of a ref fits behind any slash. What `?` stands for is taken for more than it is. */
function fitsPattern(ref: string, written: string): boolean {
  const pattern = written.replaceAll('?', '*');
  const tails = ref.split('/').map((_, i, parts) => parts.slice(i).join('/'));
  return tails.some((tail) => fits(tail, pattern) || fits(tail, `${pattern.replace(/\/$/, '')}/*`));
}
