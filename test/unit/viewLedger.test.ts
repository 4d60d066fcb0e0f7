import assert from 'node:assert/strict';
import { egressQuestions, needsUser, ruleFor } from '../../src/protocol/egressQuestions.ts';
import { readRule } from '../../src/protocol/egress.ts';
import {
  hostAndPort,
  Ledger,
  ledgerCsv,
  type LedgerFilter,
  ledgerJson,
  passes,
} from '../../src/protocol/ledger.ts';
import type { TaskEventBody } from '../../src/protocol/taskEvent.ts';
import { reduce } from '../../src/protocol/foldTask.ts';
import { initialState, type TaskState } from '../../src/protocol/taskState.ts';
import { aSpec } from '../support/specs.ts';

type Request = Extract<TaskEventBody, { type: 'request' }>;

function request(id: number, change: Partial<Request> = {}): Request {
  return {
    type: 'request',
    id,
    kind: 'tunnel',
    host: 'example.com',
    port: 443,
    verdict: 'allowed',
    bytesOut: 100,
    bytesIn: 2000,
    started: id * 1000,
    ...change,
  };
}

function waiting(id: number, host: string, until = 20_000): TaskEventBody {
  return { type: 'request_waiting', id, kind: 'tunnel', host, port: 443, until };
}

/** Each body with its time. */
function ledgerOf(...events: [number, TaskEventBody][]): Ledger {
  const ledger = new Ledger();
  for (const [i, [t, body]] of events.entries()) ledger.push({ n: i + 1, t, ...body });
  return ledger;
}

function stateOf(...bodies: TaskEventBody[]): TaskState {
  let state = initialState(aSpec(), 0);
  for (const [i, body] of bodies.entries()) state = reduce(state, { n: i + 1, t: 1000, ...body });
  return state;
}

const all: LedgerFilter = { show: 'all', withoutModel: false, words: '' };

describe('the ledger', () => {
  it('makes one row of a request that waited, and keeps its place and its key', () => {
    const ledger = ledgerOf([500, waiting(1, 'a.example.com')], [600, request(2)]);
    assert.equal(ledger.rows[0]?.verdict, 'waiting');
    assert.equal(ledger.totals.waiting, 1);
    ledger.push({ n: 3, t: 3000, ...request(1, { host: 'a.example.com', started: 500 }) });
    assert.deepEqual(
      ledger.rows.map(({ host, verdict, key }) => [host, verdict, key]),
      [
        ['a.example.com', 'allowed', 1],
        ['example.com', 'allowed', 2],
      ],
    );
    assert.deepEqual(
      { ...ledger.totals },
      {
        allowed: 2,
        blocked: 0,
        failed: 0,
        waiting: 0,
        model: 0,
        bytesOut: 200,
        bytesIn: 4000,
      },
    );
  });

  it('says during which call of a tool a request began, also where calls lie within each other', () => {
    const tool = (id: string, name: string): TaskEventBody => ({ type: 'tool_use', id, name, input: {} });
    const result = (id: string): TaskEventBody => ({ type: 'tool_result', id, isError: false, text: '' });
    const ledger = ledgerOf(
      [1000, tool('a', 'Task')],
      [2000, tool('b', 'Bash')],
      [3000, result('b')],
      [5000, result('a')],
      [6000, tool('c', 'WebFetch')],
    );
    const names = (t: number): string[] => ledger.toolsAt(t).map(({ name }) => name);
    assert.deepEqual(names(500), []);
    assert.deepEqual(names(2500), ['Bash', 'Task']);
    assert.deepEqual(names(3500), ['Task']);
    assert.deepEqual(names(5500), []);
    assert.deepEqual(names(9000), ['WebFetch'], 'it runs still');
    ledger.push({ n: 6, t: 7000, type: 'ended', outcome: 'stopped', message: 'Stopped.' });
    assert.deepEqual(names(9000), [], 'no tool outlives the task');
  });

  it('knows the tool also when its event comes after the request that it made', () => {
    const ledger = ledgerOf(
      [2500, request(1, { started: 2100 })],
      [2000, { type: 'tool_use', id: 'b', name: 'Bash', input: {} }],
    );
    assert.equal(ledger.toolsAt(ledger.rows[0]!.started)[0]?.name, 'Bash');
  });

  it('leaves no request waiting when the task is over or begins anew', () => {
    const ended: TaskEventBody = { type: 'ended', outcome: 'stopped', message: 'Stopped.' };
    for (const over of [ended, { type: 'prepared_anew' } as const]) {
      const ledger = ledgerOf([1, waiting(1, 'a.example.com')], [2, over]);
      assert.equal(ledger.rows[0]?.verdict, 'failed');
      assert.equal(ledger.totals.waiting, 0);
    }
    const anew = ledgerOf([1, waiting(1, 'a.example.com')], [2, { type: 'prepared_anew' }], [3, request(1)]);
    assert.equal(anew.rows.length, 2, 'the new gateway has numbers of its own');
  });

  it('puts what an answer has used to its request', () => {
    const usage = { inputTokens: 5, outputTokens: 6, cacheReadTokens: 0, cacheWriteTokens: 0 };
    const spend: TaskEventBody = {
      type: 'spend',
      request: 1,
      model: 'claude',
      usage,
      usd: 0.01,
      estimated: false,
    };
    const over = request(1, { kind: 'model' });
    assert.equal(ledgerOf([1, over], [2, spend]).rows[0]?.spend?.usd, 0.01);
    assert.equal(ledgerOf([1, spend], [2, over]).rows[0]?.spend?.usd, 0.01, 'which is the usual order');
  });

  it('filters by verdict, by kind and by words', () => {
    const rows = ledgerOf(
      [1, request(1)],
      [2, request(2, { verdict: 'blocked', host: 'evil.example.net', reason: 'No rule.' })],
      [3, waiting(3, 'w.example.com')],
      [4, request(4, { kind: 'model', path: '/v1/messages' })],
      [5, request(5, { verdict: 'failed', status: 502 })],
    ).rows;
    const ids = (filter: Partial<LedgerFilter>): number[] =>
      rows.filter((row) => passes(row, { ...all, ...filter })).map(({ key }) => key);
    assert.deepEqual(ids({}), [1, 2, 3, 4, 5]);
    assert.deepEqual(ids({ withoutModel: true }), [1, 2, 3, 5]);
    assert.deepEqual(ids({ show: 'allowed', withoutModel: true }), [1]);
    assert.deepEqual(ids({ show: 'blocked' }), [2, 3]);
    assert.deepEqual(ids({ show: 'model', withoutModel: true }), [4]);
    assert.deepEqual(ids({ words: ' EVIL ' }), [2]);
    assert.deepEqual(ids({ words: 'no rule' }), [2]);
    assert.deepEqual(ids({ words: '502' }), [5]);
  });

  it('names the port only where it is not the usual one, and shows what cannot be seen', () => {
    assert.equal(hostAndPort({ host: 'a.example.com', port: 443, kind: 'tunnel' }), 'a.example.com');
    assert.equal(hostAndPort({ host: 'a.example.com', port: 443, kind: 'http' }), 'a.example.com:443');
    assert.equal(hostAndPort({ host: 'a\u202eb', port: 80, kind: 'http' }), 'a‹U+202E›b');
  });

  it('takes ten thousand requests in without growing slow', () => {
    const ledger = new Ledger();
    for (let i = 1; i <= 10_000; i++) {
      ledger.push({ n: 2 * i, t: i, type: 'tool_use', id: String(i), name: 'Bash', input: {} });
      ledger.push({ n: 2 * i + 1, t: i, ...request(i, { started: i }) });
    }
    assert.equal(ledger.rows.length, 10_000);
    assert.equal(ledger.toolsAt(5)[0]?.name, 'Bash');
  });
});

describe('the export of the ledger', () => {
  const hostile = ['=HYPERLINK("x")', '+1', '-1', '@SUM(A1)', '\t=1', '\r=1', '|x', '＝1'];

  it('holds no text that a spreadsheet would take for a formula', () => {
    const ledger = ledgerOf(
      ...hostile.map((path, i): [number, TaskEventBody] => [i, request(i + 1, { path, reason: path })]),
    );
    const lines = ledgerCsv(ledger.rows, ledger).trimEnd().split('\r\n').slice(1);
    assert.equal(lines.length, hostile.length);
    for (const line of lines) assert.doesNotMatch(line, /(^|,)"?[=+\-@|＝\t\r]/, line);
  });

  it('quotes what would break a line or a cell', () => {
    const ledger = ledgerOf([1, request(1, { reason: 'a "b", c\nd', path: '/x,y' })]);
    const csv = ledgerCsv(ledger.rows, ledger);
    assert.equal(csv.split('\r\n').length, 3);
    assert.match(csv, /"\/x,y"/);
    assert.match(csv, /"a ""b"", c d"/);
  });

  it('as JSON gives back what came, in ASCII', () => {
    const ledger = ledgerOf([1, request(1, { path: '/ü\u202e\x1b[31m"' })]);
    const text = ledgerJson(ledger.rows, ledger);
    assert.match(text, /^[\n\x20-\x7e]*$/);
    const [row] = JSON.parse(text) as Record<string, unknown>[];
    assert.equal(row?.['path'], '/ü\u202e\x1b[31m"');
    assert.equal(row['bytesIn'], 2000);
  });
});

describe('a question about the network', () => {
  it('proposes the narrowest rule that lets the request through', () => {
    assert.equal(ruleFor({ kind: 'tunnel', host: 'Example.com.', port: 443 }), 'example.com');
    assert.equal(ruleFor({ kind: 'tunnel', host: 'example.com', port: 8443 }), 'example.com:8443');
    assert.equal(ruleFor({ kind: 'http', host: 'example.com', port: 80, method: 'GET' }), 'example.com');
    const post = ruleFor({ kind: 'http', host: 'example.com', port: 80, method: 'post' });
    assert.equal(post, 'example.com GET,HEAD,POST');
    assert.equal(typeof readRule(post), 'object');
    for (const host of ['192.0.2.1', '[::1]', 'a b', '', 'x\n.example.com'])
      assert.equal(ruleFor({ kind: 'tunnel', host, port: 443 }), undefined, host);
  });

  it('is one for all requests to a host, the most urgent first', () => {
    const questions = egressQuestions(
      stateOf(
        waiting(1, 'a.example.com', 9000),
        waiting(2, 'b.example.com', 5000),
        waiting(3, 'a.example.com', 8000),
      ),
    );
    assert.deepEqual(
      questions.map((one) => [one.host, one.waiting, one.until]),
      [
        ['b.example.com', 1, 5000],
        ['a.example.com', 2, 8000],
      ],
    );
  });

  it('is there after a refusal too, until it is answered', () => {
    const blocked = request(1, { verdict: 'blocked', askable: true });
    assert.equal(egressQuestions(stateOf(blocked))[0]?.times, 1);
    const no = { type: 'egress_refused', host: 'example.com' } as const;
    const yes = { type: 'egress_allowed', rule: 'example.com', scope: 'task' } as const;
    const wide = { type: 'egress_allowed', rule: '*.com.example GET', scope: 'task' } as const;
    assert.deepEqual(egressQuestions(stateOf(blocked, no)), []);
    assert.deepEqual(egressQuestions(stateOf(blocked, yes)), []);
    assert.equal(egressQuestions(stateOf(blocked, wide)).length, 1);
    assert.deepEqual(egressQuestions(stateOf(request(1, { verdict: 'blocked', askable: false }))), []);
    assert.deepEqual(egressQuestions(stateOf(waiting(1, 'example.com'), no)), []);
  });

  it('needs the user while a request waits or a budget is used up, and not after the end', () => {
    const paused = { type: 'paused', scope: 'task', spentUsd: 5, limitUsd: 5 } as const;
    const ended = { type: 'ended', outcome: 'stopped', message: '' } as const;
    assert.equal(needsUser(stateOf()), false);
    assert.equal(needsUser(stateOf(waiting(1, 'a.example.com'))), true);
    assert.equal(needsUser(stateOf(paused)), true);
    assert.equal(needsUser(stateOf(paused, ended)), false);
    assert.equal(needsUser(stateOf(request(1, { verdict: 'blocked', askable: true }))), false);
  });
});
