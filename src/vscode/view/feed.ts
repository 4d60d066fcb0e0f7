import { encodeEvent } from '../../protocol/panelMessages.ts';
import type { TaskEvent } from '../../protocol/taskEvent.ts';
import type { Flow } from './flow.ts';

/** A batch goes out when it has this many bytes, or is this old. */
const batchBytes = 128 << 10;
const batchMs = 33;

export interface FeedBatch {
  batch: number;
  data: Uint8Array;
  /** The reader starts anew. */
  first: boolean;
  live: boolean;
}

/**
 * Takes the events of a task to one reader, in batches and no faster than it reads. Ends when the events do, or with
 * the signal.
 * @param newest number of the newest event when the feed began: from there on the batches are live
 */
export async function feed(
  events: AsyncIterable<readonly TaskEvent[]>,
  options: {
    flow: Flow;
    first: boolean;
    newest: number;
    signal: AbortSignal;
    send: (batch: FeedBatch) => void;
  },
): Promise<void> {
  const { flow, newest, signal, send } = options;
  let parts: Uint8Array[] = [];
  let size = 0;
  let first = options.first;
  let live = newest === 0;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const flush = (): void => {
    clearTimeout(timer);
    timer = undefined;
    if (signal.aborted || (size === 0 && !first)) return;
    // A fresh array of its own size: VS Code sends the whole buffer behind a view.
    const data = new Uint8Array(size);
    let at = 0;
    for (const part of parts) {
      data.set(part, at);
      at += part.length;
    }
    parts = [];
    size = 0;
    send({ batch: flow.sent(data.length), data, first, live });
    first = false;
  };
  // The reader forgets what it had at once, also where there is nothing yet.
  if (first) flush();
  try {
    for await (const batch of events) {
      for (const event of batch) {
        const line = encodeEvent(event);
        parts.push(line);
        size += line.length;
        live ||= event.n >= newest;
        if (size < batchBytes) continue;
        flush();
        await flow.room(signal);
        if (signal.aborted) return;
      }
      timer ??= setTimeout(flush, batchMs);
    }
    flush();
  } finally {
    clearTimeout(timer);
  }
}
