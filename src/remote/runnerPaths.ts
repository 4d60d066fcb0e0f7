import * as z from 'zod/mini';
import type { TaskId } from '../protocol/grammar.ts';

/** Where things are on a runner, below its address. */
export const paths = {
  version: 'api/v1/version',
  me: 'api/v1/me',
  tasks: 'api/v1/tasks',
  spend: 'api/v1/spend',
  task: (id: TaskId) => `api/v1/tasks/${id}`,
  cancel: (id: TaskId) => `api/v1/tasks/${id}/cancel`,
  egress: (id: TaskId) => `api/v1/tasks/${id}/egress`,
  budget: (id: TaskId) => `api/v1/tasks/${id}/budget`,
  messages: (id: TaskId) => `api/v1/tasks/${id}/messages`,
  answers: (id: TaskId) => `api/v1/tasks/${id}/answers`,
  interrupt: (id: TaskId) => `api/v1/tasks/${id}/interrupt`,
  leftovers: (id: TaskId) => `api/v1/tasks/${id}/leftovers`,
  terminal: (id: TaskId) => `api/v1/tasks/${id}/terminal`,
  bundle: (id: TaskId) => `api/v1/tasks/${id}/bundle`,
};

/** In US dollars. */
export const Spend = z.object({ usd: z.number() });
