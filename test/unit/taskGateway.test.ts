import assert from 'node:assert/strict';
import { SallyportError } from '../../src/base/errors.ts';
import { PausableTimer } from '../../src/base/pausableTimer.ts';
import type { Upstream } from '../../src/protocol/control.ts';
import { CredentialRenewal } from '../../src/runner/credentialRenewal.ts';
import { GatewayLines } from '../../src/runner/gatewayLines.ts';
import { isBulk, isNeeded } from '../../src/runner/logLimit.ts';
import type { ResolvedModel } from '../../src/runner/taskService.ts';
import type { UnnumberedEvent } from '../../src/runner/taskLog.ts';

describe('lines of a gateway', () => {
  const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
  const resumed = (g: number): Uint8Array => bytes(JSON.stringify({ g, t: 5, type: 'spend_resumed' }));

  it('are taken once each, though they are read again from the first', () => {
    const lines = new GatewayLines(2);
    const read = [1, 2, 3, 4, 1, 2, 3, 4, 5].map((g) => lines.read(resumed(g)));
    assert.deepEqual(
      read.flatMap((event) => event?.g ?? []),
      [3, 4, 5],
    );
    assert.equal(lines.lastNumber, 5);
  });

  it('that are no event are told, but not without end', () => {
    const lines = new GatewayLines(0);
    const odd = [
      'no json',
      '{"g":1,"t":1,"type":"commit"}',
      '{"g":0,"t":1,"type":"spend_resumed"}',
      '{"t":1,"type":"spend_resumed"}',
      '[]',
    ];
    for (const text of odd) {
      const told = lines.read(bytes(text));
      assert.ok(told?.type === 'notice' && told.text.includes(text), text);
      assert.equal(told.g, undefined);
    }
    const told = Array.from({ length: 1000 }, () => lines.read(Uint8Array.of(0xff, 0xfe)));
    assert.equal(told.filter((event) => event !== undefined).length, 20 - odd.length);
    assert.equal(lines.read(resumed(1))?.g, 1);
  });
});

describe('renewal of a credential', () => {
  const upstream = (value: string, expiresAt?: number): Upstream => ({
    kind: 'anthropic',
    baseUrl: 'https://models.example.com',
    auth: { type: 'oauth', value },
    expiresAt,
  });
  const model = (value: string, renew?: ResolvedModel['renew']): ResolvedModel => ({
    label: 'A login',
    demonstration: false,
    upstream: upstream(value),
    ...(renew === undefined ? {} : { renew }),
  });

  function renewal(fresh: () => Promise<ResolvedModel>) {
    const pushed: string[] = [];
    const failed: string[] = [];
    const made = new CredentialRenewal({
      push: (given) => {
        pushed.push(given.kind === 'anthropic' ? given.auth.value : given.kind);
        return Promise.resolve();
      },
      fresh,
      fail: (error) => {
        failed.push(error.code);
        return Promise.resolve();
      },
    });
    return { made, pushed, failed };
  }

  it('is one for all that ask at once', async () => {
    let asked = 0;
    const { made, pushed } = renewal(() => Promise.reject(new Error('not asked')));
    made.watch(
      model('old', async (reason) => {
        assert.equal(reason, 'refused');
        await new Promise((passed) => setTimeout(passed, 10));
        return upstream(`new ${++asked}`);
      }),
    );
    await Promise.all([made.renew('refused'), made.renew('refused'), made.renew('refused')]);
    assert.deepEqual(pushed, ['new 1']);
    await made.renew('refused');
    assert.deepEqual(pushed, ['new 1', 'new 2']);
    made.dispose();
  });

  it('takes what the user has set meanwhile where it cannot be renewed', async () => {
    let now = model('old');
    const { made, pushed, failed } = renewal(() => Promise.resolve(now));
    made.watch(model('old'));
    await made.renew('refused');
    await made.renew('refused');
    assert.deepEqual(failed, ['auth_refused'], 'told once');
    assert.deepEqual(pushed, ['old', 'old'], 'the same once more: nobody waits for another');
    now = model('other');
    await made.renew('refused');
    assert.deepEqual(pushed.at(-1), 'other');
    made.dispose();
  });

  it('that fails says why, and lets nothing be thrown', async () => {
    const { made, failed } = renewal(() => Promise.resolve(model('x')));
    made.watch(model('old', () => Promise.reject(new SallyportError('auth_expired', 'Over.', 'Log in.'))));
    await made.renew('expired');
    assert.deepEqual(failed, ['auth_expired']);
    made.dispose();
  });
});

describe('a clock that can stop', () => {
  it('does not run while it is stopped, and fires once', async () => {
    let fired = 0;
    const timer = new PausableTimer(30, () => fired++);
    timer.setRunning(false);
    timer.setRunning(false);
    await new Promise((passed) => setTimeout(passed, 80));
    assert.equal(fired, 0);
    timer.setRunning(true);
    timer.setRunning(true);
    const hasFired = (): boolean => fired > 0;
    while (!hasFired()) await new Promise((passed) => setTimeout(passed, 5));
    timer.setRunning(false);
    timer.setRunning(true);
    await new Promise((passed) => setTimeout(passed, 60));
    assert.equal(fired, 1);
  });

  it('never fires when it is disposed of', async () => {
    let fired = 0;
    const timer = new PausableTimer(5, () => fired++, false);
    timer.dispose();
    timer.setRunning(true);
    await new Promise((passed) => setTimeout(passed, 30));
    assert.equal(fired, 0);
  });
});

describe('a log at its limit', () => {
  const event = (type: string, by: { s?: number; g?: number } = {}): UnnumberedEvent =>
    ({ type, t: 1, ...by }) as UnnumberedEvent;

  it('leaves out what is only to be read, and keeps what brings the work in and what it cost', () => {
    for (const one of [
      event('output', { s: 1 }),
      event('text', { s: 1 }),
      event('request', { g: 1 }),
      event('notice'),
    ])
      assert.ok(isBulk(one), one.type);
    for (const one of [
      event('commit', { s: 1 }),
      event('ended', { s: 1 }),
      event('spend', { g: 1 }),
      event('imported'),
    ])
      assert.ok(!isBulk(one), one.type);
    assert.ok(!isNeeded(event('commit', { s: 1 })));
    assert.ok(isNeeded(event('ended', { s: 1 })) && isNeeded(event('spend', { g: 1 })));
  });
});
