import type { Commit } from '../../protocol/taskEvent.ts';
import { hasEnded, type TaskState, isAsking } from '../../protocol/taskState.ts';
import {
  commitsNotice,
  endNotice,
  type Notice,
  type NoticeKind,
  questionNotice,
  replyNotice,
} from './notices.ts';

/** What was known of a task when it was last heard of. */
export interface Stage {
  /** How often it had ended. */
  ends: number;
  /** Commits in the quarantine. */
  commits: number;
  /** What it waited for the user with: names of questions, or of the end of a turn. */
  waits: readonly string[];
  /** When it turned up, in milliseconds since the epoch; undefined for one that was there when the tasks were opened. */
  turnedUp: number | undefined;
}

/** Something that is worth a word. No other thing of the task has its key, in no window and after no reload. */
export interface News {
  kind: NoticeKind;
  key: string;
  notice: Notice;
}

/** A task that began so long before it turned up is one whose history is being read, in milliseconds. */
const historyMs = 60_000;

export function stageOf(state: TaskState, turnedUp: number | undefined): Stage {
  return {
    ends: state.reopened + (hasEnded(state) ? 1 : 0),
    commits: importedCommits(state).length,
    waits: waitsOf(state),
    turnedUp,
  };
}

/**
 * What is worth a word: a commit, something to answer, the end. A task that turns up may be an old one, of a runner that was
 * just connected: its past is no news, what it waits for is.
 */
export function newsOf(state: TaskState, before: Stage | undefined, now: Stage): News | undefined {
  const past = before ?? { ends: 0, commits: 0, waits: [] };
  const isHistory = (at: number): boolean => now.turnedUp !== undefined && at < now.turnedUp - historyMs;
  if (hasEnded(state)) {
    if (past.ends >= now.ends || isHistory(state.endedAt ?? 0)) return undefined;
    const notice = endNotice(state);
    const kind = state.phase === 'succeeded' ? 'finished' : 'failed';
    return notice === undefined ? undefined : { kind, key: `end/${now.ends}`, notice };
  }
  return waitingNews(state, past) ?? (isHistory(state.startedAt) ? undefined : commitNews(state, past));
}

/** What a task waits for that nothing was said of yet. */
export function waitingNews(state: TaskState, past: Pick<Stage, 'waits'>): News | undefined {
  const fresh = waitsOf(state).filter((name) => !past.waits.includes(name));
  const key = fresh.at(-1);
  if (key === undefined) return undefined;
  return { kind: 'waiting', key, notice: isAsking(state) ? questionNotice(state) : replyNotice(state) };
}

function commitNews(state: TaskState, past: Pick<Stage, 'commits'>): News | undefined {
  const fresh = importedCommits(state).slice(past.commits);
  const [first] = fresh;
  if (first === undefined) return undefined;
  return { kind: 'commit', key: `commit/${first.sha}`, notice: commitsNotice(state, fresh) };
}

function importedCommits(state: TaskState): Commit[] {
  const imported = new Set(state.imported);
  return state.commits.filter(({ sha }) => imported.has(sha));
}

/** At the end of a turn the user has the word; in the middle of one, where the agent asks. */
function waitsOf(state: TaskState): string[] {
  const { conversation } = state;
  if (conversation === undefined || hasEnded(state)) return [];
  if (conversation.questions.length > 0) return conversation.questions.map(({ id }) => `question/${id}`);
  // A message that is on its way is the user's word.
  if (state.phase !== 'waiting' || conversation.undelivered.length > 0) return [];
  return [`turn/${conversation.turn}`];
}
