import * as z from 'zod/mini';
import { BranchName, Sha, TaskId } from './grammar.ts';

/** What the workspace starts from: the last commit, that with edits of tracked files, or that with untracked files too. */
export const SnapshotMode = z.enum(['head', 'tracked', 'untracked']);
export type SnapshotMode = z.infer<typeof SnapshotMode>;

export const Identity = z.object({ name: z.string(), email: z.string() });
export type Identity = z.infer<typeof Identity>;

/** The agent and how it is run. `args` go to its command line as they are. */
export const AgentSpec = z.object({
  kind: z.enum(['claude-code']),
  model: z.optional(z.string()),
  args: z.optional(z.array(z.string())),
});
export type AgentSpec = z.infer<typeof AgentSpec>;

/** Limits of a sandbox. */
export const Limits = z.object({
  memoryBytes: z.number().check(z.positive()),
  cpus: z.number().check(z.positive()),
  pids: z.number().check(z.positive()),
  /** How long the agent may work, in milliseconds. */
  timeMs: z.number().check(z.positive()),
});
export type Limits = z.infer<typeof Limits>;

export const defaultLimits: Limits = { memoryBytes: 4 * 2 ** 30, cpus: 2, pids: 1024, timeMs: 60 * 60_000 };

/** The repository that a task works on, as its user knows it. */
export const RepositoryRef = z.object({
  /** Stable for the same repository on the same machine; names its quarantine. */
  id: z.string().check(z.regex(/^[a-z0-9-]{1,80}$/)),
  /** Folder name, for people. */
  name: z.string(),
  /** Absolute path of the work tree on the machine that submitted. */
  path: z.string(),
});
export type RepositoryRef = z.infer<typeof RepositoryRef>;

export const Snapshot = z.object({
  mode: SnapshotMode,
  /** The commit that the task starts from. */
  commit: Sha,
  /** The user's HEAD at that time; differs from `commit` when edits were included. */
  head: Sha,
  /** Short name of the user's branch, or undefined for a detached HEAD. */
  headBranch: z.optional(z.string()),
});
export type Snapshot = z.infer<typeof Snapshot>;

export const TaskSpec = z.object({
  id: TaskId,
  /** First line of the prompt, shortened; for lists. */
  title: z.string(),
  prompt: z.string(),
  agent: AgentSpec,
  repository: RepositoryRef,
  snapshot: Snapshot,
  branch: BranchName,
  identity: Identity,
  limits: Limits,
  /** Where the model's answers come from, for people: "Anthropic API key", "demonstration model". */
  model: z.object({ label: z.string(), demonstration: z.boolean() }),
  /** Milliseconds since the epoch. */
  createdAt: z.number(),
});
export type TaskSpec = z.infer<typeof TaskSpec>;

/** Shortens a prompt to a title of one line. */
export function titleOf(prompt: string): string {
  const line = prompt.trim().split('\n', 1)[0]?.trim() ?? '';
  const characters = Array.from(line);
  return characters.length <= 80 ? line : `${characters.slice(0, 79).join('')}…`;
}

let lastStamp = 0;

/** A new task id: 9 characters of time (never twice the same in one process), 6 of chance. */
export function newTaskId(now: number, random: () => number = Math.random): TaskId {
  lastStamp = Math.max(now, lastStamp + 1);
  const chance = Math.floor(random() * 36 ** 6);
  return lastStamp.toString(36).padStart(9, '0') + chance.toString(36).padStart(6, '0');
}
