import { pause } from '../base/pause.ts';
import { asSallyportError, isAbort } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { Engine } from '../engine/engine.ts';
import type { Quarantine } from '../git/quarantine.ts';
import type { ByteStream } from '../protocol/runner.ts';
import type { TaskState } from '../protocol/taskState.ts';
import { call } from './control.ts';
import type { UnnumberedEvent } from './taskLog.ts';

/** How many commits one bundle asks for at most, and how many known ones it is told. */
const maxWants = 500;
const maxHaves = 64;
const retryDelays = [200, 1000, 5000];
const diskRetry = 2000;

/** Brings announced commits into the quarantine, one bundle at a time, as soon as they are announced. */
export class Importer {
  private readonly state: () => TaskState;
  private readonly quarantine: Quarantine;
  private readonly append: (body: UnnumberedEvent) => Promise<void>;
  private readonly log: Logger;
  private running: Promise<void> | undefined;
  private again = false;

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
      const wants = this.state().pendingImports.slice(0, maxWants);
      if (wants.length === 0) continue;
      try {
        await this.importOnce(engine, container, wants, signal);
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
        // What the quarantine refuses once it refuses always; anything else may pass.
        if (error.code === 'import_refused' || delay === undefined) {
          await this.append({
            type: 'import_failed',
            t: Date.now(),
            tips: wants,
            code: error.code,
            message: error.message,
          });
          return;
        }
        await pause(delay, signal);
        signal.throwIfAborted();
        this.again = true;
      }
    }
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
    const bundle = await unlessEmpty(data);
    const brought =
      bundle === undefined
        ? []
        : await this.quarantine.importBundle(spec.id, bundle, { tips: this.tips(wants), signal });
    const { missing = [] } = await reply;
    if (brought.length > 0) {
      const commits = await this.quarantine.commits(brought, signal);
      await this.append({ type: 'imported', t: Date.now(), tips: brought, commits });
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

/** The same bytes, or nothing when there is not one. */
async function unlessEmpty(source: ByteStream): Promise<ByteStream | undefined> {
  const iterator = source[Symbol.asyncIterator]();
  const first = await iterator.next();
  if (first.done === true) return undefined;
  return (async function* () {
    yield first.value;
    yield* { [Symbol.asyncIterator]: () => iterator };
  })();
}
