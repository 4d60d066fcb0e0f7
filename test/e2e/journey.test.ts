import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { appendFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type Logged, longest, Scene } from '../support/scene.ts';
import { fingerprint, tracesInEngine } from '../support/witness.ts';
import { kill, until, type Workbench } from '../support/workbench.ts';

const run = promisify(execFile);
const prompt = 'Fix the median for lists of even length and commit it.';

describe('a journey through the workbench', function () {
  const scene = Scene.ofSuite();

  beforeEach(() => scene.settle());

  async function startTask(vscode: Workbench): Promise<void> {
    await vscode.command('Sallyport: New Task');
    await vscode.type('New Task', prompt);
  }

  it('leads from a prompt to a branch, and changes nothing else', async () => {
    const vscode = await scene.open();
    const before = await fingerprint(scene.household.repository);
    await vscode.showTasks();
    await vscode.screenshot('01-welcome');

    await vscode.command('Sallyport: New Task');
    await vscode.page.locator('.quick-input-title', { hasText: 'New Task' }).waitFor();
    await vscode.input.fill(prompt);
    await vscode.screenshot('02-prompt');
    await vscode.page.keyboard.press('Enter');

    const panel = vscode.webview();
    await panel.locator('sallyport-task').waitFor({ timeout: 90_000 });
    await panel
      .getByText(/demonstration/i)
      .first()
      .waitFor({ timeout: 90_000 });
    await vscode.screenshot('03-panel');
    // The log is live: something of the sandbox is shown before the task is over.
    await panel.getByText('The sandbox has no way out but its gateway.').waitFor({ timeout: longest });
    assert.deepEqual(scene.of('ended'), [], 'the log was shown while the task ran');
    await panel.getByText('Bash').first().waitFor({ timeout: longest });
    await vscode.screenshot('04-live-log');

    await scene.comes('imported');
    await scene.comes('sandbox_removed');
    const events = scene.log();
    assert.equal(events.find(({ type }) => type === 'ended')?.['outcome'], 'succeeded');
    const subjects = events.flatMap((event) =>
      event.type === 'commit' ? [(event['commit'] as { subject: string }).subject] : [],
    );
    assert.ok(subjects.length > 0);
    // The log follows its end: what came before may be scrolled away.
    await panel.getByText(subjects.at(-1)!).first().waitFor();
    await vscode.screenshot('05-done');
    assert.deepEqual(
      await fingerprint(scene.household.repository),
      before,
      'nothing changed before the accept',
    );

    await vscode.command('Sallyport: Show Diff');
    await vscode.choice('median').click();
    const files = vscode.page.locator('.multiDiffEditor .file-path .title');
    await files.first().waitFor({ timeout: 90_000 });
    const shown = (await files.allInnerTexts()).join(' ');
    assert.match(shown, /stats\.js/);
    await vscode.page.locator('.multiDiffEditor .view-line').filter({ hasText: 'median' }).first().waitFor();
    await vscode.screenshot('06-diff');

    await vscode.command('Sallyport: Accept as Branch');
    await vscode.choice('median').click();
    await vscode.input.waitFor();
    await vscode.input.fill('agent/median');
    await vscode.screenshot('07-accept');
    await vscode.page.keyboard.press('Enter');
    await until('the branch', 90_000, async () =>
      (await fingerprint(scene.household.repository)).refs.some((ref) =>
        ref.startsWith('refs/heads/agent/median '),
      ),
    );
    await vscode.toast('agent/median').waitFor();
    await vscode.screenshot('08-accepted');

    const { stdout } = await run('git', ['log', '--format=%s', 'main..agent/median'], {
      cwd: scene.household.repository,
    });
    assert.deepEqual(stdout.trim().split('\n').toReversed(), subjects);
    const after = await fingerprint(scene.household.repository);
    assert.deepEqual({ ...after, refs: undefined }, { ...before, refs: undefined });
    assert.deepEqual(
      after.refs.filter((ref) => !before.refs.includes(ref)).map((ref) => ref.split(' ')[0]),
      ['refs/heads/agent/median'],
    );
    assert.deepEqual(
      before.refs.filter((ref) => !after.refs.includes(ref)),
      [],
    );
    assert.deepEqual(await tracesInEngine(scene.tasks()[0]!), [], 'no container, volume or network is left');
    // What the branch holds is what the test of the repository asked for.
    const work = join(scene.household.root, 'accepted');
    await run('git', ['clone', '--quiet', '--branch', 'agent/median', scene.household.repository, work]);
    await run('npm', ['test'], { cwd: work });
  });

  it('asks what a task starts from when there are uncommitted changes', async () => {
    await appendFile(join(scene.household.repository, 'README.md'), '\nAn edit.\n');
    await writeFile(join(scene.household.repository, 'notes.txt'), 'untracked\n');
    const vscode = await scene.open();
    const before = await fingerprint(scene.household.repository);
    await startTask(vscode);
    await vscode.page.locator('.quick-input-title', { hasText: 'start from' }).waitFor();
    await vscode.screenshot('10-snapshot');
    await vscode.choice('With my edits and untracked files').click();
    await scene.comes('sandbox_removed');
    const spec = scene.of('submitted')[0]?.['spec'] as {
      snapshot: { mode: string; commit: string; head: string };
    };
    assert.equal(spec.snapshot.mode, 'untracked');
    assert.notEqual(spec.snapshot.commit, spec.snapshot.head);
    assert.deepEqual(await fingerprint(scene.household.repository), before);
  });

  it('finds a running task again after the window was reloaded', async () => {
    const vscode = await scene.open();
    await startTask(vscode);
    await scene.comes('session');
    assert.deepEqual(scene.of('ended'), [], 'the task still ran');
    await vscode.reload();
    await scene.comes('sandbox_removed');
    assertComplete(scene.log());
    await openFromTree(vscode);
    await vscode.screenshot('20-after-reload');
    await seesWholeLog(vscode, scene.log());
  });

  it('loses nothing when the extension host is killed while a task runs', async () => {
    const vscode = await scene.open();
    await startTask(vscode);
    await scene.comes('session');
    const hosts = scene.server!.extensionHosts();
    assert.ok(hosts.length > 0);
    for (const pid of hosts) kill(pid);
    assert.deepEqual(scene.of('ended'), [], 'the task still ran');
    await scene.leave();
    const again = await scene.open();
    await again.showTasks();
    await scene.comes('sandbox_removed');
    assertComplete(scene.log());
    await openFromTree(again);
    await again.screenshot('21-after-kill');
    await seesWholeLog(again, scene.log());
    assert.deepEqual(await tracesInEngine(scene.tasks()[0]!), []);
  });

  it('says what to do when there is no credential', async () => {
    const vscode = await scene.open({});
    await startTask(vscode);
    const toast = vscode.toast('There is no credential for the model.');
    await toast.waitFor({ timeout: 90_000 });
    await vscode.screenshot('30-no-credential');
    await toast.getByRole('button', { name: 'Set API Key' }).waitFor();
    await toast.getByRole('button', { name: 'Use Demonstration Model' }).click();
    await vscode.toast('New tasks use the demonstration model').waitFor();
    assert.deepEqual(scene.tasks(), []);
  });
});

/** The log is numbered without a gap, the sandbox's own numbers too, and every commit of it is in the quarantine. */
function assertComplete(events: readonly Logged[]): void {
  assert.deepEqual(
    events.map(({ n }) => n),
    events.map((_, at) => at + 1),
  );
  const said = events.flatMap(({ s }) => (s === undefined ? [] : [s as number]));
  assert.deepEqual(
    said,
    [...new Set(said)].sort((a, b) => a - b),
    'each of the sandbox once, and in order',
  );
  assert.equal(said.at(-1), said.length, 'none of the sandbox is missing');
  const ended = events.filter(({ type }) => type === 'ended');
  assert.equal(ended.length, 1);
  assert.equal(ended[0]?.['outcome'], 'succeeded');
  const commits = events.flatMap((event) =>
    event.type === 'commit' ? [(event['commit'] as { sha: string }).sha] : [],
  );
  const imported = new Set(
    events.flatMap((event) => (event.type === 'imported' ? (event['tips'] as string[]) : [])),
  );
  assert.ok(commits.length > 0);
  for (const sha of commits) assert.ok(imported.has(sha), `${sha} is in the quarantine`);
}

async function openFromTree(vscode: Workbench): Promise<void> {
  const tree = await vscode.showTasks();
  await tree.getByRole('treeitem').filter({ hasText: 'Fix the median' }).first().click();
  await vscode.webview().locator('sallyport-task').waitFor();
}

/** The last words of the log are in the panel, which follows it, and the first ones further up. */
async function seesWholeLog(vscode: Workbench, events: readonly Logged[]): Promise<void> {
  const texts = events.flatMap((event) => (event.type === 'text' ? [event['text'] as string] : []));
  const lineOf = (text: string | undefined): string => text!.split('\n')[0]!.slice(0, 40);
  const panel = vscode.webview();
  await panel
    .getByText(lineOf(texts.at(-1)))
    .first()
    .waitFor();
  await panel
    .getByText(lineOf(texts.at(-1)))
    .first()
    .hover();
  await until('the first words', 90_000, async () => {
    await vscode.page.mouse.wheel(0, -100_000);
    return panel.getByText(lineOf(texts[0])).first().isVisible();
  });
}
