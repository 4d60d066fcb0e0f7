import assert from 'node:assert/strict';
import { newTaskId, titleOf, type TaskSpec } from '../../src/protocol/task.ts';
import { defaultBranchName, isBranchName, TaskId } from '../../src/protocol/grammar.ts';
import {
  parseSandboxEvent,
  parseTaskEvent,
  type TaskEvent,
  type TaskEventBody,
} from '../../src/protocol/taskEvent.ts';
import { reduce } from '../../src/protocol/foldTask.ts';
import { hasEnded, initialState, type TaskState } from '../../src/protocol/taskState.ts';
import { aCommit, aSpec, shaOf } from '../support/specs.ts';

function fold(
  spec: TaskSpec,
  bodies: (TaskEventBody & { s?: number; g?: number })[],
  from = initialState(spec, 1000),
): TaskState {
  let state = from;
  for (const body of bodies) state = reduce(state, { n: state.lastEvent + 1, t: 2000, ...body });
  return state;
}

describe('task state', () => {
  const spec = aSpec();

  it('goes from preparing over running to its outcome', () => {
    let state = fold(spec, [
      { type: 'submitted', spec },
      { type: 'progress', stage: 'image', text: 'Building' },
    ]);
    assert.equal(state.phase, 'preparing');
    assert.equal(state.progress, 'Building');
    state = fold(spec, [{ type: 'started', spec, supervisor: '1', s: 1 }], state);
    assert.equal(state.phase, 'running');
    state = fold(
      spec,
      [{ type: 'ended', outcome: 'failed', kind: 'exit', exitCode: 7, message: 'It ended.', s: 2 }],
      state,
    );
    assert.equal(state.phase, 'failed');
    assert.deepEqual(state.failure, { kind: 'exit', exitCode: 7, message: 'It ended.' });
    assert.equal(state.lastSandboxEvent, 2);
  });

  it('keeps the first end when two are told', () => {
    const state = fold(spec, [
      { type: 'ended', outcome: 'timed_out', message: 'Time is up.' },
      { type: 'ended', outcome: 'succeeded', message: 'Done.', s: 5 },
      { type: 'stopping' },
    ]);
    assert.equal(state.phase, 'timed_out');
    assert.ok(hasEnded(state));
  });

  it('loads a log that was written before there was a network, a budget or a disk limit', () => {
    const { diskBytes: _, ...limits } = spec.limits;
    const old = JSON.stringify({ n: 1, t: 1, type: 'submitted', spec: { ...spec, limits } });
    const event = parseTaskEvent(JSON.parse(old));
    assert.ok(event.type === 'submitted');
    const state = reduce(initialState(event.spec, 1), event);
    assert.equal(state.spec.limits.diskBytes, spec.limits.diskBytes);
    assert.deepEqual([state.egress.mode, state.budgetUsd], ['closed', null]);
  });

  it('adds up what the gateway counted, and knows what waits and what was refused', () => {
    const usage = { inputTokens: 1, outputTokens: 2, cacheReadTokens: 3, cacheWriteTokens: 4 };
    const target = {
      id: 7,
      kind: 'http',
      host: 'x.example.com',
      port: 80,
      method: 'GET',
      path: '/',
    } as const;
    const blocked = {
      type: 'request',
      verdict: 'blocked',
      askable: true,
      bytesOut: 5,
      bytesIn: 6,
      started: 1,
    } as const;
    const spend = { type: 'spend', request: 1, model: 'm', usage, usd: 0.5, estimated: false } as const;
    const waiting = fold(spec, [
      { ...spend, g: 1 },
      { ...spend, usd: 0.25, estimated: true, g: 2 },
      { type: 'request_waiting', ...target, until: 9000, g: 3 },
      { type: 'request_waiting', ...target, id: 8, until: 1500, g: 4 },
      { type: 'request_waiting', ...target, id: 9, until: 9000, g: 5 },
    ]);
    assert.deepEqual([waiting.spend.usd, waiting.spend.estimated, waiting.lastGatewayEvent], [0.75, true, 5]);
    // What a killed gateway left waiting is given up when its time is over.
    assert.deepEqual(
      waiting.egress.waiting.map(({ id }) => id),
      [7, 9],
    );
    const refused = fold(
      spec,
      [
        { ...blocked, ...target, g: 6 },
        { ...blocked, ...target, id: 8, g: 7 },
        { type: 'egress_refused', host: 'x.example.com' },
        { type: 'paused', scope: 'task', spentUsd: 1, limitUsd: 1 },
        { type: 'prepared_anew' },
      ],
      waiting,
    );
    assert.deepEqual(refused.egress.blocked, [{ host: 'x.example.com', port: 80, times: 2, askable: true }]);
    assert.deepEqual(refused.egress.counts, { allowed: 0, blocked: 2, failed: 0, bytesOut: 10, bytesIn: 12 });
    // A gateway of a new sandbox goes on with the numbers, so that nothing is counted twice.
    assert.equal(refused.lastGatewayEvent, 7);
    const over = fold(
      spec,
      [
        { type: 'ended', outcome: 'stopped', message: 'Stopped.' },
        { type: 'request_waiting', ...target, id: 10, until: 9000, g: 8 },
      ],
      refused,
    );
    assert.deepEqual([over.egress.waiting, over.paused], [[], undefined]);
  });

  it('leaves out what it has already, so that a replay does no harm', () => {
    const commit = aCommit('a');
    const events: TaskEvent[] = [
      { n: 1, t: 1, type: 'commit', commit, s: 1 },
      { n: 2, t: 2, type: 'imported', tips: [commit.sha] },
    ];
    const once = events.reduce(reduce, initialState(spec, 1));
    const twice = [...events, ...events].reduce(reduce, initialState(spec, 1));
    assert.deepEqual(twice, once);
    assert.deepEqual(once.pendingImports, []);
    assert.deepEqual(once.imported, [commit.sha]);
  });

  it('holds every announced commit as pending until it is imported or lost', () => {
    const [a, b, c] = ['a', 'b', 'c'].map(aCommit);
    assert.ok(a && b && c);
    let state = fold(spec, [
      { type: 'commit', commit: a, s: 1 },
      { type: 'commit', commit: b, s: 2 },
      { type: 'commit', commit: a, s: 3 },
      { type: 'leftovers', commit: c.sha, parent: b.sha, files: [], s: 4 },
    ]);
    assert.deepEqual(state.pendingImports, [a.sha, b.sha, c.sha]);
    assert.equal(state.commits.length, 2);
    state = fold(
      spec,
      [
        { type: 'imported', tips: [a.sha, c.sha] },
        { type: 'lost', tips: [b.sha] },
      ],
      state,
    );
    assert.deepEqual(state.pendingImports, []);
    assert.deepEqual(state.imported, [a.sha, c.sha]);
  });

  it('believes the quarantine, not the sandbox, about what a commit holds', () => {
    const said = aCommit('a');
    const known = { ...said, subject: 'The truth', author: 'Eve', files: [] };
    const { branch, ...unnamed } = known;
    const state = fold(spec, [
      { type: 'commit', commit: said, s: 1 },
      { type: 'imported', tips: [said.sha], commits: [unnamed] },
    ]);
    assert.deepEqual(state.commits, [{ ...unnamed, branch }]);
  });

  it('bounds the lists of files that a sandbox tells, and loads those of logs without a bound', () => {
    const files = Array.from({ length: 3000 }, (_, n) => ({ path: `${n}`, status: 'added' as const }));
    const commit = { ...aCommit('a'), files };
    const told = [
      parseSandboxEvent({ s: 1, t: 1, type: 'commit', commit: { ...commit, moreFiles: 7 } }),
      parseSandboxEvent({ s: 2, t: 1, type: 'leftovers', commit: shaOf('b'), parent: commit.sha, files }),
    ].map((event, at) => parseTaskEvent({ ...event, n: at + 1 }));
    const state = told.reduce(reduce, initialState(spec, 1));
    assert.deepEqual([state.commits[0]?.files.length, state.commits[0]?.moreFiles], [2000, 1007]);
    assert.deepEqual([state.leftovers?.files.length, state.leftovers?.moreFiles], [2000, 1000]);
    assert.throws(() =>
      parseSandboxEvent({ s: 1, t: 1, type: 'commit', commit: { ...commit, moreFiles: -1 } }),
    );
    const old = parseTaskEvent({ n: 1, t: 1, type: 'imported', tips: [commit.sha], commits: [commit] });
    assert.equal(old.type === 'imported' && old.commits?.[0]?.files.length, 3000);
  });

  it('keeps what was refused as pending and as failed, whatever else comes in', () => {
    const [a, b, c] = ['a', 'b', 'c'].map(aCommit);
    assert.ok(a && b && c);
    const refused = { type: 'import_failed', code: 'import_refused', message: 'Evil.' } as const;
    let state = fold(spec, [
      { type: 'commit', commit: a, s: 1 },
      { type: 'commit', commit: b, s: 2 },
      { type: 'commit', commit: c, s: 3 },
      { ...refused, tips: [b.sha, shaOf('unknown')] },
      { type: 'import_failed', code: 'sandbox_failed', message: 'Broken.', tips: [a.sha] },
    ]);
    assert.deepEqual([state.refusedImports, state.importFailure?.code], [[b.sha], 'sandbox_failed']);
    state = fold(spec, [{ type: 'imported', tips: [a.sha, c.sha] }], state);
    assert.deepEqual([state.pendingImports, state.refusedImports], [[b.sha], [b.sha]]);
    assert.equal(state.importFailure?.code, 'import_refused');
    state = fold(spec, [{ type: 'imported', tips: [b.sha] }], state);
    assert.deepEqual([state.pendingImports, state.refusedImports, state.importFailure], [[], [], undefined]);
  });

  it('begins anew with the numbers of a new sandbox', () => {
    const state = fold(spec, [{ type: 'started', spec, supervisor: '1', s: 1 }, { type: 'prepared_anew' }]);
    assert.equal(state.phase, 'preparing');
    assert.equal(state.lastSandboxEvent, 0);
  });

  it('does not change its argument', () => {
    const state = Object.freeze(initialState(spec, 1));
    Object.freeze(state.commits);
    Object.freeze(state.pendingImports);
    fold(spec, [{ type: 'commit', commit: aCommit('a'), s: 1 }, { type: 'stopping' }], state);
    assert.equal(state.commits.length, 0);
  });
});

describe('names', () => {
  it('gives task ids that fit their grammar, sort by time and never repeat', () => {
    const ids = Array.from({ length: 1000 }, () => newTaskId(1_790_000_000_000));
    assert.equal(new Set(ids.map((id) => id.slice(0, 9))).size, 1000);
    assert.deepEqual([...ids].sort(), ids);
    assert.ok(ids.every((id) => TaskId.safeParse(id).success));
  });

  it('takes good branch names and refuses what git or a shell would stumble over', () => {
    for (const name of ['claude/20261121-014300', 'feature/x', 'a', 'UPPER.case_1'])
      assert.ok(isBranchName(name), name);
    const bad = [
      '',
      '-x',
      'a/-b',
      '.a',
      'a/.b',
      'a..b',
      'a b',
      'a~1',
      'a^',
      'a:b',
      'a?',
      'a*',
      'a[',
      'a\\b',
      'a.lock',
      'a/b.lock/c',
      'a/',
      '/a',
      'a//b',
      'a.',
      '@',
      'a@{1}',
      'HEAD',
      'refs/heads/x',
      'é',
      'a\nb',
      'x'.repeat(201),
    ];
    for (const name of bad) assert.ok(!isBranchName(name), JSON.stringify(name));
    assert.ok(isBranchName(defaultBranchName(new Date())));
    assert.equal(defaultBranchName(new Date(Date.UTC(2026, 10, 21, 1, 43, 9))), 'claude/20261121-014309');
  });

  it('makes a title of one line of a prompt', () => {
    assert.equal(titleOf('\n  Fix it\nnow'), 'Fix it');
    assert.equal(Array.from(titleOf('😀'.repeat(200))).length, 80);
  });
});
