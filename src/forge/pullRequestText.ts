import { safeLine, safeText } from '../protocol/safeText.ts';
import type { Commit } from '../protocol/taskEvent.ts';
import { hasEnded, type TaskState } from '../protocol/taskState.ts';
import type { ForgeKind } from './names.ts';

/**
 * Title and body of a pull request, in the Markdown of forges. Whatever an agent or a prompt says stands in code, and no line
 * of it begins with a slash: there a forge notifies nobody, closes nothing, obeys nothing, loads nothing and renders no markup.
 * What comes out is fit for each of the forges.
 */

export interface PullRequestText {
  title: string;
  body: string;
}

/** Some forges take 65,000 characters, Bitbucket half of that. */
const maxBody = 30_000;
const maxPrompt = 8000;
const maxMessage = 4000;
const maxCommits = 100;

/** A commit that goes along. */
export type TextCommit = Pick<Commit, 'sha' | 'subject' | 'body'>;

export interface PullRequestFacts {
  state: TaskState;
  /** Login of the task's owner. */
  owner: string;
  /** The newest commit that is at the forge. */
  pushedCommit: string | undefined;
}

/** What tells our pull requests from others': only these are changed. Seen by nobody, but in the source. */
export function markOf(task: string, kind: ForgeKind): string {
  // Bitbucket shows comments of HTML as text, and leaves out what a link would stand for.
  return kind === 'bitbucket' || kind === 'bitbucket-data-center'
    ? `[//]: # (sallyport task ${task})`
    : `<!-- sallyport task ${task} -->`;
}

/** A title is no place for code: what a forge would take for a mention, a reference or the mark of a draft is parted. */
export function pullRequestTitle(title: string): string {
  const plain = safeLine(title, 200)
    .replace(/@(?=[\p{L}\p{N}_{-])/gu, '@ ')
    .replace(/([#!])(?=\d)/g, '$1 ')
    .replace(/\bGH-(?=\d)/gi, 'GH ')
    .replace(/[a-z][a-z0-9+.-]*:\/\/(?=\S)/gi, '')
    .replace(/^(?:\s*(?:\[(?:draft|wip)\]|\((?:draft|wip)\)|(?:draft|wip):))+\s*/i, '')
    .replace(/^\/+/, '');
  return plain === '' ? 'Changes of an agent' : plain;
}

/**
 * What a user begins with: the title and the text of one commit, or of several; and what is in the way, where the task did not
 * succeed. Pure.
 */
export function pullRequestDraft(facts: {
  state: TaskState;
  /** Oldest first. */
  commits: readonly TextCommit[];
  /** The newest commit that is at the forge. */
  pushedCommit?: string;
}): PullRequestText {
  const { state, commits, pushedCommit } = facts;
  const [only] = commits.length === 1 ? commits : [];
  const stuck = blockers({ state, pushedCommit, committed: commits.length });
  const parts =
    only === undefined
      ? [...stuck, `### Commits\n\n${listed(commits, true)}`]
      : [...(only.body.trim() === '' ? [] : [block(only.body, maxMessage)]), ...stuck];
  return {
    title: pullRequestTitle(only?.subject ?? state.spec.title),
    body: cut(parts, commits.length),
  };
}

/** What a runner writes that opens one by itself. Pure. */
export function pullRequestBody(facts: PullRequestFacts, kind: ForgeKind): string {
  const { state, owner, pushedCommit } = facts;
  const imported = new Set(state.imported);
  const commits = state.commits.filter(({ sha }) => imported.has(sha));
  const parts = [
    markOf(state.spec.id, kind),
    `_Opened by Sallyport for ${code(owner)}. The commits are an agent's; nobody has reviewed them yet._`,
    `**State:** ${stateLine(state)}`,
    ...blockers({ state, pushedCommit, committed: commits.length }),
    `### Task\n\n${block(state.spec.prompt, maxPrompt)}`,
    `### Commits\n\n${listed(commits, false)}`,
  ];
  return cut(parts, commits.length);
}

/** Of what is too long the list goes: what is cut elsewhere could leave a code open. */
function cut(parts: readonly string[], commits: number): string {
  const body = parts.join('\n\n');
  if (body.length <= maxBody) return body;
  return [...parts.slice(0, -1), commits === 1 ? 'One commit.' : `${commits} commits.`].join('\n\n');
}

function stateLine(state: TaskState): string {
  if (!hasEnded(state)) return 'the agent is at work.';
  switch (state.phase) {
    case 'succeeded':
      return 'the agent has finished.';
    case 'stopped':
      return 'the task was stopped before the agent had finished.';
    case 'timed_out':
      return "the agent's time was up before it had finished.";
    default:
      return 'the task failed.';
  }
}

/** Why it is not done, and where its work is. */
function blockers({
  state,
  pushedCommit,
  committed,
}: {
  state: TaskState;
  pushedCommit: string | undefined;
  committed: number;
}): string[] {
  if (!hasEnded(state) || state.phase === 'succeeded') return [];
  const { failure, leftovers } = state;
  const lines: string[] = [];
  if (failure !== undefined) {
    lines.push(`- Failure: ${code(failure.kind)}`, `- It said: ${code(failure.message, 1000)}`);
    if (failure.mend !== undefined) lines.push(`- What to do: ${code(failure.mend, 1000)}`);
  } else
    lines.push(`- ${state.phase === 'timed_out' ? 'The time limit was reached.' : 'Somebody stopped it.'}`);
  lines.push(`- Committed: ${committed === 1 ? 'one commit' : `${committed} commits`}`);
  if (state.refusedImports.length > 0)
    lines.push(`- Not pushed: ${state.refusedImports.length} commits that were not let out of the sandbox`);
  if (leftovers !== undefined) {
    const count = leftovers.files.length + (leftovers.moreFiles ?? 0);
    const files = count === 1 ? 'one file' : `${count} files`;
    lines.push(
      leftovers.commit === pushedCommit
        ? `- Not committed by the agent: ${files}, pushed as the last commit of this branch (${code(leftovers.commit.slice(0, 10))})`
        : `- Not committed by the agent: ${files}, not pushed`,
    );
  }
  return [`### Blockers\n\n${lines.join('\n')}`];
}

/** The newest of them, with what their messages say where that is wanted. */
function listed(commits: readonly TextCommit[], messages: boolean): string {
  if (commits.length === 0) return 'None yet.';
  const newest = commits.slice(-maxCommits);
  const lines = newest.map(({ sha, subject, body }) => {
    const line = `- ${code(sha.slice(0, 10))} ${code(subject)}`;
    return messages && body.trim() !== '' ? `${line}\n\n${indented(block(body, 1000))}\n` : line;
  });
  if (newest.length < commits.length) lines.unshift(`- ${commits.length - newest.length} before these`);
  return lines.join('\n').trimEnd();
}

/** A part of the point of the list above it. */
function indented(text: string): string {
  return text
    .split('\n')
    .map((line) => (line === '' ? '' : `  ${line}`))
    .join('\n');
}

/** One line of text, as code within a line. */
function code(text: string, max = 200): string {
  const line = shortRuns(safeLine(text, max));
  if (line === '') return '(nothing)';
  const fence = '`'.repeat(longestRun(line) + 1);
  return `${fence} ${line} ${fence}`;
}

/** Text, as a block of code. */
function block(text: string, max: number): string {
  const whole = shortRuns(safeText(text).trimEnd());
  const shown =
    whole.length <= max ? whole : `${whole.slice(0, max)}\n… (${whole.length - max} more characters)`;
  const fence = '`'.repeat(Math.max(3, longestRun(shown) + 1));
  // GitLab obeys a line such as "/merge", and takes the first three backticks in a row for the end of every code.
  return `${fence}text\n${shown.replace(/^\//gm, ' /')}\n${fence}`;
}

function longestRun(text: string): number {
  return Math.max(0, ...[...text.matchAll(/`+/g)].map(([run]) => run.length));
}

/** What encloses a text is longer than any run in it, so an endless one would make it thrice as long. */
function shortRuns(text: string): string {
  return text.replace(/`{20,}/g, '`'.repeat(19) + '…');
}
