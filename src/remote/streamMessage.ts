import * as z from 'zod/mini';
import { TaskId } from '../protocol/grammar.ts';
import { Problem, Role, ServerVersion, TaskView } from '../protocol/runnerApi.ts';

/** Most tasks that a runner's list is read to. */
const maxTasks = 20_000;

/** What a runner says over `/api/v1/stream`, as far as it is checked at once: events and tasks are checked one by one. */
const Message = z.discriminatedUnion('type', [
  z.object({
    type: z.literal('hello'),
    version: ServerVersion,
    user: z.object({
      id: z.string().check(z.maxLength(200)),
      name: z.string().check(z.maxLength(1000)),
      role: Role,
    }),
  }),
  z.object({ type: z.literal('tasks'), tasks: z.array(z.unknown()).check(z.maxLength(maxTasks)) }),
  z.object({ type: z.literal('task'), task: z.unknown() }),
  z.object({ type: z.literal('removed'), task: TaskId }),
  z.object({ type: z.literal('events'), task: TaskId, events: z.array(z.unknown()) }),
  z.object({ type: z.literal('over'), task: TaskId }),
  z.object({ type: z.literal('problem'), task: z.optional(TaskId), problem: Problem }),
]);

export type Hello = Extract<z.infer<typeof Message>, { type: 'hello' }>;

export type RunnerSaid =
  | Exclude<z.infer<typeof Message>, { type: 'tasks' | 'task' | 'hello' }>
  | { type: 'tasks'; tasks: TaskView[] }
  | { type: 'task'; task: TaskView };

/** Reads one frame. Undefined for what is no message of this protocol; a newer server may have more kinds. */
export function readMessage(text: string): RunnerSaid | Hello | undefined {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return undefined;
  }
  const parsed = Message.safeParse(json);
  if (!parsed.success) return undefined;
  const message = parsed.data;
  if (message.type === 'tasks') return { type: 'tasks', tasks: message.tasks.flatMap(readView) };
  if (message.type !== 'task') return message;
  const [task] = readView(message.task);
  return task && { type: 'task', task };
}

function readView(json: unknown): TaskView[] {
  const parsed = TaskView.safeParse(json);
  return parsed.success ? [parsed.data] : [];
}
