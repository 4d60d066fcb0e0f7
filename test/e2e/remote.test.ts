import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { administrator, RunnerProcess } from '../support/runnerProcess.ts';
import { longest, Scene } from '../support/scene.ts';
import { eventsOnDisk, fingerprint, removeFromEngine, tracesInEngine } from '../support/witness.ts';
import { type Household, until } from '../support/workbench.ts';

const run = promisify(execFile);
const prompt = 'Fix the median for lists of even length and commit it.';

describe('a journey to a remote runner', function () {
  const scene = Scene.ofSuite();
  let household: Household;
  let runner: RunnerProcess;

  beforeEach(async () => {
    household = await scene.settle();
    runner = await RunnerProcess.start(join(household.root, 'runner'));
    scene.ending(async () => {
      await runner.stop();
      const left = eventsOnDisk(join(household.root, 'runner'));
      if (left !== undefined) await removeFromEngine(left.id);
    });
  });

  it('leads from a token to a branch, with no forge and no credential here, also when the server is killed', async () => {
    const token = await runner.token();
    const host = new URL(runner.url).host;
    // No demonstration and no credential on this side: the runner has its own.
    const vscode = await scene.open({});
    const before = await fingerprint(household.repository);

    await vscode.command('Sallyport: Connect to Runner');
    await vscode.type('Connect to Runner: Address', runner.url);
    await vscode.choice('Sign In Through the Browser').waitFor();
    await vscode.screenshot('60-sign-in');
    await vscode.choice('Paste a Token').click();
    await vscode.page.locator('.quick-input-title', { hasText: 'Connect to Runner: Token' }).waitFor();
    await vscode.page.locator('.quick-input-widget:visible input[type="password"]').fill(token);
    await vscode.page.keyboard.press('Enter');
    await vscode.toast(`Connected to ${host} as ${administrator.name} (admin)`).waitFor();
    const tree = await vscode.showTasks();
    const group = tree.getByRole('treeitem').filter({ hasText: host }).first();
    await group.waitFor();
    await vscode.screenshot('61-connected');

    await vscode.command('Sallyport: New Task');
    await vscode.page.locator('.quick-input-title', { hasText: 'New Task on This Machine' }).waitFor();
    await vscode.input.fill(prompt);
    await vscode.page.locator('.quick-input-widget [aria-label="Runner of This Task…"]').click();
    await vscode.choice(host).waitFor();
    await vscode.screenshot('62-choose-runner');
    await vscode.choice(host).click();
    await vscode.page.locator('.quick-input-title', { hasText: `New Task on ${host}` }).waitFor();
    assert.equal(await vscode.input.inputValue(), prompt, 'what was written is kept');
    await vscode.screenshot('63-prompt');
    await vscode.input.press('Enter');

    const panel = vscode.webview();
    await panel.locator('sallyport-task').waitFor({ timeout: 90_000 });
    await panel.getByText('The sandbox has no way out but its gateway.').waitFor({ timeout: longest });
    await panel.getByText('Bash').first().waitFor({ timeout: longest });
    assert.equal(typesHere(household).includes('ended'), false, 'the log was shown while the task ran');
    await group.waitFor();
    await tree.getByRole('treeitem').filter({ hasText: 'Fix the median' }).first().waitFor();
    await vscode.screenshot('64-live-log');

    await runner.kill();
    await group.filter({ hasText: 'offline since' }).waitFor({ timeout: 90_000 });
    await panel.getByText('has not been reached since').waitFor();
    await vscode.screenshot('65-offline');
    await runner.start();
    // It may come back by itself before the button is pressed.
    const reconnect = panel.getByRole('button', { name: 'Reconnect' });
    await reconnect.click({ timeout: 10_000 }).catch(() => undefined);
    await panel.getByText('has not been reached since').waitFor({ state: 'detached', timeout: 90_000 });
    await until('the end of the task', longest, () => typesHere(household).includes('sandbox_removed'));
    const { id, events } = taskHere(household);
    assert.deepEqual(
      events.map(({ n }) => n),
      events.map((_, at) => at + 1),
    );
    assert.deepEqual(
      events.map(({ n, type }) => [n, type]),
      eventsOnDisk(join(household.root, 'runner'))?.events.map(({ n, type }) => [n, type]),
      'what is here is what the runner has',
    );
    assert.equal(events.find(({ type }) => type === 'ended')?.['outcome'], 'succeeded');
    const subjects = events.flatMap((event) =>
      event.type === 'commit' ? [(event['commit'] as { subject: string }).subject] : [],
    );
    assert.ok(subjects.length > 0);
    // The log follows its end: what came before may be scrolled away.
    await panel.getByText(subjects.at(-1)!).first().waitFor();
    assert.deepEqual(await fingerprint(household.repository), before, 'nothing changed before the accept');
    await vscode.screenshot('66-done');

    await vscode.command('Sallyport: Show Diff');
    await vscode.choice('median').click();
    const files = vscode.page.locator('.multiDiffEditor .file-path .title');
    await files.first().waitFor({ timeout: 90_000 });
    assert.match((await files.allInnerTexts()).join(' '), /stats\.js/);
    await vscode.page.locator('.multiDiffEditor .view-line').filter({ hasText: 'median' }).first().waitFor();

    await vscode.command('Sallyport: Accept as Branch');
    await vscode.choice('median').click();
    await vscode.type('Accept as Branch', 'agent/median');
    await until('the branch', 90_000, async () =>
      (await fingerprint(household.repository)).refs.some((ref) =>
        ref.startsWith('refs/heads/agent/median '),
      ),
    );
    const { stdout } = await run('git', ['log', '--format=%s', 'main..agent/median'], {
      cwd: household.repository,
    });
    assert.deepEqual(stdout.trim().split('\n').toReversed(), subjects);
    const after = await fingerprint(household.repository);
    assert.deepEqual({ ...after, refs: undefined }, { ...before, refs: undefined });
    assert.deepEqual(await tracesInEngine(id), [], 'no container, volume or network is left');
  });

  it('lets the editor in through the browser, and asks its user on the page of the runner', async () => {
    await runner.stop();
    runner = await RunnerProcess.start(join(household.root, 'runner'), '127.0.0.2');
    await runner.token();
    const host = new URL(runner.url).host;
    const vscode = await scene.open({});
    await vscode.command('Sallyport: Connect to Runner');
    await vscode.type('Connect to Runner: Address', runner.url);
    const opening = vscode.page.context().waitForEvent('page');
    await vscode.choice('Sign In Through the Browser').click();
    await vscode.dialogButton('Open').click();
    const page = await opening;
    await page.getByLabel('Login').fill(administrator.login);
    await page.getByLabel('Password').fill(administrator.password);
    await page.getByRole('button', { name: 'Sign in', exact: true }).click();
    await page.getByText('Connect an editor?').waitFor();
    await vscode.screenshot('67-waits-for-browser');
    await page.screenshot({ path: 'out/screenshots/68-consent.png' });
    await page.getByRole('button', { name: 'Connect', exact: true }).click();
    await vscode.toast(`Connected to ${host} as ${administrator.name} (admin)`).waitFor();
    const tree = await vscode.showTasks();
    await tree.getByRole('treeitem').filter({ hasText: host }).first().waitFor();
    await vscode.command('Sallyport: Runners');
    await vscode.choice(host).waitFor();
    await vscode.screenshot('69-runners');
    await vscode.choice(host).click();
    await vscode.choice('Disconnect').waitFor();
    await vscode.screenshot('70-actions');
    await vscode.choice('Disconnect').click();
    await vscode.dialogButton('Disconnect').first().waitFor();
    await vscode.screenshot('71-disconnect');
    await vscode.dialogButton('Disconnect').first().click();
    await tree.getByText(host).waitFor({ state: 'detached' });
  });
});

type Events = NonNullable<ReturnType<typeof eventsOnDisk>>;

/** What this machine has of the runner's task. */
function mirrorOf({ data }: Household): Events | undefined {
  try {
    const [folder] = readdirSync(join(data, 'remote'));
    return folder === undefined ? undefined : eventsOnDisk(join(data, 'remote', folder));
  } catch {
    return undefined;
  }
}

function taskHere(household: Household): Events {
  const found = mirrorOf(household);
  assert.ok(found, 'there is a task');
  return found;
}

function typesHere(household: Household): unknown[] {
  return mirrorOf(household)?.events.map(({ type }) => type) ?? [];
}
