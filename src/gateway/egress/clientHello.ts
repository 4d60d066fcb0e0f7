/** Longest first flight that is waited for, in bytes. Those in use are below three thousand. */
export const maxHelloBytes = 32 << 10;

/** What the first bytes of a tunnel are. */
export type FirstFlight =
  /** The beginning of a ClientHello; more has to come. */
  | { kind: 'partial' }
  /** A whole ClientHello. `serverName` as it stands there; undefined when it names none. */
  | { kind: 'hello'; serverName: string | undefined; encrypted: boolean }
  | { kind: 'other' };

const partial: FirstFlight = { kind: 'partial' };
const other: FirstFlight = { kind: 'other' };

const handshakeRecord = 22;
const clientHello = 1;
const maxRecord = 1 << 14;
const serverNameExtension = 0;
/** Encrypted Client Hello, and its forerunner, encrypted server names: both hide where the connection really goes. */
const encryptedExtensions = new Set([0xfe0d, 0xffce]);

/**
 * Reads a TLS ClientHello (RFC 8446, 4.1.2) from the first bytes of a connection, however it is cut into records. Strict:
 * what a server might read in another way is `other`.
 */
export function readFirstFlight(bytes: Buffer): FirstFlight {
  const message = joinRecords(bytes);
  return 'kind' in message ? message : readHello(message);
}

/** The handshake message of the first records, without the records. */
function joinRecords(bytes: Buffer): Buffer | FirstFlight {
  const parts: Buffer[] = [];
  let have = 0;
  let want: number | undefined;
  for (let at = 0; ;) {
    const rest = bytes.subarray(at);
    // Each byte is looked at as soon as it is there: who speaks something else is not waited for.
    if (rest.length > 0 && rest[0] !== handshakeRecord) return other;
    if (rest.length > 1 && rest[1] !== 3) return other;
    if (rest.length < 5) return more(bytes);
    const length = rest.readUInt16BE(3);
    if (length === 0 || length > maxRecord) return other;
    const part = rest.subarray(5, 5 + length);
    parts.push(part);
    have += part.length;
    at += 5 + length;
    if (have > 0 && parts[0]?.[0] !== clientHello) return other;
    if (want === undefined && have >= 4) {
      want = 4 + Buffer.concat(parts).readUIntBE(1, 3);
      if (want > maxHelloBytes) return other;
    }
    if (part.length < length) return want !== undefined && have > want ? other : more(bytes);
    if (want === undefined || have < want) continue;
    // Nothing may share the record with the end of a ClientHello.
    return have === want ? Buffer.concat(parts) : other;
  }
}

function more(bytes: Buffer): FirstFlight {
  return bytes.length < maxHelloBytes ? partial : other;
}

/** Reads fields one after another; `undefined` once there is less than is asked for. */
class Fields {
  private readonly bytes: Buffer;
  private at = 0;

  constructor(bytes: Buffer) {
    this.bytes = bytes;
  }

  isDone(): boolean {
    return this.at === this.bytes.length;
  }

  number(size: 1 | 2): number | undefined {
    if (this.at + size > this.bytes.length) return undefined;
    const value = this.bytes.readUIntBE(this.at, size);
    this.at += size;
    return value;
  }

  take(length: number | undefined): Buffer | undefined {
    if (length === undefined || this.at + length > this.bytes.length) return undefined;
    this.at += length;
    return this.bytes.subarray(this.at - length, this.at);
  }

  /** A field with its length in front, in `size` bytes. */
  vector(size: 1 | 2): Buffer | undefined {
    return this.take(this.number(size));
  }
}

function readHello(message: Buffer): FirstFlight {
  const fields = new Fields(message.subarray(4));
  const version = fields.number(2);
  const random = fields.take(32);
  const session = fields.vector(1);
  const ciphers = fields.vector(2);
  const compressions = fields.vector(1);
  if (version === undefined || version >> 8 !== 3 || random === undefined) return other;
  if (session === undefined || session.length > 32) return other;
  if (ciphers === undefined || ciphers.length < 2 || ciphers.length % 2 === 1) return other;
  if (compressions === undefined || compressions.length === 0) return other;
  if (fields.isDone()) return { kind: 'hello', serverName: undefined, encrypted: false };
  const block = fields.vector(2);
  if (block === undefined || !fields.isDone()) return other;
  const extensions = readExtensions(new Fields(block));
  if (extensions === undefined) return other;
  const encrypted = [...encryptedExtensions].some((type) => extensions.has(type));
  const names = extensions.get(serverNameExtension);
  if (names === undefined) return { kind: 'hello', serverName: undefined, encrypted };
  const serverName = readServerName(names);
  return serverName === undefined ? other : { kind: 'hello', serverName, encrypted };
}

/** By type; undefined when they are malformed or one stands there twice. */
function readExtensions(fields: Fields): Map<number, Buffer> | undefined {
  const found = new Map<number, Buffer>();
  while (!fields.isDone()) {
    const type = fields.number(2);
    const data = fields.vector(2);
    if (type === undefined || data === undefined || found.has(type)) return undefined;
    found.set(type, data);
  }
  return found;
}

/** The one host name of the extension (RFC 6066, 3). */
function readServerName(extension: Buffer): string | undefined {
  const outer = new Fields(extension);
  const list = outer.vector(2);
  if (list === undefined || !outer.isDone()) return undefined;
  const fields = new Fields(list);
  const type = fields.number(1);
  const name = fields.vector(2);
  if (type !== 0 || name === undefined || name.length === 0 || !fields.isDone()) return undefined;
  const text = name.toString('latin1');
  return /^[\x21-\x7e]+$/.test(text) ? text : undefined;
}

/** Descriptions of a TLS alert (RFC 8446, 6.2). */
export const alerts = { handshakeFailure: 40, internalError: 80, unrecognizedName: 112 } as const;

/** The record of a fatal alert, which TLS clients show. */
export function fatalAlert(description: number): Buffer {
  return Buffer.from([21, 3, 3, 0, 2, 2, description]);
}
