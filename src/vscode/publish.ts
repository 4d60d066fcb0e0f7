import * as vscode from 'vscode';
import { SallyportError } from '../base/errors.ts';
import type { PullRequestRecord } from '../protocol/review.ts';
import { safeLine } from '../protocol/safeText.ts';
import { hasEnded, type TaskState } from '../protocol/taskState.ts';
import type { TaskPublishing } from '../runner/publishing/taskPublishing.ts';
import { chooseTask } from './chooseTask.ts';
import type { ForgeAccounts } from './forgeAccounts.ts';
import { removeForgeToken, setForgeToken } from './forgeTokenCommands.ts';
import { openWeb } from './openWeb.ts';
import { attempt } from './problems.ts';
import { windowAsker } from './publishAsker.ts';
import { chooseBase, choosePlace } from './pullRequestChoice.ts';
import { PullRequestEditors } from './pullRequestEditor.ts';
import { tellPushed } from './pushNotice.ts';
import { forgeHosts } from './settings.ts';
import type { Tasks } from './tasks.ts';
import { noticeText } from './view/noticeText.ts';
import { nextSteps, pullRequestWords } from './view/publishItems.ts';
import { readSaid } from './view/publishArguments.ts';
import { type Asker, type PushedBranch, pushFlow } from './view/publishFlow.ts';

export interface PublishSurroundings {
  tasks: Tasks;
  accounts: ForgeAccounts;
  log: vscode.LogOutputChannel;
  /** The window, unless a test answers. */
  ask?: Asker;
}

/** Pushing a task's commits, and what comes of it: the commands. */
export class Publish implements vscode.Disposable {
  private readonly around: PublishSurroundings;
  private readonly editors = new PullRequestEditors();
  /** Who is asked; another in tests. */
  ask: Asker;

  constructor(around: PublishSurroundings) {
    this.around = around;
    this.ask = around.ask ?? windowAsker;
  }

  register(): vscode.Disposable {
    const { accounts } = this.around;
    const withPullRequest = async (argument: unknown, ask: string): Promise<Known | undefined> =>
      await this.known(argument, ask);
    return vscode.Disposable.from(
      this.editors.register(),
      this.command('pushBranch', (argument) => this.pushBranch(argument)),
      this.command('pushAndPullRequest', (argument) => this.pushAndPullRequest(argument)),
      this.command('whatNext', (argument) => this.whatNext(argument)),
      this.command('createPullRequest', () => this.send(false)),
      this.command('createDraftPullRequest', () => this.send(true)),
      this.command('markPullRequestReady', async (argument) => {
        const known = await withPullRequest(argument, 'Mark the pull request of which task as ready?');
        return known && (await this.markReady(known));
      }),
      this.command('openPullRequest', async (argument) => {
        const known = await withPullRequest(argument, 'Open the pull request of which task?');
        return known && (await openWeb(known.record.url));
      }),
      this.command('copyPullRequestLink', async (argument) => {
        const known = await withPullRequest(argument, 'Copy the link of which pull request?');
        if (known !== undefined) await vscode.env.clipboard.writeText(known.record.url);
        return known?.record.url;
      }),
      this.command('setForgeToken', () => setForgeToken(accounts)),
      this.command('removeForgeToken', () => removeForgeToken(accounts)),
    );
  }

  dispose(): void {
    this.editors.dispose();
  }

  private command(name: string, run: (argument: unknown) => Promise<unknown>): vscode.Disposable {
    return vscode.commands.registerCommand(`sallyport.${name}`, (argument: unknown) =>
      attempt(() => run(argument), this.around.log),
    );
  }

  private async pushBranch(
    argument: unknown,
  ): Promise<{ branch: string; commit: string; url?: string } | undefined> {
    const state = await this.task(argument, 'Push the commits of which task?');
    if (state === undefined) return undefined;
    const pushed = await this.push(state, argument);
    if (pushed === undefined) return undefined;
    tellPushed(state.spec.id, pushed, this.around.log);
    const { branch, commit, record } = pushed;
    return { branch, commit, ...(record.url === undefined ? {} : { url: record.url }) };
  }

  /** After a commit: go on, push, push and open a pull request, or stop. */
  private async whatNext(argument: unknown): Promise<unknown> {
    const state = await this.task(argument, 'What is next for which task?');
    if (state === undefined) return undefined;
    const picked = await this.ask.choose(
      `“${safeLine(state.spec.title, 60)}”: what next?`,
      'Nothing leaves before you have said yes to it.',
      nextSteps(hasEnded(state)),
    );
    if (picked?.command === undefined) return undefined;
    return await vscode.commands.executeCommand(`sallyport.${picked.command}`, state.spec.id);
  }

  private async pushAndPullRequest(argument: unknown): Promise<{ branch: string } | undefined> {
    const state = await this.task(argument, 'Push and create a pull request for which task?');
    if (state === undefined) return undefined;
    const { id } = state.spec;
    const publishing = await this.publishing(id);
    const pushed = await this.push(state, argument);
    if (pushed === undefined) return undefined;
    const { remote, branch, commit, look } = pushed;
    if (remote.forge === undefined) {
      // There is no pull request to open; the server may have said where people do.
      tellPushed(state.spec.id, pushed, this.around.log);
      return { branch };
    }
    const token = await this.around.accounts.ask(remote.forge);
    if (token === undefined) {
      tellPushed(state.spec.id, pushed, this.around.log);
      return { branch };
    }
    const places = await this.ask.progress(`asking ${remote.forge.name}`, (_report, signal) =>
      publishing.places(remote, token, signal),
    );
    const place = await choosePlace(this.ask, places);
    if (place === undefined) return { branch };
    const own = place.repository === remote.forge.repository;
    const base = await chooseBase(
      this.ask,
      place,
      own ? look.branches.filter((name) => name !== branch) : [],
    );
    if (base === undefined) return { branch };
    const text = await publishing.draft(commit);
    await this.editors.write(
      { id, publishing, remote, repository: place.repository, branch, base, token },
      text,
    );
    return { branch };
  }

  /** Undefined when the user leaves, or nothing was there to push. */
  private async push(state: TaskState, argument: unknown): Promise<PushedBranch | undefined> {
    if (!vscode.workspace.isTrusted) {
      throw new SallyportError(
        'invalid_input',
        'In Restricted Mode nothing is pushed.',
        'Trust this workspace first: git reads the configuration of its repository.',
      );
    }
    const { id, title } = state.spec;
    const service = await this.around.tasks.open();
    return await pushFlow(
      {
        publishing: await this.publishing(id),
        review: await service.review(id).state(),
        title,
        token: (forge) => this.around.accounts.confirmed(forge),
        ask: this.ask,
      },
      readSaid(argument),
    );
  }

  private async send(draft: boolean): Promise<string | undefined> {
    const sent = await this.editors.send(draft);
    if (sent === undefined) return undefined;
    const { record } = sent;
    const [open, copy] = ['Open Pull Request', 'Copy Link'];
    void vscode.window
      .showInformationMessage(
        noticeText(`${pullRequestWords(record)} in ${safeLine(record.repository, 200)}.`),
        open,
        copy,
      )
      .then(async (picked) => {
        if (picked === open) await openWeb(record.url);
        else if (picked === copy) await vscode.env.clipboard.writeText(record.url);
      });
    return record.url;
  }

  private async markReady({ publishing, record }: Known): Promise<string | undefined> {
    if (record.state !== 'draft') {
      void vscode.window.showInformationMessage(noticeText(`${pullRequestWords(record)}: it is no draft.`));
      return record.state;
    }
    const forge = await publishing.forgeOfPullRequest();
    const token = forge && (await this.around.accounts.ask(forge));
    if (token === undefined) return undefined;
    const now = await this.ask.progress('marking the pull request as ready', (_report, signal) =>
      publishing.markReady(token, signal),
    );
    void vscode.window.showInformationMessage(noticeText(`${pullRequestWords(now)}.`));
    return now.state;
  }

  private async task(argument: unknown, ask: string): Promise<TaskState | undefined> {
    const { tasks } = this.around;
    return await chooseTask(
      tasks,
      argument,
      ask,
      ({ spec }) => tasks.hasResult(spec.id) && spec.repository.path !== '',
    );
  }

  private async known(argument: unknown, ask: string): Promise<Known | undefined> {
    const { tasks } = this.around;
    const state = await chooseTask(tasks, argument, ask, ({ spec }) => tasks.hasResult(spec.id));
    if (state === undefined) return undefined;
    const service = await tasks.open();
    const record = (await service.review(state.spec.id).state()).pullRequest;
    if (record === undefined)
      throw new SallyportError('not_found', 'This task has no pull request.', 'Open one first.');
    return { publishing: await this.publishing(state.spec.id), record };
  }

  private async publishing(id: string): Promise<TaskPublishing> {
    return (await this.around.tasks.open()).publishing(id, forgeHosts);
  }
}

interface Known {
  publishing: TaskPublishing;
  record: PullRequestRecord;
}
