import { join } from 'node:path';
import type { Engine } from '../engine/engine.ts';
import type { TaskId } from '../protocol/grammar.ts';
import { TaskSpec } from '../protocol/task.ts';
import type { DataFolder } from './dataFolder.ts';
import { claim } from './ownership.ts';
import { labelNames } from './sandboxNames.ts';
import { TaskLog } from './taskLog.ts';

/**
 * Takes up what has a sandbox but no log, because the data folder's files were lost, from its labels: its log begins anew.
 * Gives the tasks' ids.
 */
export async function* adoptStrays(
  engine: Engine,
  data: DataFolder,
  isKnown: (id: TaskId) => boolean,
): AsyncGenerator<TaskId, void> {
  for (const { labels } of await engine.list({ [labelNames.home]: data.id })) {
    const id = labels[labelNames.task] ?? '';
    if (labels[labelNames.role] !== 'sandbox' || isKnown(id)) continue;
    const spec = TaskSpec.safeParse(parseJson(labels[labelNames.spec] ?? ''));
    if (!spec.success || spec.data.id !== id) continue;
    const folder = join(data.tasks, id);
    const log = await TaskLog.open(folder);
    const release = await claim(join(folder, 'owner'));
    if (release === undefined) continue;
    await log.beginWriting(() => undefined);
    await log.append([{ type: 'submitted', t: spec.data.createdAt, spec: spec.data }]);
    await log.close();
    await release();
    yield id;
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
