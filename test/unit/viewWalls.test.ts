import assert from 'node:assert/strict';
import { registryRules } from '../../src/protocol/egress.ts';
import { type EgressQuestion, egressQuestions } from '../../src/protocol/egressQuestions.ts';
import type { TaskEventBody } from '../../src/protocol/taskEvent.ts';
import { reduce } from '../../src/protocol/foldTask.ts';
import { initialState, type TaskState } from '../../src/protocol/taskState.ts';
import { bytes, phaseLabel, raisedBudget, shortDuration, spendText } from '../../src/protocol/words.ts';
import { defaultPolicy } from '../../src/runner/userPolicy.ts';
import { credentialItems } from '../../src/vscode/view/credentialItems.ts';
import { doctorReport } from '../../src/vscode/view/doctorReport.ts';
import { egressChoices } from '../../src/vscode/view/egressChoices.ts';
import { egressNotice, pausedNotice } from '../../src/vscode/view/egressNotice.ts';
import { policyOf, type PolicySettings, readUsd } from '../../src/vscode/view/policy.ts';
import { problemButtons } from '../../src/vscode/view/problemButtons.ts';
import { QuestionQueue } from '../../src/vscode/view/questionQueue.ts';
import { findingItem, secretsTitle } from '../../src/vscode/view/secretItems.ts';
import { statusView } from '../../src/vscode/view/statusView.ts';
import { taskView, waitingCount } from '../../src/vscode/view/taskView.ts';
import { aSource } from '../support/fakeModels.ts';
import { aSpec } from '../support/specs.ts';

const real = { label: 'key', demonstration: false };

function stateOf(...bodies: TaskEventBody[]): TaskState {
  let state = initialState(aSpec({ model: real }), 0);
  for (const [i, body] of bodies.entries()) state = reduce(state, { n: i + 1, t: 60_000, ...body });
  return state;
}

const waiting = (id: number, host: string): TaskEventBody => ({
  type: 'request_waiting',
  id,
  kind: 'tunnel',
  host,
  port: 443,
  until: 80_000,
});
const spend = (usd: number, estimated = false): TaskEventBody => ({
  type: 'spend',
  request: 1,
  model: 'claude',
  usage: { inputTokens: 1000, outputTokens: 20, cacheReadTokens: 0, cacheWriteTokens: 0 },
  usd,
  estimated,
});
const paused: TaskEventBody = { type: 'paused', scope: 'task', spentUsd: 5.02, limitUsd: 5 };

describe('the settings of the walls', () => {
  const settings: PolicySettings = {
    mode: 'list',
    rules: [],
    includeRegistries: true,
    holdSeconds: 20,
    proxy: '',
    noProxy: 'internal.example.com',
    extraCa: '',
    perTaskUsd: 0,
    perDayUsd: 0,
    runtime: '',
    readOnlyRoot: false,
  };

  it('mean the default policy when nothing is set', () => {
    assert.deepEqual(policyOf(settings), defaultPolicy);
  });

  it('become a policy', () => {
    const policy = policyOf({
      mode: 'list',
      rules: [' mirror.example.com '],
      includeRegistries: false,
      holdSeconds: 1.5,
      proxy: 'http://user:word@proxy.example.com:3128',
      noProxy: 'internal.example.com',
      extraCa: '/etc/ca.pem',
      perTaskUsd: 5,
      perDayUsd: 20,
      runtime: 'runsc',
      readOnlyRoot: true,
    });
    assert.deepEqual(policy, {
      egress: { mode: 'list', rules: ['mirror.example.com'] },
      holdMs: 1500,
      network: { proxy: 'http://user:word@proxy.example.com:3128', noProxy: 'internal.example.com' },
      budgetUsd: 5,
      dayBudgetUsd: 20,
      isolation: { readonlyRoot: true, runtime: 'runsc' },
      extraCaFile: '/etc/ca.pem',
    });
    assert.deepEqual(policyOf({ ...settings, rules: ['a.example.com'] }).egress.rules, [
      ...registryRules,
      'a.example.com',
    ]);
  });

  it('name an image or a Dockerfile, and mounts', () => {
    const mounts = ['/data:/mnt/data', { source: 'a', target: 'b', readonly: false }];
    assert.deepEqual(policyOf({ ...settings, image: 'tools:1', mounts }).isolation, {
      readonlyRoot: false,
      image: 'tools:1',
      mounts,
    });
    assert.deepEqual(policyOf({ ...settings, image: '', dockerfile: 'Dockerfile', mounts: [] }).isolation, {
      readonlyRoot: false,
      dockerfile: 'Dockerfile',
    });
    assert.throws(() => policyOf({ ...settings, image: 'Tools 1' }), { code: 'invalid_input' });
    for (const wrong of ['/data:/data', [1], [{ source: 'a' }]])
      assert.throws(() => policyOf({ ...settings, mounts: wrong }), { code: 'invalid_input' });
  });

  it('are refused where they cannot be right, and never quote a password', () => {
    const refused = (change: Partial<PolicySettings>): Error & { code?: string } => {
      try {
        policyOf({ ...settings, ...change });
      } catch (thrown) {
        return thrown as Error;
      }
      throw new Error(`nothing was said against ${JSON.stringify(change)}`);
    };
    assert.equal(refused({ rules: ['https://example.com'] }).code, 'invalid_rule');
    assert.equal(refused({ rules: ['10.0.0.1'] }).code, 'invalid_rule');
    assert.equal(refused({ runtime: '../x' }).code, 'invalid_input');
    for (const proxy of ['proxy.example.com', 'socks5://u:secret@p', 'http://u:secret@p.example.com/x'])
      assert.doesNotMatch(refused({ proxy }).message, /secret/);
  });

  it('take amounts as people write them', () => {
    assert.deepEqual(['5', '$2.50', '2,5 USD', '', '0', 'none'].map(readUsd), [
      { usd: 5 },
      { usd: 2.5 },
      { usd: 2.5 },
      { usd: null },
      { usd: null },
      { usd: null },
    ]);
    for (const text of ['-1', 'x', '1e9', '2000000', 'Infinity'])
      assert.equal(typeof readUsd(text), 'string', text);
  });

  it('say what a task gets when nothing is chosen for it', () => {
    assert.deepEqual(
      egressChoices('closed').map(({ mode, description }) => [mode, description !== '']),
      [
        ['list', false],
        ['closed', true],
        ['open', false],
      ],
    );
  });
});

describe('what a task costs', () => {
  it('is what the gateway counted, and else what the agent says', () => {
    const usage = { inputTokens: 1, outputTokens: 1, cacheReadTokens: 0, cacheWriteTokens: 0 };
    const claim: TaskEventBody = {
      type: 'result',
      isError: false,
      text: '',
      durationMs: 1,
      costUsd: 0.31,
      turns: 1,
      usage,
    };
    assert.equal(spendText(stateOf(claim)), '$0.31');
    assert.equal(spendText(stateOf(spend(0.2), claim)), '$0.20');
    assert.equal(spendText(stateOf(spend(0.2, true))), '≈$0.20');
    assert.equal(spendText(stateOf()), '');
  });

  it('proposes a budget that lets a task go on, as a round amount', () => {
    const raised = (spentUsd: number, limitUsd: number): number => raisedBudget({ spentUsd, limitUsd });
    assert.deepEqual(
      [raised(5.02, 5), raised(0.011, 0.01), raised(30, 10), raised(123, 100)],
      [10, 0.1, 45, 200],
    );
    for (const spent of [0.001, 0.1, 1, 9.99, 1234.5]) assert.ok(raised(spent, spent) > spent);
  });

  it('is told with the buttons that let it go on', () => {
    const notice = pausedNotice(stateOf(paused));
    assert.equal(notice?.raise, 'Raise to $10.00');
    assert.match(notice.text, /\$5\.02 of \$5\.00/);
    assert.match(pausedNotice(stateOf({ ...paused, scope: 'day' }))?.text ?? '', /today.*all tasks/);
    assert.equal(pausedNotice(stateOf()), undefined);
  });
});

describe('a task that waits for the user', () => {
  it('says so in the tree and in the status bar', () => {
    const state = stateOf(waiting(1, 'example.com'), spend(0.2));
    const view = taskView(state, 61_000, false);
    assert.match(view.description, /^waits for you · /);
    assert.match(view.tooltip, /Wants to reach: example\.com:443/);
    assert.match(view.tooltip, /Cost: \$0\.20 · 1k tokens in, 20 out/);
    assert.equal(view.contextValue, 'task active waiting');
    assert.equal(taskView(stateOf(paused), 0, false).contextValue, 'task active paused');
    assert.equal(phaseLabel(stateOf(paused)), 'Paused');
    assert.equal(waitingCount([state, stateOf()]), 1);
    const status = statusView([state, stateOf()]);
    assert.equal(status?.text, '$(bell-dot) 1 task waits for you · $0.20');
    assert.match(status.tooltip, /Fix the median: Waits for you, \$0\.20/);
    assert.equal(statusView([stateOf()])?.text, '$(sync~spin) 1 task');
    assert.equal(statusView([]), undefined);
  });

  it('asks about one host with three answers', () => {
    const state = stateOf(waiting(1, 'example.com'));
    const notice = egressNotice(state, egressQuestions(state));
    assert.equal(notice.text, 'The task “Fix the median” wants to reach example.com:443.');
    assert.deepEqual(
      notice.buttons.map(({ answers }) => answers),
      [
        [{ allow: 'task', rule: 'example.com' }],
        [{ allow: 'workspace', rule: 'example.com' }],
        [{ refuse: 'example.com' }],
      ],
    );
  });

  it('asks about several hosts in one question', () => {
    const state = stateOf(...['a', 'b', 'c', 'd'].map((name, i) => waiting(i, `${name}.example.com`)));
    const notice = egressNotice(state, egressQuestions(state));
    assert.match(notice.text, /4 hosts: a\.example\.com:443, .* and 1 other\./);
    assert.equal(notice.buttons[1]?.answers?.length, 4);
    assert.equal(notice.buttons[0]?.answers, undefined);
  });
});

describe('the queue of questions', () => {
  const question = (host: string): EgressQuestion => ({ host, port: 443, rule: host, waiting: 1, times: 0 });

  function queue(): { queue: QuestionQueue; asked: string[][]; answer: () => void } {
    const asked: string[][] = [];
    const open: (() => void)[] = [];
    const made = new QuestionQueue((questions) => {
      asked.push(questions.map(({ host }) => host));
      return new Promise((resolve) => open.push(resolve));
    });
    return { queue: made, asked, answer: () => open.shift()?.() };
  }
  const until = async (done: () => boolean): Promise<void> => {
    while (!done()) await new Promise((resolve) => setTimeout(resolve, 20));
  };

  it('asks once about a host, and together about hosts that come together', async () => {
    const { queue: one, asked } = queue();
    one.update([question('a')]);
    one.update([question('a'), question('b')]);
    await until(() => asked.length === 1);
    assert.deepEqual(asked, [['a', 'b']]);
    one.update([question('a')]);
    one.update([question('c')]);
    await until(() => asked.length === 2);
    assert.deepEqual(asked[1], ['c']);
    one.dispose();
  });

  it('makes no storm: what comes while questions are open waits for an answer, and is asked in one', async () => {
    const { queue: one, asked, answer } = queue();
    const hosts = ['a', 'b', 'c', 'd', 'e'];
    for (const [i] of hosts.entries()) {
      one.update(hosts.slice(0, i + 1).map(question));
      if (i < 2) await until(() => asked.length === i + 1);
    }
    await new Promise((resolve) => setTimeout(resolve, 600));
    assert.deepEqual(asked, [['a'], ['b']]);
    answer();
    await until(() => asked.length === 3);
    assert.deepEqual(asked[2], ['c', 'd', 'e']);
    one.dispose();
  });

  it('does not ask what was answered elsewhere meanwhile', async () => {
    const { queue: one, asked } = queue();
    one.update([question('a')]);
    one.update([question('b')]);
    one.skip([question('c')]);
    one.update([question('b'), question('c')]);
    await until(() => asked.length === 1);
    assert.deepEqual(asked, [['b']]);
    one.dispose();
  });
});

describe('the list of credentials', () => {
  const sources = [
    aSource(),
    aSource({ id: 'stored', label: 'Anthropic API key from the secret storage' }),
    aSource({ id: 'login', state: 'expired', label: 'Claude login', mend: 'Log in again.' }),
    aSource({ id: 'vertex', state: 'unusable', label: 'Vertex $(evil)', detail: 'No project.' }),
    aSource({ id: 'identity', purpose: 'identity', label: 'Ada' }),
  ];

  it('says what is used, or would be', () => {
    const first = credentialItems(sources, undefined);
    assert.equal(first[0]?.description, 'would be used');
    const items = credentialItems(sources, 'stored');
    assert.deepEqual(
      items.map(({ description }) => description),
      ['', 'used for this workspace', 'expired', 'cannot be used', ''],
    );
    assert.match(items[2]?.detail ?? '', /Log in again/);
    assert.deepEqual(
      items.map(({ usable, stored }) => [usable, stored]),
      [
        [true, false],
        [true, true],
        [true, false],
        [false, false],
        [false, false],
      ],
    );
    assert.doesNotMatch(items[3]?.label ?? '', /\$\(evil\)/);
  });

  it('has buttons for what went wrong with one', () => {
    const titles = (...args: Parameters<typeof problemButtons>): string[] =>
      problemButtons(...args).map(({ title }) => title);
    assert.deepEqual(titles('auth_refused', true), [
      'Retry',
      'Choose Credential…',
      'Set API Key',
      'Open Docs',
    ]);
    assert.deepEqual(titles('capacity_reached', true), ['Retry', 'Choose Credential…']);
    assert.deepEqual(titles('cloud_misconfigured', false), [
      'Choose Credential…',
      'Open Settings',
      'Open Docs',
    ]);
    assert.deepEqual(titles('invalid_rule', false), ['Open Settings']);
  });
});

describe('likely keys', () => {
  it('are listed with their place, and without themselves', () => {
    const finding = {
      path: 'src/$(x)\u202e.ts',
      line: 12,
      kind: 'AWS access key',
      hint: 'AKIA…XY',
      fingerprint: 'f',
      tracked: false,
    };
    const item = findingItem(finding);
    assert.match(item.label, /‹U\+202E›\.ts:12$/);
    assert.doesNotMatch(item.label, /\$\(x\)/);
    assert.equal(item.description, 'AWS access key · AKIA…XY · untracked');
    assert.equal(findingItem({ ...finding, path: 'id_rsa', line: 0 }).label, 'id_rsa');
    assert.equal(secretsTitle(1), '1 likely key in what the sandbox would get');
  });
});

describe('the report of the doctor', () => {
  it('is a table whose columns stand below each other, with what to do below it', () => {
    const report = doctorReport([
      { name: 'Git', ok: true, detail: 'git 2.39' },
      { name: 'Disk', ok: 'warning', detail: 'a | b', mend: 'Free some.' },
      { name: 'Engine', ok: false, detail: 'Nothing\nanswers.', mend: 'Start it.' },
    ]);
    const lines = report.split('\n');
    const rows = lines.filter((line) => line.startsWith('|'));
    assert.equal(rows.length, 5);
    assert.equal(new Set(rows.map(({ length }) => length)).size, 1);
    assert.ok(rows.some((row) => row.includes('a \\| b')));
    assert.ok(report.indexOf('### ✗ Engine') < report.indexOf('### ! Disk'));
    assert.match(report, /1 of 3 checks failed/);
    assert.match(report, /\*\*What to do:\*\* Start it\./);
  });
});

describe('words of the ledger', () => {
  it('say how much and how long', () => {
    assert.deepEqual([0, 950, 12_440, 999_600, 3_100_000, 2e15].map(bytes), [
      '0 B',
      '950 B',
      '12.4 kB',
      '1.0 MB',
      '3.1 MB',
      '2000 TB',
    ]);
    assert.deepEqual([0.4, 34, 1234, 65_000].map(shortDuration), ['0 ms', '34 ms', '1.2 s', '1m 05s']);
  });
});
