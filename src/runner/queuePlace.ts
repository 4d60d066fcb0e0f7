import type { TaskState } from '../protocol/taskState.ts';
import type { Admission } from './admission.ts';
import type { TaskJournal } from './taskJournal.ts';

/** What a task claims of the room for sandboxes. */
export interface PlaceClaim {
  id: string;
  memoryBytes: number;
  /** In the queue. */
  turn: number;
}

export function placeClaim({ spec }: TaskState, turn: number): PlaceClaim {
  return { id: spec.id, memoryBytes: spec.limits.memoryBytes, turn };
}

/** Waits in the queue, and tells how long it is. */
export async function takePlace(
  admission: Admission,
  claim: PlaceClaim,
  journal: TaskJournal,
  signal: AbortSignal,
): Promise<void> {
  let telling: Promise<void> = Promise.resolve();
  let newest = '';
  const tell = (text: string): void => {
    newest = text;
    // One after the other, and what is old by then is not told any more.
    telling = telling.then(async () => {
      if (text === newest && !signal.aborted) await journal.progress('queue', text);
    });
    telling.catch(() => undefined);
  };
  await admission.enter(claim, tell, signal);
  newest = '';
  await telling;
  signal.throwIfAborted();
}
