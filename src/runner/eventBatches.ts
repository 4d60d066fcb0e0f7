import { LineSplitter } from '../base/lines.ts';
import type { UnnumberedEvent } from './taskLog.ts';

/**
 * The events of a container's log, those of each chunk together; chunks without one give nothing.
 * @param maxLineBytes longer lines are cut
 * @param read what a line says; it may keep nothing of the bytes
 */
export async function* eventBatches(
  log: AsyncIterable<Uint8Array>,
  maxLineBytes: number,
  read: (line: Uint8Array) => readonly UnnumberedEvent[],
): AsyncGenerator<UnnumberedEvent[], void> {
  let batch: UnnumberedEvent[] = [];
  const splitter = new LineSplitter((line) => void batch.push(...read(line)), maxLineBytes);
  for await (const chunk of log) {
    splitter.push(chunk);
    if (batch.length === 0) continue;
    const events = batch;
    batch = [];
    yield events;
  }
}
