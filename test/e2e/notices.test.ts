import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Locator } from 'playwright-core';
import { longest, Scene } from '../support/scene.ts';
import { until, type Workbench } from '../support/workbench.ts';

describe('notices in two windows', function () {
  const scene = Scene.ofSuite();
  const { windows } = scene;

  /** A window in which a task runs, and whose panel is closed. */
  async function openWithTask(look: (window: Workbench) => void = () => undefined): Promise<Workbench> {
    const window = await scene.open();
    look(window);
    await window.showTasks();
    await window.command('Sallyport: New Task');
    await window.type('New Task', 'Fix the median and commit it.');
    await window.webview().locator('sallyport-task').waitFor({ timeout: 90_000 });
    await window.command('View: Close All Editors');
    return window;
  }

  /** Everything that a window was told and that was not closed. */
  async function told(window: Workbench): Promise<Locator> {
    const center = window.page.locator('.notifications-center');
    if (!(await center.isVisible())) await window.command('Notifications: Show Notifications');
    await center.waitFor();
    return center.locator('.notification-list-item-message').filter({ hasText: 'median' });
  }

  it('are told once, with a sound, and not again after a reload', async () => {
    await scene.settle({
      'sallyport.notificationSound': true,
      'accessibility.signals.terminalBell': { sound: 'on' },
    });
    let sounds = 0;
    const listen = ({ page }: Workbench): unknown =>
      page.on('request', (request) => (sounds += request.url().endsWith('/terminalBell.mp3') ? 1 : 0));
    const first = await openWithTask(listen);
    const second = await scene.open();
    listen(second);
    await second.showTasks();
    await second.page.getByRole('treeitem', { name: /Fix the median/ }).waitFor({ timeout: 90_000 });

    await scene.comes('ended');
    const done = async (): Promise<number> => {
      let count = 0;
      for (const window of windows) count += await window.toast('is done').count();
      return count;
    };
    await until('a notice', 90_000, async () => (await done()) > 0);
    await until('its sound', 90_000, () => sounds > 0);
    await first.screenshot('60-notice');
    const texts: string[] = [];
    for (const window of windows) texts.push(...(await (await told(window)).allInnerTexts()));
    assert.equal(texts.filter((text) => text.includes('is done')).length, 1, texts.join('\n'));
    assert.ok(texts.filter((text) => text.includes('commit,')).length <= 1, texts.join('\n'));
    for (const [index, window] of windows.entries()) await window.screenshot(`61-notices-${index + 1}`);

    for (const window of windows) {
      await window.reload();
      // The side bar comes back by itself.
      await window.page.getByRole('treeitem', { name: /Fix the median/ }).waitFor({ timeout: 90_000 });
    }
    await new Promise((resolve) => setTimeout(resolve, 3000));
    for (const window of windows) assert.deepEqual(await (await told(window)).allInnerTexts(), []);
  });

  it('are switched off by kind, where the user says so', async () => {
    await scene.settle();
    const window = await openWithTask();
    const toast = window.toast('is done');
    await toast.waitFor({ timeout: longest });
    await toast.hover();
    await window.screenshot('62-switch');
    await toast.getByRole('button', { name: "Don't Show Again" }).click();
    const settings = join(scene.household.root, 'user-data', 'User', 'settings.json');
    await until('the setting', 20_000, async () =>
      /"finished": false/.test(await readFile(settings, 'utf8')),
    );
    // The others go on.
    assert.ok(!/"failed": false/.test(await readFile(settings, 'utf8')));
  });
});
