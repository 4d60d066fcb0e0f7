import { startOf } from './task.ts';
import type { Commit, TaskEvent } from './taskEvent.ts';
import type { Checkpoint, TaskState } from './taskState.ts';

const maxCheckpoints = 1000;

type CommitEvent = Extract<
  TaskEvent,
  {
    type:
      | 'commit'
      | 'leftovers'
      | 'checkpoint'
      | 'leftovers_committed'
      | 'inherited'
      | 'imported'
      | 'lost'
      | 'import_failed';
  }
>;

/** What came about in the workspace, and how much of it is in the quarantine. */
export function foldCommits(state: TaskState, event: CommitEvent): TaskState {
  switch (event.type) {
    case 'commit':
      if (state.commits.some((commit) => commit.sha === event.commit.sha)) return state;
      return announce(
        { ...state, commits: [...state.commits, event.commit], ...headAt(state, event.commit) },
        event.commit.sha,
      );
    case 'leftovers':
      return announce({ ...state, leftovers: leftoversOf(event) }, event.commit);
    case 'checkpoint':
      return foldCheckpoint(state, event);
    case 'leftovers_committed': {
      const { leftovers: _, ...clean } = holding(state, event.commit);
      return { ...clean, head: { commit: event.commit.sha, branch: state.spec.branch } };
    }
    case 'inherited':
      return {
        ...event.commits.reduce(holding, state),
        head: { commit: startOf(state.spec), branch: state.spec.branch },
      };
    case 'imported':
      return foldImported(state, event);
    case 'lost':
      return withoutPending(state, new Set(event.tips));
    case 'import_failed': {
      const failed = { ...state, importFailure: { code: event.code, message: event.message } };
      if (event.code !== 'import_refused') return failed;
      const refused = new Set([...state.refusedImports, ...event.tips]);
      return { ...failed, refusedImports: state.pendingImports.filter((sha) => refused.has(sha)) };
    }
  }
}

function foldCheckpoint(state: TaskState, event: Extract<TaskEvent, { type: 'checkpoint' }>): TaskState {
  const { turn, t: at, commit, branch, uncommitted, session } = event;
  const checkpoint: Checkpoint = {
    turn,
    at,
    costUsd: state.costUsd,
    commit,
    ...(branch === undefined ? {} : { branch }),
    ...(uncommitted === undefined ? {} : { uncommitted }),
    ...(session === undefined ? {} : { session }),
  };
  // Said once more after the sandbox was revived: the last word stands.
  const others = state.checkpoints.filter((one) => one.turn < turn);
  const next: TaskState = {
    ...state,
    checkpoints: [...others, checkpoint].slice(-maxCheckpoints),
    head: { commit, ...(branch === undefined ? {} : { branch }) },
  };
  return uncommitted === undefined ? next : announce(next, uncommitted);
}

function headAt({ spec }: TaskState, { sha, branch }: Commit): Pick<TaskState, 'head'> {
  return branch === spec.branch ? { head: { commit: sha, branch } } : {};
}

/** A commit that the host itself has in the quarantine. */
function holding(state: TaskState, commit: Commit): TaskState {
  if (state.commits.some(({ sha }) => sha === commit.sha)) return state;
  const imported = state.imported.includes(commit.sha) ? state.imported : [...state.imported, commit.sha];
  return { ...state, commits: [...state.commits, commit], imported };
}

function foldImported(state: TaskState, event: Extract<TaskEvent, { type: 'imported' }>): TaskState {
  const imported = [...state.imported, ...event.tips.filter((tip) => !state.imported.includes(tip))];
  const { importFailure: _, ...clean } = withoutPending(state, new Set(event.tips));
  const refusal = refusalOf(state, clean.refusedImports);
  return {
    ...clean,
    ...(refusal === undefined ? {} : { importFailure: refusal }),
    imported,
    commits: trueTo(state.commits, event.commits ?? []),
  };
}

/** Commits with what the host knows of them; the branch is a name that only the sandbox gives. */
function trueTo(said: Commit[], known: readonly Commit[]): Commit[] {
  if (known.length === 0) return said;
  const bySha = new Map(known.map((commit) => [commit.sha, commit]));
  return said.map(({ branch, ...commit }) => ({
    ...(bySha.get(commit.sha) ?? commit),
    ...(branch === undefined ? {} : { branch }),
  }));
}

function leftoversOf(event: Extract<TaskEvent, { type: 'leftovers' }>): NonNullable<TaskState['leftovers']> {
  const { commit, parent, files, moreFiles } = event;
  return { commit, parent, files, ...(moreFiles === undefined ? {} : { moreFiles }) };
}

function withoutPending(state: TaskState, tips: ReadonlySet<string>): TaskState {
  const open = (sha: string): boolean => !tips.has(sha);
  return {
    ...state,
    pendingImports: state.pendingImports.filter(open),
    refusedImports: state.refusedImports.filter(open),
  };
}

/** What is told of the commits that stay refused when others come in. */
function refusalOf(before: TaskState, refused: readonly string[]): TaskState['importFailure'] {
  if (refused.length === 0) return undefined;
  if (before.importFailure?.code === 'import_refused') return before.importFailure;
  return { code: 'import_refused', message: 'Some of what the sandbox sent was not taken in.' };
}

function announce(state: TaskState, sha: string): TaskState {
  if (state.imported.includes(sha) || state.pendingImports.includes(sha)) return state;
  return { ...state, pendingImports: [...state.pendingImports, sha] };
}
