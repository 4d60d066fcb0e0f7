import assert from 'node:assert/strict';
import type { Engine } from '../../src/engine/engine.ts';
import { watchDisk } from '../../src/runner/diskWatch.ts';

/** An engine with one sandbox, on a disk whose free files are told by `tell`. */
class DiskFake {
  readonly calls: string[] = [];
  paused = false;
  changedFiles: Engine['changedFiles'] = () => Promise.resolve(0);
  pauseFails = false;
  private told: string[] = [];
  private wake: () => void = () => undefined;

  tell(freeFiles: number): void {
    this.told.push(`1000000 4096 2000000 ${freeFiles} 1000000\n`);
    this.wake();
  }

  /** Resolves when this was called so often. */
  async called(name: string, times = 1): Promise<void> {
    while (this.calls.filter((call) => call === name).length < times)
      await new Promise((done) => setTimeout(done, 5));
  }

  watch(signal: AbortSignal = new AbortController().signal, uncounted = false): ReturnType<typeof watchDisk> {
    const watch = { sandbox: 's', gateway: 'g', limitBytes: 2 ** 40, reserveBytes: 1, uncounted };
    return watchDisk(this.engine(), watch, signal);
  }

  private engine(): Engine {
    const call = (name: string): Promise<void> => {
      this.calls.push(name);
      return Promise.resolve();
    };
    return {
      wait: (_: string, signal: AbortSignal) => aborted(signal),
      written: () => Promise.resolve(0),
      changedFiles: (id: string, signal: AbortSignal) => {
        assert.ok(this.paused || this.pauseFails);
        this.calls.push('count');
        return this.changedFiles(id, signal);
      },
      pause: async () => {
        await call('pause');
        if (this.pauseFails) throw new Error('cannot pause');
        this.paused = true;
      },
      unpause: async () => {
        await call('unpause');
        this.paused = false;
      },
      stop: () => call('stop'),
      exec: (_: string, __: string[], { signal }: { signal: AbortSignal }) =>
        Promise.resolve({ stdout: this.lines(signal), done: new Promise(() => undefined) }),
    } as unknown as Engine;
  }

  private async *lines(signal: AbortSignal): AsyncIterable<Uint8Array> {
    while (!signal.aborted) {
      for (let line; (line = this.told.shift()) !== undefined;) yield Buffer.from(line);
      const { promise, resolve } = Promise.withResolvers<undefined>();
      this.wake = () => resolve(undefined);
      signal.addEventListener('abort', this.wake, { once: true });
      await promise;
    }
  }
}

function aborted(signal: AbortSignal | undefined): Promise<never> {
  return new Promise((_, reject) =>
    signal?.addEventListener('abort', () => reject(signal.reason as Error), { once: true }),
  );
}

describe('disk watch', () => {
  let fake: DiskFake;
  beforeEach(() => {
    fake = new DiskFake();
    fake.tell(900_000);
  });

  it('has a sandbox stand still while its files are counted, and ends the one that made them where it stands', async () => {
    fake.changedFiles = () => Promise.resolve(50_000);
    const watching = fake.watch();
    fake.tell(90_000);
    assert.equal((await watching)?.why, 'files');
    assert.deepEqual(fake.calls, ['pause', 'count', 'stop']);
  });

  it('lets the one go on that did not, and holds it up again only when many more are gone', async () => {
    const leaving = new AbortController();
    const watching = fake.watch(leaving.signal);
    fake.tell(90_000);
    await fake.called('unpause');
    fake.tell(85_000);
    fake.tell(60_000);
    await fake.called('unpause', 2);
    leaving.abort();
    assert.equal(await watching, undefined);
    assert.deepEqual(fake.calls, ['pause', 'count', 'unpause', 'pause', 'count', 'unpause']);
  });

  it('lets it go on when the watch ends in the middle of a count', async () => {
    fake.changedFiles = (_, signal) => aborted(signal);
    const leaving = new AbortController();
    const watching = fake.watch(leaving.signal);
    fake.tell(90_000);
    await fake.called('count');
    leaving.abort();
    assert.equal(await watching, undefined);
    assert.deepEqual(fake.calls, ['pause', 'count', 'unpause']);
  });

  for (const what of ['count', 'pause'] as const) {
    it(`lets it go on when the engine cannot ${what}, and ends it when hardly a file is left`, async () => {
      if (what === 'pause') fake.pauseFails = true;
      else fake.changedFiles = () => Promise.reject(new Error('cannot count'));
      const watching = fake.watch();
      fake.tell(90_000);
      await fake.called('unpause');
      assert.equal(fake.paused, false);
      fake.tell(20_000);
      assert.equal((await watching)?.why, 'files');
      await fake.called('stop');
    });
  }

  it('ends a sandbox that can make files uncounted when hardly one is left', async () => {
    const watching = fake.watch(undefined, true);
    fake.tell(20_000);
    assert.equal((await watching)?.why, 'files');
    await fake.called('stop');
  });
});
