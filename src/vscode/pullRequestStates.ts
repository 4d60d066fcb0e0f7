import type * as vscode from 'vscode';
import { DisposableStore } from '../base/disposable.ts';
import { PullRequestWatch } from '../runner/publishing/pullRequestWatch.ts';
import type { ForgeAccounts } from './forgeAccounts.ts';
import { forgeHosts, watchesPullRequests } from './settings.ts';
import type { Tasks } from './tasks.ts';
import type { ReviewStates } from './treeReviews.ts';

/** Keeps the states of open pull requests current, for as long as the editor runs and with accounts that were confirmed. */
export class PullRequestStates implements vscode.Disposable {
  private readonly store = new DisposableStore();

  constructor(tasks: Tasks, reviews: ReviewStates, accounts: ForgeAccounts, log: vscode.LogOutputChannel) {
    const watch = this.store.add(
      new PullRequestWatch({
        list: () =>
          watchesPullRequests()
            ? tasks.list().flatMap(({ spec: { id } }) => {
                const pullRequest = reviews.stateNow(id)?.pullRequest;
                return pullRequest === undefined ? [] : [{ id, pullRequest }];
              })
            : [],
        refresh: async (id, signal) => {
          const publishing = (await tasks.open()).publishing(id, forgeHosts);
          const forge = await publishing.forgeOfPullRequest();
          const token = forge && (await accounts.confirmed(forge));
          if (token === undefined) return false;
          await publishing.refresh(token, signal);
          return true;
        },
        log,
      }),
    );
    this.store.add(reviews.onDidChange(() => watch.poke()));
    this.store.add(tasks.onDidOpen(() => watch.poke()));
  }

  dispose(): void {
    this.store.dispose();
  }
}
