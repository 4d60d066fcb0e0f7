import type { NetworkWay } from '../protocol/control.ts';
import { defaultEgress, type EgressPolicy } from '../protocol/egress.ts';
import type { IsolationWish } from './isolation.ts';
import type { KeepPolicy } from './keptSandboxes.ts';

/** The user's own settings for the network, for money and for the container, wherever they are kept. */
export interface UserPolicy {
  egress: EgressPolicy;
  /** How long a request that no rule lets through waits for the user's answer, in milliseconds. */
  holdMs: number;
  network: NetworkWay;
  /** For each task, in US dollars; undefined is no limit. */
  budgetUsd?: number;
  /** For all tasks of this machine together, each day (UTC). */
  dayBudgetUsd?: number;
  isolation: IsolationWish;
  /** How long sandboxes are kept; `defaultKeep` when it is not said. */
  keep?: KeepPolicy;
  /** What is left uncommitted at the end of a task is committed with this message; not by itself when it is not said. */
  commitMessage?: string;
  /** PEM file of a further authority, for the gateway and for the sandbox image. */
  extraCaFile?: string;
}

export const defaultPolicy: UserPolicy = {
  egress: defaultEgress,
  holdMs: 20_000,
  network: {},
  isolation: { readonlyRoot: false },
};
