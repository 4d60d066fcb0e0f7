import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SallyportError } from '../../src/base/errors.ts';
import { reduce } from '../../src/protocol/foldTask.ts';
import { initialState, type TaskState } from '../../src/protocol/taskState.ts';
import { leaveAsk, takeAsks, type Ask } from '../../src/runner/asks.ts';
import { checkAnswer, eventOf, isAnswered, policyFor, policyNow } from '../../src/runner/egressAnswers.ts';
import { SecretsFound } from '../../src/runner/secretsFound.ts';
import type { EgressAnswer } from '../../src/runner/taskService.ts';
import { WorkspaceStore } from '../../src/runner/workspaceStore.ts';
import { aSpec } from '../support/specs.ts';

function withCode(code: string) {
  return (thrown: unknown): boolean =>
    thrown instanceof SallyportError && thrown.code === code && thrown.mend !== '';
}

describe('asks between windows', () => {
  let folder: string;
  beforeEach(async () => (folder = join(await mkdtemp(join(tmpdir(), 'sallyport-asks-')), 'asks')));
  afterEach(() => rm(folder, { recursive: true, force: true }));

  /** Takes until that many were taken. */
  async function taken(count: number, refuse = 0): Promise<Ask[]> {
    const over = new AbortController();
    const all: Ask[] = [];
    let refusals = refuse;
    await takeAsks(
      folder,
      (ask) => {
        if (refusals-- > 0) return Promise.reject(new Error('Not now'));
        all.push(ask);
        if (all.length === count) over.abort();
        return Promise.resolve();
      },
      over.signal,
    );
    return all;
  }

  it('are taken in order, each once, whether they were left before or meanwhile', async () => {
    await leaveAsk(folder, { op: 'budget', usd: 1 });
    const taking = taken(3);
    await leaveAsk(folder, { op: 'egress', answer: { refuse: 'example.com' } });
    await new Promise((passed) => setTimeout(passed, 5));
    await leaveAsk(folder, { op: 'budget', usd: null });
    assert.deepEqual(await taking, [
      { op: 'budget', usd: 1 },
      { op: 'egress', answer: { refuse: 'example.com' } },
      { op: 'budget', usd: null },
    ]);
    assert.deepEqual(await readdir(folder), []);
  });

  it('stay when they could not be done, and come again', async () => {
    await leaveAsk(folder, { op: 'stop' });
    assert.deepEqual(await taken(1, 1), [{ op: 'stop' }]);
  });

  it('can be withdrawn, and what is none is thrown away', async () => {
    const withdraw = await leaveAsk(folder, { op: 'stop' });
    await withdraw();
    await writeFile(join(folder, '0-half.json'), '{"op":"bud');
    await writeFile(join(folder, '0-wrong.json'), '{"op":"budget","usd":-1}');
    await writeFile(
      join(folder, '0-rule.json'),
      '{"op":"egress","answer":{"allow":"task","rule":"10.0.0.1"}}',
    );
    await leaveAsk(folder, { op: 'budget', usd: 3 });
    assert.deepEqual(await taken(1), [{ op: 'budget', usd: 3 }]);
    assert.deepEqual(await readdir(folder), []);
  });
});

describe('answers about the network', () => {
  const spec = aSpec({ egress: { mode: 'list', rules: ['registry.example.com'] } });
  const allow = (rule: string): EgressAnswer => ({ allow: 'task', rule });

  function answered(...answers: EgressAnswer[]): TaskState {
    return answers.reduce(
      (state, answer) => reduce(state, { n: state.lastEvent + 1, t: 1, ...eventOf(answer) }),
      initialState(spec, 0),
    );
  }

  it("join the user's, the workspace's and the request's rules, each once; the request's mode stands in", () => {
    const user = { mode: 'list' as const, rules: ['a.example.com', 'b.example.com'] };
    assert.deepEqual(
      policyFor(user, { egressRules: ['b.example.com', 'c.example.com'] }, { rules: ['d.example.com'] }),
      { mode: 'list', rules: ['a.example.com', 'b.example.com', 'c.example.com', 'd.example.com'] },
    );
    assert.equal(policyFor(user, { egressRules: [] }, { mode: 'closed' }).mode, 'closed');
    assert.throws(() => policyFor(user, { egressRules: [] }, { rules: ['*'] }), withCode('invalid_rule'));
  });

  it('give the gateway the rules of the spec with what was answered, the last word standing', () => {
    assert.deepEqual(policyNow(answered(allow('x.example.com'), { allow: 'task', mode: 'open' })), {
      egress: { mode: 'open', rules: ['registry.example.com', 'x.example.com'] },
      refused: [],
    });
    const refused = answered(allow('x.example.com:8443'), { refuse: 'x.example.com' });
    assert.deepEqual(policyNow(refused), { egress: spec.egress, refused: ['x.example.com'] });
    const again = answered({ refuse: 'x.example.com' }, allow('x.example.com'));
    assert.deepEqual(policyNow(again).refused, []);
    // A rule for many names is no answer about one of them.
    const wide = answered({ refuse: 'x.example.com' }, allow('*.example.com'));
    assert.deepEqual(policyNow(wide).refused, ['x.example.com']);
  });

  it('are known when they are in the log', () => {
    const answers: EgressAnswer[] = [
      allow('x.example.com'),
      { allow: 'workspace', rule: 'y.example.com' },
      { refuse: 'z.example.com' },
      { allow: 'task', mode: 'open' },
    ];
    for (const answer of answers) {
      assert.equal(isAnswered(answered(), answer), false);
      assert.equal(isAnswered(answered(answer), answer), true);
    }
  });

  it('are refused when they name no host', () => {
    for (const rule of ['', '10.0.0.1', 'a b', 'http://x.example.com', '*.com'])
      assert.throws(() => checkAnswer(allow(rule)), withCode('invalid_rule'), rule);
    assert.throws(() => checkAnswer({ refuse: '10.0.0.1' }), withCode('invalid_rule'));
    checkAnswer(allow('x.example.com:8443/p GET,POST private'));
  });
});

describe('settings of a workspace', () => {
  let folder: string;
  beforeEach(async () => (folder = join(await mkdtemp(join(tmpdir(), 'sallyport-ws-')), 'workspaces')));
  afterEach(() => rm(folder, { recursive: true, force: true }));

  it('are empty at first, and keep the changes of several windows at once', async () => {
    const stores = [new WorkspaceStore(folder), new WorkspaceStore(folder)];
    assert.deepEqual(await stores[0]!.read('demo-1'), { egressRules: [], acceptedSecrets: [] });
    const names = Array.from({ length: 12 }, (_, i) => `h${i}.example.com`);
    await Promise.all(
      names.map((rule, i) =>
        stores[i % 2]!.change('demo-1', (now) => ({ ...now, egressRules: [...now.egressRules, rule] })),
      ),
    );
    const { egressRules } = await stores[1]!.read('demo-1');
    assert.deepEqual(egressRules.toSorted(), names.toSorted());
    assert.deepEqual(await stores[0]!.read('demo-2'), { egressRules: [], acceptedSecrets: [] });
    assert.equal((await stat(join(folder, 'demo-1.json'))).mode & 0o777, 0o600);
    assert.deepEqual(await readdir(folder), ['demo-1.json']);
  });

  it('are refused when they are malformed, in the file and before', async () => {
    const store = new WorkspaceStore(folder);
    await store.change('demo-1', (now) => ({ ...now, credential: 'env:X' }));
    await assert.rejects(
      store.change('demo-1', (now) => ({ ...now, egressRules: ['no rule at all'] })),
      withCode('invalid_input'),
    );
    assert.equal((await store.read('demo-1')).credential, 'env:X');
    await writeFile(join(folder, 'demo-1.json'), '{"egressRules":');
    await assert.rejects(store.read('demo-1'), withCode('invalid_input'));
  });
});

describe('likely keys in a snapshot', () => {
  it('are an error that says where they are, and is told apart from others', () => {
    const finding = {
      path: 'config.py',
      line: 3,
      kind: 'AWS access key',
      hint: 'AK…Q',
      fingerprint: 'f',
      tracked: true,
    };
    const error: unknown = new SecretsFound([finding], 2);
    assert.ok(error instanceof SecretsFound && error instanceof SallyportError);
    assert.equal(error.code, 'secrets_found');
    assert.match(
      error.message,
      /^3 likely keys are in what the sandbox would get: AWS access key in config\.py:3/,
    );
    assert.ok(!(new SallyportError('secrets_found', 'x', 'y') instanceof SecretsFound));
  });
});
