import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import {
  appendFileSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ReviewState } from '../../src/protocol/review.ts';
import { condense } from '../../src/runner/review/condense.ts';
import { withLock } from '../../src/runner/review/fileLock.ts';
import { ReviewLog } from '../../src/runner/review/reviewLog.ts';
import { chance } from '../support/chance.ts';
import { temporaryFolder } from '../support/gitRepo.ts';
import { idOf, randomEvents } from '../support/reviewEvents.ts';

const program = fileURLToPath(new URL('../support/reviewAppender.ts', import.meta.url));

describe('log of a review', () => {
  let folder: ReturnType<typeof temporaryFolder>;
  let path: string;
  const logs: ReviewLog[] = [];

  beforeEach(() => {
    folder = temporaryFolder();
    path = join(folder.path, 'review.ndjson');
  });
  afterEach(() => {
    for (const log of logs.splice(0)) log.dispose();
    folder.dispose();
  });

  const open = (): ReviewLog => {
    const log = new ReviewLog(folder.path);
    logs.push(log);
    return log;
  };
  const mark = (log: ReviewLog, ...fingerprints: string[]): Promise<ReviewState> =>
    log.append(() => [{ type: 'reviewed', fingerprints, on: true }]);
  const numbers = (): number[] =>
    readFileSync(path, 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => (JSON.parse(line) as { n: number }).n);
  const appender = (
    name: string,
    count: number,
    size = 1,
  ): { child: ChildProcess; begun: Promise<unknown>; said: Promise<string[]> } => {
    const child = spawn(process.execPath, [program, folder.path, name, String(count), String(size)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let text = '';
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
    const begun = once(child.stdout, 'data');
    const said = new Promise<string[]>((done) =>
      child.on('close', () => done(text.split('\n').slice(0, -1))),
    );
    return { child, begun, said };
  };

  it('holds what was appended, after a restart too', async () => {
    assert.deepEqual((await open().state()).lastEvent, 0);
    const events = randomEvents(7, 60);
    const log = open();
    for (const { n: _, t: __, ...body } of events) await log.append(() => [body]);
    assert.deepEqual(await open().state(), await log.state());
    assert.deepEqual(
      numbers(),
      events.map(({ n }) => n),
    );
    assert.equal(statSync(path).mode & 0o777, 0o600);
  });

  it('says nothing where there is nothing to say', async () => {
    const log = open();
    await log.append(() => []);
    assert.equal(readdirSync(folder.path).includes('review.ndjson'), false);
    await assert.rejects(
      log.append(() => {
        throw new Error('not so');
      }),
      /not so/,
    );
    assert.equal((await mark(log, 'a')).lastEvent, 1);
  });

  it('loses nothing of several that append at once, in one process and in others', async () => {
    const mine = [open(), open(), open()];
    const others = [appender('x', 12), appender('y', 12)];
    await Promise.all(
      mine.flatMap((log, i) => Array.from({ length: 12 }, (_, k) => mark(log, `mine ${i} ${k}`))),
    );
    const said = (await Promise.all(others.map((one) => one.said))).flat();
    assert.equal(said.length, 24);
    const state = await open().state();
    for (const log of mine) assert.deepEqual(await log.state(), state);
    for (const name of said) assert(name in state.reviewed, name);
    assert.equal(Object.keys(state.reviewed).length, 36 + 48);
    assert.deepEqual(
      numbers(),
      Array.from({ length: 36 + 48 }, (_, i) => i + 1),
    );
  });

  it('loses nothing that was said when processes are killed while they append', async function () {
    const below = chance(3);
    const said: string[] = [];
    for (let round = 0; round < 6; round++) {
      const ones = [appender(`a${round}`, 1000, 64), appender(`b${round}`, 1000, 64)];
      await Promise.all(ones.map(({ begun }) => begun));
      await new Promise((resolve_) => setTimeout(resolve_, below(250)));
      for (const { child } of ones) child.kill('SIGKILL');
      for (const one of ones) said.push(...(await one.said));
    }
    assert(said.length >= 12, `${said.length} were said`);
    const state = await mark(open(), 'last');
    for (const name of said) assert(name in state.reviewed, name);
    const all = numbers();
    assert.deepEqual(
      all,
      all.map((_, i) => i + 1),
    );
  });

  it('cuts off what a killed writer left of a line', async () => {
    await mark(open(), 'a');
    const whole = readFileSync(path, 'utf8');
    for (let cut = 0; cut < whole.length; cut++) {
      writeFileSync(path, whole + whole.replace('"n":1', '"n":2').slice(0, cut));
      assert.deepEqual(Object.keys((await open().state()).reviewed), ['a']);
      if (cut % 20 !== 0) continue;
      const state = await mark(open(), 'b');
      assert.deepEqual(Object.keys(state.reviewed), ['a', 'b']);
      assert.deepEqual(numbers(), [1, 2]);
    }
  });

  it('tells what another process appends', async () => {
    const log = open();
    const heard: ReviewState[] = [];
    const listening = log.onDidChange((state) => heard.push(state));
    const said = await appender('x', 3).said;
    while (heard.at(-1)?.lastEvent !== 6) await new Promise((resolve_) => setTimeout(resolve_, 10));
    assert.deepEqual(
      said.filter((name) => !(name in (heard.at(-1)?.reviewed ?? {}))),
      [],
    );
    listening.dispose();
    listening.dispose();
    const count = heard.length;
    await mark(open(), 'more');
    await log.state();
    assert.equal(heard.length, count);
  });

  it('becomes shorter when it is long, and stays the same to everybody', async function () {
    const log = open();
    const other = open();
    await mark(other, 'before');
    const parts = Array.from({ length: 5000 }, (_, i) => idOf(i));
    let largest = 0;
    let state: ReviewState | undefined;
    for (let i = 0; i < 120; i++) {
      state = await log.append(() => [
        { type: 'decided', parts, verdict: i % 2 === 0 ? 'accepted' : 'rejected' },
      ]);
      largest = Math.max(largest, statSync(path).size);
      if (i % 40 === 0) assert.deepEqual(await other.state(), state);
    }
    assert(largest < 3 << 20, `${largest} bytes`);
    assert.equal(state?.lastEvent, 121);
    assert.deepEqual(await other.state(), state);
    assert.deepEqual(await open().state(), state);
    assert.equal(numbers().at(-1), 121);
    // No file is left of it, and the numbers go on.
    const next = await mark(other, 'after');
    assert.equal(next.lastEvent, 122);
    assert.deepEqual(await log.state(), next);
    assert.deepEqual(readdirSync(folder.path).sort(), ['review.lock', 'review.ndjson']);
  });

  it('keeps what a later version wrote', async function () {
    const log = open();
    await mark(log, 'a');
    const later = '{"n":2,"t":1,"type":"praised","stars":5}\n';
    appendFileSync(path, later);
    const parts = Array.from({ length: 5000 }, (_, i) => idOf(i));
    for (let i = 0; i < 40; i++)
      await log.append(() => [{ type: 'decided', parts, verdict: i % 2 === 0 ? 'accepted' : null }]);
    assert(readFileSync(path, 'utf8').includes(later));
    assert.equal((await open().state()).lastEvent, 42);
  });

  it('says where it is damaged, and changes nothing then', async () => {
    await mark(open(), 'a');
    const whole = readFileSync(path, 'utf8');
    for (const bad of ['nonsense\n', '{"n":7,"t":1,"type":"reviewed"}\n', '\0\n', '[]\n']) {
      writeFileSync(path, whole + bad);
      await assert.rejects(open().state(), { code: 'log_damaged' });
      await assert.rejects(mark(open(), 'b'), { code: 'log_damaged' });
      assert.equal(readFileSync(path, 'utf8'), whole + bad);
    }
    writeFileSync(path, `${whole}{"n":2,"t":1,"type":"${'x'.repeat(33 << 20)}"}\n`);
    await assert.rejects(open().state(), { code: 'log_damaged' });
  });

  it('is gone with the folder of its task, and does not bring it back', async () => {
    const log = open();
    await mark(log, 'a');
    rmSync(folder.path, { recursive: true });
    await assert.rejects(mark(log, 'b'), { code: 'task_unknown' });
    assert.throws(() => statSync(folder.path));
    mkdirSync(folder.path);
  });

  it('takes the decision on 100,000 parts at once', async function () {
    const log = open();
    const parts = Array.from({ length: 100_000 }, (_, i) => idOf(i));
    const state = await log.append(() => [{ type: 'decided', parts, verdict: 'accepted' }]);
    assert.equal(Object.keys(state.verdicts).length, 100_000);
    const [first] = condense(state, 1);
    assert(first?.type === 'decided' && first.parts.length === 5000);
    assert.deepEqual(await open().state(), state);
  });
});

describe('lock of a folder', () => {
  it('is had by one at a time, and freed when its work fails', async () => {
    const folder = temporaryFolder();
    const lock = join(folder.path, 'lock');
    let inside = 0;
    let most = 0;
    const work = async (fail: boolean): Promise<void> => {
      most = Math.max(most, ++inside);
      await new Promise((resolve_) => setTimeout(resolve_, 2));
      inside--;
      if (fail) throw new Error('failed');
    };
    const all = Array.from({ length: 20 }, (_, i) => withLock(lock, () => work(i % 3 === 0)));
    const results = await Promise.allSettled(all);
    assert.equal(results.filter(({ status }) => status === 'rejected').length, 7);
    assert.equal(most, 1);
    assert.equal(readdirSync(lock).length, 1);
    folder.dispose();
  });

  it('says who is in the way when it is not to be had', async () => {
    const folder = temporaryFolder();
    const lock = join(folder.path, 'lock');
    const { promise, resolve: done } = Promise.withResolvers<undefined>();
    const taken = Promise.withResolvers<undefined>();
    const first = withLock(lock, () => {
      taken.resolve(undefined);
      return promise;
    });
    await taken.promise;
    await assert.rejects(
      withLock(lock, () => Promise.resolve(), { patienceMs: 30 }),
      { code: 'task_busy' },
    );
    const gone = AbortSignal.abort();
    await assert.rejects(
      withLock(lock, () => Promise.resolve(), { signal: gone }),
      { name: 'AbortError' },
    );
    done(undefined);
    await first;
    await withLock(lock, () => Promise.resolve());
    folder.dispose();
  });
});
