import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Browser } from 'playwright-core';
import type { Turn } from '../../src/gateway/scriptedModel.ts';
import { ModelServer } from '../support/modelServer.ts';
import { eventsOnDisk, removeFromEngine } from '../support/witness.ts';
import {
  CodeServer,
  type Household,
  launchBrowser,
  makeHousehold,
  tellFailure,
  until,
  Workbench,
} from '../support/workbench.ts';

const key = 'sk-ant-api03-a-key-of-these-tests-0123456789';
/** A first task may have to wait for its image; milliseconds. */
const longest = 8 * 60_000;

const bash = (command: string): Turn => ({
  tools: [{ name: 'Bash', input: { command, description: 'Fetch' } }],
});

describe('the walls in the workbench', function () {
  let browser: Browser;
  let household: Household;
  let model: ModelServer;
  let server: CodeServer | undefined;
  let workbench: Workbench | undefined;

  before(async () => {
    browser = await launchBrowser();
  });
  after(async () => {
    await browser.close();
  });
  afterEach(async function () {
    if (this.currentTest?.state === 'failed' && workbench !== undefined) {
      await tellFailure(this.currentTest, workbench);
      console.log(
        events()
          .slice(-20)
          .map((event) => JSON.stringify(event).slice(0, 300))
          .join('\n'),
      );
    }
    await workbench?.close();
    await server?.stop();
    model.stop();
    const left = eventsOnDisk(household.data);
    if (left !== undefined) await removeFromEngine(left.id);
    await household.remove();
    workbench = server = undefined;
  });

  function events(): Record<string, unknown>[] {
    return eventsOnDisk(household.data)?.events ?? [];
  }

  async function open(
    turns: readonly Turn[],
    gated: readonly number[],
    settings: Record<string, unknown>,
    prepare: () => Promise<void> = () => Promise.resolve(),
  ): Promise<Workbench> {
    model = await ModelServer.start(turns, gated);
    household = await makeHousehold({ 'sallyport.network.proxy': model.url, ...settings });
    await prepare();
    server = await CodeServer.start(household, {
      ANTHROPIC_API_KEY: key,
      ANTHROPIC_BASE_URL: model.url,
      NO_PROXY: model.host,
    });
    return (workbench = await Workbench.open(browser, server.url));
  }

  /** Starts a task, and says yes to the credential that was found. */
  async function startTask(vscode: Workbench): Promise<void> {
    await vscode.showTasks();
    await vscode.command('Sallyport: New Task');
    await vscode.type('New Task', 'Fetch what is needed.');
    await vscode.dialogButton('Use').first().waitFor({ timeout: 60_000 });
    await vscode.screenshot('40-credential');
    await vscode.page.keyboard.press('Enter');
    await vscode.webview().locator('sallyport-task').waitFor({ timeout: 60_000 });
  }

  it('asks about hosts that no rule names, lets them through, and shows every request', async () => {
    const turns = [
      bash('curl -sS http://one.example.com/data'),
      bash('curl -sS http://two.example.com/more'),
      { text: 'All is fetched.' },
    ];
    const vscode = await open(turns, [1], { 'sallyport.egress.holdSeconds': 300 });
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
    assert.deepEqual(model.reached, [], 'nothing left before the answer');
    await banner.getByText('Allow for This Task').click();
    await until('the first request', 60_000, () => model.reached.length === 1);
    await panel.getByRole('tab', { name: 'Network' }).click();
    const row = panel.locator('.request.allowed', { hasText: 'one.example.com' });
    await row.waitFor({ timeout: 30_000 });
    await row.click();
    const details = panel.locator('.request-details');
    await details.getByText('curl -sS http://one.example.com/data').waitFor();
    await vscode.screenshot('42-ledger');

    // With another editor in front the window asks.
    await vscode.page.keyboard.press('F1');
    await vscode.input.fill('>File: New Untitled Text File');
    await vscode.choice('File: New Untitled Text File').click();
    await vscode.tab('Untitled-1').waitFor();
    model.go(1);
    const toast = vscode.toast('two.example.com:80');
    await toast.waitFor({ timeout: 60_000 });
    await vscode.screenshot('43-toast');
    await toast.getByRole('button', { name: 'Always for This Workspace' }).click();
    await until('the end of the task', longest, () =>
      events().some(({ type }) => type === 'sandbox_removed'),
    );
    assert.deepEqual(model.reached, ['GET http://one.example.com/data', 'GET http://two.example.com/more']);
    const answers = events().filter(({ type }) => type === 'egress_allowed');
    assert.deepEqual(
      answers.map(({ rule, scope }) => [rule, scope]),
      [
        ['one.example.com', 'task'],
        ['two.example.com', 'workspace'],
      ],
    );
    assert.deepEqual([...model.keys], [key], 'the gateway brought the real key');
    assert.equal(JSON.stringify(events()).includes(key), false, 'and nobody else has it');

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
    const vscode = await open([dear, { text: 'Done with it.' }], [], { 'sallyport.budget.perTask': 0.5 });
    await startTask(vscode);
    const panel = vscode.webview();
    const banner = panel.locator('.banner', { hasText: 'The budget of this task is used up' });
    await banner.waitFor({ timeout: longest });
    await vscode.screenshot('46-paused');
    assert.equal(
      events().some(({ type }) => type === 'ended'),
      false,
      'nothing was ended',
    );
    await banner.getByText(/^Raise to/).click();
    await until('the end of the task', longest, () =>
      events().some(({ type }) => type === 'sandbox_removed'),
    );
    assert.equal(events().find(({ type }) => type === 'ended')?.['outcome'], 'succeeded');
    await panel
      .locator('.facts')
      .getByText(/\$1\.85 of \$2\.70/)
      .waitFor();
    await vscode.screenshot('47-after-pause');
  });

  it('asks about likely keys before anything leaves, and keeps the prompt', async () => {
    // A key of the form that is looked for, made here and good for nothing.
    const likely = ['AKIA', 'Q3EGRN7PXL5TWZ2K'].join('');
    const vscode = await open([], [], { 'sallyport.model.source': 'demonstration' }, () =>
      writeFile(join(household.repository, 'deploy.env'), `REGION=eu\nAWS_ACCESS_KEY_ID=${likely}\n`),
    );
    await vscode.showTasks();
    await vscode.command('Sallyport: New Task');
    await vscode.type('New Task', 'Fix the median.');
    await vscode.choice('With untracked files').click();
    await vscode.choice('deploy.env:2').waitFor({ timeout: 60_000 });
    await vscode.screenshot('48-likely-keys');
    const shown = await vscode.page.locator('.quick-input-widget').innerText();
    assert.equal(shown.includes(likely), false, 'the key itself is not shown');
    await vscode.choice('deploy.env:2').click();
    await vscode.tab('deploy.env').waitFor();
    await vscode.choice('Start Anyway').waitFor();
    await vscode.choice('Cancel').click();
    await vscode.toast('Its prompt is kept').waitFor();
    assert.deepEqual(events(), [], 'there is no task');
    await vscode.command('Sallyport: New Task');
    await vscode.page.locator('.quick-input-title', { hasText: 'New Task' }).waitFor();
    assert.equal(await vscode.input.inputValue(), 'Fix the median.');
    await vscode.screenshot('49-prompt-kept');
  });
});
