import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { ForgeFake } from '../support/forgeFake.ts';
import type { GitRepo } from '../support/gitRepo.ts';
import { GitServer } from '../support/gitServer.ts';
import { Scene } from '../support/scene.ts';
import { until } from '../support/workbench.ts';

const run = promisify(execFile);

describe('from a commit to a pull request in the workbench', function () {
  const scene = Scene.ofSuite();
  let git: GitServer;
  let forge: ForgeFake;
  let bare: GitRepo;

  beforeEach(async () => {
    git = await GitServer.open();
    scene.ending(() => git.close());
    forge = await ForgeFake.open();
    scene.ending(() => forge.close());
    forge.repositories.push({ name: 'octo/app' });
    bare = git.bare('octo/app');
    const { repository } = await scene.settle({
      'sallyport.forge.hosts': [{ host: git.host, kind: 'github', apiUrl: forge.apiUrl }],
    });
    const inRepository = { cwd: repository };
    await run('git', ['remote', 'add', 'origin', `${git.url('octo/app')}.git`], inRepository);
    await run('git', ['push', '-q', bare.path, 'HEAD:refs/heads/main'], inRepository);
  });

  it('pushes after a yes, asks for the account once, and sends the text that was edited', async () => {
    const vscode = await scene.open({
      SALLYPORT_DEMONSTRATION: '1',
      GH_TOKEN: undefined,
      GITHUB_TOKEN: undefined,
    });
    const tree = await vscode.showTasks();
    await vscode.command('Sallyport: New Task');
    await vscode.type('New Task', 'Fix the median for lists of even length and commit it.');
    await scene.comes('sandbox_removed');

    await vscode.command('Sallyport: Push and Create Pull Request');
    await vscode.choice('Fix the median').click();
    const branch = vscode.page.locator('.quick-input-title', { hasText: 'Push: which branch?' });
    await branch.waitFor({ timeout: 90_000 });
    const name = await vscode.input.inputValue();
    assert.match(name, /^claude\//);
    await vscode.page.keyboard.press('Enter');
    await vscode.dialogButton('Push').waitFor({ timeout: 90_000 });
    await vscode.screenshot('push-question');
    const question = await vscode.page.locator('.monaco-dialog-box').innerText();
    assert.match(question, /octo\/app\.git/);
    assert.match(question, /not looked at/);
    assert.equal(
      bare.git('for-each-ref', '--format=%(refname:short)'),
      'main',
      'nothing has left before the yes',
    );
    await vscode.dialogButton('Push').click();

    await vscode.choice('Enter a Token').waitFor({ timeout: 90_000 });
    await vscode.screenshot('push-account');
    assert.notEqual(bare.git('for-each-ref', '--format=%(objectname)', `refs/heads/${name}`), '');
    await vscode.choice('Enter a Token').click();
    const token = vscode.page.locator('.quick-input-widget:visible input[type="password"]');
    await token.fill(forge.token);
    await vscode.screenshot('push-token');
    await vscode.page.keyboard.press('Enter');

    const lens = vscode.page.locator('.codelens-decoration a', { hasText: 'Create Draft' });
    await lens.waitFor({ timeout: 90_000 });
    assert.equal(forge.pulls.length, 0);
    await vscode.page.keyboard.type('Median of even lists');
    await vscode.screenshot('pull-request-text');
    await lens.click();
    await until('the pull request', 90_000, () => forge.pulls.length > 0);
    const [pull] = forge.pulls;
    assert.deepEqual(
      { title: pull?.title, head: pull?.head, base: pull?.base, draft: pull?.draft },
      { title: 'Median of even lists', head: name, base: 'main', draft: true },
    );
    await vscode.toast('Pull request #1 is a draft').waitFor();
    await tree.getByText('#1 draft').first().waitFor();
    await vscode.screenshot('pull-request-in-tree');
  });
});
