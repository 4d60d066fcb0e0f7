import * as vscode from 'vscode';
import { DisposableStore } from '../../base/disposable.ts';
import { unsent } from '../../protocol/reviewState.ts';
import { inFront, onDidChangeFront } from './front.ts';
import type { Places } from './places.ts';
import type { ReviewSession } from './session.ts';

/** Keeps the words that the manifest's `when` clauses ask for. */
export class ReviewContext implements vscode.Disposable {
  private readonly session: ReviewSession;
  private readonly places: Places;
  private readonly store = new DisposableStore();
  private readonly known = new Map<string, unknown>();

  constructor(session: ReviewSession, places: Places) {
    this.session = session;
    this.places = places;
    const update = (): void => this.update();
    this.store.add(session.onDidChange(update));
    this.store.add(onDidChangeFront(update));
    this.update();
  }

  dispose(): void {
    this.store.dispose();
  }

  private update(): void {
    const { subject, layout, filter, now } = this.session;
    const front = inFront();
    const waiting = now === undefined ? undefined : unsent(now.state);
    this.set('subject', subject?.scope.kind ?? 'none');
    this.set('layout', layout);
    this.set('filtered', filter !== undefined);
    this.set('unsent', waiting !== undefined && waiting.remarks.length + waiting.rejected.length > 0);
    this.set('canUndo', now?.state.accepts.some(({ undone }) => !undone) === true);
    this.set('editor', front !== undefined && this.places.isOfReview(front));
  }

  private set(name: string, value: unknown): void {
    if (this.known.get(name) === value) return;
    this.known.set(name, value);
    void vscode.commands.executeCommand('setContext', `sallyport.review.${name}`, value);
  }
}
