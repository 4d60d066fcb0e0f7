import { crc32 } from 'node:zlib';

/**
 * Amazon's event stream (`application/vnd.amazon.eventstream`): a frame is its length and that of its headers, each 4
 * bytes, a CRC of these, the headers, the payload, and a CRC of all.
 * https://docs.aws.amazon.com/AmazonS3/latest/API/RESTSelectObjectAppendix.html describes it.
 */
const preludeBytes = 12;
const trailerBytes = 4;
/** Services send at most 16 MiB; more is no event stream. */
const maxFrameBytes = 24 << 20;
const stringHeader = 7;

/** Cuts payloads out of a stream that comes in any pieces. What is no event stream gives nothing from there on. */
export class FrameReader {
  private rest: Buffer = Buffer.alloc(0);
  private broken = false;

  /** The payloads that are whole with this piece. */
  read(piece: Buffer): Buffer[] {
    if (this.broken) return [];
    const payloads: Buffer[] = [];
    let bytes = this.rest.length === 0 ? piece : Buffer.concat([this.rest, piece]);
    while (bytes.length >= preludeBytes) {
      const length = bytes.readUInt32BE(0);
      const headers = bytes.readUInt32BE(4);
      if (length > maxFrameBytes || preludeBytes + headers + trailerBytes > length) {
        this.broken = true;
        this.rest = Buffer.alloc(0);
        return payloads;
      }
      if (bytes.length < length) break;
      payloads.push(bytes.subarray(preludeBytes + headers, length - trailerBytes));
      bytes = bytes.subarray(length);
    }
    this.rest = bytes;
    return payloads;
  }
}

/** One frame with headers of text. */
export function encodeFrame(headers: Record<string, string>, payload: string): Buffer {
  const encoded = Object.entries(headers).flatMap(([name, value]) => {
    const head = Buffer.alloc(name.length + 4);
    head.writeUInt8(name.length, 0);
    head.write(name, 1, 'latin1');
    head.writeUInt8(stringHeader, name.length + 1);
    head.writeUInt16BE(Buffer.byteLength(value), name.length + 2);
    return [head, Buffer.from(value)];
  });
  const middle = Buffer.concat([...encoded, Buffer.from(payload)]);
  const frame = Buffer.alloc(preludeBytes + middle.length + trailerBytes);
  frame.writeUInt32BE(frame.length, 0);
  frame.writeUInt32BE(middle.length - Buffer.byteLength(payload), 4);
  frame.writeUInt32BE(crc32(frame.subarray(0, 8)), 8);
  middle.copy(frame, preludeBytes);
  frame.writeUInt32BE(crc32(frame.subarray(0, frame.length - trailerBytes)), frame.length - trailerBytes);
  return frame;
}

/** An event of the Messages API as Bedrock sends it. */
export function chunkFrame(event: { type: string }): Buffer {
  const bytes = Buffer.from(JSON.stringify(event)).toString('base64');
  return encodeFrame(
    { ':event-type': 'chunk', ':content-type': 'application/json', ':message-type': 'event' },
    JSON.stringify({ bytes }),
  );
}

/** A failure in the middle of a stream as Bedrock tells it. */
export function exceptionFrame(type: string, message: string): Buffer {
  return encodeFrame(
    { ':exception-type': type, ':content-type': 'application/json', ':message-type': 'exception' },
    JSON.stringify({ message }),
  );
}
