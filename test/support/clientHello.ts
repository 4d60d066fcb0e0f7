import { once } from 'node:events';
import { Duplex } from 'node:stream';
import { connect, type ConnectionOptions } from 'node:tls';

/** The first flight of a real TLS client. */
export async function realHello(options: ConnectionOptions): Promise<Buffer> {
  let send: (bytes: Buffer) => void = () => undefined;
  const sent = new Promise<Buffer>((resolve) => (send = resolve));
  const wire = new Duplex({
    read: () => undefined,
    write: (chunk: Buffer, _, done) => {
      send(chunk);
      done();
    },
  });
  const client = connect({ ...options, socket: wire });
  client.on('error', () => undefined);
  const bytes = await sent;
  client.destroy();
  if (!client.closed) await once(client, 'close');
  return bytes;
}

/** Extension of TLS: its type, its content. */
export type Extension = [type: number, content: Buffer];

/** A handshake message with a ClientHello that was made by hand. */
export function helloMessage(extensions: readonly Extension[] | undefined): Buffer {
  const block =
    extensions === undefined
      ? Buffer.alloc(0)
      : vector(2, ...extensions.map(([type, content]) => Buffer.concat([uint(2, type), vector(2, content)])));
  const body = Buffer.concat([
    uint(2, 0x0303),
    Buffer.alloc(32, 7),
    vector(1, Buffer.alloc(32, 9)),
    vector(2, uint(2, 0x1301)),
    vector(1, uint(1, 0)),
    block,
  ]);
  return Buffer.concat([uint(1, 1), uint(3, body.length), body]);
}

/** `message` in records of TLS; `cuts` are the lengths of their contents, the last takes the rest. */
export function inRecords(message: Buffer, cuts: readonly number[] = []): Buffer {
  const parts: Buffer[] = [];
  let at = 0;
  for (const cut of [...cuts, message.length]) {
    const content = message.subarray(at, at + cut);
    at += content.length;
    if (content.length > 0)
      parts.push(Buffer.concat([Buffer.from([22, 3, 1]), uint(2, content.length), content]));
  }
  return Buffer.concat(parts);
}

export function serverName(...names: string[]): Extension {
  return [
    0,
    vector(2, ...names.map((name) => Buffer.concat([uint(1, 0), vector(2, Buffer.from(name, 'latin1'))]))),
  ];
}

export function vector(size: number, ...contents: Buffer[]): Buffer {
  const whole = Buffer.concat(contents);
  return Buffer.concat([uint(size, whole.length), whole]);
}

function uint(size: number, value: number): Buffer {
  const bytes = Buffer.alloc(size);
  bytes.writeUIntBE(value, 0, size);
  return bytes;
}
