import { pause } from '../base/pause.ts';
import { asSallyportError, isAbort, SallyportError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { Engine } from '../engine/engine.ts';
import type { Quarantine } from '../git/quarantine.ts';
import type { ByteStream } from '../protocol/runner.ts';
import type { Commit } from '../protocol/taskEvent.ts';
import type { TaskState } from '../protocol/taskState.ts';
import { call } from './control.ts';
import type { UnnumberedEvent } from './taskLog.ts';

/** How many commits one bundle asks for at most, and how many known ones it is told. */
const maxWants = 500;
const maxHaves = 64;
/** How many files an event about imported commits lists, about. */
const maxFiles = 2000;
const retryDelays = [200, 1000, 5000];
const diskRetry = 2000;
/** How long bundles that are refused in the end may take until they are not parted any more to find the good ones, in milliseconds. */
const patienceMs = 5 * 60_000;

/** True while something may still come in by itself. */
export function importsWait({ pendingImports, refusedImports, importFailure }: TaskState): boolean {
  // A refusal is the last word on what was refused, and says nothing of the rest.
  const broken = importFailure !== undefined && importFailure.code !== 'import_refused';
  return pendingImports.length > refusedImports.length && !broken;
}

/**
 * Brings announced commits into the quarantine, one bundle at a time, as soon as they are announced. A bundle is taken whole
 * or refused whole, so one that is refused is parted until what is wrong with it stands alone: that is not asked for again,
 * and keeps nothing out but what builds on it.
 */
export class Importer {
  private readonly state: () => TaskState;
  private readonly quarantine: Quarantine;
  private readonly append: (body: UnnumberedEvent) => Promise<void>;
  private readonly log: Logger;
  private running: Promise<void> | undefined;
  private again = false;
  /** Time spent on what was refused, in milliseconds. */
  private refusedMs = 0;

  constructor(
    state: () => TaskState,
    quarantine: Quarantine,
    append: (body: UnnumberedEvent) => Promise<void>,
    log: Logger,
  ) {
    this.state = state;
    this.quarantine = quarantine;
    this.append = append;
    this.log = log;
  }

  /** Imports what is pending; a call while an import runs makes it look once more. Never rejects but for an abort. */
  pull(engine: Engine, container: string, signal: AbortSignal): Promise<void> {
    this.again = true;
    this.running ??= this.run(engine, container, signal).finally(() => (this.running = undefined));
    return this.running;
  }

  private async run(engine: Engine, container: string, signal: AbortSignal): Promise<void> {
    let failures = 0;
    while (this.again) {
      this.again = false;
      const wants = this.open(this.state().pendingImports).slice(0, maxWants);
      if (wants.length === 0) continue;
      try {
        await this.importParted(engine, container, wants, signal);
        failures = 0;
        this.again = true;
      } catch (thrown) {
        if (isAbort(thrown)) throw thrown;
        const error = asSallyportError(thrown);
        if (error.code === 'engine_gone') throw error;
        // A full disk is waited out: the commits stay where they are until there is room for them.
        const delay = error.code === 'disk_full' ? diskRetry : retryDelays[failures++];
        this.log.warn(
          `Importing ${wants.length} commits of ${this.state().spec.id} failed: ${error.message}`,
        );
        if (delay === undefined) {
          await this.tellFailed(this.open(wants), error);
          return;
        }
        await pause(delay, signal);
        signal.throwIfAborted();
        this.again = true;
      }
    }
  }

  /** Imports all that can be: what is refused is halved, the older ones first, because the younger may build on them. */
  private async importParted(
    engine: Engine,
    container: string,
    pending: string[],
    signal: AbortSignal,
  ): Promise<void> {
    const heirs = this.heirs(pending);
    if (heirs.length > 0) await this.tellFailed(heirs, buildsOnRefused);
    const wants = this.open(pending);
    if (wants.length === 0) return;
    const began = performance.now();
    try {
      await this.importOnce(engine, container, wants, signal);
    } catch (thrown) {
      // What the quarantine refuses once it refuses always; anything else may pass.
      if (!(thrown instanceof SallyportError) || thrown.code !== 'import_refused') throw thrown;
      this.refusedMs += performance.now() - began;
      if (wants.length === 1 || this.refusedMs > patienceMs) {
        await this.tellFailed(wants, thrown);
        return;
      }
      const middle = Math.ceil(wants.length / 2);
      await this.importParted(engine, container, wants.slice(0, middle), signal);
      await this.importParted(engine, container, wants.slice(middle), signal);
    }
  }

  private async tellFailed(tips: string[], { code, message }: SallyportError): Promise<void> {
    await this.append({ type: 'import_failed', t: Date.now(), tips, code, message });
  }

  /** Those that may still come in. */
  private open(pending: readonly string[]): string[] {
    const { refusedImports, imported } = this.state();
    const closed = new Set([...refusedImports, ...imported]);
    return pending.filter((sha) => !closed.has(sha));
  }

  /** Those that build on a refused commit: they hold it, whatever else they hold. Parents come first. */
  private heirs(pending: readonly string[]): string[] {
    const { commits, leftovers, refusedImports } = this.state();
    if (refusedImports.length === 0) return [];
    const parents = new Map(commits.map((commit) => [commit.sha, commit.parents]));
    if (leftovers !== undefined) parents.set(leftovers.commit, [leftovers.parent]);
    const refused = new Set(refusedImports);
    const found: string[] = [];
    for (const sha of this.open(pending)) {
      if (!(parents.get(sha) ?? []).some((parent) => refused.has(parent))) continue;
      refused.add(sha);
      found.push(sha);
    }
    return found;
  }

  private async importOnce(
    engine: Engine,
    container: string,
    wants: string[],
    signal: AbortSignal,
  ): Promise<void> {
    const { spec, imported } = this.state();
    const have = [spec.snapshot.commit, ...imported.slice(-maxHaves)];
    const { data, reply } = await call(engine, container, { op: 'bundle', want: wants, have }, { signal });
    let broken: unknown;
    reply.catch((thrown: unknown) => (broken = thrown));
    const bytes = data[Symbol.asyncIterator]();
    let brought: string[] = [];
    try {
      const bundle = await unlessEmpty(bytes);
      if (bundle !== undefined)
        brought = await this.quarantine.importBundle(spec.id, bundle, { tips: this.tips(wants), signal });
    } catch (thrown) {
      // A bundle that broke off on its way is no bad bundle.
      if (broken instanceof SallyportError || isAbort(broken)) throw broken;
      throw thrown;
    } finally {
      // What is not read any more is not sent any more.
      void bytes.return?.().catch(() => undefined);
    }
    const { missing = [] } = await reply;
    if (brought.length > 0) {
      const commits = await this.quarantine.commits(brought, signal);
      for (const part of inParts(commits))
        await this.append({
          type: 'imported',
          t: Date.now(),
          tips: part.map(({ sha }) => sha),
          commits: part,
        });
    }
    const lost = wants.filter((sha) => missing.includes(sha) && !brought.includes(sha));
    if (lost.length > 0) await this.append({ type: 'lost', t: Date.now(), tips: lost });
    if (brought.length + lost.length === 0)
      throw new Error('The sandbox sent none of the commits that were asked for');
  }

  /** The newest of the wanted commits on each branch moves that branch in the quarantine; the others get no branch. */
  private tips(wants: string[]): { sha: string; branch?: string }[] {
    const branches = new Map(this.state().commits.map((commit) => [commit.sha, commit.branch]));
    const newest = new Map<string, string>();
    for (const sha of wants) {
      const branch = branches.get(sha);
      if (branch !== undefined) newest.set(branch, sha);
    }
    return wants.map((sha) => {
      const branch = branches.get(sha);
      return branch !== undefined && newest.get(branch) === sha ? { sha, branch } : { sha };
    });
  }
}

/** So many that an event stays small: their files are listed. */
function inParts(commits: readonly Commit[]): Commit[][] {
  const parts: Commit[][] = [];
  let files = Infinity;
  for (const commit of commits) {
    files += commit.files.length;
    if (files > maxFiles) {
      parts.push([]);
      files = commit.files.length;
    }
    parts.at(-1)?.push(commit);
  }
  return parts;
}

const buildsOnRefused = new SallyportError(
  'import_refused',
  'What builds on a commit that was not taken in is not taken in either.',
  'The log of the task shows what the agent did.',
);

/** The same bytes, or nothing when there is not one. */
async function unlessEmpty(iterator: AsyncIterator<Uint8Array>): Promise<ByteStream | undefined> {
  const first = await iterator.next();
  if (first.done === true) return undefined;
  return (async function* () {
    yield first.value;
    yield* { [Symbol.asyncIterator]: () => iterator };
  })();
}
