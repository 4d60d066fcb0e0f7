import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Browser, Locator } from 'playwright-core';
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

/** A first task may have to wait for its image; milliseconds. */
const longest = 8 * 60_000;

describe('notices in two windows', function () {
  let browser: Browser;
  let household: Household;
  let server: CodeServer | undefined;
  const windows: Workbench[] = [];

  before(async () => {
    browser = await launchBrowser();
  });
  after(async () => {
    await browser.close();
  });
  afterEach(async function () {
    const { currentTest } = this;
    if (currentTest?.state === 'failed')
      for (const window of windows)
        await tellFailure({ title: `${currentTest.title} ${windows.indexOf(window)}` }, window);
    for (const window of windows.splice(0)) await window.close();
    await server?.stop();
    const left = eventsOnDisk(household.data);
    if (left !== undefined) await removeFromEngine(left.id);
    await household.remove();
    server = undefined;
  });

  const types = (): unknown[] => (eventsOnDisk(household.data)?.events ?? []).map(({ type }) => type);

  /** Everything that a window was told and that was not closed. */
  async function told(window: Workbench): Promise<Locator> {
    const center = window.page.locator('.notifications-center');
    if (!(await center.isVisible())) await window.command('Notifications: Show Notifications');
    await center.waitFor();
    return center.locator('.notification-list-item-message').filter({ hasText: 'median' });
  }

  it('are told once, with a sound, and not again after a reload', async () => {
    household = await makeHousehold({
      'sallyport.notificationSound': true,
      'accessibility.signals.terminalBell': { sound: 'on' },
    });
    server = await CodeServer.start(household, { SALLYPORT_DEMONSTRATION: '1' });
    const first = await Workbench.open(browser, server.url);
    windows.push(first);
    let sounds = 0;
    const listen = ({ page }: Workbench): unknown =>
      page.on('request', (request) => (sounds += request.url().endsWith('/terminalBell.mp3') ? 1 : 0));
    listen(first);
    await first.showTasks();
    await first.command('Sallyport: New Task');
    await first.type('New Task', 'Fix the median and commit it.');
    await first.webview().locator('sallyport-task').waitFor({ timeout: 60_000 });
    await first.command('View: Close All Editors');
    const second = await Workbench.open(browser, server.url);
    windows.push(second);
    listen(second);
    await second.showTasks();
    await second.page.getByRole('treeitem', { name: /Fix the median/ }).waitFor({ timeout: 60_000 });

    await until('the end of the task', longest, () => types().includes('ended'));
    const done = async (): Promise<number> => {
      let count = 0;
      for (const window of windows) count += await window.toast('is done').count();
      return count;
    };
    await until('a notice', 30_000, async () => (await done()) > 0);
    await until('its sound', 30_000, () => sounds > 0);
    await first.screenshot('60-notice');
    const texts: string[] = [];
    for (const window of windows) texts.push(...(await (await told(window)).allInnerTexts()));
    assert.equal(texts.filter((text) => text.includes('is done')).length, 1, texts.join('\n'));
    assert.ok(texts.filter((text) => text.includes('commit,')).length <= 1, texts.join('\n'));
    for (const [index, window] of windows.entries()) await window.screenshot(`61-notices-${index + 1}`);

    for (const window of windows) {
      await window.reload();
      // The side bar comes back by itself.
      await window.page.getByRole('treeitem', { name: /Fix the median/ }).waitFor({ timeout: 60_000 });
    }
    await new Promise((resolve) => setTimeout(resolve, 3000));
    for (const window of windows) assert.deepEqual(await (await told(window)).allInnerTexts(), []);
  });

  it('are switched off by kind, where the user says so', async () => {
    household = await makeHousehold();
    server = await CodeServer.start(household, { SALLYPORT_DEMONSTRATION: '1' });
    const window = await Workbench.open(browser, server.url);
    windows.push(window);
    await window.showTasks();
    await window.command('Sallyport: New Task');
    await window.type('New Task', 'Fix the median and commit it.');
    await window.webview().locator('sallyport-task').waitFor({ timeout: 60_000 });
    await window.command('View: Close All Editors');
    const toast = window.toast('is done');
    await toast.waitFor({ timeout: longest });
    await toast.hover();
    await window.screenshot('62-switch');
    await toast.getByRole('button', { name: "Don't Show Again" }).click();
    const settings = join(household.root, 'user-data', 'User', 'settings.json');
    await until('the setting', 20_000, async () =>
      /"finished": false/.test(await readFile(settings, 'utf8')),
    );
    // The others go on.
    assert.ok(!/"failed": false/.test(await readFile(settings, 'utf8')));
  });
});
