import assert from 'node:assert/strict';
import type { Turn } from '../../src/gateway/scriptedModel.ts';
import { bash, longest, Scene } from '../support/scene.ts';
import { until } from '../support/workbench.ts';

describe('speaking with the agent in the panel', function () {
  const scene = Scene.ofSuite();
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
    const turns = [
      ask,
      { text: 'It is to be beta.' },
      bash('echo up; tail -f /dev/null'),
      bash("echo beta > word.txt && git add -A && git commit -qm 'Write the word'"),
      { text: 'Written.' },
      bash("echo more >> word.txt && git commit -qam 'Write more'"),
      { text: 'More is written.' },
    ];
    await scene.settleWithModel(turns, { 'sallyport.task.conversation': true });
    const vscode = await scene.open();
    await scene.startTask(vscode, 'Write a word.');

    await scene.comes('asked');
    const panel = vscode.webview();
    await panel.getByText('Which word is it to be?').first().waitFor({ timeout: 90_000 });
    await vscode.screenshot('talk-1-question');
    await panel.getByRole('button', { name: 'beta The second one' }).click();
    await scene.comes('turn');
    assert.match(JSON.stringify(scene.of('answered')[0]?.['answer']), /beta/);
    assert.match(JSON.stringify(scene.of('tool_result')[0]?.['text']), /beta/);

    const box = panel.getByRole('textbox', { name: 'Message to the agent' });
    await box.fill('Wait for ever.');
    await box.press('Control+Enter');
    await scene.comes('tool_use', 2);
    await box.fill('No: write it down.');
    await panel.getByText('Stop and Send', { exact: true }).click();
    await scene.comes('turn', 3);
    assert.deepEqual(
      scene.of('turn').map(({ outcome }) => outcome),
      ['succeeded', 'interrupted', 'succeeded'],
    );
    await panel.getByText('Written.').first().waitFor();
    await vscode.screenshot('talk-2-stopped-and-sent');

    await panel.getByText('Finish', { exact: true }).click();
    await scene.comes('ended');
    const followUp = panel.getByRole('textbox', { name: 'Follow-up' });
    await followUp.fill('And more.');
    await followUp.press('Control+Enter');
    await scene.comes('reopened');
    await scene.comes('turn', 4);
    await scene.comes('imported', 2);
    assert.equal(scene.tasks().length, 1, 'the same task goes on');
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
    await until('another task', 90_000, () => scene.tasks().length === 2);
    // Only with what was said in the first turn does the model give its third answer.
    await scene.comes('tool_use', 1, 1);
    assert.match(JSON.stringify(scene.of('tool_use', 1)[0]?.['input']), /echo up/);
    assert.equal(scene.of('commit', 1).length, 0);
    await vscode.screenshot('talk-4-continued');
  }).timeout(longest + 120_000);
});
