import { readFile, rename, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod/mini';
import { TaskSpec } from '../protocol/task.ts';
import { stateVersion } from '../protocol/foldTask.ts';
import type { TaskState } from '../protocol/taskState.ts';

/**
 * The state of a task that is over, kept beside its log, so that a window that opens need not fold every old log again.
 * It is derived and never the truth: when it does not fit the log, or was folded by other rules, it is left aside.
 */
const FinalState = z.object({
  version: z.literal(stateVersion),
  /** Size of the log that was folded, in bytes. */
  size: z.number(),
  state: z.looseObject({
    spec: TaskSpec,
    lastEvent: z.int(),
    phase: z.enum(['succeeded', 'failed', 'stopped', 'timed_out']),
    commits: z.array(z.looseObject({ sha: z.string() })),
    sandboxRemoved: z.literal(true),
  }),
});

export async function readFinalState(folder: string): Promise<TaskState | undefined> {
  try {
    const found = FinalState.parse(JSON.parse(await readFile(join(folder, 'state.json'), 'utf8')));
    const { size } = await stat(join(folder, 'events.ndjson'));
    // Written by this version of this program, as the version says.
    return found.size === size ? (found.state as unknown as TaskState) : undefined;
  } catch {
    return undefined;
  }
}

export async function writeFinalState(folder: string, state: TaskState): Promise<void> {
  const { size } = await stat(join(folder, 'events.ndjson'));
  const aside = join(folder, `state.json.${process.pid}`);
  await writeFile(aside, JSON.stringify({ version: stateVersion, size, state }), { mode: 0o600 });
  await rename(aside, join(folder, 'state.json'));
}
