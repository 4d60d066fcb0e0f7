import assert from 'node:assert/strict';
import { mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileLines } from '../../src/base/fileLines.ts';

describe('lines of a file', () => {
  const text = 'one\n\nthird line\nunfinished';
  let folder: string;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'sallyport-lines-'));
    await writeFile(join(folder, 'file'), text);
  });

  after(() => rm(folder, { recursive: true, force: true }));

  async function read(from: number, to: number, readBytes: number, maxLineBytes = 100) {
    const file = await open(join(folder, 'file'), 'r');
    const lines = [];
    try {
      for await (const batch of fileLines(file, { from, to, readBytes, maxLineBytes })) lines.push(...batch);
    } finally {
      await file.close();
    }
    return lines.map(({ bytes, ...line }) => ({ text: Buffer.from(bytes).toString(), ...line }));
  }

  const whole = [
    { text: 'one', offset: 0, end: 4, whole: true },
    { text: '', offset: 4, end: 5, whole: true },
    { text: 'third line', offset: 5, end: 16, whole: true },
  ];

  it('are the same however much is read at once, without an unfinished last one', async () => {
    for (let readBytes = 1; readBytes <= text.length + 1; readBytes++)
      assert.deepEqual(await read(0, text.length, readBytes), whole, `${readBytes} bytes at once`);
  });

  it('begin and end where they are asked for, also behind the end of the file', async () => {
    assert.deepEqual(await read(4, 1000, 7), whole.slice(1));
    assert.deepEqual(await read(0, 15, 7), whole.slice(0, 2));
    assert.deepEqual(await read(5, 5, 7), []);
  });

  it('come in pieces where they are too long, whose places are right', async () => {
    const pieces = await read(0, text.length, 5, 4);
    assert.deepEqual(pieces.slice(2, 5), [
      { text: 'thir', offset: 5, end: 9, whole: false },
      { text: 'd li', offset: 9, end: 13, whole: false },
      { text: 'ne', offset: 13, end: 16, whole: true },
    ]);
  });
});
