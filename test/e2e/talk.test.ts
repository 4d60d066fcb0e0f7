import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Browser } from 'playwright-core';
import type { Turn } from '../../src/gateway/scriptedModel.ts';
import { ModelServer } from '../support/modelServer.ts';
import { removeFromEngine } from '../support/witness.ts';
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

type Logged = { type: string } & Record<string, unknown>;

describe('speaking with the agent in the panel', function () {
  let browser: Browser;
  let household: Household;
  let model: ModelServer;
  let server: CodeServer | undefined;
  let workbench: Workbench | undefined;

  before(async () => {
    browser = await launchBrowser();
  });
  after(() => browser.close());
  afterEach(async function () {
    if (this.currentTest?.state === 'failed' && workbench !== undefined)
      await tellFailure(this.currentTest, workbench);
    await workbench?.close();
    await server?.stop();
    model.stop();
    for (const id of tasks()) await removeFromEngine(id);
    await household.remove();
    workbench = server = undefined;
  });

  /** Oldest first. */
  const tasks = (): string[] => {
    try {
      return readdirSync(join(household.data, 'tasks')).sort();
    } catch {
      return [];
    }
  };
  const log = (at = 0): Logged[] => {
    const id = tasks()[at];
    if (id === undefined) return [];
    const path = join(household.data, 'tasks', id, 'events.ndjson');
    // The folder is there a moment earlier.
    const text = existsSync(path) ? readFileSync(path, 'utf8') : '';
    const whole = text.slice(0, text.lastIndexOf('\n') + 1);
    return whole.split('\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line) as Logged]));
  };
  const of = (type: string, at = 0): Logged[] => log(at).filter((event) => event.type === type);
  const comes = (type: string, count = 1, at = 0): Promise<boolean> =>
    until(`${type} ${count}`, longest, () => of(type, at).length >= count);

  const bash = (command: string): Turn => ({
    tools: [{ name: 'Bash', input: { command, description: 'Work' } }],
  });
  const ask: Turn = {
    tools: [
      {
        name: 'AskUserQuestion',
        input: {
          questions: [
            {
              question: 'Which word is it to be?',
              header: 'Word',
              multiSelect: false,
              options: [
                { label: 'alpha', description: 'The first one' },
                { label: 'beta', description: 'The second one' },
              ],
            },
          ],
        },
      },
    ],
  };

  it('answers its question, stops its turn for another instruction, goes on after the end, and from an earlier turn', async () => {
    model = await ModelServer.start([
      ask,
      { text: 'It is to be beta.' },
      bash('echo up; tail -f /dev/null'),
      bash("echo beta > word.txt && git add -A && git commit -qm 'Write the word'"),
      { text: 'Written.' },
      bash("echo more >> word.txt && git commit -qam 'Write more'"),
      { text: 'More is written.' },
    ]);
    household = await makeHousehold({
      'sallyport.network.proxy': model.url,
      'sallyport.task.conversation': true,
    });
    server = await CodeServer.start(household, {
      ANTHROPIC_API_KEY: key,
      ANTHROPIC_BASE_URL: model.url,
      NO_PROXY: model.host,
    });
    const vscode = (workbench = await Workbench.open(browser, server.url));
    await vscode.showTasks();
    await vscode.command('Sallyport: New Task');
    await vscode.type('New Task', 'Write a word.');
    await vscode.dialogButton('Use').first().waitFor({ timeout: 60_000 });
    await vscode.page.keyboard.press('Enter');

    await comes('asked');
    const panel = vscode.webview();
    await panel.getByText('Which word is it to be?').first().waitFor({ timeout: 30_000 });
    await vscode.screenshot('talk-1-question');
    await panel.getByRole('button', { name: 'beta The second one' }).click();
    await comes('turn');
    assert.match(JSON.stringify(of('answered')[0]?.['answer']), /beta/);
    assert.match(JSON.stringify(of('tool_result')[0]?.['text']), /beta/);

    const box = panel.getByRole('textbox', { name: 'Message to the agent' });
    await box.fill('Wait for ever.');
    await box.press('Control+Enter');
    await comes('tool_use', 2);
    await box.fill('No: write it down.');
    await panel.getByText('Stop and Send', { exact: true }).click();
    await comes('turn', 3);
    assert.deepEqual(
      of('turn').map(({ outcome }) => outcome),
      ['succeeded', 'interrupted', 'succeeded'],
    );
    await panel.getByText('Written.').first().waitFor();
    await vscode.screenshot('talk-2-stopped-and-sent');

    await panel.getByText('Finish', { exact: true }).click();
    await comes('ended');
    const followUp = panel.getByRole('textbox', { name: 'Follow-up' });
    await followUp.fill('And more.');
    await followUp.press('Control+Enter');
    await comes('reopened');
    await comes('turn', 4);
    await comes('imported', 2);
    assert.equal(tasks().length, 1, 'the same task goes on');
    await panel.getByText('More is written.').first().waitFor();
    await vscode.screenshot('talk-3-followed-up');

    // The newest turn can be gone on from too; its row was drawn before it was known.
    const turn = (number: number) =>
      panel
        .locator('.checkpoint', { hasText: `Turn ${number} ended here.` })
        .getByRole('button', { name: 'Continue from Here' });
    await turn(4).waitFor();
    await panel.locator('#log-list').press('Home');
    await turn(1).click();
    await vscode.page.locator('.quick-input-widget .quick-input-title', { hasText: 'from Turn 1' }).waitFor();
    await vscode.input.fill('Go another way.');
    await vscode.page.keyboard.press('Enter');
    await until('another task', 30_000, () => tasks().length === 2);
    // Only with what was said in the first turn does the model give its third answer.
    await comes('tool_use', 1, 1);
    assert.match(JSON.stringify(of('tool_use', 1)[0]?.['input']), /echo up/);
    assert.equal(of('commit', 1).length, 0);
    await vscode.screenshot('talk-4-continued');
  }).timeout(longest + 120_000);
});
