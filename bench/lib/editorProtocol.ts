import type { TaskEvent } from '../../src/protocol/taskEvent.ts';
import type { Turns } from '../../test/support/tasks.ts';

/** What the bench asks its part in the extension host, by operation. */
export interface Requests {
  /** VS Code's own figures on our activation. */
  activation: Record<string, never>;
  /** Makes the task service; once, and before anything else asks for one. */
  service: { engine: string; containerFolder: string };
  /** Submits a task and opens its panel. */
  task: { repositoryPath: string; prompt: string; turns: Turns };
  /** Resolves when the agent's work is over. `only` names the types of events that come back; all are counted. */
  events: { id: string; only: readonly TaskEvent['type'][] };
  end: Record<string, never>;
}

export interface Answers {
  activation: { text: string };
  service: { ready: true };
  task: { id: string };
  events: { count: number; events: TaskEvent[] };
  end: { ended: true };
}
