import * as z from 'zod/mini';
import { EgressPolicy } from './egress.ts';
import { BranchName, isImageReference, SessionId, Sha, TaskId } from './grammar.ts';
import { Switches } from './switches.ts';

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
  /** Whether it asks before it uses a tool, in a conversation; it does not when it is not said, because the sandbox holds. */
  permissions: z.optional(z.enum(['skip', 'ask'])),
  /** Added to the agent's own instructions, not to the prompt. */
  instructions: z.optional(z.string().check(z.maxLength(20_000))),
});
export type AgentSpec = z.infer<typeof AgentSpec>;

/** Limits of a sandbox. */
export const Limits = z.object({
  memoryBytes: z.number().check(z.positive()),
  cpus: z.number().check(z.positive()),
  pids: z.number().check(z.positive()),
  /** How long the agent may work, in milliseconds. The clock stands still while a budget is used up, and while it waits for a message. */
  timeMs: z.number().check(z.positive()),
  /** How much the sandbox may write to the engine's disk, in bytes. */
  diskBytes: z._default(z.number().check(z.positive()), 20 * 2 ** 30),
  /** How long a conversation waits for the next message, in milliseconds; `defaultIdleMs` when it is not said. */
  idleMs: z.optional(z.number().check(z.positive())),
});
export type Limits = z.infer<typeof Limits>;

/** Longest message of a commit of leftovers, in characters. */
export const maxCommitMessage = 10_000;

/** How long a conversation waits for its user before it is finished, in milliseconds. */
export const defaultIdleMs = 30 * 60_000;

export const defaultLimits: Limits = {
  memoryBytes: 4 * 2 ** 30,
  cpus: 2,
  pids: 1024,
  timeMs: 60 * 60_000,
  diskBytes: 20 * 2 ** 30,
};

/** An absolute path without what an engine could take for more than a path. */
const MountPath = z.string().check(z.maxLength(4096), z.regex(/^[^\x00-\x1f\x7f",]+$/));

/** A folder or file of the engine's machine that the sandbox sees. */
export const Mount = z.object({
  /** Absolute, no link left in it. */
  source: MountPath,
  /** Absolute, in the sandbox. */
  target: MountPath,
  readonly: z.boolean(),
});
export type Mount = z.infer<typeof Mount>;

/** How the container is made, besides its limits. */
export const Isolation = z.object({
  /** A runtime that the engine knows, such as `runsc`; the engine's own when it is not named. */
  runtime: z.optional(z.string().check(z.regex(/^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,63}$/))),
  /** Only the workspace, the home folder and the temporary folders can be written. */
  readonlyRoot: z.boolean(),
  /** The user's own image instead of ours. */
  image: z.optional(z.string().check(z.refine(isImageReference, 'not a reference of an image'))),
  /** Absolute path of a Dockerfile of the user's, which is built instead. Not together with `image`. */
  dockerfile: z.optional(z.string()),
  mounts: z.optional(z.array(Mount)),
});
export type Isolation = z.infer<typeof Isolation>;

/** True for a task whose sandbox is made from an image of the user's. */
export function hasOwnImage({ isolation }: Pick<TaskSpec, 'isolation'>): boolean {
  return isolation?.image !== undefined || isolation?.dockerfile !== undefined;
}

/** Which protocol the agent speaks to its model, through the gateway. */
export const ModelService = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('anthropic') }),
  z.object({ kind: z.literal('bedrock'), region: z.string() }),
  z.object({ kind: z.literal('vertex'), project: z.string(), region: z.string() }),
]);
export type ModelService = z.infer<typeof ModelService>;

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
  model: z.object({
    label: z.string(),
    demonstration: z.boolean(),
    /** Anthropic's own when it is not named. */
    service: z.optional(ModelService),
  }),
  /** What the sandbox may reach; nothing but the model when it is not said. */
  egress: z.optional(EgressPolicy),
  /** What the model may cost, in US dollars; no limit when it is not said. */
  budgetUsd: z.optional(z.number().check(z.positive())),
  isolation: z.optional(Isolation),
  /** The sandbox may read the forge through its gateway, with the runner's token: repositories, branches, files. */
  forge: z.optional(z.boolean()),
  /** After each turn the agent waits for the user's next message, instead of ending. */
  conversation: z.optional(z.boolean()),
  /** Where the work begins, when that is not at the snapshot: at the end of a turn of another task, or where it was left. */
  from: z.optional(
    z.object({
      commit: Sha,
      /** A commit whose tree differs from that of `commit` by edits; they are uncommitted in the workspace. */
      uncommitted: z.optional(Sha),
    }),
  ),
  /** What is left uncommitted at the end is committed with this message. */
  commitMessage: z.optional(z.string().check(z.minLength(1), z.maxLength(maxCommitMessage))),
  /** The agent goes on with what it and the user said in an earlier task. */
  resume: z.optional(
    z.object({
      task: TaskId,
      /** At the end of that turn; at its end when it is not said. */
      turn: z.optional(z.int().check(z.positive())),
      /** Filled in by the runner when it has kept it; with what the agent says that it has cost so far. */
      session: z.optional(z.object({ id: SessionId, costUsd: z.number() })),
    }),
  ),
  /** What this machine does by itself with the commits; nothing when it is not said. A runner's server has its own. */
  switches: z.optional(Switches),
  /** Milliseconds since the epoch. */
  createdAt: z.number(),
});
export type TaskSpec = z.infer<typeof TaskSpec>;

/** The commit that the workspace begins with. */
export function startOf({ from, snapshot }: Pick<TaskSpec, 'from' | 'snapshot'>): string {
  return from?.commit ?? snapshot.commit;
}

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
