import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import type { Locator } from 'playwright-core';
import type { Turn } from '../../src/gateway/scriptedModel.ts';
import { bash, Scene } from '../support/scene.ts';
import { fingerprint } from '../support/witness.ts';
import { until, type Workbench } from '../support/workbench.ts';

/** Two hunks in one file, a text, a script that would run on the user's machine, and characters that cannot be seen. */
const work = [
  `sed -i '1s/.*/\\/** The mean of some numbers. *\\//' src/stats.js`,
  `sed -i 's/  return sorted\\[Math.*/  return (sorted[half - 1] + sorted[half]) \\/ 2;/' src/stats.js`,
  `sed -i '1s/.*/# Statistics/' README.md`,
  `sed -i 's/"node --test"/"node --test --test-reporter=dot"/' package.json`,
  `printf 'export const level = "user\\342\\200\\256 // admin";\\n' > src/level.js`,
  `git add -A && git commit -qm 'Fix the median'`,
].join(' && ');
const more = [
  `sed -i 's/  return (sorted.*/  const half = sorted.length \\/ 2;\\n  return mean([sorted[half - 1], sorted[half]]);/' src/stats.js`,
  `git commit -qam 'Name the half'`,
].join(' && ');

describe('a review in the workbench', function () {
  const scene = Scene.ofSuite();

  const onDisk = (path: string): Promise<string> => readFile(join(scene.household.repository, path), 'utf8');

  /** A window with a task whose first turn is over. */
  async function open(turns: readonly Turn[]): Promise<Workbench> {
    await scene.settleWithModel(turns, {
      'sallyport.task.conversation': true,
      'files.autoSave': 'off',
      'diffEditor.codeLens': true,
      'editor.unicodeHighlight.ambiguousCharacters': false,
      'editor.unicodeHighlight.invisibleCharacters': false,
    });
    const vscode = await scene.open();
    await scene.startTask(vscode, 'Fix the median.');
    await scene.turnsOver(1);
    return vscode;
  }

  async function review(vscode: Workbench): Promise<void> {
    await vscode.command('Sallyport: Review Changes');
    await vscode.choice('Fix the median').waitFor();
    await vscode.page.keyboard.press('Enter');
    await row(vscode, 'stats.js').waitFor({ timeout: 90_000 });
  }

  /** A line of the view Review. */
  function row(vscode: Workbench, label: string): Locator {
    return vscode.page.locator('.pane', { hasText: 'Review' }).getByRole('treeitem', { name: label }).first();
  }

  async function focusEditor(vscode: Workbench, text: string): Promise<void> {
    await vscode.page.locator('.editor.modified .view-line').filter({ hasText: text }).first().click();
  }

  it('leads from a commit over hunks, marks and remarks into the working tree, and back', async () => {
    const vscode = await open([bash(work), { text: 'The median is right.' }, bash(more), { text: 'Named.' }]);
    const { page } = vscode;
    const before = await fingerprint(scene.household.repository);
    await review(vscode);
    await vscode.screenshot('review-1-view');

    // VS Code's own arrow takes the first hunk back.
    await row(vscode, 'stats.js').click();
    await focusEditor(vscode, 'The mean of some numbers');
    await page.locator('.editor.modified .view-line').filter({ hasText: 'The mean of' }).first().hover();
    await vscode.screenshot('review-2-diff');
    await revert(vscode);
    await page.keyboard.press('Control+s');
    await until('the rejection', 10_000, () => scene.review().some((one) => one['verdict'] === 'rejected'));
    await vscode.screenshot('review-3-rejected');

    // A whole file by the keyboard.
    await row(vscode, 'README.md').click();
    await focusEditor(vscode, '# Statistics');
    await vscode.chord('Control+Shift+KeyY');
    await until('the file to be accepted', 10_000, () =>
      scene.review().some((one) => one['verdict'] === 'accepted'),
    );
    await vscode.screenshot('review-4-accepted-file');

    // A checkbox of the tree is a mark.
    await row(vscode, 'package.json').locator('.custom-view-tree-node-item-checkbox').click();
    await until('the mark', 10_000, () =>
      scene.review().some(({ type, on }) => type === 'reviewed' && on === true),
    );

    // A remark, and what the agent makes of it.
    await row(vscode, 'stats.js').click();
    await focusEditor(vscode, 'sorted[half - 1]');
    await vscode.command('Add Comment on Current Selection');
    await page.locator('.review-widget .monaco-editor').first().waitFor();
    await page.keyboard.type('half is not defined here.');
    await vscode.screenshot('review-5-remark');
    await page.locator('.review-widget').getByRole('button', { name: 'Keep as Draft' }).click();
    await until('the remark', 10_000, () => scene.review().some(({ type }) => type === 'remark'));
    await command(vscode, 'Sallyport: Send to Agent');
    await page.locator('.quick-input-title', { hasText: 'Send to Agent' }).waitFor();
    await vscode.screenshot('review-6-send');
    await page.keyboard.press('Enter');
    await scene.turnsOver(2);
    await until('the remark to be resolved', 90_000, () =>
      scene.review().some(({ type, by }) => type === 'remark_resolved' && by === 'turn'),
    );
    await vscode.screenshot('review-7-resolved');

    // What would run here is asked about by itself.
    await command(vscode, 'Sallyport: Accept…');
    await vscode.choice('Everything That Is Not Rejected').click();
    await acceptGateOpen(vscode);
    await vscode.screenshot('review-8-gate');
    await answerGate(vscode, 'package.json');
    await acceptGateOpen(vscode);
    await answerGate(vscode, 'level.js');
    await vscode.choice('Working Tree').waitFor();
    await vscode.screenshot('review-9-where');
    assert.deepEqual(
      await fingerprint(scene.household.repository),
      before,
      'nothing changed before the accept',
    );
    await vscode.choice('Working Tree').click();
    const done = vscode.toast('in your working tree');
    await done.waitFor({ timeout: 90_000 });
    await vscode.screenshot('review-10-accepted');
    const stats = await onDisk('src/stats.js');
    assert.match(stats, /^\/\*\* The arithmetic mean\. \*\/\n/, 'the rejected hunk stayed behind');
    assert.match(stats, /return mean\(\[sorted\[half - 1\], sorted\[half\]\]\);/);
    assert.match(await onDisk('README.md'), /^# Statistics\n/);
    assert.match(await onDisk('package.json'), /--test-reporter=dot/);

    // The side bar comes back by itself.
    await vscode.reload();
    await row(vscode, 'README.md').waitFor({ timeout: 90_000 });
    assert.match((await row(vscode, 'README.md').getAttribute('aria-label')) ?? '', /taken over/);
    assert.match((await row(vscode, 'package.json').getAttribute('aria-label')) ?? '', /, reviewed/);
    await vscode.screenshot('review-11-after-reload');

    await command(vscode, 'Sallyport: Undo Accept');
    await asBefore(before);
  });

  it('merges what both have changed in the merge editor, and writes nothing before', async () => {
    const vscode = await open([bash(work), { text: 'The median is right.' }]);
    const { page } = vscode;
    const mine = (await onDisk('README.md')).replace(/^# stats/, '# My statistics');
    await writeFile(join(scene.household.repository, 'README.md'), mine);
    const before = await fingerprint(scene.household.repository);
    await review(vscode);
    await row(vscode, 'README.md').click();
    await focusEditor(vscode, '# Statistics');
    await command(vscode, 'Sallyport: Accept File');
    await row(vscode, 'stats.js').click();
    await focusEditor(vscode, 'The mean of some numbers');
    await command(vscode, 'Sallyport: Accept File');
    await command(vscode, 'Sallyport: Accept…');
    await vscode.choice('Only What Is Accepted').click();
    await vscode.choice('Working Tree').click();
    await page.locator('.merge-editor').waitFor({ timeout: 90_000 });
    await vscode.screenshot('review-12-merge');
    assert.deepEqual(
      await fingerprint(scene.household.repository),
      before,
      'nothing is written before the merge',
    );
    await page.locator('.merge-editor a').filter({ hasText: 'Accept Yours' }).first().click();
    await vscode.screenshot('review-13-merged');
    await command(vscode, 'Sallyport: Complete Merge');
    await vscode.toast('Every file is merged').waitFor();
    assert.deepEqual(
      await fingerprint(scene.household.repository),
      before,
      'nothing is written before all is merged',
    );
    await command(vscode, 'Sallyport: Finish Accept');
    await vscode.toast('in your working tree').waitFor({ timeout: 90_000 });
    assert.equal(await onDisk('README.md'), mine);
    assert.match(await onDisk('src/stats.js'), /The mean of some numbers/);
    await command(vscode, 'Sallyport: Undo Accept');
    await asBefore(before);
  });

  /** Every byte and every name of the repository is what it was. */
  async function asBefore(before: object): Promise<void> {
    await until('the tree as before', 90_000, async () =>
      isDeepStrictEqual(await fingerprint(scene.household.repository), before),
    );
  }

  /** Runs a command by the whole beginning of its title: others have its words too. */
  async function command(vscode: Workbench, title: string): Promise<void> {
    await vscode.page.keyboard.press('F1');
    await vscode.input.waitFor();
    await vscode.input.fill(`>${title}`);
    await vscode.page.locator(`.quick-input-list .monaco-list-row[aria-label^="${title}"]`).first().click();
  }

  /** The arrow of the diff editor beside the hunk. */
  async function revert(vscode: Workbench): Promise<void> {
    const arrow = vscode.page.locator('.monaco-diff-editor .gutterItem .codicon-arrow-right').first();
    await arrow.waitFor();
    await arrow.click();
  }

  async function acceptGateOpen(vscode: Workbench): Promise<void> {
    await vscode.page.locator('.quick-input-title', { hasText: 'Look at These First' }).waitFor();
  }

  async function answerGate(vscode: Workbench, name: string): Promise<void> {
    await vscode.choice(name).click();
    await vscode.page.locator('.quick-input-title', { hasText: `${name}?` }).waitFor();
    await vscode.choice('Accept This File').click();
  }
});
