import { randomBytes } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { SallyportError } from '../base/errors.ts';
import { encodeBundleHeader, readBundle } from '../git/bundle.ts';
import type { Quarantine } from '../git/quarantine.ts';
import type { Tip } from '../git/taskRefs.ts';
import type { ByteStream } from '../protocol/runner.ts';
import type { Commit } from '../protocol/taskEvent.ts';
import type { TaskSpec } from '../protocol/task.ts';

export interface CommitSource {
  /** A bundle of all commits of the task but what `have` reaches. */
  bundle(have: readonly string[], signal: AbortSignal): Promise<ByteStream>;
  /** Folder for a bundle while it is looked at. */
  spool: string;
}

/** How many known commits a runner is told: they stand in the request's address. */
const maxHaves = 64;
/** Longest bundle, in bytes; the same as of a sandbox's. */
const maxBundleBytes = 2 * 2 ** 30;
/** A task can have 50,000 commits, and each takes a line. */
const maxHeaderBytes = 16 << 20;
/** How long git may look at a bundle, in milliseconds: one of a task that this machine did not submit brings a whole history. */
const importMs = 10 * 60_000;
/** A runner whose bundles were refused so often is not asked for more of this task. */
const maxRefusals = 3;

/**
 * Brings commits from a runner into the quarantine on this machine. The runner is trusted no more than a sandbox: the
 * same checks, all or nothing, and only for the names of this very task.
 */
export class CommitImport {
  private readonly id: string;
  private readonly spec: TaskSpec;
  private readonly quarantine: Quarantine;
  private readonly source: CommitSource;
  /** In the order in which they came in. */
  private known: Set<string> | undefined;
  private refusals = 0;

  constructor(spec: TaskSpec, quarantine: Quarantine, source: CommitSource) {
    this.id = spec.id;
    this.spec = spec;
    this.quarantine = quarantine;
    this.source = source;
  }

  /**
   * Resolves when all of `tips` are in the quarantine, to what git here reads of them. Throws `import_refused` for what
   * is not let in, and what else goes wrong on the way, which may pass.
   */
  async bring(tips: readonly string[], signal: AbortSignal): Promise<Commit[]> {
    const known = (this.known ??= await this.look(signal));
    if (tips.some((sha) => !known.has(sha))) {
      if (this.refusals >= maxRefusals) throw notAgain();
      try {
        await this.fetch(known, signal);
        const missing = tips.filter((sha) => !known.has(sha));
        if (missing.length > 0) throw notSent(missing);
      } catch (thrown) {
        if (thrown instanceof SallyportError && thrown.code === 'import_refused') this.refusals++;
        throw thrown;
      }
    }
    return await this.quarantine.commits(tips, signal);
  }

  private async look(signal: AbortSignal): Promise<Set<string>> {
    const prefix = commitPrefix(this.id);
    const tips = await this.quarantine.tips(this.id, signal);
    return new Set(tips.flatMap(({ sha, ref }) => (ref === prefix + sha ? [sha] : [])));
  }

  private async fetch(known: Set<string>, signal: AbortSignal): Promise<void> {
    const base = this.spec.snapshot.commit;
    const hasBase = await this.quarantine.has(base, signal);
    const have = [...(hasBase ? [base] : []), ...[...known].slice(-maxHaves)];
    await mkdir(this.source.spool, { recursive: true, mode: 0o700 });
    const path = join(this.source.spool, randomBytes(8).toString('hex'));
    try {
      // First to the disk: a bundle that broke off on its way is no bad bundle.
      await spool(await this.source.bundle(have, signal), path);
      await this.take(path, known, !hasBase, signal);
    } finally {
      await rm(path, { force: true });
    }
  }

  private async take(
    path: string,
    known: Set<string>,
    withHistory: boolean,
    signal: AbortSignal,
  ): Promise<void> {
    const { header, pack } = await readBundle(createReadStream(path), maxHeaderBytes).catch(
      (thrown: unknown) => {
        throw refused(thrown instanceof Error ? thrown.message : 'it cannot be read', thrown);
      },
    );
    try {
      const tips = newTips(this.id, header.refs, known);
      if (tips.length === 0) return;
      const named = new Set(tips.map(({ sha }) => sha));
      const head = encodeBundleHeader({
        prerequisites: header.prerequisites,
        refs: header.refs.filter(({ sha }) => named.has(sha)),
      });
      const brought = await this.quarantine.importBundle(this.id, joined(head, pack), {
        tips,
        maxBytes: maxBundleBytes,
        maxHeaderBytes,
        withHistory,
        timeoutMs: importMs,
        signal,
      });
      for (const sha of brought) known.add(sha);
    } finally {
      await pack.return(undefined);
    }
  }
}

function commitPrefix(id: string): string {
  return `refs/tasks/${id}/commits/`;
}

/** The task's own commits of a bundle that are new here, with the branches that stand at them. Other names count for nothing. */
function newTips(
  id: string,
  refs: readonly { sha: string; name: string }[],
  known: ReadonlySet<string>,
): Tip[] {
  const heads = `refs/tasks/${id}/heads/`;
  const branches = new Map<string, string>();
  for (const { sha, name } of refs) if (name.startsWith(heads)) branches.set(sha, name.slice(heads.length));
  const tips: Tip[] = [];
  for (const { sha, name } of refs) {
    if (name !== commitPrefix(id) + sha || known.has(sha)) continue;
    const branch = branches.get(sha);
    tips.push(branch === undefined ? { sha } : { sha, branch });
  }
  return tips;
}

async function spool(bytes: ByteStream, path: string): Promise<void> {
  const file = await open(path, 'wx', 0o600);
  try {
    let size = 0;
    for await (const chunk of bytes) {
      size += chunk.length;
      if (size > maxBundleBytes) throw refused(`it is longer than ${maxBundleBytes} bytes`);
      await file.writeFile(chunk);
    }
  } finally {
    await file.close();
  }
}

async function* joined(head: Uint8Array, rest: AsyncIterable<Uint8Array>): ByteStream {
  yield head;
  yield* rest;
}

function refused(what: string, cause?: unknown): SallyportError {
  return new SallyportError(
    'import_refused',
    `What the runner sent as commits was refused: ${what}.`,
    'The commits are still on the runner; look at them there before you trust them.',
    { cause },
  );
}

function notSent(missing: readonly string[]): SallyportError {
  return refused(
    `${missing.length} commits that the runner says it has are not in it, such as ${missing[0] ?? ''}`,
  );
}

function notAgain(): SallyportError {
  return refused('bundles of this task were refused before, and no more are asked for');
}
