import assert from 'node:assert/strict';
import { setImmediate as turn } from 'node:timers/promises';
import type { Terminal } from '../../src/protocol/terminal.ts';
import { SharedTerminal } from '../../src/runner/sharedTerminal.ts';
import { FakeTerminal } from '../support/fakeTerminal.ts';
import { Screen } from '../support/terminals.ts';

const size = { cols: 80, rows: 24 };
const piece = Buffer.alloc(64 << 10, 'x');

async function settle(): Promise<void> {
  for (let i = 0; i < 50; i++) await turn();
}

async function all(terminal: Terminal): Promise<string> {
  const parts: Uint8Array[] = [];
  for await (const part of terminal.output) parts.push(part);
  return Buffer.concat(parts).toString();
}

describe('a shared terminal', () => {
  let source: FakeTerminal;
  let shared: SharedTerminal;
  beforeEach(() => {
    source = new FakeTerminal();
    shared = new SharedTerminal(source, size);
  });
  afterEach(() => shared.dispose());

  it('shows all viewers the same, takes what any of them types, and ends with its program', async () => {
    const [one, two] = [shared.view(size), shared.view(size)];
    source.print('hello');
    await one.write(Buffer.from('a'));
    await two.write(Buffer.from('b'));
    source.exit(3);
    assert.deepEqual(await Promise.all([all(one), all(two)]), ['hello', 'hello']);
    assert.deepEqual(await one.ended, { reason: 'exit', code: 3 });
    assert.equal(source.typed, 'ab');
    const late = shared.view(size);
    assert.equal(await all(late), 'hello');
    await late.write(Buffer.from('c'));
    assert.equal(source.typed, 'ab');
  });

  it('keeps the last 256 KiB for a later viewer, from the beginning of a line', async () => {
    const lines = (from: number): string =>
      Array.from({ length: 100 }, (_, i) => `line ${from + i} ✓\n`).join('');
    for (let i = 0; i < 100_000; i += 100) source.print(lines(i));
    while (source.taken < 1_400_000) await settle();
    const later = new Screen(shared.view(size));
    await later.until(/line 99999 ✓\n/);
    source.exit(0);
    const replay = await all(shared.view(size));
    assert.ok(replay.length > 200_000 && Buffer.byteLength(replay) <= 256 << 10);
    assert.match(replay, /^line \d+ ✓\n/);
  });

  it('does not ask again what a terminal would answer by itself', async () => {
    const questions =
      '\u001b[6n\u001b[c\u001b[>0c\u001b[?6n\u001b]11;?\u0007\u001b]10;?\u001b\\\u001b[?2026$p\u001b[>0q\u0005';
    source.print(`a${questions}\u001b[31mb\u001b]0;title\u0007`);
    await settle();
    source.exit(0);
    assert.equal(await all(shared.view(size)), 'a\u001b[31mb\u001b]0;title\u0007');
  });

  it('has the smallest size of all who look, told one after another', async () => {
    let free: () => void = () => undefined;
    const sizes: unknown[] = [];
    source.resize = (wanted) => {
      sizes.push(wanted);
      return new Promise((resolve) => (free = resolve));
    };
    const one = shared.view({ cols: 100, rows: 30 });
    const two = shared.view({ cols: 90, rows: 50 });
    two.resize({ cols: 95, rows: 50 });
    free();
    await settle();
    two.dispose();
    free();
    await settle();
    free();
    one.resize({ cols: 100, rows: 30 });
    await settle();
    assert.deepEqual(sizes, [
      { cols: 100, rows: 30 },
      { cols: 95, rows: 30 },
      { cols: 100, rows: 30 },
    ]);
  });

  it('holds the program while its only viewer does not read, and loses nothing', async () => {
    const viewer = shared.view(size);
    for (let i = 0; i < 100; i++) source.print(piece);
    await settle();
    assert.ok(source.taken <= 512 << 10, String(source.taken));
    source.exit(0);
    assert.equal((await all(viewer)).length, 100 * piece.length);
  });

  it('lets a viewer go that lags behind another, and costs the other nothing', async () => {
    const stalled = shared.view(size);
    const reader = shared.view(size);
    const read = all(reader);
    for (let i = 0; i < 100; i++) source.print(piece);
    source.exit(0);
    assert.equal((await read).length, 100 * piece.length);
    assert.deepEqual(await stalled.ended, { reason: 'slow' });
    // What waited for it is not kept.
    assert.equal(await all(stalled), '');
  });

  it('goes on without a viewer, and after one that has left', async () => {
    const viewer = shared.view(size);
    for (let i = 0; i < 20; i++) source.print(piece);
    await settle();
    viewer.dispose();
    viewer.dispose();
    await settle();
    assert.equal(source.taken, 20 * piece.length);
    assert.deepEqual(await viewer.ended, { reason: 'left' });
  });

  it('tells its viewers when it breaks off', async () => {
    const viewer = shared.view(size);
    shared.dispose();
    shared.dispose();
    assert.deepEqual(await viewer.ended, { reason: 'gone' });
    assert.equal(await all(viewer), '');
  });
});
