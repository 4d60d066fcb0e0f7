import { SallyportError } from '../../base/errors.ts';
import { Sha, TaskId } from '../../protocol/grammar.ts';
import { git } from '../process.ts';
import type { Quarantine } from '../quarantine.ts';

/** Objects that a review made itself, such as a content of the user's: refs keep them from being pruned, until the task is removed. */

/** Keeps a blob, tree or commit that is in the quarantine, for the review of a task. */
export async function keepForReview(
  quarantine: Quarantine,
  taskId: string,
  oid: string,
  signal?: AbortSignal,
): Promise<void> {
  const ref = `refs/reviews/${checked(TaskId.safeParse(taskId))}/${checked(Sha.safeParse(oid))}`;
  await git(['update-ref', ref, oid], quarantine.options(signal));
}

/** Writes a content of the user's and keeps it; gives its name. */
export async function writeForReview(
  quarantine: Quarantine,
  taskId: string,
  content: Uint8Array,
  signal?: AbortSignal,
): Promise<string> {
  return await quarantine.use(signal, async () => {
    const { stdout } = await git(['hash-object', '-w', '--stdin'], {
      ...quarantine.options(signal),
      input: content,
    });
    const oid = stdout.toString().trim();
    await keepForReview(quarantine, taskId, oid, signal);
    return oid;
  });
}

function checked<T>(parsed: { success: true; data: T } | { success: false }): T {
  if (parsed.success) return parsed.data;
  throw new SallyportError('invalid_input', 'Not a valid name of a task or an object.', 'Report this.');
}
