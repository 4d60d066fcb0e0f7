import { foldPath } from './foldPath.ts';
import type { RawChange } from './log.ts';
import { BlobReader } from './parts/blobReader.ts';
import { gitStream } from './process.ts';
import type { Quarantine } from './quarantine.ts';

/** What a path may be besides its name. Paths are folded, as `foldPath` has them. */
export interface Places {
  /** What a path is called through the links of the repository, and through which of them. */
  aliases(path: string): { path: string; link: string }[];
  /** What a folder on the way to a path is, or was, or is for a disk that does not tell cases apart. */
  below(path: string): 'link' | 'submodule' | undefined;
  /** Another file that is the same one for such a disk. */
  double(path: string, spelling: string): string | undefined;
}

/** Longer ones lead nowhere that a file system knows, in bytes. */
const maxTargetBytes = 4096;
/** How many links are followed. There is no end to them otherwise, where one leads to a folder that it is in. */
const maxAliases = 64;
/** How many links are read; of those of the tree only, and sorted by path. */
const maxLinks = 100_000;

/** @param tree the newer side; what the changes take away of the older one counts as well, because it may stay */
export async function readPlaces(
  quarantine: Quarantine,
  tree: string,
  changes: readonly RawChange[],
  signal: AbortSignal | undefined,
): Promise<Places> {
  const links = new Map<string, string>();
  const modules = new Set<string>();
  const spellings = new Map<string, Set<string>>();
  for (const change of changes) {
    const old = foldPath(change.from ?? change.path);
    if (change.oldMode === '120000') links.set(old, change.oldBlob);
    if (change.oldMode === '160000') modules.add(old);
    if (change.newMode !== '000000') spellings.set(foldPath(change.path), new Set([change.path]));
  }
  const old = [...links];
  for await (const { mode, oid, path } of entries(quarantine, tree, signal)) {
    const folded = foldPath(path);
    if (mode === '120000' && links.size < maxLinks) links.set(folded, oid);
    if (mode === '160000') modules.add(folded);
    spellings.get(folded)?.add(path);
  }
  const byTarget = await targets(quarantine, [...old, ...links], signal);
  return {
    aliases: (path) => aliasesOf(path, byTarget),
    below: (path) => {
      for (const folder of foldersOf(path)) {
        if (links.has(folder)) return 'link';
        if (modules.has(folder)) return 'submodule';
      }
      return undefined;
    },
    double: (path, spelling) => [...(spellings.get(path) ?? [])].find((other) => other !== spelling),
  };
}

async function* entries(
  quarantine: Quarantine,
  tree: string,
  signal: AbortSignal | undefined,
): AsyncGenerator<{ mode: string; oid: string; path: string }> {
  const { stdout } = gitStream(['ls-tree', '-r', '-z', '--full-tree', tree], {
    ...quarantine.options(signal),
    bounded: true,
  });
  let rest = Buffer.alloc(0);
  for await (const chunk of stdout) {
    const bytes = rest.length === 0 ? Buffer.from(chunk) : Buffer.concat([rest, chunk]);
    const end = bytes.lastIndexOf(0);
    rest = bytes.subarray(end + 1);
    if (end === -1) continue;
    for (const entry of bytes.toString('utf8', 0, end).split('\0')) {
      const tab = entry.indexOf('\t');
      const [mode = '', , oid = ''] = entry.slice(0, tab).split(' ');
      yield { mode, oid, path: entry.slice(tab + 1) };
    }
  }
}

/** Which links lead to a place. */
async function targets(
  quarantine: Quarantine,
  links: readonly (readonly [path: string, oid: string])[],
  signal: AbortSignal | undefined,
): Promise<Map<string, Set<string>>> {
  const found = new Map<string, Set<string>>();
  if (links.length === 0) return found;
  const reader = new BlobReader(quarantine);
  try {
    const read = async ([path, oid]: readonly [string, string]): Promise<void> => {
      // What is too long leads nowhere.
      const bytes = await reader.read(oid, maxTargetBytes, signal).catch(() => undefined);
      const target = bytes === undefined ? undefined : resolved(path, Buffer.from(bytes).toString());
      if (target === undefined) return;
      const list = found.get(target) ?? new Set();
      found.set(target, list.add(path));
    };
    await Promise.all(links.map(read));
    signal?.throwIfAborted();
  } finally {
    reader.dispose();
  }
  return found;
}

/** Where a link leads inside the repository, folded; undefined when it leads out of it. */
function resolved(link: string, target: string): string | undefined {
  if (/^[/\\]|^[A-Za-z]:/.test(target)) return undefined;
  const parts = link.split('/').slice(0, -1);
  for (const part of target.split(/[/\\]/)) {
    if (part === '' || part === '.') continue;
    if (part !== '..') parts.push(part);
    else if (parts.pop() === undefined) return undefined;
  }
  return foldPath(parts.join('/'));
}

function aliasesOf(
  path: string,
  byTarget: ReadonlyMap<string, ReadonlySet<string>>,
): { path: string; link: string }[] {
  if (byTarget.size === 0) return [];
  const found = new Map<string, string>();
  const open = [path];
  for (let next = open.shift(); next !== undefined; next = open.shift()) {
    for (const place of ['', ...foldersOf(next), next]) {
      for (const link of byTarget.get(place) ?? []) {
        const alias = `${link}${place === '' ? `/${next}` : next.slice(place.length)}`;
        if (alias === path || found.has(alias) || found.size >= maxAliases) continue;
        found.set(alias, link);
        open.push(alias);
      }
    }
  }
  return [...found].map(([alias, link]) => ({ path: alias, link }));
}

function* foldersOf(path: string): Generator<string> {
  for (let at = path.indexOf('/'); at !== -1; at = path.indexOf('/', at + 1)) yield path.slice(0, at);
}
