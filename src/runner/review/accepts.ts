import { access } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod/mini';
import { asSallyportError, SallyportError } from '../../base/errors.ts';
import { acceptTree } from '../../git/accept/acceptTree.ts';
import type { AcceptDone } from '../../git/accept/options.ts';
import { doneAccepts, recoverAccepts } from '../../git/accept/recover.ts';
import { undoAccept } from '../../git/accept/undo.ts';
import { emptyTree } from '../../git/diff.ts';
import { composeParts } from '../../git/parts/composeTree.ts';
import type { PartsDiff } from '../../git/parts/readParts.ts';
import { git } from '../../git/process.ts';
import type { Quarantine } from '../../git/quarantine.ts';
import { openRepository, type Repository } from '../../git/repository.ts';
import type { CommitRange } from '../../protocol/ranges.ts';
import {
  AcceptTarget,
  PartId,
  type AcceptRecord,
  type ReviewBody,
  type ReviewScope,
  type ReviewState,
} from '../../protocol/review.ts';
import { safeLine } from '../../protocol/safeText.ts';
import type { TaskSpec } from '../../protocol/task.ts';
import { partsToAccept } from './decisions.ts';
import { diffOf } from './diffs.ts';
import { withLock } from './fileLock.ts';
import type { ReviewLog } from './reviewLog.ts';
import type { AcceptOutcome, AcceptRequest } from './taskReview.ts';

/** How long another window's accept of the same task is waited for, in milliseconds: to accept, and to look. */
const patienceMs = { accept: 60_000, look: 2000 };

/** What is remembered of an accept from before it begins, in its journal: enough to write its event afterwards. */
const Note = z.object({
  target: AcceptTarget,
  files: z.int(),
  parts: z.array(PartId),
  whole: z.boolean(),
  branch: z.optional(z.string()),
});
type Note = z.infer<typeof Note>;

/** Where what is needed to take accepts back is kept, in the task's folder. */
export function journalOf(taskFolder: string): string {
  return join(taskFolder, 'accepts');
}

/** What of one task was taken over into the user's repository. */
export class Accepts {
  private readonly folder: string;
  private readonly log: ReviewLog;
  /** What could not be taken back, because somebody has changed it since. */
  private readonly kept: string[] = [];

  constructor(folder: string, log: ReviewLog) {
    this.folder = folder;
    this.log = log;
  }

  /** @param read gives the diff of the request's scope, as it is with the state's edits */
  async accept(
    request: AcceptRequest,
    task: { spec: TaskSpec; quarantine: Quarantine },
    read: (scope: ReviewScope, state: ReviewState) => Promise<PartsDiff>,
  ): Promise<AcceptOutcome> {
    const { scope, what, target, message, merged, signal } = request;
    const { spec, quarantine } = task;
    const checked = AcceptTarget.safeParse(target);
    if (!checked.success) throw noTarget();
    if (spec.repository.path === '') throw notSubmittedHere();
    return await this.alone(signal, async () => {
      const state = await this.log.state();
      const diff = await read(scope, state);
      if (diff.further > 0 && what === 'rest') throw tooMany(diff.further);
      const chosen = partsToAccept(diffOf(scope, diff), state, what);
      const repository = await repositoryOf(spec, signal);
      const result = await quarantine.use(signal, async () => {
        const tree = await composeParts(quarantine, diff, chosen, signal);
        const whole = tree === (await treeOf(quarantine, diff.to, signal));
        if (!whole && diff.from === emptyTree && target.kind !== 'tree') throw rootInPart();
        const note: Note = {
          target: checked.data,
          files: diff.files.filter(({ file }) => file.parts.some(({ id }) => chosen.has(id))).length,
          parts: [...chosen],
          whole,
          ...(target.kind === 'branch' ? { branch: target.branch } : {}),
        };
        const done = await acceptTree({
          repository,
          quarantine,
          base: diff.from,
          tree,
          commits: await commitsOf(quarantine, scope, diff, signal),
          whole: whole && scope.kind !== 'leftovers',
          target: checked.data,
          message,
          identity: spec.identity,
          journal: journalOf(this.folder),
          merged,
          note: JSON.stringify(note),
          signal,
        });
        return { done, note };
      });
      const { done, note } = result;
      if (done.kind === 'conflicts') return done;
      return { kind: 'done', record: await this.say(note, done) };
    });
  }

  /** It is done: whatever happens here, `settle` writes it later. */
  private async say(note: Note, { undo: id, files, branch, commit }: AcceptDone): Promise<AcceptRecord> {
    const body: ReviewBody = {
      type: 'accepted',
      id,
      ...note,
      files,
      ...(branch === undefined ? {} : { branch }),
      ...(commit === undefined ? {} : { commit }),
    };
    const { accepts } = await this.log.append(({ accepts: known }) =>
      known.some((accept) => accept.id === id) ? [] : [body],
    );
    const record = accepts.find((accept) => accept.id === id);
    if (record === undefined) throw new Error('The accept is not in the log');
    return record;
  }

  async undo(id: string, signal?: AbortSignal): Promise<void> {
    await this.alone(signal, async () => {
      const { accepts } = await this.log.state();
      const known = accepts.find((accept) => accept.id === id);
      if (known === undefined || known.undone) {
        throw new SallyportError(
          'not_found',
          known === undefined ? 'There is nothing to undo.' : 'That was undone already.',
          'Look at the list of what was taken over.',
        );
      }
      await undoAccept(journalOf(this.folder), id, signal);
      await this.log.append((now) => undone(now, [id]));
    });
  }

  /**
   * Takes back what a killed process left half done, and makes the log say what is so. Does nothing for a task of which nothing
   * was ever accepted. Can be called at any time. Throws `conflict` when somebody has changed since what was to be taken back:
   * that stayed as it is.
   */
  async settle(): Promise<void> {
    if (await this.isUntouched()) return;
    await this.alone(undefined, () => Promise.resolve(), patienceMs.look).catch((thrown: unknown) => {
      // Who is at work on it lives.
      if (asSallyportError(thrown).code !== 'task_busy') throw thrown;
    });
    const kept = this.kept.splice(0);
    if (kept.length > 0) throw cutOff(kept);
  }

  /** Runs `work` while no other window accepts something of the task, and after what was left half done is taken back. */
  async alone<T>(
    signal: AbortSignal | undefined,
    work: () => Promise<T>,
    patience = patienceMs.accept,
  ): Promise<T> {
    const lock = join(this.folder, 'review.accepting');
    return await withLock(
      lock,
      async () => {
        await this.recover();
        return await work();
      },
      { patienceMs: patience, signal },
    );
  }

  private async recover(): Promise<void> {
    if (await this.isUntouched()) return;
    const journal = journalOf(this.folder);
    for (const { kept } of await recoverAccepts(journal)) this.kept.push(...kept);
    const done = await doneAccepts(journal);
    const there = new Set(done.map(({ id }) => id));
    await this.log.append((state) => {
      const known = new Set(state.accepts.map(({ id }) => id));
      const gone = state.accepts.filter(({ id, undone: is }) => !is && !there.has(id));
      return [
        ...done.flatMap(({ id, note }): ReviewBody[] => {
          const said = known.has(id) ? undefined : readNote(note);
          return said === undefined ? [] : [{ type: 'accepted', id, ...said }];
        }),
        ...undone(
          state,
          gone.map(({ id }) => id),
        ),
      ];
    });
  }

  private async isUntouched(): Promise<boolean> {
    return await access(journalOf(this.folder)).then(
      () => false,
      () => true,
    );
  }
}

function undone({ accepts }: ReviewState, ids: readonly string[]): ReviewBody[] {
  return ids
    .filter((id) => accepts.some((accept) => accept.id === id && !accept.undone))
    .map((id) => ({ type: 'undone', id }));
}

function readNote(text: string | undefined): Note | undefined {
  try {
    return Note.parse(JSON.parse(text ?? ''));
  } catch {
    return undefined;
  }
}

/** Oldest first; of a merge its first parent's line. What was left uncommitted is in none: its commit is made with the user's message. */
async function commitsOf(
  quarantine: Quarantine,
  scope: ReviewScope,
  { from, to }: CommitRange,
  signal: AbortSignal | undefined,
): Promise<string[]> {
  if (scope.kind === 'leftovers') return [];
  if (scope.kind === 'commit') return [to];
  const { stdout } = await git(
    ['rev-list', '--first-parent', '--reverse', to, `^${from}`],
    quarantine.options(signal),
  );
  return stdout
    .toString()
    .split('\n')
    .filter((line) => line !== '');
}

async function treeOf(
  quarantine: Quarantine,
  commit: string,
  signal: AbortSignal | undefined,
): Promise<string> {
  const { stdout } = await git(['rev-parse', '--verify', `${commit}^{tree}`], quarantine.options(signal));
  return stdout.toString().trim();
}

/** Throws `no_repository` when what is at the task's path is another one by now, and what `openRepository` throws. */
async function repositoryOf({ repository }: TaskSpec, signal: AbortSignal | undefined): Promise<Repository> {
  const found = await openRepository(repository.path, signal);
  if (found.ref.id === repository.id) return found;
  throw new SallyportError(
    'no_repository',
    `In ${repository.path} is another repository than the one that the task began with.`,
    'Put that one back in its place, or accept the task as a branch where it is now.',
  );
}

function cutOff(kept: readonly string[]): SallyportError {
  const names = kept.slice(0, 5).map((name) => JSON.stringify(safeLine(name, 200)));
  const more = kept.length - names.length;
  return new SallyportError(
    'conflict',
    `An accept was cut off and is taken back. Changed since, and left as they are: ${names.join(', ')}${more > 0 ? ` and ${more} more` : ''}.`,
    'Look at these files with "git diff".',
  );
}

function notSubmittedHere(): SallyportError {
  return new SallyportError(
    'no_repository',
    'The task was not submitted from a repository of this machine, so there is none to take its work over into.',
    'Fetch the branch from where the runner pushed it, or accept the task where it was submitted.',
  );
}

function tooMany(further: number): SallyportError {
  return new SallyportError(
    'too_large',
    `${further.toLocaleString('en')} files more have changed than can be looked at, so not all of it can be taken over from here.`,
    'Look at single turns or commits, or take over what you accepted of the others.',
  );
}

function rootInPart(): SallyportError {
  return new SallyportError(
    'invalid_input',
    'This commit has no history, so a part of it cannot become a commit.',
    'Take it over whole, or into your files.',
  );
}

function noTarget(): SallyportError {
  return new SallyportError(
    'invalid_branch',
    'That is no name of a branch.',
    'Use letters, digits, dashes and slashes.',
  );
}
