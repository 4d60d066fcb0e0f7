import assert from 'node:assert/strict';
import fc from 'fast-check';
import { maxHelloBytes, readFirstFlight } from '../../src/gateway/egress/clientHello.ts';
import {
  helloMessage,
  inRecords,
  realHello,
  serverName,
  vector,
  type Extension,
} from '../support/clientHello.ts';

const name = 'host.example.com';

describe('gatewayEgressHello', () => {
  let real: Buffer;

  before(async () => {
    real = await realHello({ servername: name, ALPNProtocols: ['h2', 'http/1.1'] });
  });

  it('reads the name from the first flight of a real client, of every version of TLS in use', async () => {
    for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
      const hello = await realHello({ servername: name, minVersion: version, maxVersion: version });
      assert.deepEqual(readFirstFlight(hello), { kind: 'hello', serverName: name, encrypted: false });
    }
  });

  it('tells that a real client names no host', async () => {
    const hello = await realHello({ host: '127.0.0.1' });
    assert.deepEqual(readFirstFlight(hello), { kind: 'hello', serverName: undefined, encrypted: false });
  });

  it('waits for the rest, wherever the first flight is cut', () => {
    for (let cut = 0; cut < real.length; cut++) {
      assert.deepEqual(readFirstFlight(real.subarray(0, cut)), { kind: 'partial' }, String(cut));
    }
  });

  it('reads it from any number of records, cut anywhere', () => {
    const message = real.subarray(5);
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 200 }), { maxLength: 40 }), fc.nat(), (cuts, end) => {
        const whole = inRecords(message, cuts);
        assert.deepEqual(readFirstFlight(whole), { kind: 'hello', serverName: name, encrypted: false });
        assert.deepEqual(readFirstFlight(whole.subarray(0, end % whole.length)), { kind: 'partial' });
      }),
    );
  });

  it('leaves what follows the first flight alone', () => {
    const early = Buffer.concat([real, Buffer.from([20, 3, 3, 0, 1, 1, 23, 3, 3, 0, 2, 9, 9])]);
    assert.deepEqual(readFirstFlight(early), { kind: 'hello', serverName: name, encrypted: false });
  });

  it('sees encrypted names, which hide where the connection goes', () => {
    for (const type of [0xfe0d, 0xffce]) {
      const bytes = inRecords(helloMessage([serverName(name), [type, Buffer.alloc(40)]]));
      assert.deepEqual(readFirstFlight(bytes), { kind: 'hello', serverName: name, encrypted: true });
    }
  });

  it('reads a client hello without any extension', () => {
    assert.deepEqual(readFirstFlight(inRecords(helloMessage(undefined))), {
      kind: 'hello',
      serverName: undefined,
      encrypted: false,
    });
  });

  const other: [what: string, bytes: () => Buffer][] = [
    ['HTTP', () => Buffer.from('GET / HTTP/1.1\r\n\r\n')],
    ['a first byte of SSH', () => Buffer.from('S')],
    ['SSL 2', () => Buffer.from([0x80, 0x2e, 1, 0, 2])],
    ['a record that is no handshake', () => Buffer.from([23, 3, 3, 0, 1, 0])],
    ['another version', () => Buffer.from([22, 2, 0])],
    ['an empty record', () => Buffer.from([22, 3, 1, 0, 0])],
    ['a record that is too long', () => Buffer.from([22, 3, 1, 0x40, 1])],
    ['another handshake message', () => inRecords(Buffer.from([2, 0, 0, 1, 0]))],
    ['a message that is too long', () => inRecords(Buffer.from([1, 0xff, 0xff, 0xff]))],
    [
      'a second record of another kind',
      () =>
        Buffer.concat([
          inRecords(helloMessage([serverName(name)]).subarray(0, 20)),
          Buffer.from([23, 3, 3, 0, 1, 0]),
        ]),
    ],
    [
      'something behind the message in its record',
      () => inRecords(Buffer.concat([helloMessage([serverName(name)]), Buffer.from([1])])),
    ],
    ['two names', () => inRecords(helloMessage([serverName(name, 'other.example.com')]))],
    ['the name twice', () => inRecords(helloMessage([serverName(name), serverName('other.example.com')]))],
    ['a name of another kind', () => inRecords(helloMessage([[0, vector(2, Buffer.from([1, 0, 1, 97]))]]))],
    ['an empty name', () => inRecords(helloMessage([serverName('')]))],
    ['an empty list of names', () => inRecords(helloMessage([[0, vector(2)]]))],
    ['an empty extension for the name', () => inRecords(helloMessage([[0, Buffer.alloc(0)]]))],
    ['a name with NUL', () => inRecords(helloMessage([serverName(`${name}\0.example.org`)]))],
    ['a name with a space', () => inRecords(helloMessage([serverName(`${name} x`)]))],
    [
      'an extension twice',
      () => inRecords(helloMessage([serverName(name), [16, Buffer.alloc(2)], [16, Buffer.alloc(2)]])),
    ],
    [
      'a cut extension',
      () => {
        const message = helloMessage([serverName(name), [16, Buffer.alloc(3)]]);
        message.writeUInt16BE(4, message.length - 5);
        return inRecords(message);
      },
    ],
  ];
  for (const [what, bytes] of other) {
    it(`takes ${what} for no first flight of TLS`, () => {
      assert.deepEqual(readFirstFlight(bytes()), { kind: 'other' });
    });
  }

  it('waits for no more than its bound', () => {
    const endless = inRecords(
      Buffer.concat([Buffer.from([1, 0, 0x7f, 0xf0]), Buffer.alloc(maxHelloBytes)]),
      Array.from({ length: maxHelloBytes }, () => 1),
    );
    assert.deepEqual(readFirstFlight(endless.subarray(0, maxHelloBytes - 1)), { kind: 'partial' });
    assert.deepEqual(readFirstFlight(endless.subarray(0, maxHelloBytes)), { kind: 'other' });
  });

  it('reads any bytes without throwing', () => {
    const start = fc.constantFrom<number[]>([], [22, 3, 1], [22, 3, 1, 0, 60, 1, 0, 0, 56, 3, 3]);
    fc.assert(
      fc.property(start, fc.uint8Array({ maxLength: 300 }), (front, rest) => {
        const { kind } = readFirstFlight(Buffer.from([...front, ...rest]));
        assert.ok(['partial', 'hello', 'other'].includes(kind));
      }),
      { numRuns: 3000 },
    );
  });

  it('reads a real first flight with any byte changed without throwing, and no other name as this one', () => {
    const at = real.indexOf(name);
    fc.assert(
      fc.property(fc.nat(real.length - 1), fc.integer({ min: 1, max: 255 }), (index, change) => {
        const bytes = Buffer.from(real);
        bytes[index] = (bytes[index] ?? 0) ^ change;
        const flight = readFirstFlight(bytes);
        if (index >= at && index < at + name.length && flight.kind === 'hello') {
          assert.notEqual(flight.serverName, name);
        }
      }),
      { numRuns: 3000 },
    );
  });

  it('reads back every list of extensions', () => {
    const extension = fc.tuple(
      fc.integer({ min: 1, max: 0xfe00 }),
      fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
    );
    fc.assert(
      fc.property(
        fc.uniqueArray(extension, { selector: ([type]) => type, maxLength: 10 }),
        fc.domain(),
        fc.nat(10),
        (extensions, host, place) => {
          const all: Extension[] = [...extensions];
          all.splice(place, 0, serverName(host));
          assert.deepEqual(readFirstFlight(inRecords(helloMessage(all))), {
            kind: 'hello',
            serverName: host,
            encrypted: false,
          });
        },
      ),
    );
  });
});
