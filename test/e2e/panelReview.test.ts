import assert from 'node:assert/strict';
import type { FrameLocator } from 'playwright-core';
import { initialState, type TaskState } from '../../src/protocol/taskState.ts';
import { fixtureFile, fixtureOf, wholePart } from '../support/reviewFixture.ts';
import { ReviewPage } from '../support/reviewPage.ts';
import { bash, longest, Scene } from '../support/scene.ts';
import { aSpec } from '../support/specs.ts';
import { until } from '../support/workbench.ts';

const lines = (word: string, count: number): string[] =>
  Array.from({ length: count }, (_, n) => `${word} ${n}`);

describe('the review in the panel', function () {
  const scene = Scene.ofSuite();

  describe('of a page with its host', () => {
    let shown: ReviewPage;
    const stats = fixtureFile('src/stats.ts', [
      lines('same', 20),
      { old: ['old one'], new: ['new one', 'and \u202emore'] },
      lines('between', 20),
      { old: ['gone'], new: [] },
    ]);
    const scripts = fixtureFile('package.json', [['{'], { old: ['  "a": 1'], new: ['  "a": 2'] }, ['}']], {
      gate: [{ kind: 'scripts', why: 'Its scripts are run.' }],
    });
    const moved = fixtureOf('b.sh', 'x\n', 'x\n', [wholePart('b.sh', 'rename'), wholePart('b.sh', 'mode')], {
      from: 'a.sh',
      status: 'renamed',
      newMode: '100755',
    });
    const state: TaskState = { ...initialState(aSpec(), 1), phase: 'waiting' };
    const focused = (): Promise<string> =>
      shown.page.evaluate<string>(
        `document.activeElement.getAttribute('aria-label') ?? document.activeElement.className`,
      );

    beforeEach(async () => {
      shown = await ReviewPage.open({ browser: scene.browser, files: [stats, scripts, moved], state });
      await shown.page.locator('#review-tab').click();
      await shown.page.locator('.rv-line ins').first().waitFor();
    });
    afterEach(async () => {
      await shown.close();
    });

    it('goes over hunks, decides, marks and comments by the keyboard alone', async () => {
      const { page, review } = shown;
      const press = async (...keys: string[]): Promise<void> => {
        for (const each of keys) {
          await page.keyboard.press(each);
          await page.waitForTimeout(80);
        }
      };
      await press('j');
      assert.match(await focused(), /^Hunk 1 of 1 · line 2, 1 line added, 1 removed, not decided$/);
      await press('a');
      await page.locator('.rv-bar.accepted').waitFor();
      await press('j');
      assert.match(await focused(), /^Hunk 1 of 2 · lines 21–22/);
      await press('r', 'v');
      await page.locator('.rv-bar.rejected').waitFor();
      await page.getByText('1 of 3 files reviewed · 1 accepted · 1 rejected').waitFor();
      assert.ok((await page.locator('.rv-line.rejected').count()) >= 2, 'what is rejected stays to be seen');
      await press('u');
      await page.locator('.rv-bar.rejected').waitFor({ state: 'detached' });
      await press('c');
      await page.locator('.rv-writing textarea').waitFor();
      await page.keyboard.type('jar: why more?');
      await press('Control+Enter');
      await page.locator('.rv-remark', { hasText: 'jar: why more?' }).waitFor();
      const [remark] = (await review.state()).remarks;
      assert.deepEqual(
        [remark?.path, remark?.side, remark?.line, remark?.endLine, remark?.quote],
        ['src/stats.ts', 'new', 21, 22, 'new one\nand \u202emore'],
      );
      await press('J');
      assert.match(await focused(), /^b\.sh, renamed from a\.sh/);
      await press('o', 'K');
      assert.deepEqual(shown.opened, ['b.sh']);
      assert.match(await focused(), /^src\/stats\.ts/);
      await press('s');
      await page.locator('.rv-pair').first().waitFor();
      await press('?');
      await page.getByRole('dialog', { name: 'Keys of the review' }).waitFor();
      await press('Escape');
      const { verdicts, reviewed } = await review.state();
      assert.deepEqual(verdicts, { [scripts.file.parts[0]?.id ?? '']: 'accepted' });
      assert.deepEqual(Object.keys(reviewed), [stats.file.fingerprint]);
      assert.deepEqual([shown.errors, shown.problems, shown.asked], [[], [], []]);
    });

    it('shows what cannot be seen, and says in words what has no lines', async () => {
      const { page } = shown;
      assert.equal(await page.locator('.rv-hidden').innerText(), '‹U+202E›');
      await page.getByText('Its scripts are run.').waitFor();
      await page.getByText('Renamed from a.sh').waitFor();
      await page.getByText('Mode 100644 (plain file) → 100755 (executable file)').waitFor();
    });

    it('keeps its place, its filter and a remark that is being written when another turn comes', async () => {
      const { page } = shown;
      await page.keyboard.press('j');
      await page.keyboard.press('j');
      await page.keyboard.press('c');
      await page.locator('.rv-writing textarea').fill('half a thought');
      const later = fixtureFile('zz.txt', [{ old: [], new: ['late'] }]);
      shown.show([stats, scripts, moved, later]);
      shown.contentChanged();
      await page.getByText('4 files', { exact: true }).waitFor();
      assert.equal(await page.locator('.rv-writing textarea').inputValue(), 'half a thought');
      await page.locator('.rv-filter input').fill('zz');
      await page.locator('.rv-file').getByText('late').waitFor();
      assert.equal(await page.locator('.rv-item').count(), 1);
    });

    it('decides nothing else while the hunk that the keyboard is at has not come', async () => {
      const { page, review } = shown;
      const files = [0, 1, 2, 3].map((number) =>
        fixtureFile(
          `large${number}.txt`,
          Array.from({ length: 80 }, (_, n) => [
            lines(`same ${n}`, 8),
            { old: [`old ${n}`], new: [`new ${n}`] },
          ]).flat(),
        ),
      );
      shown.holdParts();
      shown.show(files);
      shown.contentChanged();
      await page.getByText('4 files', { exact: true }).waitFor();
      // From the second of the files, whose hunks are there, to the second hunk of the third.
      await page.locator('.rv-item-name', { hasText: 'large1.txt' }).click();
      for (const key of ['J', 'j', 'j', 'a', 'r', 'v', 'c']) await page.keyboard.press(key);
      await until('its hunks are asked for', 20_000, () =>
        shown.said.some(({ type }) => type === 'reviewParts'),
      );
      shown.releaseParts();
      await until('the hunk has the focus', 20_000, async () =>
        /^Hunk 2 of 80 · line 18,/.test(await focused()),
      );
      assert.deepEqual(
        shown.said.filter(({ type }) => ['decide', 'reviewed', 'remark'].includes(type)),
        [],
      );
      await page.keyboard.press('a');
      await page.locator('.rv-bar.accepted').waitFor();
      await page.getByText('0 of 4 files reviewed · 1 accepted').waitFor();
      assert.deepEqual((await review.state()).verdicts, { [files[2]?.file.parts[1]?.id ?? '']: 'accepted' });
      await page.locator('.rv-item', { hasText: 'large2.txt' }).locator('.rv-verdict.mixed').waitFor();
      assert.deepEqual([shown.errors, shown.problems], [[], []]);
    });

    it('asks the editor for what concerns the whole review', async () => {
      const { page } = shown;
      await page.getByText('Accept…').click();
      await until('the command', 5000, () => shown.done.includes('accept'));
      assert.equal(await page.getByText('Undo', { exact: true }).count(), 0, 'there is nothing to undo');

      const { file } = stats;
      const conflict = { kind: 'conflict', by: file.id, why: 'lines' } as const;
      shown.show([{ ...stats, file: { ...file, edit: conflict } }, scripts, moved]);
      shown.contentChanged();
      await page.getByRole('button', { name: 'Merge Your Edit' }).click();
      await until('the merge', 5000, () => shown.done.includes(`merge ${file.path}`));
    });
  });

  describe('of a task in a workbench', () => {
    const first = `sed -i '1s/.*/# Statistics/' README.md && sed -i '1s/.*/\\/** The mean. *\\//' src/stats.js && git commit -qam 'Say what it is'`;
    const second = `printf 'second turn\\n' > SECOND.md && git add -A && git commit -qm 'A second turn'`;
    const verdicts = (): string[] =>
      scene.review().flatMap(({ type, verdict }) => (type === 'decided' ? [String(verdict)] : []));
    const tab = (panel: FrameLocator, name: string) => panel.getByRole('tab', { name });

    it('is done by keyboard, goes on with a message from the box, and shows the second turn', async () => {
      await scene.settleWithModel([bash(first), { text: 'Done.' }, bash(second), { text: 'More.' }], {
        'sallyport.task.conversation': true,
      });
      const vscode = await scene.open();
      await scene.startTask(vscode, 'Say what it is.');
      await scene.turnsOver(1);

      const panel = vscode.webview();
      await tab(panel, 'Log').focus();
      for (const _ of ['Raw', 'Network', 'Commits', 'Review']) await vscode.page.keyboard.press('ArrowRight');
      await panel.locator('.rv-bar').first().waitFor({ timeout: 90_000 });
      await panel.locator('.rv-line ins').first().waitFor();
      await vscode.page.keyboard.press('j');
      await panel.locator('.rv-bar:focus').waitFor();
      await vscode.page.keyboard.press('a');
      await panel.locator('.rv-bar.accepted').waitFor();
      await vscode.page.keyboard.press('j');
      await vscode.page.keyboard.press('r');
      await panel.locator('.rv-bar.rejected').waitFor();
      await until('both verdicts', 10_000, () => verdicts().join() === 'accepted,rejected');
      await vscode.screenshot('panel-review-1');

      await tab(panel, 'Log').click();
      const box = panel.getByRole('textbox', { name: 'Message to the agent' });
      await box.fill('Once more.');
      await box.press('Control+Enter');
      await scene.turnsOver(2);
      await until('an empty box', 10_000, async () => (await box.inputValue()) === '');
      await panel.getByText('Turn 2 ended here.').waitFor();
      await vscode.screenshot('panel-review-2-turns');
      await panel.getByRole('button', { name: 'Review This Turn' }).last().click();
      await panel.locator('.rv-file').getByText('second turn').waitFor({ timeout: 90_000 });
      assert.equal(await panel.locator('.rv-item').count(), 1, 'the turn alone is shown');
      await vscode.screenshot('panel-review-3-turn');
    }).timeout(longest + 120_000);
  });
});
