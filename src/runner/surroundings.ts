import type { Engine } from '../engine/engine.ts';
import type { TaskState } from '../protocol/taskState.ts';
import type { Admission } from './admission.ts';
import type { GatewaySurroundings } from './gatewayKeeper.ts';

/** What the life of a task needs of the runner around it. */
export interface Surroundings extends GatewaySurroundings {
  /** Connects, or gives the connection that there is. */
  engine(): Promise<Engine>;
  /** Forgets a connection that broke. */
  engineGone(): void;
  /** Tag of the sandbox image, once it is there. */
  image(report: (line: string) => void, signal: AbortSignal): Promise<string>;
  home: string;
  /** Longest log of a task, in bytes. */
  logBytes?: number | undefined;
  /** The queue before the sandboxes; without one every task has a place. */
  admission?: Admission | undefined;
  /** Until when the sandbox of a task that is over is to be kept, in milliseconds since the epoch; undefined for not at all. */
  keepsUntil(state: TaskState): number | undefined;
  /** The engine's disk is full: what is only kept is to go. */
  makeRoom(): void;
}
