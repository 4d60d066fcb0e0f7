import { asSallyportError } from '../base/errors.ts';
import { LineSplitter } from '../base/lines.ts';
import { pause } from '../base/pause.ts';
import type { Engine } from '../engine/engine.ts';
import { DiskJudge, type DiskOver } from './diskJudge.ts';
import { FileJudge } from './fileJudge.ts';

/** What is watched: a sandbox, by way of the gateway beside it, whose programs are ours. */
export interface DiskWatch {
  sandbox: string;
  gateway: string;
  /** How much the sandbox may write, in bytes. */
  limitBytes: number;
  /** What has to stay free on the engine's disk, in bytes; 2 GiB when it is not said. */
  reserveBytes?: number;
  /** How many files have to be free on the engine's disk; a tenth, and at most 500,000, when it is not said. */
  reserveFiles?: number;
  /** True when it can make files in volumes or folders of the host, where the engine does not count them. */
  uncounted?: boolean;
}

/** What the two watches share: who decides, and what wakes them. */
interface Watches {
  judge: DiskJudge;
  files: FileJudge;
  alarm: Alarm;
  filesAlarm: Alarm;
}

/** How long a gateway that does not run is left alone before it is asked again, in milliseconds. */
const gatewayRetryMs = 2000;

/**
 * Prints free blocks, block size and all blocks, free and all file nodes of the disk below the container, ten times a second while they change.
 * Ends with its stdin. A loop of the shell, because it runs as long as the task and a shell is small.
 */
const freeSpaceProgram =
  'while now=$(stat -f -c "%a %S %b %d %c" /); do echo "$now"; ' +
  'if [ "$now" = "$last" ]; then wait=0.5; else wait=0.1; fi; last=$now; ' +
  'read -rt $wait _; [ $? -gt 128 ] || exit 0; done';

/**
 * Ends a sandbox when it writes too much to the engine's disk, and resolves to the reason; to undefined when `signal` aborts or
 * the sandbox is not running any more. To measure a sandbox the engine walks through its files, which can take seconds, so
 * the disk's free space, which costs nothing, says when that is due. When files run short the sandbox stands still until its
 * own are counted; it is never left standing. Throws what the engine throws, such as `engine_gone`.
 */
export async function watchDisk(
  engine: Engine,
  watch: DiskWatch,
  signal: AbortSignal,
): Promise<DiskOver | undefined> {
  const over = new AbortController();
  const live = AbortSignal.any([signal, over.signal]);
  const watches: Watches = {
    judge: new DiskJudge(watch.limitBytes, watch.reserveBytes),
    files: new FileJudge({ reserve: watch.reserveFiles, countable: watch.uncounted !== true }),
    alarm: new Alarm(),
    filesAlarm: new Alarm(),
  };
  const hold = new Hold(engine, watch.sandbox);
  const ended = engine.wait(watch.sandbox, live).then(() => undefined);
  const measuring = measure(engine, watch.sandbox, watches, live);
  const counting = guardFiles(engine, watch.sandbox, watches, hold, live);
  const following = followFreeSpace(engine, watch.gateway, watches, live);
  let verdict: DiskOver | undefined;
  try {
    verdict = await Promise.race([ended, measuring, counting, following]);
    // At once, and from outside: what writes fast does not wait to be asked, and the caller knows why before it is dead.
    if (verdict !== undefined)
      void hold.taking.then(() => engine.stop(watch.sandbox, 0)).catch(() => undefined);
    return verdict;
  } catch (thrown) {
    if (signal.aborted) return undefined;
    throw thrown;
  } finally {
    over.abort();
    await Promise.allSettled([ended, measuring, counting, following]);
    // One that is to be ended makes no more files meanwhile.
    if (verdict === undefined) await hold.release();
  }
}

/** Lets a sandbox stand still. */
class Hold {
  private readonly engine: Engine;
  private readonly sandbox: string;
  private held = false;
  /** Settles when the sandbox stands still; an engine may not end what is just being paused. */
  taking: Promise<unknown> = Promise.resolve();

  constructor(engine: Engine, sandbox: string) {
    this.engine = engine;
    this.sandbox = sandbox;
  }

  async take(): Promise<void> {
    // Before the answer: a call that fails may have been heeded.
    this.held = true;
    const paused = this.engine.pause(this.sandbox);
    this.taking = paused.catch(() => undefined);
    await paused;
  }

  async release(): Promise<void> {
    if (!this.held) return;
    await this.engine.unpause(this.sandbox);
    this.held = false;
  }
}

/** Measures the sandbox whenever that is due. */
async function measure(
  engine: Engine,
  sandbox: string,
  { judge, alarm }: Watches,
  signal: AbortSignal,
): Promise<DiskOver | undefined> {
  while (!signal.aborted) {
    judge.begin(performance.now());
    const written = await engine.written(sandbox, signal);
    if (written === undefined) return undefined;
    const verdict = judge.measured(written, performance.now());
    if (verdict !== undefined) return verdict;
    for (let wait; (wait = judge.dueIn(performance.now())) > 0;) {
      await pause(wait, AbortSignal.any([signal, alarm.next()]));
      if (isOver(signal)) return undefined;
    }
  }
  return undefined;
}

/** Counts the sandbox's files whenever that is due; it stands still meanwhile. */
async function guardFiles(
  engine: Engine,
  sandbox: string,
  { files, filesAlarm }: Watches,
  hold: Hold,
  signal: AbortSignal,
): Promise<DiskOver | undefined> {
  while (!signal.aborted) {
    const rung = filesAlarm.next();
    if (!files.isDue()) {
      await aborted(AbortSignal.any([signal, rung]));
      continue;
    }
    const cannot = (thrown: unknown): DiskOver | undefined => {
      if (isOver(signal) || asSallyportError(thrown).code === 'engine_gone') throw thrown;
      return files.cannotCount();
    };
    // Where an engine cannot hold it, its files are counted while it goes on.
    let verdict = await hold.take().then(() => undefined, cannot);
    try {
      const count = verdict === undefined ? await engine.changedFiles(sandbox, signal) : 0;
      if (count === undefined) return undefined;
      verdict ??= files.counted(count);
    } catch (thrown) {
      verdict = cannot(thrown);
    }
    if (verdict !== undefined) return verdict;
    await hold.release();
  }
  return undefined;
}

/** Wakes a watch when what is free says that a look may be due. */
class Alarm {
  private current = new AbortController();

  next(): AbortSignal {
    this.current = new AbortController();
    return this.current.signal;
  }

  ring(): void {
    this.current.abort();
  }
}

/**
 * Tells the judge the free space of the engine's disk as long as the gateway can be asked. Resolves only with a verdict, or
 * when `signal` aborts.
 */
async function followFreeSpace(
  engine: Engine,
  gateway: string,
  { judge, files, alarm, filesAlarm }: Watches,
  signal: AbortSignal,
): Promise<DiskOver | undefined> {
  let verdict: DiskOver | undefined;
  const splitter = new LineSplitter((line) => {
    const [free, size, all, freeFiles = 0, allFiles = 0] = Buffer.from(line)
      .toString('utf8')
      .split(' ')
      .map(Number);
    if (free === undefined || size === undefined || all === undefined || !(all > 0)) return;
    judge.free(free * size);
    verdict ??= files.free(freeFiles, allFiles);
    if (files.isDue()) filesAlarm.ring();
    if (judge.dueIn(performance.now()) <= 0) alarm.ring();
  }, 256);
  while (!signal.aborted) {
    try {
      const { stdout } = await engine.exec(gateway, ['bash', '-c', freeSpaceProgram], {
        stdin: openUntil(signal),
        signal,
      });
      for await (const chunk of stdout) {
        splitter.push(chunk);
        if (verdict !== undefined) return verdict;
      }
    } catch (thrown) {
      // A gateway that is being started again, or gone; an engine that went away is told by the measuring.
      if (isOver(signal) || asSallyportError(thrown).code === 'engine_gone') break;
    }
    judge.blind();
    files.blind();
    alarm.ring();
    await pause(gatewayRetryMs, signal);
  }
  await aborted(signal);
  return undefined;
}

/** A stdin without a byte that ends when `signal` aborts. */
async function* openUntil(signal: AbortSignal): AsyncIterable<Uint8Array> {
  await aborted(signal);
  yield* [];
}

async function aborted(signal: AbortSignal): Promise<void> {
  if (isOver(signal)) return;
  const { promise, resolve } = Promise.withResolvers<undefined>();
  signal.addEventListener('abort', () => resolve(undefined), { once: true });
  await promise;
}

/** A function, because an abort comes between two lines. */
function isOver(signal: AbortSignal): boolean {
  return signal.aborted;
}
