import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { maxSessionBytes } from '../../src/protocol/control.ts';
import { hasSession, keepSession, takenSession, takeSession } from '../../src/runner/keptSession.ts';
import { temporaryFolder } from '../support/gitRepo.ts';

async function* pieces(...parts: Uint8Array[]): AsyncIterable<Uint8Array> {
  yield* parts;
  await Promise.resolve();
}

describe('a conversation that is kept', () => {
  let folder: ReturnType<typeof temporaryFolder>;
  let other: ReturnType<typeof temporaryFolder>;
  beforeEach(() => {
    folder = temporaryFolder();
    other = temporaryFolder();
  });
  afterEach(() => {
    folder.dispose();
    other.dispose();
  });

  it('is taken over by another task, byte for byte, and stays', async () => {
    const bytes = Buffer.from([0, 255, 10, 13, 27]);
    assert.equal(await hasSession(folder.path), false);
    assert.equal(await takeSession(folder.path, other.path), false);
    await keepSession(folder.path, pieces(bytes.subarray(0, 2), bytes.subarray(2)));
    assert.equal(await hasSession(folder.path), true);
    assert.equal(await takeSession(folder.path, other.path), true);
    const parts: Uint8Array[] = [];
    for await (const part of takenSession(other.path)) parts.push(part);
    assert.deepEqual(Buffer.concat(parts), bytes);
    assert.deepEqual(readFileSync(join(folder.path, 'session.jsonl')), bytes);
  });

  it('is there whole or not at all, and never longer than its limit', async () => {
    async function* broken(): AsyncIterable<Uint8Array> {
      yield Buffer.from('half');
      await Promise.resolve();
      throw new Error('The sandbox is gone');
    }
    await assert.rejects(keepSession(folder.path, broken()), /gone/);
    async function* endless(): AsyncIterable<Uint8Array> {
      const piece = Buffer.alloc(4 << 20);
      for (;;) {
        yield piece;
        await Promise.resolve();
      }
    }
    await assert.rejects(keepSession(folder.path, endless()), { code: 'too_large' });
    assert.ok(maxSessionBytes <= 64 << 20);
    assert.deepEqual(readdirSync(folder.path), []);
  });
});
