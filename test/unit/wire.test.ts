import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { SandboxEvent } from '../../src/protocol/taskEvent.ts';
import { WireDecoder, encodeEvent, maxLineBytes, type WireItem } from '../../src/protocol/wire.ts';

const text = (s: number, value: string): SandboxEvent => ({ s, t: 1, type: 'text', text: value });
const bytesOf = (line: string): Uint8Array => new TextEncoder().encode(line);

function decode(lines: readonly (string | Uint8Array)[], decoder = new WireDecoder()): WireItem[] {
  return lines.flatMap((line) => decoder.push(line));
}

/** The events, where nothing else may come. */
function events(items: readonly WireItem[]): SandboxEvent[] {
  return items.map((item) => {
    assert.equal(item.kind, 'event');
    return (item as { event: SandboxEvent }).event;
  });
}

describe('wire', () => {
  it('brings every event back, in lines of at most 16 KiB', () => {
    const anyText = fc.oneof(
      fc.string({ unit: 'binary' }),
      // Lone surrogates too.
      fc
        .array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 50 })
        .map((units) => String.fromCharCode(...units)),
      fc
        .constantFrom('"\\\n', '\u2028€😀', '\ud800', '\u001b[31m\u0000')
        .chain((unit) => fc.integer({ min: 0, max: 12_000 }).map((count) => unit.repeat(count))),
    );
    const body = fc.oneof(
      fc.record({ type: fc.constant('text' as const), text: anyText }),
      fc.record({
        type: fc.constant('output' as const),
        stream: fc.constant('stderr' as const),
        base64: anyText,
      }),
      fc.record({ type: fc.constant('unknown' as const), message: fc.jsonValue() }),
    );
    fc.assert(
      fc.property(fc.array(body, { maxLength: 5 }), fc.boolean(), (bodies, asBytes) => {
        // What JSON cannot tell (minus zero) is not on the wire.
        const sent = JSON.parse(
          JSON.stringify(bodies.map((each, at) => ({ ...each, s: at + 1, t: at }))),
        ) as SandboxEvent[];
        const lines = sent.flatMap(encodeEvent);
        for (const line of lines) {
          assert.ok(!line.includes('\n'));
          assert.ok(bytesOf(line).length < maxLineBytes);
        }
        assert.deepEqual(events(decode(asBytes ? lines.map(bytesOf) : lines)), sent);
      }),
      { numRuns: 120 },
    );
  });

  it('uses the room of a line to the last byte before it cuts', () => {
    for (let length = 16_300; length < 16_400; length++) {
      const lines = encodeEvent(text(1, 'x'.repeat(length)));
      const whole = JSON.stringify(text(1, 'x'.repeat(length))).length < maxLineBytes;
      assert.equal(lines.length === 1, whole);
      assert.ok(lines.every((line) => line.length < maxLineBytes));
    }
  });

  it('carries a line of 10 MB', () => {
    const long = text(1, 'ab\\c"dé€😀'.repeat(1_000_000));
    const lines = encodeEvent(long);
    assert.ok(lines.length > 600);
    assert.deepEqual(events(decode(lines)), [long]);
  });

  it('drops what came before, whole or in parts', () => {
    const lines = [text(1, 'a'), text(2, 'b'.repeat(40_000)), text(3, 'c')].flatMap(encodeEvent);
    assert.equal(lines.length, 5);
    // A log that is read again from any point, in the middle of an event too.
    const twice = [...lines.slice(0, 3), ...lines.slice(0, 3), ...lines];
    assert.deepEqual(
      events(decode(twice)).map(({ s }) => s),
      [1, 2, 3],
    );
    assert.deepEqual(
      events(decode(lines, new WireDecoder(2))).map(({ s }) => s),
      [3],
    );
  });

  it('reports the numbers that did not come', () => {
    const long = encodeEvent(text(2, 'b'.repeat(40_000)));
    const items = decode([...encodeEvent(text(1, 'a')), ...long.slice(0, 2), ...encodeEvent(text(5, 'e'))]);
    assert.deepEqual(
      items.map((item) => (item.kind === 'event' ? item.event.s : item)),
      [1, { kind: 'gap', from: 2, to: 4 }, 5],
    );
  });

  it('reports what is no event as the bytes that came, and goes on', () => {
    const bad: (string | Uint8Array)[] = [
      'no JSON',
      'null',
      '[]',
      '{"t":1,"type":"text","text":"without number"}',
      '{"s":0,"t":1,"type":"text","text":""}',
      '{"s":1.5,"t":1,"type":"text","text":""}',
      '{"s":1e99,"t":1,"type":"text","text":""}',
      '{"s":1,"p":[1,2],"d":"the second part without the first"}',
      '{"s":1,"p":[0,2],"d":7}',
      '{"s":1,"p":"?","d":"x"}',
      Uint8Array.of(0x7b, 0xff, 0xfe, 0x7d),
    ];
    for (const line of bad) {
      const decoder = new WireDecoder();
      const [item, ...more] = decoder.push(line);
      assert.deepEqual(more, []);
      assert.equal(item?.kind, 'malformed', String(line));
      assert.deepEqual(item.malformed, typeof line === 'string' ? bytesOf(line) : line);
      assert.equal(events(decode(encodeEvent(text(2, 'next')), new WireDecoder(1))).length, 1);
    }
    // An event of a kind that is not known counts as come: no gap is reported for it as well.
    const items = decode(['{"s":1,"t":1,"type":"from the future"}', ...encodeEvent(text(2, 'b'))]);
    assert.deepEqual(
      items.map(({ kind }) => kind),
      ['malformed', 'event'],
    );
  });

  it('puts no event together that is longer than the limit, and says so once', () => {
    const lines = [...encodeEvent(text(1, 'x'.repeat(100_000))), ...encodeEvent(text(2, 'after'))];
    const items = decode(lines, new WireDecoder(0, 50_000));
    assert.deepEqual(
      items.map(({ kind }) => kind),
      ['malformed', 'gap', 'event'],
    );
  });

  it('never throws, whatever comes', () => {
    const line = fc.oneof(
      fc.uint8Array({ maxLength: 40 }),
      fc.json(),
      fc
        .record({ s: fc.nat(3), p: fc.oneof(fc.jsonValue(), fc.tuple(fc.nat(3), fc.nat(3))), d: fc.json() })
        .map((part) => JSON.stringify(part)),
    );
    fc.assert(
      fc.property(fc.array(line), (lines) => {
        const decoder = new WireDecoder();
        for (const each of lines) for (const item of decoder.push(each)) assert.ok(item.kind.length > 0);
      }),
      { numRuns: 300 },
    );
  });
});
