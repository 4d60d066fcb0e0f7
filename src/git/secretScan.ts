import { createHmac, randomBytes } from 'node:crypto';
import { link, mkdir, readFile, readdir, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod/mini';
import { SallyportError, isErrno } from '../base/errors.ts';
import { Sha } from '../protocol/grammar.ts';
import type { Snapshot } from '../protocol/task.ts';
import { batches, readObjects } from './objects.ts';
import { git } from './process.ts';
import type { Quarantine } from './quarantine.ts';
import { isSuspect, keyFileKind, prefilter, secretsIn } from './secretRules.ts';

const SecretFinding = z.object({
  path: z.string(),
  /** From 1; 0 when the file as a whole is meant. */
  line: z.number(),
  /** What it looks like, for people: "AWS access key". Never the value. */
  kind: z.string(),
  /** The first and last characters, the middle hidden. */
  hint: z.string(),
  /** Stable for the same value at the same path; not the value, and nothing it could be guessed from. */
  fingerprint: z.string(),
  /** Whether HEAD has the path: what HEAD has was committed before, and is perhaps pushed already. */
  tracked: z.boolean(),
});
/** A likely key in what a sandbox would get. */
export type SecretFinding = z.infer<typeof SecretFinding>;

export interface SecretScan {
  /** At most 100. */
  findings: SecretFinding[];
  /** How many more there are. */
  more: number;
}

/** What was found in a tree, whatever HEAD is. */
const Report = z.object({
  findings: z.array(z.omit(SecretFinding, { tracked: true })),
  more: z.number(),
});
type Report = z.infer<typeof Report>;
type Found = Report['findings'][number];

/** Goes up with every change of the rules: what others found is no answer then. */
const rulesVersion = 1;
const maxFindings = 100;
/** How many are kept for each tree, so that accepted ones do not hide others. */
const maxKept = 2000;
/** Larger files are not looked into, in bytes: keys stand in small ones. */
const maxFileBytes = 5 << 20;
/** A tree that differs in more than this from an earlier one is looked at as a whole, which `git grep` does faster. */
const maxChanged = 2000;
/** How much is held in memory at once, in bytes. */
const batchBytes = 16 << 20;
const keptReports = 16;

interface Entry {
  /** Its bytes as latin1, because they need not be UTF-8. */
  path: string;
  blob: string;
  size: number;
}

/**
 * Looks for likely keys in the tree of a snapshot: tracked files, and edits and untracked files where it has them. Not in
 * its history, not in binary files, and not in files of over 5 MiB. The same tree is not looked at twice, and of a tree
 * that is little different from an earlier one only the difference. Fails with what git fails with.
 * @param options `accepted`: fingerprints of findings to leave out
 */
export async function scanSnapshot(
  quarantine: Quarantine,
  snapshot: Pick<Snapshot, 'commit' | 'head'>,
  options: { accepted?: readonly string[]; signal?: AbortSignal | undefined } = {},
): Promise<SecretScan> {
  const { accepted = [], signal } = options;
  const [commit, head] = [checked(snapshot.commit), checked(snapshot.head)];
  return await quarantine.use(signal, async () => {
    const scanner = new Scanner(quarantine, signal);
    const report = await scanner.report(commit);
    const left = report.findings.filter(({ fingerprint }) => !accepted.includes(fingerprint));
    const added = left.length === 0 ? new Set() : await scanner.added(head, commit);
    return {
      findings: left.slice(0, maxFindings).map((found) => ({ ...found, tracked: !added.has(found.path) })),
      more: Math.max(0, left.length - maxFindings) + report.more,
    };
  });
}

class Scanner {
  private readonly quarantine: Quarantine;
  private readonly signal: AbortSignal | undefined;
  private readonly folder: string;

  constructor(quarantine: Quarantine, signal: AbortSignal | undefined) {
    this.quarantine = quarantine;
    this.signal = signal;
    this.folder = join(quarantine.gitDir, 'sallyport-secrets');
  }

  async report(commit: string): Promise<Report> {
    const tree = checked((await this.git(['rev-parse', '--verify', `${commit}^{tree}`])).toString().trim());
    const known = await this.recall(tree);
    if (known !== undefined) return known;
    const report = (await this.fromEarlier(tree)) ?? (await this.whole(tree));
    await this.remember(tree, report);
    return report;
  }

  /** The paths that the second commit has and the first has not. */
  async added(head: string, commit: string): Promise<Set<string>> {
    if (head === commit) return new Set();
    const args = ['diff-tree', '-r', '-z', '--no-renames', '--diff-filter=A', '--name-only', head, commit];
    return new Set(split(await this.git(args)).map(readable));
  }

  private async whole(tree: string): Promise<Report> {
    const entries = await this.list(tree);
    const suspects = await this.grep(tree, entries);
    const named = entries.filter(({ path }) => isSuspect(path));
    return await this.read([...new Set([...suspects, ...named])]);
  }

  /** What an earlier tree has, with the difference looked at; undefined when there is none that is near enough. */
  private async fromEarlier(tree: string): Promise<Report | undefined> {
    for (const earlier of (await this.remembered()).slice(0, 3)) {
      const base = await this.recall(earlier);
      if (base === undefined || base.more > 0) continue;
      const args = ['diff-tree', '-r', '-z', '--no-renames', '--name-only', earlier, tree];
      // The earlier tree may have been pruned away.
      const listed = await this.git(args, [0, 128]);
      const changed = new Set(split(listed));
      if (changed.size === 0 || changed.size > maxChanged) continue;
      const entries = (await this.list(tree)).filter(({ path }) => changed.has(path));
      const fresh = await this.read(entries);
      const gone = new Set([...changed].map(readable));
      const old = base.findings.filter(({ path }) => !gone.has(path));
      return cut([...old, ...fresh.findings], fresh.more);
    }
    return undefined;
  }

  /** Every file of a tree that is small enough to be looked into. */
  private async list(tree: string): Promise<Entry[]> {
    const entries: Entry[] = [];
    for (const line of split(await this.git(['ls-tree', '-r', '-l', '-z', tree]))) {
      const [, mode, blob, size, path] = /^(\d+) blob ([0-9a-f]+) +(\d+)\t(.*)$/s.exec(line) ?? [];
      if (mode === undefined || blob === undefined || path === undefined || mode === '120000') continue;
      if (Number(size) <= maxFileBytes) entries.push({ path, blob, size: Number(size) });
    }
    return entries;
  }

  private async grep(tree: string, entries: readonly Entry[]): Promise<Entry[]> {
    const byPath = new Map(entries.map((entry) => [entry.path, entry]));
    const args = (syntax: string): string[] => [
      'grep',
      '--no-textconv',
      '--no-color',
      '--full-name',
      '-I',
      '-l',
      '-z',
      syntax,
      '-e',
      prefilter,
      tree,
    ];
    // Perl's expressions are several times as fast; not every git is built with them.
    const listed = await this.git(args('-P'), [0, 1]).catch(async (thrown: unknown) => {
      if (!(thrown instanceof SallyportError) || !/Perl-compatible|PCRE/i.test(thrown.message)) throw thrown;
      return await this.git(args('-E'), [0, 1]);
    });
    return split(listed).flatMap((name) => byPath.get(name.slice(tree.length + 1)) ?? []);
  }

  private async read(entries: readonly Entry[]): Promise<Report> {
    const key = await this.key();
    const found: Found[] = [];
    for (const batch of batches(entries, batchBytes)) {
      this.signal?.throwIfAborted();
      const contents = await readObjects(
        batch.map(({ blob }) => blob),
        this.quarantine.options(this.signal),
      );
      for (const [index, { path }] of batch.entries()) {
        found.push(...findingsIn(path, contents[index] ?? Buffer.alloc(0), key));
      }
    }
    return cut(found, 0);
  }

  private async git(args: readonly string[], okCodes: readonly number[] = [0]): Promise<Buffer> {
    return (await git(args, { ...this.quarantine.options(this.signal), okCodes })).stdout;
  }

  /** A key of this quarantine's own, so that a fingerprint says nothing to who has not got it. */
  private async key(): Promise<Buffer> {
    const path = join(this.folder, 'key');
    const read = (): Promise<Buffer> => readFile(path);
    return await read().catch(async () => {
      await mkdir(this.folder, { recursive: true, mode: 0o700 });
      const temporary = join(this.folder, `new-${randomBytes(8).toString('hex')}`);
      await writeFile(temporary, randomBytes(32), { mode: 0o600 });
      // Whole or not at all, and the first one stays.
      await link(temporary, path).catch((thrown: unknown) => {
        if (!isErrno(thrown, 'EEXIST')) throw thrown;
      });
      await rm(temporary, { force: true });
      return await read();
    });
  }

  private reportPath(tree: string): string {
    return join(this.folder, `v${rulesVersion}-${tree}.json`);
  }

  private async recall(tree: string): Promise<Report | undefined> {
    const path = this.reportPath(tree);
    try {
      const report = Report.parse(JSON.parse(await readFile(path, 'utf8')));
      // Those that are used stay.
      const now = new Date();
      await utimes(path, now, now);
      return report;
    } catch {
      // Not there, or damaged: it is made again.
      return undefined;
    }
  }

  private async remember(tree: string, report: Report): Promise<void> {
    await mkdir(this.folder, { recursive: true, mode: 0o700 });
    const temporary = join(this.folder, `new-${randomBytes(8).toString('hex')}`);
    await writeFile(temporary, JSON.stringify(report), { mode: 0o600 });
    await rename(temporary, this.reportPath(tree));
    for (const old of (await this.remembered()).slice(keptReports))
      await rm(this.reportPath(old), { force: true });
  }

  /** Trees that were looked at, the last one first. */
  private async remembered(): Promise<string[]> {
    const names = await readdir(this.folder).catch(() => []);
    const known = names.flatMap((name) => /^v(\d+)-([0-9a-f]{40})\.json$/.exec(name)?.slice(1) ?? []);
    const trees = known.filter((_, index) => index % 2 === 1 && known[index - 1] === String(rulesVersion));
    const timed = await Promise.all(
      trees.map(async (tree) => ({
        tree,
        at: await stat(this.reportPath(tree)).then(
          ({ mtimeMs }) => mtimeMs,
          () => 0,
        ),
      })),
    );
    return timed.sort((a, b) => b.at - a.at).map(({ tree }) => tree);
  }
}

/** What is found in a file's bytes; binary files count by their name only. */
function findingsIn(rawPath: string, bytes: Buffer, key: Buffer): Found[] {
  const path = readable(rawPath);
  const fingerprint = (value: string): string =>
    createHmac('sha256', key).update(`${path}\0${value}`).digest('hex').slice(0, 32);
  const isBinary = bytes.subarray(0, 8000).includes(0);
  const text = isBinary ? '' : bytes.toString('latin1');
  const matches = secretsIn(rawPath, text);
  const kind = keyFileKind(rawPath);
  if (matches.length === 0 && kind !== undefined && bytes.length > 0) {
    return [{ path, line: 0, kind, hint: '', fingerprint: fingerprint(bytes.toString('latin1')) }];
  }
  let line = 1;
  let counted = 0;
  return matches.map((match) => {
    for (; counted < match.at; counted++) if (text.charCodeAt(counted) === 10) line++;
    const { value } = match;
    return { path, line, kind: match.kind, hint: hintOf(match.kind, value), fingerprint: fingerprint(value) };
  });
}

/** Enough to find it again, too little to use it: the shorter the value, the less. */
function hintOf(kind: string, value: string): string {
  if (/private key/i.test(kind)) return '';
  if (value.length >= 24) return `${printable(value.slice(0, 4))}…${printable(value.slice(-2))}`;
  if (value.length >= 12) return `${printable(value.slice(0, 2))}…${printable(value.slice(-1))}`;
  return '…';
}

function printable(text: string): string {
  return text.replaceAll(/[^\x21-\x7e]/g, '·');
}

function cut(found: readonly Found[], more: number): Report {
  const sorted = [...found].sort((a, b) => (a.path === b.path ? a.line - b.line : a.path < b.path ? -1 : 1));
  return { findings: sorted.slice(0, maxKept), more: more + Math.max(0, sorted.length - maxKept) };
}

function split(output: Buffer): string[] {
  return output
    .toString('latin1')
    .split('\0')
    .filter((part) => part !== '');
}

function readable(rawPath: string): string {
  return Buffer.from(rawPath, 'latin1').toString();
}

function checked(name: string): string {
  const parsed = Sha.safeParse(name);
  if (parsed.success) return parsed.data;
  throw new SallyportError('invalid_input', `Not an object name: ${JSON.stringify(name)}.`, 'Report this.');
}
