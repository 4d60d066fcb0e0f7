import { safeLine, safeText } from '../../protocol/safeText.ts';
import { hasEnded, type TaskState } from '../../protocol/taskState.ts';

/**
 * Title and body of a pull request, in the Markdown of forges. Whatever an agent or a prompt says stands in code: there a
 * forge notifies nobody, closes nothing, loads nothing and renders no markup.
 */

/** A forge takes some 65,000 characters. */
const maxBody = 50_000;
const maxPrompt = 8000;
const maxCommits = 100;

export interface PullRequestFacts {
  state: TaskState;
  /** Login of the task's owner. */
  owner: string;
  /** The newest commit that is at the forge. */
  pushedCommit: string | undefined;
}

/** What tells our pull requests from others': only these are changed. */
export function markOf(task: string): string {
  return `<!-- sallyport task ${task} -->`;
}

/** A title is no place for code: what a forge would take for a mention or a reference is parted. */
export function pullRequestTitle(title: string): string {
  const plain = safeLine(title, 200)
    .replace(/@(?=[\p{L}\p{N}_-])/gu, '@ ')
    .replace(/#(?=\d)/g, '# ')
    .replace(/\bGH-(?=\d)/gi, 'GH ')
    .replace(/[a-z][a-z0-9+.-]*:\/\/(?=\S)/gi, '');
  return plain === '' ? 'Changes of an agent' : plain;
}

export function pullRequestBody(facts: PullRequestFacts): string {
  const { state, owner } = facts;
  const parts = [
    markOf(state.spec.id),
    `_Opened by Sallyport for ${code(owner)}. The commits are an agent's; nobody has reviewed them yet._`,
    `**State:** ${stateLine(state)}`,
    ...blockers(facts),
    `### Task\n\n${block(state.spec.prompt, maxPrompt)}`,
    `### Commits\n\n${commitList(facts)}`,
  ];
  const body = parts.join('\n\n');
  // What is cut has to leave no code open.
  return body.length <= maxBody
    ? body
    : `${parts.slice(0, -1).join('\n\n').slice(0, maxBody)}\n\n${state.commits.length} commits.`;
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
function blockers(facts: PullRequestFacts): string[] {
  const { state, pushedCommit } = facts;
  if (!hasEnded(state) || state.phase === 'succeeded') return [];
  const { failure, leftovers } = state;
  const lines: string[] = [];
  if (failure !== undefined) {
    lines.push(`- Failure: ${code(failure.kind)}`, `- It said: ${code(failure.message, 1000)}`);
    if (failure.mend !== undefined) lines.push(`- What to do: ${code(failure.mend, 1000)}`);
  } else
    lines.push(`- ${state.phase === 'timed_out' ? 'The time limit was reached.' : 'Somebody stopped it.'}`);
  const imported = new Set(state.imported);
  const committed = state.commits.filter(({ sha }) => imported.has(sha)).length;
  lines.push(`- Committed: ${committed === 1 ? 'one commit' : `${committed} commits`}, listed below`);
  if (state.refusedImports.length > 0)
    lines.push(`- Not pushed: ${state.refusedImports.length} commits that were not let out of the sandbox`);
  if (leftovers !== undefined) {
    const count = leftovers.files.length + (leftovers.moreFiles ?? 0);
    const files = count === 1 ? 'one file' : `${count} files`;
    lines.push(
      leftovers.commit === pushedCommit
        ? `- Not committed by the agent: ${files}, pushed as the last commit of this branch (${code(leftovers.commit.slice(0, 10))})`
        : `- Not committed by the agent: ${files}, not pushed, kept on the runner`,
    );
  }
  return [`### Blockers\n\n${lines.join('\n')}`];
}

function commitList({ state }: PullRequestFacts): string {
  const imported = new Set(state.imported);
  const commits = state.commits.filter(({ sha }) => imported.has(sha));
  if (commits.length === 0) return 'None yet.';
  const newest = commits.slice(-maxCommits);
  const lines = newest.map(({ sha, subject }) => `- ${code(sha.slice(0, 10))} ${code(subject)}`);
  if (newest.length < commits.length) lines.unshift(`- ${commits.length - newest.length} before these`);
  return lines.join('\n');
}

/** One line of text, as code within a line. */
function code(text: string, max = 200): string {
  const line = safeLine(text, max);
  if (line === '') return '(nothing)';
  const fence = '`'.repeat(longestRun(line) + 1);
  return `${fence} ${line} ${fence}`;
}

/** Text, as a block of code. */
function block(text: string, max: number): string {
  const whole = safeText(text);
  const shown =
    whole.length <= max ? whole : `${whole.slice(0, max)}\n… (${whole.length - max} more characters)`;
  const fence = '`'.repeat(Math.max(3, longestRun(shown) + 1));
  return `${fence}text\n${shown}\n${fence}`;
}

function longestRun(text: string): number {
  return Math.max(0, ...[...text.matchAll(/`+/g)].map(([run]) => run.length));
}
