import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { appendFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { once } from 'node:events';
import { SallyportError } from '../../src/base/errors.ts';
import type { TaskEvent } from '../../src/protocol/taskEvent.ts';
import { stateVersion } from '../../src/protocol/foldTask.ts';
import type { TaskState } from '../../src/protocol/taskState.ts';
import { readFinalState, writeFinalState } from '../../src/runner/finalState.ts';
import { foldAll } from '../../src/protocol/foldTask.ts';
import { aSpec } from '../support/specs.ts';
import { claim } from '../../src/runner/ownership.ts';
import { TaskLog, type UnnumberedEvent } from '../../src/runner/taskLog.ts';

const notice = (text: string): UnnumberedEvent => ({ type: 'notice', level: 'info', text, t: 1 });

async function collect(source: AsyncIterable<TaskEvent[]>): Promise<TaskEvent[]> {
  const all: TaskEvent[] = [];
  for await (const batch of source) all.push(...batch);
  return all;
}

describe('task log', () => {
  let folder: string;
  beforeEach(async () => (folder = await mkdtemp(join(tmpdir(), 'sallyport-log-'))));
  afterEach(() => rm(folder, { recursive: true, force: true }));

  async function writer(): Promise<TaskLog> {
    const log = await TaskLog.open(folder);
    await log.beginWriting(() => undefined);
    return log;
  }

  it('numbers events from 1 without a gap, and gives them back after any number', async () => {
    const log = await writer();
    const texts = Array.from({ length: 3000 }, (_, i) => `line ${i}\u2028"é`);
    await Promise.all(texts.map((text) => log.append([notice(text)])));
    const all = await collect(log.read(0));
    assert.deepEqual(
      all.map((event) => event.n),
      texts.map((_, i) => i + 1),
    );
    assert.deepEqual(
      all.map((event) => event.type === 'notice' && event.text),
      texts,
    );
    for (const after of [1, 511, 512, 513, 1024, 2998, 3000]) {
      assert.equal((await collect(log.read(after)))[0]?.n, after === 3000 ? undefined : after + 1);
    }
    await log.close();
  });

  it('shows an event only when it is in the file', async () => {
    const log = await writer();
    const inFile: boolean[] = [];
    const reads: Promise<void>[] = [];
    log.onAppend((events) => {
      reads.push(
        readFile(log.path, 'utf8').then((text) => {
          for (const event of events) inFile.push(text.includes(`{"n":${event.n},`));
        }),
      );
    });
    for (let i = 0; i < 50; i++) await log.append([notice(`x${i}`)]);
    await Promise.all(reads);
    assert.equal(inFile.length, 50);
    assert.ok(inFile.every(Boolean));
    await log.close();
  });

  it('follows live without loss or repetition, for a fast reader and for a slow one', async () => {
    const log = await writer();
    await log.append([notice('before')]);
    const over = new AbortController();
    const follow = async (pauseMs: number): Promise<number[]> => {
      const numbers: number[] = [];
      for await (const batch of log.follow(0, over.signal)) {
        numbers.push(...batch.map((event) => event.n));
        if (pauseMs > 0) await new Promise((resolve) => setTimeout(resolve, pauseMs));
        if (numbers.length === 40_001) return numbers;
      }
      return numbers;
    };
    const readers = [follow(0), follow(5)];
    for (let i = 0; i < 400; i++)
      await log.append(Array.from({ length: 100 }, (_, j) => notice(`${i}.${j}`)));
    const expected = Array.from({ length: 40_001 }, (_, i) => i + 1);
    for (const reader of readers) assert.deepEqual(await reader, expected);
    over.abort();
    await log.close();
  });

  it('cuts off half a line that a killed writer left, and goes on behind it', async () => {
    const log = await writer();
    await log.append([notice('one'), notice('two')]);
    await log.close();
    await appendFile(log.path, '{"n":3,"t":1,"type":"noti');
    const again = await writer();
    await again.append([notice('three')]);
    const texts = (await collect(again.read(0))).map((event) => event.type === 'notice' && event.text);
    assert.deepEqual(texts, ['one', 'two', 'three']);
    await again.close();
  });

  it('says where a log is damaged in its middle, and leaves the file alone', async () => {
    const log = await writer();
    await log.append([notice('one')]);
    await log.close();
    await appendFile(log.path, 'nonsense\n');
    const before = await readFile(log.path);
    await assert.rejects(TaskLog.open(folder), (thrown: unknown) => {
      assert.ok(thrown instanceof SallyportError);
      assert.equal(thrown.code, 'log_damaged');
      return true;
    });
    assert.deepEqual(await readFile(log.path), before);
  });

  it('reads along with another process, and hears at once when it may take over', async () => {
    const log = await writer();
    const reader = await TaskLog.open(folder);
    const seen: number[] = [];
    reader.onAppend((events) => seen.push(...events.map((event) => event.n)));
    const over = new AbortController();
    let ticks = 0;
    const reading = reader.readAlong(() => Promise.resolve(++ticks > 1 && seen.length === 20), over.signal);
    for (let i = 0; i < 20; i++) await log.append([notice(`${i}`)]);
    await reading;
    assert.deepEqual(
      seen,
      Array.from({ length: 20 }, (_, i) => i + 1),
    );
    await log.close();
  });
});

describe('the final state of a task', () => {
  let folder: string;
  beforeEach(async () => (folder = await mkdtemp(join(tmpdir(), 'sallyport-final-'))));
  afterEach(() => rm(folder, { recursive: true, force: true }));

  it('stands in for the log, until the log says more or the rules have changed', async () => {
    const spec = aSpec();
    const log = await TaskLog.open(folder);
    let state: TaskState | undefined;
    log.onAppend((events) => (state = foldAll([...events], state)));
    await log.beginWriting(() => undefined);
    await log.append([
      { type: 'submitted', spec, t: 1 },
      { type: 'ended', outcome: 'stopped', message: 'Stopped.', t: 2 },
      { type: 'sandbox_removed', t: 3 },
    ]);
    await log.close();
    assert.ok(state);
    assert.equal(await readFinalState(folder), undefined);
    await writeFinalState(folder, state);
    assert.deepEqual(await readFinalState(folder), state);
    const all = await collect(TaskLog.openFinished(folder).read(1));
    assert.deepEqual(
      all.map((event) => event.type),
      ['ended', 'sandbox_removed'],
    );
    const kept = await readFile(join(folder, 'state.json'), 'utf8');
    await writeFile(join(folder, 'state.json'), kept.replace(`"version":${stateVersion}`, '"version":0'));
    assert.equal(await readFinalState(folder), undefined);
    await writeFile(join(folder, 'state.json'), kept);
    await appendFile(log.path, '{"n":4');
    assert.equal(await readFinalState(folder), undefined);
  });
});

describe('ownership of a task', () => {
  let folder: string;
  beforeEach(async () => (folder = await mkdtemp(join(tmpdir(), 'sallyport-own-'))));
  afterEach(() => rm(folder, { recursive: true, force: true }));

  it('is given to one at a time, and again after release', async () => {
    const path = join(folder, 'owner');
    const claims = await Promise.all(Array.from({ length: 8 }, () => claim(path)));
    const held = claims.filter((release) => release !== undefined);
    assert.equal(held.length, 1);
    await held[0]?.();
    assert.ok(await claim(path));
  });

  it('passes on from a process that was killed', async () => {
    const path = join(folder, 'owner');
    const script = `import { claim } from ${JSON.stringify(new URL('../../src/runner/ownership.ts', import.meta.url).href)};
      const release = await claim(${JSON.stringify(path)}); console.log(release ? 'mine' : 'theirs'); setInterval(() => {}, 1000);`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [first] = (await once(child.stdout, 'data')) as [Buffer];
    assert.equal(first.toString().trim(), 'mine');
    assert.equal(await claim(path), undefined);
    child.kill('SIGKILL');
    await once(child, 'exit');
    assert.ok(await claim(path));
  });
});
