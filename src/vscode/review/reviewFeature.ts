import { join } from 'node:path';
import * as vscode from 'vscode';
import { DisposableStore } from '../../base/disposable.ts';
import type { Tasks } from '../tasks.ts';
import { reviewScheme } from '../view/reviewUri.ts';
import { AcceptFlow } from './acceptFlow.ts';
import { Announcer } from './announcer.ts';
import { ReviewContext } from './context.ts';
import { Decisions } from './decisions.ts';
import { ReviewFileSystem } from './documents.ts';
import { inFront, onDidChangeFront } from './front.ts';
import { HunkActions } from './hunks.ts';
import { HunkLenses } from './lenses.ts';
import { Marks } from './marks.ts';
import { MergeSessions } from './mergeSession.ts';
import { MergeStore } from './mergeStore.ts';
import { Places } from './places.ts';
import { Remarks } from './remarks.ts';
import type { Reviews } from './reviews.ts';
import { type Memory, ReviewSession, type Subject } from './session.ts';
import { type ReviewNode, ReviewTree, reviewView } from './tree.ts';

export interface ReviewSurroundings {
  tasks: Tasks;
  reviews: Reviews;
  extensionUri: vscode.Uri;
  /** Where a merge is kept over a reload, if there is a place for what belongs to the workspace. */
  mergeFolder: vscode.Uri | undefined;
  /** Of the workspace that is open. */
  memory: Memory;
  onProblem: (thrown: unknown) => void;
}

/** The review of a task as a part of the editor. Made and registered without asking for anything. */
export class ReviewFeature implements vscode.Disposable {
  private readonly store = new DisposableStore();
  readonly reviews: Reviews;
  readonly session: ReviewSession;
  readonly places: Places;
  readonly announcer: Announcer;
  readonly decisions: Decisions;
  readonly hunks: HunkActions;
  readonly merges: MergeSessions;
  readonly acceptFlow: AcceptFlow;
  readonly remarks: Remarks;
  readonly tree: ReviewTree;
  readonly marks: Marks;
  readonly lenses: HunkLenses;

  constructor({ tasks, reviews, extensionUri, mergeFolder, memory, onProblem }: ReviewSurroundings) {
    const { store } = this;
    this.reviews = reviews;
    this.session = store.add(new ReviewSession(reviews, memory, onProblem));
    this.places = new Places(reviews, this.session);
    this.announcer = store.add(new Announcer());
    this.decisions = new Decisions(reviews, this.announcer);
    this.hunks = new HunkActions(this.places, reviews, this.decisions, this.announcer);
    const kept = mergeFolder === undefined ? undefined : join(mergeFolder.fsPath, 'merge');
    this.merges = store.add(new MergeSessions(this.announcer, new MergeStore(kept)));
    this.acceptFlow = new AcceptFlow(reviews, this.merges, this.announcer, onProblem);
    this.tree = store.add(new ReviewTree(this.session, reviews, onProblem));
    const { session, places, announcer } = this;
    this.remarks = store.add(new Remarks({ reviews, session, places, announcer, onProblem }));
    this.lenses = store.add(new HunkLenses(places, reviews));
    const media = vscode.Uri.joinPath(extensionUri, 'media');
    this.marks = store.add(new Marks(places, reviews, media, onProblem));
    store.add(new ReviewContext(session, places));
    store.add(store.add(new ReviewFileSystem(reviews, onProblem)).register());
    store.add(this.merges.register());
    this.merges.restore().catch(onProblem);
    store.add(this.lenses.register());
    // Editors that were restored want their marks and remarks, also where nobody looks at the view.
    const look = (editors: readonly vscode.TextEditor[]): void => {
      if (editors.some(({ document }) => document.uri.scheme === reviewScheme))
        this.session.open().catch(onProblem);
    };
    store.add(vscode.window.onDidChangeVisibleTextEditors(look));
    look(vscode.window.visibleTextEditors);
    store.add(tasks.onDidRemove((id) => this.leave(id)));
    const view = this.tree.register();
    store.add(
      onDidChangeFront(() => {
        // The list may change meanwhile, and the selection is a convenience.
        this.tree.follow(inFront()).catch(() => undefined);
      }),
    );
    store.add(
      view.onDidChangeCheckboxState(({ items }) => {
        this.check(items).catch(onProblem);
      }),
    );
  }

  /** Shows a review in its view. */
  async open(subject: Subject): Promise<void> {
    await this.session.show(subject);
    await vscode.commands.executeCommand(`${reviewView}.focus`);
  }

  dispose(): void {
    this.store.dispose();
  }

  /** The checkboxes say what was reviewed; that of a folder is about all below it. */
  private async check(items: readonly [ReviewNode, vscode.TreeItemCheckboxState][]): Promise<void> {
    const { subject } = this.session;
    if (subject === undefined) return;
    for (const state of [vscode.TreeItemCheckboxState.Checked, vscode.TreeItemCheckboxState.Unchecked]) {
      const nodes = items.filter(([, wanted]) => wanted === state).map(([node]) => node);
      const files = this.tree.filesOfAll(nodes);
      await this.decisions.setReviewed(subject, files, state === vscode.TreeItemCheckboxState.Checked);
    }
  }

  private leave(id: string): void {
    if (this.session.subject?.id === id) this.session.close();
  }
}
