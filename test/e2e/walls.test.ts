import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Turn } from '../../src/gateway/scriptedModel.ts';
import { bash, key, longest, Scene } from '../support/scene.ts';
import { until, type Workbench } from '../support/workbench.ts';

describe('the walls in the workbench', function () {
  const scene = Scene.ofSuite();

  async function startTask(vscode: Workbench): Promise<void> {
    await scene.startTask(vscode, 'Fetch what is needed.');
    await vscode.webview().locator('sallyport-task').waitFor({ timeout: 90_000 });
  }

  it('asks about hosts that no rule names, lets them through, and shows every request', async () => {
    const turns = [
      bash('curl -sS http://one.example.com/data'),
      bash('curl -sS http://two.example.com/more'),
      { text: 'All is fetched.' },
    ];
    await scene.settleWithModel(turns, { 'sallyport.egress.holdSeconds': 300 }, [1]);
    const vscode = await scene.open();
    await startTask(vscode);

    // The panel is in front, so it asks itself.
    const panel = vscode.webview();
    const banner = panel.locator('.banner', { hasText: 'one.example.com' });
    await banner.waitFor({ timeout: longest });
    assert.deepEqual(await vscode.toasts(), []);
    const task = vscode.page.getByRole('treeitem', { name: /Fetch what is needed/ });
    await until('the tree to say that it waits', 10_000, async () =>
      (await task.innerText()).includes('waits for you'),
    );
    await vscode.screenshot('41-banner');
    assert.deepEqual(scene.model.reached, [], 'nothing left before the answer');
    await banner.getByText('Allow for This Task').click();
    await until('the first request', 90_000, () => scene.model.reached.length === 1);
    await panel.getByRole('tab', { name: 'Network' }).click();
    const row = panel.locator('.request.allowed', { hasText: 'one.example.com' });
    await row.waitFor({ timeout: 90_000 });
    await row.click();
    const details = panel.locator('.request-details');
    await details.getByText('curl -sS http://one.example.com/data').waitFor();
    await vscode.screenshot('42-ledger');

    // With another editor in front the window asks.
    await vscode.page.keyboard.press('F1');
    await vscode.input.fill('>File: New Untitled Text File');
    await vscode.choice('File: New Untitled Text File').click();
    await vscode.tab('Untitled-1').waitFor();
    scene.model.go(1);
    const toast = vscode.toast('two.example.com:80');
    await toast.waitFor({ timeout: 90_000 });
    await vscode.screenshot('43-toast');
    await toast.getByRole('button', { name: 'Always for This Workspace' }).click();
    await scene.comes('sandbox_removed');
    assert.deepEqual(scene.model.reached, [
      'GET http://one.example.com/data',
      'GET http://two.example.com/more',
    ]);
    const answers = scene.of('egress_allowed');
    assert.deepEqual(
      answers.map(({ rule, scope }) => [rule, scope]),
      [
        ['one.example.com', 'task'],
        ['two.example.com', 'workspace'],
      ],
    );
    assert.deepEqual([...scene.model.keys], [key], 'the gateway brought the real key');
    assert.equal(JSON.stringify(scene.log()).includes(key), false, 'and nobody else has it');

    await vscode.command('Sallyport: Edit Network Rules of This Workspace');
    await vscode.choice('two.example.com').waitFor();
    assert.equal(await vscode.choice('one.example.com').count(), 0);
    await vscode.screenshot('44-rules');
    await vscode.page.keyboard.press('Escape');
    await vscode.command('Sallyport: Credentials');
    await vscode.choice('used for this workspace').waitFor();
    await vscode.screenshot('45-credentials');
    await vscode.page.keyboard.press('Escape');
  });

  it('pauses when the budget is used up, and goes on when it is raised', async () => {
    const dear: Turn = {
      ...bash('true'),
      usage: { inputTokens: 100_000, outputTokens: 100_000, cacheReadTokens: 0, cacheWriteTokens: 0 },
      model: 'claude-sonnet-4-5',
    };
    await scene.settleWithModel([dear, { text: 'Done with it.' }], { 'sallyport.budget.perTask': 0.5 });
    const vscode = await scene.open();
    await startTask(vscode);
    const panel = vscode.webview();
    const banner = panel.locator('.banner', { hasText: 'The budget of this task is used up' });
    await banner.waitFor({ timeout: longest });
    await vscode.screenshot('46-paused');
    assert.deepEqual(scene.of('ended'), [], 'nothing was ended');
    await banner.getByText(/^Raise to/).click();
    await scene.comes('sandbox_removed');
    assert.equal(scene.of('ended')[0]?.['outcome'], 'succeeded');
    await panel
      .locator('.facts')
      .getByText(/\$1\.85 of \$2\.70/)
      .waitFor();
    await vscode.screenshot('47-after-pause');
  });

  it('asks about likely keys before anything leaves, and keeps the prompt', async () => {
    // A key of the form that is looked for, made here and good for nothing.
    const likely = ['AKIA', 'Q3EGRN7PXL5TWZ2K'].join('');
    const { repository } = await scene.settle();
    await writeFile(join(repository, 'deploy.env'), `REGION=eu\nAWS_ACCESS_KEY_ID=${likely}\n`);
    const vscode = await scene.open();
    await vscode.showTasks();
    await vscode.command('Sallyport: New Task');
    await vscode.type('New Task', 'Fix the median.');
    await vscode.choice('With untracked files').click();
    await vscode.choice('deploy.env:2').waitFor({ timeout: 90_000 });
    await vscode.screenshot('48-likely-keys');
    const shown = await vscode.page.locator('.quick-input-widget').innerText();
    assert.equal(shown.includes(likely), false, 'the key itself is not shown');
    await vscode.choice('deploy.env:2').click();
    await vscode.tab('deploy.env').waitFor();
    await vscode.choice('Start Anyway').waitFor();
    await vscode.choice('Cancel').click();
    await vscode.toast('Its prompt is kept').waitFor();
    assert.deepEqual(scene.tasks(), [], 'there is no task');
    await vscode.command('Sallyport: New Task');
    await vscode.page.locator('.quick-input-title', { hasText: 'New Task' }).waitFor();
    assert.equal(await vscode.input.inputValue(), 'Fix the median.');
    await vscode.screenshot('49-prompt-kept');
  });
});
