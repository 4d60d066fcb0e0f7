import * as vscode from 'vscode';
import { SallyportError } from '../../base/errors.ts';
import { isBranchName } from '../../protocol/grammar.ts';
import type { AcceptTarget, FileId, PartId, ReviewFile } from '../../protocol/review.ts';
import { acceptedParts, openGate, restParts } from '../../protocol/reviewState.ts';
import { safeLine } from '../../protocol/safeText.ts';
import { plural } from '../../protocol/words.ts';
import type { AcceptOutcome, AcceptRequest } from '../../runner/review/taskReview.ts';
import { reviewScheme, shownPath } from '../view/reviewUri.ts';
import { acceptedSentence, acceptSentence, partsLeft } from '../view/reviewWords.ts';
import type { Announcer } from './announcer.ts';
import { confirmGate } from './decisions.ts';
import type { MergeSessions } from './mergeSession.ts';
import type { MergePurpose } from './mergeStore.ts';
import type { Loaded, Reviews } from './reviews.ts';
import type { Subject } from './session.ts';

type What = AcceptRequest['what'];

/** The questions of *Accept…*, what comes of the answers, and the way back. */
export class AcceptFlow {
  private readonly reviews: Reviews;
  private readonly merges: MergeSessions;
  private readonly announcer: Announcer;
  private readonly onProblem: (thrown: unknown) => void;

  constructor(
    reviews: Reviews,
    merges: MergeSessions,
    announcer: Announcer,
    onProblem: (thrown: unknown) => void,
  ) {
    this.reviews = reviews;
    this.merges = merges;
    this.announcer = announcer;
    this.onProblem = onProblem;
    merges.finisher = async (purpose, merged) => {
      if (purpose.kind === 'edit') {
        await this.settleEdit(purpose, merged);
        return undefined;
      }
      const { message, ...request } = purpose.request;
      const text = message === undefined ? {} : { message };
      return await this.carryOut(purpose.subject, { ...request, ...text, merged });
    };
  }

  /** Asks what and where to, and does it. Resolves to what came of it; undefined when the user left. */
  async accept(subject: Subject): Promise<AcceptOutcome | undefined> {
    const repository = this.repositoryOf(subject);
    await saveEdits(subject);
    const what = await this.askWhat(subject);
    if (what === undefined) return undefined;
    const loaded = await this.reviews.load(subject.id, subject.scope);
    const chosen = partsOf(what, loaded);
    if (chosen.size === 0) {
      throw new SallyportError(
        'nothing_to_accept',
        'Nothing is left to accept.',
        'Take a rejection back, or accept something first.',
      );
    }
    const files = loaded.diff.files.filter(({ parts }) => parts.some(({ id }) => chosen.has(id)));
    const whole = loaded.diff.files.every(({ parts }) => parts.every(({ id }) => chosen.has(id)));
    const target = await this.askTarget(subject, files, chosen, repository.name);
    if (target === undefined) return undefined;
    if (target.kind === 'tree') refuseUnsaved(repository.path, files);
    const message = await this.askMessage(subject, target, whole);
    if (message === undefined) return undefined;
    return await this.carryOut(subject, {
      scope: subject.scope,
      what,
      target,
      ...(message === '' ? {} : { message }),
    });
  }

  /** Takes an accept back: the newest, or the one that is picked. */
  async undo(subject: Subject): Promise<boolean> {
    const { accepts } = await this.reviews.state(subject.id);
    const candidates = accepts.filter(({ undone }) => !undone).toReversed();
    const [newest, ...more] = candidates;
    if (newest === undefined) {
      throw new SallyportError(
        'nothing_to_accept',
        'Nothing of this task was accepted that could be taken back.',
        'Accept something first.',
      );
    }
    const { name } = this.repositoryOf(subject);
    const picked =
      more.length === 0
        ? newest
        : (
            await vscode.window.showQuickPick(
              candidates.map((record) => ({
                label: acceptedSentence(record.files, record.target, name),
                description: new Date(record.at).toLocaleString(),
                record,
              })),
              { title: 'Undo Which Accept?' },
            )
          )?.record;
    if (picked === undefined) return false;
    await this.undoOne(subject, picked.id);
    return true;
  }

  /** Does it, with a merge first where both have changed the same. */
  async carryOut(subject: Subject, { merged, ...request }: AcceptRequest): Promise<AcceptOutcome> {
    const review = await this.reviews.of(subject.id);
    const outcome = await vscode.window.withProgress(
      { location: vscode.ProgressLocation.Notification, title: 'Sallyport: accepting…', cancellable: true },
      async (_progress, token) => {
        const stop = new AbortController();
        const listening = token.onCancellationRequested(() => stop.abort());
        try {
          return await review.accept({
            ...request,
            ...(merged === undefined ? {} : { merged }),
            signal: stop.signal,
          });
        } finally {
          listening.dispose();
        }
      },
    );
    if (outcome.kind === 'conflicts') {
      const { scope, what, target, message } = request;
      const again = {
        scope,
        what: typeof what === 'string' ? what : { parts: [...what.parts] },
        target,
        ...(message === undefined ? {} : { message }),
      };
      await this.merges.begin(outcome.conflicts, { kind: 'accept', subject, request: again }, merged);
      return outcome;
    }
    this.tell(subject, outcome);
    return outcome;
  }

  /** Opens the merge of an edit and the task's new version, whose result becomes the edit. */
  async mergeEdit({ id, scope }: Subject, file: FileId): Promise<void> {
    const review = await this.reviews.of(id);
    const { file: of, original, commit, by, content, ...conflict } = await review.editConflict(scope, file);
    const told = { file: of, original, commit, by, content };
    await this.merges.begin([conflict], { kind: 'edit', id, told });
  }

  private async settleEdit(
    { id, told }: Extract<MergePurpose, { kind: 'edit' }>,
    merged: ReadonlyMap<string, Uint8Array | undefined>,
  ): Promise<void> {
    const [[path, result] = ['', undefined]] = merged;
    await (await this.reviews.of(id)).settleEdit({ ...told, path }, result);
    this.announcer.say(
      result === undefined
        ? "Your edit is taken back: the file is the task's again."
        : `Your edit of ${shownPath(path)} is merged with the task's new version.`,
    );
  }

  private tell(subject: Subject, { record }: Extract<AcceptOutcome, { kind: 'done' }>): void {
    const said = acceptedSentence(record.files, record.target, this.repositoryOf(subject).name);
    const undo = 'Undo';
    const show = 'Show Source Control';
    vscode.window.showInformationMessage(said, undo, show).then((picked) => {
      if (picked === undo) this.undoOne(subject, record.id).catch(this.onProblem);
      else if (picked === show) void vscode.commands.executeCommand('workbench.view.scm');
    }, this.onProblem);
  }

  private async undoOne(subject: Subject, id: string): Promise<void> {
    const review = await this.reviews.of(subject.id);
    await vscode.window.withProgress(
      { location: vscode.ProgressLocation.Window, title: 'Sallyport: taking the accept back' },
      () => review.undo(id),
    );
    this.announcer.say('The accept is taken back: everything is as it was before.');
  }

  /** Everything that is not rejected, or only what is accepted; files of the hand-off list need their own yes first. */
  private async askWhat(subject: Subject): Promise<What | undefined> {
    const { diff, state } = await this.reviews.load(subject.id, subject.scope);
    const rest = restParts(state, diff.files).length;
    const accepted = acceptedParts(state, diff.files).length;
    const all = diff.files.reduce((sum, { parts }) => sum + parts.length, 0);
    const open = openGate(state, diff.files);
    if (accepted === 0 || accepted === rest) return await this.askGate(subject);
    const left = all - rest;
    const picked = await vscode.window.showQuickPick(
      [
        {
          label: 'Everything That Is Not Rejected',
          description: plural(rest, 'part'),
          detail: [
            left === 0 ? '' : `${plural(left, 'rejected part')} ${left === 1 ? 'stays' : 'stay'} behind.`,
            open.length === 0 ? '' : `${plural(open.length, 'file')} must be answered first.`,
          ]
            .filter((text) => text !== '')
            .join(' '),
          what: 'rest' as const,
        },
        {
          label: 'Only What Is Accepted',
          description: plural(accepted, 'part'),
          detail: `What has no verdict stays behind too.`,
          what: 'accepted' as const,
        },
      ],
      { title: 'Accept What?' },
    );
    return picked?.what === 'rest' ? await this.askGate(subject) : picked?.what;
  }

  /** The files that need their own yes, until each has an answer, or they are left out. */
  private async askGate(subject: Subject): Promise<What | undefined> {
    for (;;) {
      const { diff, state } = await this.reviews.load(subject.id, subject.scope);
      const open = openGate(state, diff.files);
      if (open.length === 0) return 'rest';
      const others = new Set(open.map(({ id }) => id));
      const parts = restParts(
        state,
        diff.files.filter(({ id }) => !others.has(id)),
      );
      const picked = await vscode.window.showQuickPick(
        [
          ...open.map((file) => ({
            label: `$(shield) ${shownPath(file.path)}`,
            detail: file.gate.map(({ why }) => safeLine(why)).join(' '),
            file,
          })),
          ...(parts.length === 0
            ? []
            : [
                {
                  label: '$(arrow-right) Go On Without Them',
                  detail: `${plural(open.length, 'file')} ${open.length === 1 ? 'stays' : 'stay'} behind.`,
                  file: undefined,
                },
              ]),
        ],
        {
          title: 'Look at These First',
          placeHolder: 'These files would run on your machine, or steer what does. Each needs its own yes.',
          ignoreFocusOut: true,
        },
      );
      if (picked === undefined) return undefined;
      if (picked.file === undefined) return { parts };
      if (!(await confirmGate(subject, picked.file))) return undefined;
      const review = await this.reviews.of(subject.id);
      await review.decide(subject.scope, { file: picked.file.id }, 'accepted');
    }
  }

  private async askTarget(
    subject: Subject,
    files: readonly ReviewFile[],
    chosen: ReadonlySet<PartId>,
    repository: string,
  ): Promise<AcceptTarget | undefined> {
    const proposed = this.reviews.task(subject.id)?.spec.branch ?? 'agent';
    const plan = { files: files.length, partsLeft: partsLeft(files, chosen), repository };
    const item = (label: string, target: AcceptTarget): vscode.QuickPickItem & { target: AcceptTarget } => ({
      label,
      detail: acceptSentence({ ...plan, target }),
      target,
    });
    const picked = await vscode.window.showQuickPick(
      [
        item('$(files) Working Tree', { kind: 'tree', staged: false }),
        item('$(diff-added) Working Tree, Staged', { kind: 'tree', staged: true }),
        item('$(git-branch) New Branch…', { kind: 'branch', branch: proposed }),
        item("$(git-commit) Current Branch, as the Agent's Commits", { kind: 'commits' }),
      ],
      { title: 'Accept Where?', placeHolder: 'Nothing is changed before you choose.' },
    );
    if (picked?.target.kind !== 'branch') return picked?.target;
    const name = await vscode.window.showInputBox({
      title: 'Accept on a New Branch',
      prompt: acceptSentence({ ...plan, target: { kind: 'branch', branch: '…' } }),
      value: proposed,
      ignoreFocusOut: true,
      validateInput: (text) =>
        isBranchName(text.trim()) ? undefined : 'Git does not take this as the name of a branch.',
    });
    return name === undefined ? undefined : { kind: 'branch', branch: name.trim() };
  }

  /** Of the commit that has to be made where not all of the agent's own is taken. Empty where none is; undefined to leave. */
  private async askMessage(
    subject: Subject,
    target: AcceptTarget,
    whole: boolean,
  ): Promise<string | undefined> {
    if (target.kind === 'tree' || (whole && subject.scope.kind !== 'leftovers')) return '';
    return await vscode.window.showInputBox({
      title: 'Message of the Commit',
      prompt: "Not everything of the agent's commits is taken, so this becomes one commit.",
      value: safeLine(this.reviews.task(subject.id)?.spec.title ?? '', 100),
      ignoreFocusOut: true,
      validateInput: (text) => (text.trim() === '' ? 'A commit needs a message.' : undefined),
    });
  }

  private repositoryOf({ id }: Subject): { name: string; path: string } {
    const repository = this.reviews.task(id)?.spec.repository;
    if (repository === undefined || repository.path === '') {
      throw new SallyportError(
        'invalid_input',
        'This task was not sent from a repository of this machine, so there is none to accept it in.',
        'Fetch the branch that the runner pushed, or accept the task where it was sent from.',
      );
    }
    return { name: safeLine(repository.name, 60), path: repository.path };
  }
}

function partsOf(what: What, { diff, state }: Loaded): Set<PartId> {
  if (what === 'rest') return new Set(restParts(state, diff.files));
  return new Set(what === 'accepted' ? acceptedParts(state, diff.files) : what.parts);
}

/** What was typed into the review's editors counts. */
async function saveEdits({ id }: Subject): Promise<void> {
  for (const document of vscode.workspace.textDocuments) {
    const { scheme, authority } = document.uri;
    if (scheme !== reviewScheme || authority !== id || !document.isDirty) continue;
    if (!(await document.save())) {
      throw new SallyportError(
        'conflict',
        'What you typed into a file of the review could not be saved.',
        'Save it or revert it, then accept again.',
      );
    }
  }
}

/** Files that are accepted are written to the disk: what is typed and not saved there would stand against it. */
function refuseUnsaved(repository: string, files: readonly ReviewFile[]): void {
  const paths = new Set(files.flatMap(({ path, from }) => [path, from ?? path]));
  const root = vscode.Uri.file(repository).path.replace(/\/+$/, '');
  const unsaved = vscode.workspace.textDocuments.find(
    ({ isDirty, uri }) =>
      isDirty &&
      uri.scheme === 'file' &&
      uri.path.startsWith(`${root}/`) &&
      paths.has(uri.path.slice(root.length + 1)),
  );
  if (unsaved === undefined) return;
  throw new SallyportError(
    'conflict',
    `${shownPath(unsaved.uri.path.slice(root.length + 1))} has changes in the editor that are not saved.`,
    'Save or revert that file, then accept again.',
  );
}
