import { egressQuestions, needsUser } from '../../protocol/egressQuestions.ts';
import type { Commit } from '../../protocol/taskEvent.ts';
import { hasEnded, type TaskState, isAsking, isInTurn } from '../../protocol/taskState.ts';
import { switchWords } from '../../protocol/switches.ts';
import { safeLine, safeText } from '../../protocol/safeText.ts';
import {
  cost,
  count,
  lines,
  phaseLabel,
  fileCount,
  spendOf,
  spendText,
  summary,
  totalsOf,
} from '../../protocol/words.ts';
import { clock } from './places.ts';
import { questionLine } from './questionItems.ts';

/** What the tree shows, as plain data: the tree itself only hands it to VS Code. */
export interface ItemView {
  label: string;
  description: string;
  tooltip: string;
  /** Name of a codicon and of a theme colour. */
  icon: string;
  color?: string;
  /** Words that the menus of the manifest look for. */
  contextValue: string;
  accessibility: string;
}

/** Characters of a title that the tree shows. */
const labelLength = 24;

const icons: Record<TaskState['phase'], { icon: string; color?: string }> = {
  preparing: { icon: 'loading~spin' },
  running: { icon: 'sync~spin', color: 'charts.blue' },
  waiting: { icon: 'comment-discussion', color: 'charts.orange' },
  stopping: { icon: 'loading~spin' },
  succeeded: { icon: 'pass-filled', color: 'testing.iconPassed' },
  failed: { icon: 'error', color: 'testing.iconFailed' },
  stopped: { icon: 'circle-slash', color: 'descriptionForeground' },
  timed_out: { icon: 'watch', color: 'list.warningForeground' },
};

/** Where a task runs, when there is more than one place for it. */
export interface Whereabouts {
  /** Of the runner. */
  name: string;
  /** Since when nothing can come of it, in milliseconds since the epoch. */
  since?: number;
  /** It is another user's, who shares it: it can only be looked at. */
  readOnly?: boolean;
}

export function taskView(
  state: TaskState,
  clockNow: number,
  hasResult: boolean,
  where?: Whereabouts,
): ItemView {
  // What is not heard of stands still.
  const silent = hasEnded(state) ? undefined : where?.since;
  const now = silent ?? clockNow;
  const words = ['task', where?.readOnly === true ? 'shared' : hasEnded(state) ? 'ended' : 'active'];
  if (hasResult) words.push('result');
  // There is no repository on this machine to accept it in.
  if (hasResult && state.spec.repository.path === '') words.push('foreign');
  const waits = needsUser(state);
  const paused = waits && state.paused !== undefined;
  const asks = isAsking(state);
  const talks = state.phase === 'waiting' && !paused && !asks;
  if (asks) words.push('asks');
  if (isInTurn(state)) words.push('interruptible');
  if (talks) words.push('talks');
  else if (waits) words.push(paused ? 'paused' : 'waiting');
  const title = safeLine(state.spec.title) || 'Task';
  const last = silent === undefined ? '' : `last seen ${clock(silent, clockNow)} · `;
  const description = `${last}${waits ? 'waits for you · ' : ''}${summary(state, now)}`;
  const phase = phaseLabel(state);
  const tooltip = [
    safeText(state.spec.prompt.length > 600 ? `${state.spec.prompt.slice(0, 600)}…` : state.spec.prompt),
    '',
    `${phase} · ${description}`,
    ...(state.failure === undefined ? [] : [safeLine(state.failure.message)]),
    ...wanted(state),
    ...money(state),
    ...(where === undefined ? [] : [`Runner: ${safeLine(where.name, 100)}`]),
    `Repository: ${safeLine(state.spec.repository.path || state.spec.repository.name, 500)}`,
    `Branch: ${safeLine(state.spec.branch)}`,
    `Model: ${safeLine(state.spec.model.label)}`,
    ...(switchWords(state.spec.switches) === '' ? [] : [`Switches: ${switchWords(state.spec.switches)}`]),
  ].join('\n');
  return {
    // A long label leaves no room for the rest of the line; the whole title is in the tooltip.
    label: safeLine(title, labelLength),
    description,
    tooltip,
    ...iconOf(state, { silent: silent !== undefined, asks: waits && !talks }),
    contextValue: words.join(' '),
    accessibility: `${title}, ${phase}, ${description}`,
  };
}

function iconOf(
  state: TaskState,
  { silent, asks }: { silent: boolean; asks: boolean },
): { icon: string; color?: string } {
  if (silent) return { icon: 'debug-disconnect', color: 'descriptionForeground' };
  if (!asks) return icons[state.phase];
  return { icon: state.paused === undefined ? 'bell-dot' : 'debug-pause', color: 'charts.orange' };
}

/** What a task that runs wants of the user. */
function wanted(state: TaskState): string[] {
  if (hasEnded(state)) return [];
  const { paused } = state;
  return [
    ...(state.conversation?.questions ?? []).slice(0, 5).map((question) => `Asks: ${questionLine(question)}`),
    ...(paused === undefined ? [] : [`Budget used up: ${cost(paused.spentUsd)} of ${cost(paused.limitUsd)}`]),
    ...egressQuestions(state)
      .slice(0, 5)
      .map(
        ({ host, port, waiting }) =>
          `${waiting > 0 ? 'Wants to reach' : 'Blocked'}: ${safeLine(host, 100)}:${port}`,
      ),
  ];
}

function money(state: TaskState): string[] {
  const spent = spendText(state);
  const { usage, by } = spendOf(state);
  const tokensIn = usage.inputTokens + usage.cacheReadTokens + usage.cacheWriteTokens;
  if (spent === '' && state.budgetUsd === null) return [];
  const budget = state.budgetUsd === null ? '' : ` of ${cost(state.budgetUsd)}`;
  const source = by === 'counted' ? '' : ', as the agent says';
  return [
    `Cost: ${spent === '' ? cost(0) : spent}${budget}${source} · ${count(tokensIn)} tokens in, ${count(usage.outputTokens)} out`,
  ];
}

/** Where a commit is: in the quarantine, on its way there, or not let in. */
export type CommitPlace = 'imported' | 'coming' | 'refused';

export function placeOf({ imported, refusedImports }: TaskState, sha: string): CommitPlace {
  if (imported.includes(sha)) return 'imported';
  return refusedImports.includes(sha) ? 'refused' : 'coming';
}

export function commitView(commit: Commit, place: CommitPlace): ItemView {
  const label = safeLine(commit.subject) || '(no message)';
  const description = `${commit.sha.slice(0, 7)} · ${lines(totalsOf(commit))}`;
  const body = commit.body.trim() === '' ? [] : ['', safeText(commit.body.trim().slice(0, 1000))];
  return {
    label,
    description: {
      imported: description,
      coming: `${description} · being brought in`,
      refused: `${description} · not let in`,
    }[place],
    tooltip: [label, ...body, '', `${safeLine(commit.author)} · ${fileCount(commit)}`, commit.sha].join('\n'),
    icon: { imported: 'git-commit', coming: 'loading~spin', refused: 'error' }[place],
    contextValue: place === 'imported' ? 'commit imported' : 'commit',
    accessibility: `Commit ${label}, ${fileCount(commit)}`,
  };
}

export function leftoversView(state: TaskState): ItemView | undefined {
  if (state.leftovers === undefined) return undefined;
  const { commit } = state.leftovers;
  const files = fileCount(state.leftovers);
  return {
    label: 'Uncommitted edits',
    description: `${files} · ${lines(totalsOf(state.leftovers))}`,
    tooltip:
      'What the agent left in its workspace without a commit. It is kept; Accept as Branch does not take it.',
    icon: 'diff',
    contextValue: state.imported.includes(commit) ? 'leftovers imported' : 'leftovers',
    accessibility: `Uncommitted edits, ${files}`,
  };
}

/** Tasks of the open folders and all others; each newest first. */
export function groupTasks(
  tasks: readonly TaskState[],
  folders: readonly string[],
): { here: TaskState[]; elsewhere: TaskState[] } {
  const newest = tasks.toSorted(
    (a, b) => b.spec.createdAt - a.spec.createdAt || (a.spec.id < b.spec.id ? 1 : -1),
  );
  const here: TaskState[] = [];
  const elsewhere: TaskState[] = [];
  for (const task of newest)
    (folders.some((folder) => related(folder, task.spec.repository.path)) ? here : elsewhere).push(task);
  return { here, elsewhere };
}

/** True when one path is the other or lies in it: the folder may be a part of the repository, or hold it. */
export function related(a: string, b: string): boolean {
  const [x, y] = [normal(a), normal(b)];
  // A task that was submitted elsewhere has no path on this machine.
  if (x === '' || y === '') return false;
  return x === y || x.startsWith(`${y}/`) || y.startsWith(`${x}/`);
}

function normal(path: string): string {
  return path.replaceAll('\\', '/').replace(/\/+$/, '');
}

/** How many tasks cannot go on without the user. */
export function waitingCount(tasks: readonly TaskState[]): number {
  return tasks.filter(needsUser).length;
}

export function runningCount(tasks: readonly TaskState[]): number {
  return tasks.filter((task) => !hasEnded(task)).length;
}
