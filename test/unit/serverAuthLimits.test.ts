import assert from 'node:assert/strict';
import fc from 'fast-check';
import { SallyportError } from '../../src/base/errors.ts';
import { LockOut } from '../../src/server/auth/lockOut.ts';
import { Backoff, Quota } from '../../src/server/auth/rateLimits.ts';
import { retryAfterOf } from '../../src/server/http/tooMany.ts';

const isRefused = (error: unknown): boolean =>
  error instanceof SallyportError && error.code === 'too_many_requests' && (retryAfterOf(error) ?? 0) >= 1;

describe('attempts that fail', () => {
  let now = 0;
  const options = { free: 3, firstMs: 1000, maxMs: 60_000, forgetMs: 3_600_000 };

  it('cost a wait that doubles up to a limit, and never longer', () => {
    const backoff = new Backoff(options, () => now);
    const waits: number[] = [];
    for (let n = 0; n < 12; n++) {
      backoff.begin('k');
      waits.push(backoff.waitMs('k'));
      now += backoff.waitMs('k');
    }
    assert.deepEqual(waits, [0, 0, 0, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000, 60_000]);
  });

  it('say how long the wait is, and do not lengthen it while it lasts', () => {
    const backoff = new Backoff(options, () => now);
    for (let n = 0; n < 4; n++) backoff.begin('k');
    for (let n = 0; n < 100; n++) assert.throws(() => backoff.begin('k'), isRefused);
    assert.equal(backoff.waitMs('k'), 1000);
    assert.equal(backoff.waitMs('other'), 0);
  });

  it('are forgotten after a quiet time, and a clock that was set back locks nobody out', () => {
    const backoff = new Backoff(options, () => now);
    for (let n = 0; n < 4; n++) backoff.begin('k');
    now += options.forgetMs + 1;
    for (let n = 0; n < 3; n++) backoff.begin('k');
    assert.equal(backoff.waitMs('k'), 0);
    backoff.begin('k');
    now -= 10 * options.forgetMs;
    assert.equal(backoff.waitMs('k'), 1000);
    now += 1000;
    backoff.begin('k');
    const free = new Backoff(options, () => now);
    free.begin('k');
    now -= options.forgetMs;
    assert.equal(free.waitMs('k'), 0);
  });

  it('take a bounded memory, whatever is tried', () => {
    fc.assert(
      fc.property(fc.array(fc.string(), { maxLength: 300 }), (keys) => {
        const backoff = new Backoff({ ...options, keys: 20 }, () => now);
        for (const key of keys) backoff.count(key);
        return backoff.size <= 20;
      }),
    );
  });

  it('that were good are taken back, one by one', () => {
    const backoff = new Backoff(options, () => now);
    for (let n = 0; n < 20; n++) {
      backoff.begin('k');
      backoff.undo('k');
    }
    assert.equal(backoff.size, 0);
  });
});

describe('a quota', () => {
  it('is so many in a span, then says how long, then is whole again', () => {
    let now = 0;
    const quota = new Quota(2, 10_000, () => now);
    quota.take('k');
    quota.take('k');
    now = 4000;
    assert.throws(
      () => quota.take('k'),
      (error) => retryAfterOf(error) === 6,
    );
    quota.take('other');
    now = 10_000;
    quota.take('k');
  });
});

describe('the lock-out', () => {
  let now = 0;
  const second = 1000;
  const attempt = { login: 'ada', network: '203.0.113.5', device: undefined };
  /** Tries as fast as it may, for so long; how often it could. */
  const tryFor = (lock: LockOut, ms: number, one: Parameters<LockOut['begin']>[0]): number => {
    let count = 0;
    for (const end = now + ms; now < end; now += second) {
      try {
        lock.begin(one);
        count++;
      } catch {
        // Refused.
      }
    }
    return count;
  };

  it('leaves few attempts at one login from one address', () => {
    const lock = new LockOut(() => now);
    assert.ok(tryFor(lock, 24 * 3600 * second, attempt) < 150);
  });

  it('leaves few attempts at many logins from one address', () => {
    const lock = new LockOut(() => now);
    let count = 0;
    for (let n = 0; n < 3600; n++) {
      count += tryFor(lock, second, { ...attempt, login: `user${n}` });
    }
    assert.ok(count < 50, String(count));
  });

  it('leaves few attempts at one login from many addresses', () => {
    const lock = new LockOut(() => now);
    let count = 0;
    for (let n = 0; n < 3600; n++) count += tryFor(lock, second, { ...attempt, network: `net${n}` });
    assert.ok(count < 130, String(count));
  });

  it('cannot be used to keep the owner out of a browser that is known', () => {
    const lock = new LockOut(() => now);
    for (let n = 0; n < 500; n++) tryFor(lock, second, { ...attempt, network: `net${n}` });
    tryFor(lock, 600 * second, attempt);
    assert.throws(() => lock.begin(attempt), isRefused);
    lock.begin({ ...attempt, device: 'known' })();
  });

  it('holds nobody longer than a quarter of an hour', () => {
    const lock = new LockOut(() => now);
    for (let n = 0; n < 40; n++) tryFor(lock, 900 * second, attempt);
    now += 900 * second;
    lock.begin(attempt)();
  });

  it('counts a thousand attempts at once as a thousand', () => {
    const lock = new LockOut(() => now);
    const begun = Array.from({ length: 1000 }, () => {
      try {
        lock.begin({ ...attempt, login: 'grace' });
        return 1;
      } catch {
        return 0;
      }
    });
    assert.ok(begun.filter((one) => one === 1).length <= 6);
  });

  it('does not start anew for who signs in as themselves in between', () => {
    const lock = new LockOut(() => now);
    let tried = 0;
    for (let n = 0; n < 600; n++) {
      now += second;
      try {
        lock.begin({ login: `victim${n}`, network: 'n', device: undefined });
        tried++;
        lock.begin({ login: 'mallory', network: 'n', device: undefined })();
      } catch {
        // Refused.
      }
    }
    assert.ok(tried < 40, String(tried));
  });
});
