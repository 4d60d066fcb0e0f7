import { createHash } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { SallyportError } from '../../base/errors.ts';
import { readRule } from '../../protocol/egress.ts';
import { isBranchName, maxPromptLength } from '../../protocol/grammar.ts';
import type { Submission } from '../../protocol/runnerApi.ts';
import { commitEachInstructions } from '../../protocol/switches.ts';
import { defaultLimits, type Identity, type Limits, type Snapshot } from '../../protocol/task.ts';
import type { SnapshotRequest } from '../../runner/servedTasks.ts';
import type { ServerConfig } from '../config.ts';
import type { User } from '../principal.ts';

/** What a submission means on this server: pure. */

/**
 * The most that a user may ask for, beside what the configuration says. A limit is there so that a bomb ends its task and
 * not the machine; on a machine that many use nobody may lift it for themselves.
 */
const most = { pids: 8192, diskBytes: 200 * 2 ** 30 };

const longestName = 200;

/** The same for everything that means the same, whatever order its fields came in. */
export function hashOf(submission: Submission): string {
  return createHash('sha256').update(canonical(submission)).digest('hex');
}

function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const entries = Object.entries(value)
    .filter(([, one]) => one !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${entries.map(([key, one]) => `${JSON.stringify(key)}:${canonical(one)}`).join()}}`;
}

/**
 * The name of a user's repository on this server. Each user has repositories of their own, whatever they call them: what
 * one has uploaded is neither reachable nor known of for another.
 */
export function repositoryId(owner: string, kind: 'snapshot' | 'url', name: string): string {
  const slug = name
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .slice(-40)
    .replaceAll(/^-+|-+$/g, '');
  const hash = createHash('sha256')
    .update(JSON.stringify([owner, kind, name]))
    .digest('hex')
    .slice(0, 32);
  return slug === '' ? hash : `${slug}-${hash}`;
}

/** Throws for what can be known to be wrong before anything begins. */
export function checkSubmission(
  user: Pick<User, 'role'>,
  { prompt, egress, branch, source, switches = {} }: Submission,
  forge: boolean,
): void {
  if (prompt.trim() === '')
    throw new SallyportError('prompt_empty', 'The prompt is empty.', 'Say what the agent is to do.');
  if (prompt.length > maxPromptLength)
    throw new SallyportError(
      'prompt_too_long',
      `The prompt has ${prompt.length.toLocaleString('en')} characters; at most ${maxPromptLength.toLocaleString('en')} are possible.`,
      'Put the long part into a file of the repository and name that file in the prompt.',
    );
  for (const rule of egress?.rules ?? []) checkRule(user, rule);
  if (branch !== undefined && !isBranchName(branch))
    throw new SallyportError('invalid_branch', `"${branch}" is not a valid branch name.`, 'Choose another.');
  if (source.kind === 'snapshot' && (switches.autoPush || switches.draftEarly || switches.autoPullRequest))
    throw new SallyportError(
      'invalid_input',
      'The runner does not know where this repository is at a forge, so it cannot push for it.',
      'Leave the switches for pushing out and push from the editor, or submit the repository by its address.',
    );
  if (source.kind === 'find' && !forge)
    throw new SallyportError(
      'invalid_input',
      'This runner has no forge in which it could look for the repository.',
      'Name the repository, or have the administrator give the runner a token of a forge.',
    );
}

/** What is private for a sandbox of the server's is the network in which the server is, not that of its user. */
export function checkRule({ role }: Pick<User, 'role'>, text: string): void {
  const rule = readRule(text);
  if (typeof rule === 'string' || !rule.private || role === 'admin') return;
  throw new SallyportError(
    'forbidden',
    `The rule "${text}" would let the sandbox into the private network of the runner.`,
    'Leave "private" out, or ask an administrator of this runner to allow it.',
  );
}

export function limitsOf(
  { limits = {} }: Pick<Submission, 'limits'>,
  { queue, limits: { workMs } }: Pick<ServerConfig, 'queue' | 'limits'>,
  cpus = availableParallelism(),
): Limits {
  const atMost = (wanted: number | undefined, usual: number, bound: number): number =>
    Math.min(wanted ?? usual, bound);
  return {
    // Who asks for more than there is gets told so by the queue; who asks for nothing gets what there is.
    memoryBytes: limits.memoryBytes ?? Math.min(defaultLimits.memoryBytes, queue.memoryBytes),
    cpus: atMost(limits.cpus, defaultLimits.cpus, cpus),
    pids: atMost(limits.pids, defaultLimits.pids, most.pids),
    timeMs: atMost(limits.timeMs, workMs, workMs),
    diskBytes: atMost(limits.diskBytes, defaultLimits.diskBytes, most.diskBytes),
  };
}

/** Who commits, when the submission does not say. */
export function identityOf(user: Pick<User, 'name' | 'login'>): Identity {
  const plain = (text: string): string => text.replaceAll(/[<>\p{Cc}]/gu, '').trim();
  const login = plain(user.login);
  return {
    name: plain(user.name) || login || 'Sallyport',
    email: login.includes('@') ? login : 'sallyport@localhost',
  };
}

/** The task that a submission becomes, once its commit is here. */
export function requestOf(
  submission: Submission,
  around: {
    id: string;
    owner: Pick<User, 'name' | 'login'>;
    repository: { id: string; name: string };
    snapshot: Snapshot;
    config: Pick<ServerConfig, 'queue' | 'limits'>;
    /** Stands in for the user's own. */
    prompt?: string | undefined;
  },
): SnapshotRequest {
  const { model, agentArgs, branch, egress, budgetUsd, title } = submission;
  const { headBranch, ...snapshot } = around.snapshot;
  const identity = submission.identity ?? identityOf(around.owner);
  return {
    id: around.id,
    prompt: around.prompt ?? submission.prompt,
    ...(title === undefined ? {} : { title }),
    repository: { id: around.repository.id, name: around.repository.name.slice(0, longestName) },
    snapshot: {
      ...snapshot,
      ...(headBranch !== undefined && isBranchName(headBranch) ? { headBranch } : {}),
    },
    identity: { name: identity.name.slice(0, longestName), email: identity.email.slice(0, longestName) },
    limits: limitsOf(submission, around.config),
    ...(model === undefined ? {} : { model }),
    ...(agentArgs === undefined ? {} : { agentArgs }),
    ...(branch === undefined ? {} : { branch }),
    ...(egress === undefined
      ? {}
      : {
          egress: {
            ...(egress.mode === undefined ? {} : { mode: egress.mode }),
            ...(egress.rules === undefined ? {} : { rules: egress.rules }),
          },
        }),
    ...(budgetUsd === undefined ? {} : { budgetUsd }),
    ...(submission.switches?.commitEach === true ? { instructions: commitEachInstructions } : {}),
    ...(submission.conversation ? { conversation: true } : {}),
    ...(submission.permissions === undefined ? {} : { permissions: submission.permissions }),
    ...(submission.resume === undefined ? {} : { resume: submission.resume }),
    ...(submission.turn === undefined ? {} : { turn: submission.turn }),
    ...(submission.commitMessage === undefined ? {} : { commitMessage: submission.commitMessage }),
  };
}
