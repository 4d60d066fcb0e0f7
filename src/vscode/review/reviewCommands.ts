import * as vscode from 'vscode';
import * as z from 'zod/mini';
import { SallyportError } from '../../base/errors.ts';
import { TaskId } from '../../protocol/grammar.ts';
import {
  FileId,
  PartId,
  type RemarkState,
  type ReviewFile,
  ReviewScope,
  type Verdict,
} from '../../protocol/review.ts';
import { unsent } from '../../protocol/reviewState.ts';
import { hasEnded, type TaskState } from '../../protocol/taskState.ts';
import { safeLine } from '../../protocol/safeText.ts';
import type { Filter } from '../view/reviewProgress.ts';
import { placeHunks } from '../view/reviewLines.ts';
import { sendingWords, whenWords } from '../view/reviewRemarks.ts';
import { filterNames, scopeName } from '../view/reviewWords.ts';
import { scopeWord } from '../view/reviewUri.ts';
import type { PartTarget } from './lenses.ts';
import { openChange, openChanges } from './openChanges.ts';
import { RemarkComment } from './remarks.ts';
import type { ReviewFeature } from './reviewFeature.ts';
import type { Subject } from './session.ts';
import type { ReviewNode } from './tree.ts';

/** What runs when a command is called, by its name without `sallyport.`. */
export type ReviewCommands = Record<string, (...args: unknown[]) => unknown>;

const SubjectArgument = z.looseObject({ id: TaskId, scope: z.optional(ReviewScope) });
const FileArgument = z.looseObject({ id: TaskId, scope: ReviewScope, file: FileId });
const HunkArgument = z.looseObject({
  subject: z.object({ id: TaskId, scope: ReviewScope }),
  file: FileId,
  part: PartId,
});
/** A keybinding of the view says that it means the selected lines. */
const ViewArgument = z.looseObject({ view: z.literal(true) });
const Node = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('gate') }),
  z.object({ kind: z.literal('folder'), path: z.string() }),
  z.object({ kind: z.literal('file'), file: FileId }),
  z.object({ kind: z.literal('part'), file: FileId, part: PartId }),
  z.object({ kind: z.literal('reason'), file: FileId, at: z.int() }),
]);

export function reviewCommands(feature: ReviewFeature): ReviewCommands {
  const { session, tree, decisions, hunks, reviews, merges, remarks, acceptFlow, announcer } = feature;
  const subject = (): Subject => {
    if (session.subject !== undefined) return session.subject;
    throw new SallyportError('invalid_input', 'No review is open.', 'Run Review Changes on a task first.');
  };
  /** The subject that a command was called with, else the one that is shown. */
  const subjectOf = (argument: unknown): Subject => {
    const said = SubjectArgument.safeParse(argument);
    if (!said.success) return subject();
    return { id: said.data.id, scope: said.data.scope ?? { kind: 'all' } };
  };
  const nodesOf = (argument: unknown, more: unknown): ReviewNode[] => {
    if (ViewArgument.safeParse(argument).success) return [...tree.selection];
    const one = Node.safeParse(argument);
    if (!one.success) return [];
    const many = z.array(Node).safeParse(more);
    return many.success && many.data.length > 0 ? many.data : [one.data];
  };
  const filesOf = (nodes: readonly ReviewNode[]): ReviewFile[] => tree.filesOfAll(nodes);
  const decideNodes = async (verdict: Verdict | null, args: readonly unknown[]): Promise<void> => {
    const nodes = nodesOf(args[0], args[1]);
    const parts = nodes.filter((node) => node.kind === 'part');
    const files = filesOf(nodes.filter(({ kind }) => kind !== 'part' && kind !== 'reason'));
    if (files.length > 0) await decisions.decide(subject(), { files }, verdict);
    const whole = new Set(files.map(({ id }) => id));
    for (const file of filesOf(parts)) {
      if (whole.has(file.id)) continue;
      const chosen = parts.filter((node) => node.file === file.id).map(({ part }) => part);
      await decisions.decide(subject(), { file, parts: chosen }, verdict);
    }
  };
  const decideHunk = async (verdict: Verdict | null, argument: unknown): Promise<void> => {
    const target = HunkArgument.safeParse(argument);
    await hunks.decide(verdict, target.success ? (target.data satisfies PartTarget) : undefined);
  };
  const decideFile = async (verdict: Verdict | null): Promise<void> => {
    const { place } = await hunks.here();
    await decisions.decide(place.subject, { files: [place.file] }, verdict);
  };
  const mark = async (on: boolean, args: readonly unknown[]): Promise<void> => {
    const nodes = nodesOf(args[0], args[1]);
    if (nodes.length > 0) {
      await decisions.setReviewed(subject(), filesOf(nodes), on);
      return;
    }
    const { place } = await hunks.here();
    await decisions.setReviewed(place.subject, [place.file], on);
  };
  const open = async (argument: unknown): Promise<void> => {
    const [node] = nodesOf(argument, undefined);
    if (node === undefined) return;
    if (node.kind === 'folder' || node.kind === 'gate') {
      await openAll(node);
      return;
    }
    const file = session.file(node.file);
    const state = session.now?.state;
    if (file === undefined || state === undefined) return;
    const hunk =
      node.kind === 'part'
        ? placeHunks(file, state.verdicts).find(({ part }) => part.id === node.part)
        : undefined;
    await openChange(subject(), file, hunk === undefined ? {} : { hunk });
  };
  const openAll = async (argument: unknown): Promise<void> => {
    const [node] = nodesOf(argument, undefined);
    await session.open();
    const files = node === undefined ? session.files() : tree.filesOf(node);
    if (files.length === 0) {
      announcer.say('No file differs.');
      return;
    }
    const task = reviews.task(subject().id);
    const title = `${scopeName(subject().scope)} · ${safeLine(task?.spec.title ?? '', 60)}`;
    await openChanges(subject(), files, title);
  };
  const onRemark =
    (run: (remark: RemarkState) => Promise<void>) =>
    async (argument: unknown): Promise<void> => {
      const remark = remarks.remarkOf(argument);
      if (remark !== undefined) await run(remark);
    };
  const onComment =
    (run: (comment: RemarkComment) => unknown) =>
    async (argument: unknown): Promise<void> => {
      if (argument instanceof RemarkComment) await run(argument);
    };

  return {
    'review.open': open,
    'review.openAll': openAll,
    'review.accept': (...args) => decideNodes('accepted', args),
    'review.reject': (...args) => decideNodes('rejected', args),
    'review.restore': (...args) => decideNodes(null, args),
    'review.acceptHunk': (argument) => decideHunk('accepted', argument),
    'review.rejectHunk': (argument) => decideHunk('rejected', argument),
    'review.restoreHunk': (argument) => decideHunk(null, argument),
    'review.nextHunk': () => hunks.goToHunk(1),
    'review.previousHunk': () => hunks.goToHunk(-1),
    'review.nextFile': () => hunks.goToFile(1),
    'review.previousFile': () => hunks.goToFile(-1),
    'review.acceptFile': () => decideFile('accepted'),
    'review.rejectFile': () => decideFile('rejected'),
    'review.markReviewed': (...args) => mark(true, args),
    'review.markNotReviewed': (...args) => mark(false, args),
    'review.discardEdit': async (argument) => {
      const [file] = filesOf(nodesOf(argument, undefined));
      const place = file === undefined ? (await hunks.here()).place : undefined;
      const about = place?.subject ?? subject();
      await (await reviews.of(about.id)).edit(about.scope, (file ?? place?.file)?.id ?? '', undefined);
      announcer.say("Your edit is taken back: the file is the task's again.");
    },
    'review.mergeEdit': async (argument) => {
      const said = FileArgument.safeParse(argument);
      if (said.success) {
        await acceptFlow.mergeEdit(said.data, said.data.file);
        return;
      }
      const [file] = filesOf(nodesOf(argument, undefined));
      const place = file === undefined ? (await hunks.here()).place : undefined;
      await acceptFlow.mergeEdit(place?.subject ?? subject(), (file ?? place?.file)?.id ?? '');
    },
    'review.acceptChanges': (argument) => acceptFlow.accept(subjectOf(argument)),
    'review.undoAccept': (argument) => acceptFlow.undo(subjectOf(argument)),
    'review.completeMerge': (argument) =>
      merges.complete(argument instanceof vscode.Uri ? argument : undefined),
    'review.finishAccept': () => merges.finish(),
    'review.cancelAccept': () => merges.cancel(),
    'review.chooseScope': () => chooseScope(feature, subject()),
    'review.viewAsTree': () => session.setLayout('tree'),
    'review.viewAsList': () => session.setLayout('list'),
    'review.filter': () => chooseFilter(feature),
    'review.clearFilter': () => session.setFilter(undefined),
    'review.refresh': () => session.refresh(),
    'review.close': () => session.close(),
    'review.sendToAgent': (argument) => sendToAgent(feature, subjectOf(argument)),
    'review.addRemark': async (argument) => {
      if (isReply(argument)) await remarks.add(argument);
    },
    'review.editRemark': onComment((comment) => remarks.edit(comment, vscode.CommentMode.Editing)),
    'review.cancelRemark': onComment((comment) => remarks.edit(comment, vscode.CommentMode.Preview)),
    'review.saveRemark': onComment((comment) => remarks.saveEdit(comment)),
    'review.deleteRemark': onRemark((remark) => remarks.remove(remark)),
    'review.resolveRemark': onRemark((remark) => remarks.resolve(remark, true)),
    'review.reopenRemark': onRemark((remark) => remarks.resolve(remark, false)),
  };
}

/** What a command of VS Code's comments is called with. */
function isReply(argument: unknown): argument is vscode.CommentReply {
  return typeof argument === 'object' && argument !== null && 'thread' in argument && 'text' in argument;
}

async function chooseScope({ reviews, session }: ReviewFeature, subject: Subject): Promise<void> {
  const review = await reviews.of(subject.id);
  const scopes = await review.scopes();
  const picked = await vscode.window.showQuickPick(
    scopes.map(({ scope, label, detail }) => ({
      label: safeLine(label, 100),
      description: scopeWord(scope) === scopeWord(subject.scope) ? 'shown now' : '',
      detail: safeLine(detail, 200),
      scope,
    })),
    { title: 'Review What?', matchOnDetail: true },
  );
  if (picked !== undefined) await session.show({ id: subject.id, scope: picked.scope });
}

async function chooseFilter({ session }: ReviewFeature): Promise<void> {
  const names = Object.entries(filterNames) as [Filter, string][];
  const picked = await vscode.window.showQuickPick<vscode.QuickPickItem & { filter?: Filter }>(
    [
      { label: 'Every File' },
      ...names.map(([filter, label]) => ({ label, filter, picked: filter === session.filter })),
    ],
    { title: 'Show Which Files?' },
  );
  if (picked !== undefined) session.setFilter(picked.filter);
}

async function sendToAgent({ reviews, announcer }: ReviewFeature, { id }: Subject): Promise<boolean> {
  const review = await reviews.of(id);
  const message = await review.message();
  if (message === undefined) {
    void vscode.window.showInformationMessage(
      'There is nothing to send: no remark is a draft, and nothing was rejected since the last time.',
    );
    return false;
  }
  const task = reviews.task(id);
  const { remarks, rejected } = unsent(await review.state());
  const extra = await vscode.window.showInputBox({
    title: 'Send to Agent',
    prompt: sendingWords(remarks.length, rejected.length, task),
    placeHolder: 'More to say to the agent, if you like. Enter sends.',
    ignoreFocusOut: true,
    validateInput: (text) => (text.length > 20_000 ? 'At most 20,000 characters.' : undefined),
  });
  if (extra === undefined) return false;
  await review.send(extra.trim() === '' ? undefined : extra);
  const said = `Sent to the agent. ${whenWords(task)}`;
  announcer.say(said);
  return true;
}

/** The scope that fits best what a command was called with. */
export function scopeOf(
  argument: unknown,
  chosen: { state: TaskState; sha?: string; leftovers: boolean },
  hasResult: boolean,
): ReviewScope {
  const said = SubjectArgument.safeParse(argument);
  if (said.success && said.data.scope !== undefined) return said.data.scope;
  if (chosen.sha !== undefined) return { kind: 'commit', sha: chosen.sha };
  if (chosen.leftovers || (!hasResult && chosen.state.leftovers !== undefined)) return { kind: 'leftovers' };
  return { kind: 'all' };
}

/** For the list of tasks: those whose leftovers can be committed. */
export function hasLeftovers(state: TaskState): boolean {
  return hasEnded(state) && state.leftovers !== undefined;
}
