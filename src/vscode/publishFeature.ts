import * as vscode from 'vscode';
import { AutoPublishing } from './autoPublishing.ts';
import { ForgeAccounts } from './forgeAccounts.ts';
import { Publish } from './publish.ts';
import { PullRequestStates } from './pullRequestStates.ts';
import type { Tasks } from './tasks.ts';
import type { TaskTree } from './tree.ts';
import type { ReviewStates } from './treeReviews.ts';

export interface PublishFeatureParts {
  tasks: Tasks;
  reviews: ReviewStates;
  tree: TaskTree;
  secrets: vscode.SecretStorage;
  /** Of all workspaces: an account belongs to a host. */
  memory: vscode.Memento;
  log: vscode.LogOutputChannel;
}

/** All that leaves this machine of a task: its commands, accounts, and what the tree shows of it. */
export class PublishFeature implements vscode.Disposable {
  readonly accounts: ForgeAccounts;
  readonly commands: Publish;
  private readonly registered: vscode.Disposable;

  constructor({ tasks, reviews, tree, secrets, memory, log }: PublishFeatureParts) {
    this.accounts = new ForgeAccounts(secrets, memory);
    this.commands = new Publish({ tasks, accounts: this.accounts, log });
    tree.follow(reviews);
    this.registered = vscode.Disposable.from(
      this.commands,
      this.commands.register(),
      new AutoPublishing(tasks, this.accounts, log),
      new PullRequestStates(tasks, reviews, this.accounts, log),
    );
  }

  dispose(): void {
    this.registered.dispose();
  }
}
