import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { leaveFinishedTask } from '../support/finishedTask.ts';
import { png } from '../support/png.ts';
import { Scene } from '../support/scene.ts';
import { fingerprint } from '../support/witness.ts';
import { until, type Workbench } from '../support/workbench.ts';

const lines = Array.from({ length: 30 }, (_, at) => `export const line${at} = ${at};\n`);
const changed = lines.map((line, at) =>
  at === 4 || at === 20 ? line.replace('line', at === 4 ? 'first' : 'second') : line,
);

/** Runs in a page. */
const widths = 'Array.from(document.images, ({ naturalWidth }) => naturalWidth)';

/** Needs no engine: the task is over. */
describe('a review by the keyboard alone, in high contrast, for a screen reader', function () {
  const scene = Scene.ofSuite();
  let vscode: Workbench;
  const press = (...keys: string[]): Promise<void> =>
    keys.reduce((before, each) => before.then(() => vscode.page.keyboard.press(each)), Promise.resolve());

  beforeEach(async () => {
    const household = await scene.settle({
      'workbench.colorTheme': 'Default High Contrast',
      'window.autoDetectColorScheme': false,
      'window.autoDetectHighContrast': false,
      'editor.accessibilitySupport': 'on',
      'files.autoSave': 'off',
    });
    await leaveFinishedTask(household, {
      title: 'Draw it anew',
      before: { 'a.png': png([200, 0, 0]), 'code.ts': lines.join(''), 'gone.txt': 'gone\n' },
      after: { 'a.png': png([0, 200, 0]), 'code.ts': changed.join(''), 'gone.txt': null, 'new.txt': 'new\n' },
    });
    vscode = await scene.open();
    await vscode.showTasks();
  });

  async function choose(title: string, label: string): Promise<void> {
    await vscode.page.locator('.quick-input-title', { hasText: title }).waitFor();
    await vscode.page.keyboard.type(label);
    await vscode.page
      .locator('.quick-input-list .monaco-list-row.focused')
      .filter({ hasText: label })
      .waitFor();
    await press('Enter');
  }

  const decided = (verdict: string): number =>
    scene.review().filter((event) => event.type === 'decided' && event['verdict'] === verdict).length;
  const verdicts = (verdict: string, count: number): Promise<boolean> =>
    until(`${count} ${verdict}`, 10_000, () => decided(verdict) >= count);

  async function accept(where: string): Promise<void> {
    await vscode.chord('Control+Shift+Enter');
    await choose('Accept What?', 'Only What Is Accepted');
    await choose('Accept Where?', where);
  }

  /** Every byte and every name of the repository is what it was. */
  async function undo(before: object): Promise<void> {
    await vscode.command('Sallyport: Undo Accept');
    await until('the repository as before', 90_000, async () =>
      isDeepStrictEqual(await fingerprint(scene.household.repository), before),
    );
  }

  it('goes from the list over images and hunks to every destination and back', async () => {
    const { repository } = scene.household;
    const { page } = vscode;
    await vscode.command('Sallyport: Review Changes');
    await vscode.choice('Draw it anew').waitFor();
    await press('Enter');
    const tree = page.locator('.pane', { hasText: 'Review' });
    const row = (name: string) => tree.getByRole('treeitem', { name });
    // All that is said of a file is in its name, in words.
    await row('a.png, modified, binary, on the hand-off list, not reviewed').waitFor({ timeout: 90_000 });
    await row('code.ts, modified, +2 minus 2, not reviewed').waitFor();
    await row('gone.txt, deleted, +0 minus 1, not reviewed').waitFor();
    const before = await fingerprint(repository);

    // An image is shown on both sides, and decided about from where it is shown.
    await press('ArrowDown', 'ArrowDown', 'Enter');
    await until('both images', 90_000, async () => {
      const sizes: number[] = [];
      for (const frame of page.frames())
        sizes.push(...(await frame.evaluate<number[]>(widths).catch(() => [])));
      return sizes.filter((width) => width === 48).length === 2;
    });
    await vscode.screenshot('review-14-images');
    await vscode.chord('Control+Shift+KeyY');
    await choose('Accept a.png?', 'Accept This File');
    await verdicts('accepted', 1);

    // On to the text, whose hunks are gone through, and one is edited.
    await vscode.chord('Control+ArrowDown');
    await vscode.tab('code.ts').waitFor();
    await tree.locator('.monaco-list-row.selected', { hasText: 'code.ts' }).waitFor();
    await page.locator('.editor.modified .view-line').filter({ hasText: 'first4' }).first().waitFor();
    await vscode.chord('Control+KeyY');
    await verdicts('accepted', 2);
    await press('Alt+F5');
    await until('the cursor at the second hunk', 10_000, async () =>
      (await page.locator('.statusbar').innerText()).includes('Ln 21'),
    );
    await press('End');
    await page.keyboard.type(' // mine');
    await press('Control+s');
    await until('the edit', 10_000, () => scene.review().some(({ type }) => type === 'edited'));
    await row('code.ts, modified, +2 minus 2, partly decided, edited by you').waitFor();
    await vscode.chord('Control+KeyY');
    await verdicts('accepted', 3);
    await vscode.screenshot('review-15-high-contrast');

    await vscode.chord('Control+ArrowDown');
    await vscode.tab('gone.txt').waitFor();
    await vscode.chord('Control+Shift+KeyR');
    await verdicts('rejected', 1);

    // To each destination, and back.
    await accept('Working Tree, Staged');
    await vscode.toast('and staged').waitFor({ timeout: 90_000 });
    const code = await readFile(join(repository, 'code.ts'), 'utf8');
    assert.match(code, /first4 = 4;[\s\S]*second20 = 20; \/\/ mine\n/);
    await undo(before);
    await accept('New Branch');
    await vscode.type('Accept on a New Branch', 'mine/anew');
    await vscode.type('Message of the Commit', 'Draw it');
    await vscode.toast('mine/anew').waitFor({ timeout: 90_000 });
    await undo(before);
  });
});
