import assert from 'node:assert/strict';
import * as vscode from 'vscode';
import type { TestSeam } from '../../src/vscode/extension.ts';
import type { Node } from '../../src/vscode/taskNodes.ts';
import { windowAsker } from '../../src/vscode/publishAsker.ts';
import { FakeTaskService } from '../support/fakeTaskService.ts';
import { PublishBench, ScriptedAsker } from '../support/publishBench.ts';
import { BenchService } from '../support/reviewService.ts';
import { until } from './until.ts';

const run = <T>(name: string, ...args: unknown[]): Thenable<T> =>
  vscode.commands.executeCommand<T>(`sallyport.${name}`, ...args);

describe('pushes from the editor', () => {
  let bench: PublishBench;
  let seam: TestSeam;
  let sha: string;

  before(async () => {
    const extension = vscode.extensions.getExtension<TestSeam>('sallyport.sallyport');
    assert.ok(extension);
    seam = await extension.activate();
    if (!seam.tasks.isWanted) seam.useService(() => Promise.resolve(new FakeTaskService()));
    bench = await PublishBench.open();
    sha = await bench.work.commit('Add a file\n\nIt was missing.', { 'lib/new.ts': 'export {};\n' });
    const service = new BenchService(bench.work);
    service.publisher = bench.publisher;
    await (await seam.tasks.open()).add({ id: 'publish', name: () => 'Publish', service });
  });

  after(async () => {
    seam.publish.commands.ask = windowAsker;
    await seam.publish.accounts.remove(bench.server.host);
    await vscode.commands.executeCommand('workbench.action.closeAllEditors');
    (await seam.tasks.open()).drop('publish');
    await bench.close();
  });

  const id = (): string => bench.work.id;
  const below = async (): Promise<Node[]> => await seam.tree.getChildren(seam.tree.taskNode(id()));

  it('push nothing when the user leaves', async () => {
    seam.publish.commands.ask = new ScriptedAsker('', false);
    assert.equal(await run('pushBranch', id()), undefined);
    assert.equal(bench.bare.git('for-each-ref', '--format=%(refname:short)'), 'main');
  });

  it('push the branch after a yes, and the tree says so', async () => {
    const asker = new ScriptedAsker('', true);
    seam.publish.commands.ask = asker;
    assert.deepEqual(await run('pushBranch', id()), { branch: 'claude/work', commit: sha });
    assert.equal(bench.bare.git('rev-parse', 'claude/work'), sha);
    assert.match(asker.asked.at(-1) ?? '', /^Push the agent's commit to claude\/work at origin/);
    const node = await until('the branch below the task', async () =>
      (await below()).find(({ kind }) => kind === 'branch'),
    );
    const item = seam.tree.getTreeItem(node);
    assert.equal(item.label, 'origin/claude/work');
    assert.equal(item.description, 'pushed');
  });

  it('write the pull request in an editor, and send it only by its button', async () => {
    await seam.publish.accounts.set(bench.server.host, bench.token.token);
    seam.publish.commands.ask = new ScriptedAsker('');
    assert.deepEqual(await run('pushAndPullRequest', id()), { branch: 'claude/work' });
    const editor = await until('the text', () =>
      vscode.window.activeTextEditor?.document.isUntitled === true
        ? vscode.window.activeTextEditor
        : undefined,
    );
    const { document } = editor;
    assert.equal(document.lineAt(0).text, 'Add a file');
    assert.match(document.getText(), /It was missing\./);
    assert.match(document.getText(), /claude\/work → main in octo\/app/);
    const lenses = await vscode.commands.executeCommand<vscode.CodeLens[]>(
      'vscode.executeCodeLensProvider',
      document.uri,
    );
    assert.deepEqual(
      lenses.map(({ command }) => command?.command).filter((name) => name?.includes('PullRequest')),
      ['sallyport.createPullRequest', 'sallyport.createDraftPullRequest'],
    );
    assert.equal(bench.forge.pulls.length, 0);
    await editor.edit((edit) => edit.replace(document.lineAt(0).range, 'Add the file that was missing'));
    await run('createDraftPullRequest');
    assert.deepEqual(
      bench.forge.pulls.map(({ title, draft, head, base }) => ({ title, draft, head, base })),
      [{ title: 'Add the file that was missing', draft: true, head: 'claude/work', base: 'main' }],
    );
    assert.equal(bench.forge.pulls[0]?.body.includes('Sallyport:'), false, 'the hint is not sent');
    await until('the document to be closed', () => document.isClosed || undefined);
  });

  it('show the pull request below the task, and mark it as ready', async () => {
    const node = await until('the pull request below the task', async () =>
      (await below()).find(({ kind }) => kind === 'pullRequest'),
    );
    assert.equal(seam.tree.getTreeItem(node).contextValue, 'pullRequest draft');
    assert.match(String(seam.tree.getTreeItem(seam.tree.taskNode(id())).description), /^#1 draft · /);
    assert.equal(await run('markPullRequestReady', node), 'open');
    assert.equal(bench.forge.pulls[0]?.draft, false);
    await until('the new state', () =>
      seam.tree.getTreeItem(node).contextValue === 'pullRequest open' ? true : undefined,
    );
    const link = await run<string>('copyPullRequestLink', node);
    assert.equal(await vscode.env.clipboard.readText(), link);
  });

  it('know the account of a host until it is forgotten, and show its token to no other host', async () => {
    const forge = { name: 'GitHub', kind: 'github', host: bench.server.host, repository: 'octo/app' };
    assert.deepEqual(await seam.publish.accounts.confirmed(forge), bench.token);
    assert.equal(await seam.publish.accounts.confirmed({ ...forge, host: 'evil.example.com' }), undefined);
    assert.equal(JSON.stringify(vscode.workspace.getConfiguration()).includes(bench.token.token), false);
    await seam.publish.accounts.remove(bench.server.host);
    assert.equal(await seam.publish.accounts.confirmed(forge), undefined);
    assert.deepEqual(seam.publish.accounts.hosts(), []);
  });
});
