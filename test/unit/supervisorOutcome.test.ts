import assert from 'node:assert/strict';
import { outcome, type Circumstances } from '../../src/supervisor/outcome.ts';

const verdict = { kind: 'rate_limited', message: 'Too many.', mend: 'Wait.' } as const;

function ended(
  change: Omit<Partial<Circumstances>, 'exit'> & { exit?: Partial<Circumstances['exit']> },
): object {
  const { exit, ...rest } = change;
  const {
    outcome: how,
    kind,
    exitCode,
    signal,
  } = outcome({
    agent: 'The agent',
    interrupted: undefined,
    limits: { timeMs: 90 * 60_000, memoryBytes: 2 ** 30 },
    oomKills: 0,
    diskFull: false,
    ...rest,
    exit: { succeeded: false, stderr: '', ...exit },
  });
  return Object.fromEntries(
    Object.entries({ how, kind, exitCode, signal }).filter(([, value]) => value !== undefined),
  );
}

describe('supervisorOutcome', () => {
  it('succeeds only with a good result and exit code 0', () => {
    const good = { succeeded: true, code: 0 };
    assert.deepEqual(ended({ exit: good }), { how: 'succeeded', exitCode: 0 });
    // What a child of the agent's died of, or a disk that is full now, did not keep it from finishing.
    assert.deepEqual(ended({ exit: good, oomKills: 2, diskFull: true }), { how: 'succeeded', exitCode: 0 });
    assert.deepEqual(ended({ exit: { succeeded: true, code: 1 } }), {
      how: 'failed',
      kind: 'exit',
      exitCode: 1,
    });
    assert.deepEqual(ended({ exit: { code: 0, verdict } }), {
      how: 'failed',
      kind: 'rate_limited',
      exitCode: 0,
    });
  });

  it('names the deepest cause that is known', () => {
    const killed = { signal: 'SIGKILL' };
    assert.deepEqual(ended({ exit: killed }), { how: 'failed', kind: 'killed', signal: 'SIGKILL' });
    assert.deepEqual(ended({ exit: killed, oomKills: 1 }), {
      how: 'failed',
      kind: 'out_of_memory',
      signal: 'SIGKILL',
    });
    assert.deepEqual(ended({ exit: { code: 1, verdict }, diskFull: true }), {
      how: 'failed',
      kind: 'disk_full',
      exitCode: 1,
    });
    assert.deepEqual(ended({ exit: { code: 1, stderr: 'write: ENOSPC' } }), {
      how: 'failed',
      kind: 'disk_full',
      exitCode: 1,
    });
    assert.deepEqual(ended({ exit: { code: 1, verdict } }), {
      how: 'failed',
      kind: 'rate_limited',
      exitCode: 1,
    });
    assert.deepEqual(ended({ exit: { startError: Object.assign(new Error('x'), { code: 'ENOENT' }) } }), {
      how: 'failed',
      kind: 'agent_missing',
    });
  });

  it('believes who ended it before anything else', () => {
    const exit = { signal: 'SIGKILL', verdict };
    assert.deepEqual(ended({ exit, interrupted: 'stop', oomKills: 1 }), {
      how: 'stopped',
      signal: 'SIGKILL',
    });
    assert.deepEqual(ended({ exit, interrupted: 'time', diskFull: true }), {
      how: 'timed_out',
      signal: 'SIGKILL',
    });
  });
});
