import { concat } from './lines.ts';

/**
 * The framing of the control channel, which runs over the stdin and stdout of an engine's exec: not every engine passes
 * on the end of stdin, so the end is a frame of its own. A frame is one kind byte, four length bytes (big endian) and
 * the payload: `J` a JSON message, `D` data, `E` the end of the data.
 */
export type Frame = { kind: 'J'; json: unknown } | { kind: 'D'; data: Uint8Array } | { kind: 'E' };

const maxJsonBytes = 32 << 20;
const maxDataBytes = 1 << 20;
const header = 5;

export function encodeFrame(frame: Frame): Uint8Array {
  const payload =
    frame.kind === 'J'
      ? new TextEncoder().encode(JSON.stringify(frame.json))
      : frame.kind === 'D'
        ? frame.data
        : new Uint8Array();
  const bytes = new Uint8Array(header + payload.length);
  bytes[0] = frame.kind.charCodeAt(0);
  new DataView(bytes.buffer).setUint32(1, payload.length);
  bytes.set(payload, header);
  return bytes;
}

/** Frames a stream: data cut to size, then the end. */
export async function* encodeData(source: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
  for await (const chunk of source) {
    for (let at = 0; at < chunk.length; at += maxDataBytes) {
      yield encodeFrame({ kind: 'D', data: chunk.subarray(at, at + maxDataBytes) });
    }
  }
  yield encodeFrame({ kind: 'E' });
}

/** Reads frames; throws on what is none. A stream that ends inside a frame throws too. */
export async function* decodeFrames(source: AsyncIterable<Uint8Array>): AsyncGenerator<Frame, void> {
  let parts: Uint8Array[] = [];
  let held = 0;
  let need = header;
  let kind: string | undefined;
  for await (const chunk of source) {
    parts.push(chunk);
    held += chunk.length;
    while (held >= need) {
      const [only, ...more] = parts;
      const all = only !== undefined && more.length === 0 ? only : concat(parts);
      const piece = all.subarray(0, need);
      const rest = all.subarray(need);
      parts = rest.length === 0 ? [] : [rest];
      held = rest.length;
      if (kind === undefined) {
        kind = String.fromCharCode(piece[0] ?? 0);
        need = new DataView(piece.buffer, piece.byteOffset).getUint32(1);
        const limit = kind === 'J' ? maxJsonBytes : kind === 'D' ? maxDataBytes : kind === 'E' ? 0 : -1;
        if (need > limit) throw new Error(`Malformed frame: kind ${JSON.stringify(kind)}, ${need} bytes`);
      } else {
        yield toFrame(kind, piece);
        kind = undefined;
        need = header;
      }
    }
  }
  if (held > 0 || kind !== undefined) throw new Error('The stream ended inside a frame');
}

function toFrame(kind: string, payload: Uint8Array): Frame {
  if (kind === 'J') return { kind, json: JSON.parse(new TextDecoder().decode(payload)) as unknown };
  return kind === 'D' ? { kind, data: payload } : { kind: 'E' };
}
