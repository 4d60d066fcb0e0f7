import { readFile } from 'node:fs/promises';

const files = ['/sys/fs/cgroup/memory.events', '/sys/fs/cgroup/memory/memory.oom_control'];

/**
 * How many processes of this container the kernel has killed for want of memory. An engine's own word on it counts only
 * the main process. Undefined where the kernel does not say.
 */
export async function oomKills(candidates: readonly string[] = files): Promise<number | undefined> {
  for (const path of candidates) {
    try {
      const count = parseOomKills(await readFile(path, 'utf8'));
      if (count !== undefined) return count;
    } catch {
      // The other version of cgroups.
    }
  }
  return undefined;
}

/** Version 1 and version 2 of cgroups name the counter alike. */
export function parseOomKills(text: string): number | undefined {
  const match = /^oom_kill (\d+)$/m.exec(text);
  return match === null ? undefined : Number(match[1]);
}
