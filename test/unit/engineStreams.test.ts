import assert from 'node:assert/strict';
import fc from 'fast-check';
import { Readable } from 'node:stream';
import { Demultiplexer } from '../../src/engine/demux.ts';
import { engineFailure } from '../../src/engine/failures.ts';
import { followProgress } from '../../src/engine/progress.ts';
import { compareVersions } from '../../src/engine/connect.ts';

function frame(stream: number, payload: Uint8Array): Buffer {
  const header = Buffer.alloc(8);
  header[0] = stream;
  header.writeUInt32BE(payload.length, 4);
  return Buffer.concat([header, payload]);
}

describe('engine streams', () => {
  it('parts stdout and stderr however the bytes are cut', () => {
    const frames = fc.array(fc.tuple(fc.constantFrom(1, 2), fc.uint8Array({ maxLength: 300 })), {
      maxLength: 20,
    });
    fc.assert(
      fc.property(frames, fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1 }), (content, cuts) => {
        const bytes = Buffer.concat(content.map(([stream, payload]) => frame(stream, payload)));
        const got: Record<number, Buffer[]> = { 1: [], 2: [] };
        const demultiplexer = new Demultiplexer((stream, data) => got[stream]!.push(Buffer.from(data)));
        for (let at = 0, turn = 0; at < bytes.length; turn++) {
          const size = cuts[turn % cuts.length]!;
          demultiplexer.push(bytes.subarray(at, at + size));
          at += size;
        }
        for (const stream of [1, 2]) {
          const sent = Buffer.concat(
            content.filter(([number]) => number === stream).map(([, payload]) => payload),
          );
          assert.deepEqual(Buffer.concat(got[stream]!), sent);
        }
      }),
    );
  });

  it('refuses what are no frames', () => {
    const demultiplexer = new Demultiplexer(() => undefined);
    assert.throws(() => demultiplexer.push(Buffer.from('plain text, no frames')), /malformed/);
  });

  it('reads frames of more than 2 GB', () => {
    let got = 0;
    const demultiplexer = new Demultiplexer((_, data) => (got += data.length));
    demultiplexer.push(Buffer.from([1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 1, 2, 3]));
    assert.equal(got, 3);
  });
});

describe('engine progress', () => {
  const follow = async (...messages: object[]) => {
    const lines: string[] = [];
    const text = messages.map((message) => `${JSON.stringify(message)}\n`).join('');
    await followProgress(Readable.from([Buffer.from(text)]), (line) => lines.push(line));
    return lines;
  };

  it('shows the steps of both engines alike', async () => {
    const lines = await follow(
      { stream: 'Step 1/2 : FROM x' },
      { stream: '\n' },
      { stream: 'STEP 2/2: RUN y' },
    );
    assert.deepEqual(lines, ['Step 1/2: FROM x', 'Step 2/2: RUN y']);
  });

  it('shortens lines and drops control characters', async () => {
    const lines = await follow({ stream: `Step 1/1 : RUN \u001b[31mred\u001b[0m ${'x'.repeat(500)}` });
    assert.equal(lines[0]?.length, 110);
    assert.ok(lines[0].startsWith('Step 1/1: RUN red xxx'));
  });

  it('throws what the engine says, with the last lines', async () => {
    const failing = follow({ stream: 'E: no such package' }, { error: 'returned a non-zero code: 100' });
    await assert.rejects(failing, {
      message: 'returned a non-zero code: 100',
      output: ['E: no such package'],
    });
  });

  it('knows a full disk', async () => {
    await assert.rejects(follow({ error: 'write /x: no space left on device' }), { code: 'disk_full' });
    await assert.rejects(follow({ stream: 'No space left on device' }, { error: 'exit 1' }), {
      code: 'disk_full',
    });
  });
});

describe('engine failures', () => {
  it('tells a vanished engine, a full disk and the rest apart', () => {
    const code = (thrown: unknown) => (engineFailure(thrown, 'testing') as { code?: string }).code;
    for (const gone of ['ECONNREFUSED', 'ENOENT', 'ECONNRESET', 'EPIPE']) {
      assert.equal(code(Object.assign(new Error('x'), { code: gone })), 'engine_gone');
    }
    assert.equal(code(new Error('socket hang up')), 'engine_gone');
    const full = Object.assign(new Error('(HTTP code 500) server error - no space left on device'), {
      statusCode: 500,
    });
    assert.equal(code(full), 'disk_full');
    assert.equal(code(Object.assign(new Error('ENOENT in a container'), { statusCode: 404 })), 'internal');
  });

  it('compares versions by their numbers', () => {
    assert.ok(compareVersions('1.40', '1.5') > 0);
    assert.ok(compareVersions('1.39', '1.40') < 0);
    assert.equal(compareVersions('1.41', '1.41'), 0);
  });
});
