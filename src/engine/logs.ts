import { setTimeout as sleep } from 'node:timers/promises';
import { concat } from '../base/lines.ts';
import { Attachment } from './attachment.ts';
import type { ContainerState } from './engine.ts';
import { engineFailure } from './failures.ts';
import type { LogFile } from './logFile.ts';
import { readLogFile } from './logFile.ts';

/**
 * How a container's stdout is read. Engines keep it in a file, so a place in the log is a number of bytes.
 *
 * - A reader that comes before the start attaches: immediate, and nothing can be missed. What it does not take is kept
 *   in memory up to a limit; past that the file has it.
 * - A reader that comes later reads the file. Docker follows it well. Podman 4.3 loses lines while it follows; there
 *   the file is read again and again from the place that was reached. (It must not be attached to then: when its container has
 *   just ended, Podman prepares it for another start and forgets its exit code.)
 * - At the end the file is read once more from the place that was reached, whatever was read before, because no
 *   engine promises to deliver the last bytes otherwise.
 *
 * A break therefore costs nothing and doubles nothing. A reader that is slow stalls nobody.
 */
export interface LogSource extends LogFile {
  inspect(): Promise<ContainerState | undefined>;
}

/** Wait before a broken connection is tried again, in milliseconds. */
const retryDelay = 250;
/** Bytes in which a reader that is behind gets what waits for it, about. */
const largePiece = 256 << 10;
/** Between two readings of Podman's file, in milliseconds: for news, for an entry to settle, and as a multiple of what one takes. */
const pollDelay = 100;
const settleDelay = 15;
const rereadShare = 2;

type Pieces = AsyncGenerator<Uint8Array, void>;

/** Opens the log. Resolves when nothing that the container writes from now on can be missed. */
export async function openLog(source: LogSource, signal: AbortSignal): Promise<Pieces> {
  if ((await source.inspect())?.status !== 'created') return read(source, undefined, signal);
  const attachment = await Attachment.open(source.docker, source.id, signal);
  if ((await source.inspect())?.status === 'created') return read(source, attachment, signal);
  // It started meanwhile: its first bytes may have gone by.
  attachment.close();
  return read(source, undefined, signal);
}

async function* read(source: LogSource, attachment: Attachment | undefined, signal: AbortSignal): Pieces {
  let place = 0;
  try {
    if (attachment !== undefined) {
      for (let taken; (taken = await attachment.next()).length > 0;) {
        for (const piece of inLarge(taken)) {
          place += piece.length;
          yield piece;
        }
      }
    }
    while (!signal.aborted) {
      const state = await source.inspect();
      if (state === undefined) return;
      const over = state.status === 'exited';
      const pieces = over
        ? readLogFile(source, { skip: place }, signal)
        : source.kind === 'docker'
          ? readLogFile(source, { follow: true, skip: place }, signal)
          : reread(source, place, signal);
      for await (const piece of pieces) {
        place += piece.length;
        yield piece;
      }
      if (over) return;
      if ((await source.inspect())?.status !== 'exited') await sleep(retryDelay, undefined, { signal });
    }
  } catch (thrown) {
    if (signal.aborted) return;
    throw engineFailure(thrown, 'reading a log');
  } finally {
    attachment?.close();
  }
}

/**
 * Follows a log by reading its file again and again. The last entry of each reading is delivered when the next one shows it
 * unchanged. Ends when the container does; what is behind the place that was reached is left to the caller.
 */
async function* reread(source: LogSource, place: number, signal: AbortSignal): Pieces {
  let held: Uint8Array | undefined;
  for (;;) {
    const began = performance.now();
    let grown = false;
    const reading = readLogFile(source, { holdLast: true, skip: place }, signal);
    let step;
    while ((step = await reading.next()).done !== true) {
      grown = true;
      place += step.value.length;
      yield step.value;
    }
    const last = step.value;
    if (last !== undefined && held !== undefined && !grown && Buffer.compare(last, held) === 0) {
      place += last.length;
      yield last;
      held = undefined;
    } else held = last;
    if ((await source.inspect())?.status !== 'running') return;
    const took = performance.now() - began;
    const least = held === undefined ? pollDelay : settleDelay;
    await sleep(Math.max(least, rereadShare * took), undefined, { signal });
  }
}

/** Joins small pieces: each one costs the reader a turn, and a write to its file. */
function* inLarge(pieces: readonly Uint8Array[]): Generator<Uint8Array, void> {
  for (let from = 0; from < pieces.length;) {
    let to = from;
    for (let bytes = 0; to < pieces.length && bytes < largePiece; to++) bytes += pieces[to]?.length ?? 0;
    yield concat(pieces.slice(from, to));
    from = to;
  }
}
