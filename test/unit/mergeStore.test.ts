import assert from 'node:assert/strict';
import { readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Merging, MergeStore } from '../../src/vscode/review/mergeStore.ts';
import { temporaryFolder } from '../support/gitRepo.ts';

const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'latin1'));

describe('a merge that is kept over a reload', () => {
  let folder: ReturnType<typeof temporaryFolder>;
  let path: string;

  beforeEach(() => {
    folder = temporaryFolder();
    path = join(folder.path, 'merge');
  });

  afterEach(() => folder.dispose());

  const merging = (): Merging => ({
    number: 3,
    saves: new Map(),
    purpose: {
      kind: 'edit',
      id: 'abcdefghijkl',
      told: {
        file: '0123456789abcdef',
        original: '1'.repeat(40),
        commit: '2'.repeat(40),
        by: '0123456789abcdef',
        content: '3'.repeat(40),
      },
    },
    conflicts: [
      { path: 'a', base: undefined, current: bytes('x\xe9\0'), incoming: bytes(''), marked: undefined },
      { path: '../b', base: bytes('b'), current: bytes('c'), incoming: undefined, marked: undefined },
    ],
    before: new Map([
      ['one', bytes('1')],
      ['none', undefined],
    ]),
    results: new Map(),
    done: new Set(),
  });
  const plain = (one: Merging | undefined): unknown =>
    JSON.stringify(one, (_, value: unknown) => {
      if (value instanceof Uint8Array) return Buffer.from(value).toString('hex');
      if (value instanceof Map || value instanceof Set) return [...(value as Iterable<unknown>)];
      return value ?? null;
    });

  it('is as it was, with what was made of it so far, and gone when it is over', async () => {
    const store = new MergeStore(path);
    assert.equal(await store.read(), undefined);
    const now = merging();
    await store.begin(now);
    now.saves.set(0, 1);
    now.results.set(0, bytes('half'));
    await store.result(now, 0);
    now.results.set(1, null);
    now.done.add(1);
    await store.result(now, 1);
    assert.equal(plain(await new MergeStore(path).read()), plain(now));
    assert.equal(statSync(path).mode & 0o077, 0);
    assert.deepEqual(
      readdirSync(folder.path).filter((name) => name !== 'merge'),
      [],
    );
    await store.end();
    assert.equal(await new MergeStore(path).read(), undefined);
    // What is said of a merge that is over brings nothing back.
    await store.result(now, 0);
    assert.equal(await new MergeStore(path).read(), undefined);
  });

  it('is nothing where it is not whole, is no merge, or is too large', async () => {
    const store = new MergeStore(path);
    await store.begin(merging());
    writeFileSync(join(path, 'merge.json'), '{"number":1}');
    assert.equal(await store.read(), undefined);
    const large = merging();
    large.results.set(0, new Uint8Array((64 << 20) + 1));
    await store.begin(large);
    assert.equal(await store.read(), undefined);
    await store.begin(merging());
    await store.result(large, 0);
    assert.equal(await store.read(), undefined);
    const nowhere = new MergeStore(undefined);
    await nowhere.begin(merging());
    assert.equal(await nowhere.read(), undefined);
  });
});
