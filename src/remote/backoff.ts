/** Between two attempts, in milliseconds: about `first`, then twice as long each time up to `most`; each by chance. */
export interface Backoff {
  first: number;
  most: number;
  random: () => number;
}

export const defaultBackoff: Backoff = { first: 500, most: 30_000, random: Math.random };

/** With chance in it, so that clients that lost the same runner do not come back at the same moment. */
export function backoffDelay(failures: number, { first, most, random }: Backoff): number {
  const ceiling = Math.min(most, first * 2 ** Math.min(failures, 20));
  return Math.ceil(ceiling / 2 + (random() * ceiling) / 2);
}
