import type { ContainerState, Engine } from '../engine/engine.ts';
import type { TaskId } from '../protocol/grammar.ts';
import type { TaskState } from '../protocol/taskState.ts';
import { labelNames } from './sandboxNames.ts';

/** Found by their labels, whoever made them. */
export interface TaskContainers {
  sandbox?: ContainerState;
  gateway?: ContainerState;
}

/** @param home id of the data folder that the task belongs to */
export async function containersOf(engine: Engine, home: string, id: TaskId): Promise<TaskContainers> {
  const all = await engine.list({ [labelNames.home]: home, [labelNames.task]: id });
  const sandbox = all.find((one) => one.labels[labelNames.role] === 'sandbox');
  const gateway = all.find((one) => one.labels[labelNames.role] === 'gateway');
  return { ...(sandbox === undefined ? {} : { sandbox }), ...(gateway === undefined ? {} : { gateway }) };
}

/** Removes all that there is of a task on the engine, its volumes with it. */
export async function removeContainers(engine: Engine, home: string, id: TaskId): Promise<void> {
  const all = { [labelNames.home]: home, [labelNames.task]: id };
  await Promise.all((await engine.list(all)).map((one) => engine.remove(one.id)));
  for (const { name } of await engine.listVolumes(all)) await engine.removeVolume(name);
}

/** True for a sandbox of before the task went on. */
export function isFormer(
  { labels, status }: Pick<ContainerState, 'labels' | 'status'>,
  { reopened }: Pick<TaskState, 'reopened'>,
): boolean {
  return status !== 'created' && Number(labels[labelNames.stretch] ?? 0) < reopened;
}
