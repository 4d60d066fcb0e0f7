import { lookup } from 'node:dns/promises';

/** All addresses of a name. Rejects with the system's error, such as ENOTFOUND. */
export type Resolve = (host: string) => Promise<string[]>;

/** The system's resolver, as every program of the gateway's container has it. */
export const systemResolver: Resolve = async (host) => {
  const found = await lookup(host, { all: true });
  return found.map(({ address }) => address);
};

/** Rejects with ETIMEDOUT when the resolver has not answered in time; its late answer is thrown away. */
export async function resolveWithin(resolve: Resolve, host: string, limitMs: number): Promise<string[]> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(Object.assign(new Error('No answer in time'), { code: 'ETIMEDOUT' })),
      limitMs,
    );
  });
  try {
    return await Promise.race([resolve(host), late]);
  } finally {
    clearTimeout(timer);
  }
}
