import type { Readable } from 'node:stream';
import type Docker from 'dockerode';
import { concat } from '../base/lines.ts';
import { Demultiplexer } from './demux.ts';
import { ask } from './dial.ts';
import type { EngineInfo } from './engine.ts';
import { isRemoved } from './failures.ts';

/** A container's log on its engine. */
export interface LogFile {
  docker: Docker;
  kind: EngineInfo['kind'];
  id: string;
}

/** Docker cuts a line into entries of this many bytes. */
const dockerEntry = 16 << 10;
const newline = 10;

/**
 * The stdout that an engine has kept, behind its first `skip` bytes: what is there, and with `follow` what comes. Ends
 * early when the connection breaks. One frame is one entry: a line, or a part of a long one. With `holdLast` the last
 * entry is not delivered but returned, because the engine may have read it while it was being written.
 */
export async function* readLogFile(
  { docker, kind, id }: LogFile,
  { follow = false, holdLast = false, skip }: { follow?: boolean; holdLast?: boolean; skip: number },
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, Uint8Array | undefined> {
  let answer: Readable;
  try {
    const path = `/containers/${id}/logs?stdout=1${follow ? '&follow=1' : ''}`;
    answer = (await ask(docker, 'GET', path, { isStream: true, signal })) as Readable;
  } catch (thrown) {
    if (isRemoved(thrown)) return undefined;
    throw thrown;
  }
  let ready: Uint8Array[] = [];
  let entry: Uint8Array[] = [];
  let last: Uint8Array[] = [];
  const demultiplexer = new Demultiplexer((number, data, length) => {
    if (number !== 1) return;
    if (data.length > 0) entry.push(data);
    if (length === undefined) return;
    // Docker 20.10 forgets the newline behind a line that it has cut; only there an entry that is not full lacks it.
    if (kind === 'docker' && length < dockerEntry && data.at(-1) !== newline)
      entry.push(Uint8Array.of(newline));
    if (holdLast) {
      ready.push(...last);
      last = [];
    }
    for (const piece of entry) {
      if (skip >= piece.length) skip -= piece.length;
      else {
        (holdLast ? last : ready).push(skip === 0 ? piece : piece.subarray(skip));
        skip = 0;
      }
    }
    entry = [];
  });
  try {
    for await (const chunk of answer as AsyncIterable<Uint8Array>) {
      demultiplexer.push(chunk);
      if (ready.length === 0) continue;
      // Joined, to wake the reader once for a chunk and not for each line.
      const joined = concat(ready);
      ready = [];
      yield joined;
    }
  } catch (thrown) {
    // A broken connection is an end like another: the caller finds out whether the engine is still there.
    if (signal.aborted || (thrown instanceof Error && !('code' in thrown))) throw thrown;
  } finally {
    answer.destroy();
  }
  return last.length === 0 ? undefined : concat(last);
}
