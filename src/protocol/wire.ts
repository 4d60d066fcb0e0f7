import { parseSandboxEvent, type SandboxEvent } from './taskEvent.ts';

/**
 * How events travel over a sandbox's stdout. A line is the JSON of one event, and at most 16 KiB with its newline,
 * because engines and log services cut longer ones. A longer event travels as parts on lines of their own, in order:
 * `{"s":7,"p":[0,3],"d":"…"}` is the first of three pieces of the JSON text of event 7.
 */

/** Longest line in bytes of UTF-8, with its newline. */
export const maxLineBytes = 16 << 10;

/** Longest JSON text of one event that a reader puts together, in UTF-16 units. */
export const maxEventLength = 64 << 20;

/** What a part's line holds beside its fragment, at the most, with the newline. */
const partOverhead = 64;

/** The lines of one event, without newlines. Throws a RangeError when the event nests too deep for JSON.stringify. */
export function encodeEvent(event: SandboxEvent): string[] {
  const text = JSON.stringify(event);
  if (text.length * 3 < maxLineBytes || utf8Length(text) < maxLineBytes) return [text];
  const fragments = cut(text, maxLineBytes - partOverhead);
  const head = `{"s":${event.s},"p":[`;
  return fragments.map(
    (fragment, index) => `${head}${index},${fragments.length}],"d":${JSON.stringify(fragment)}}`,
  );
}

/** Bytes of well-formed text in UTF-8. JSON.stringify escapes lone surrogates, so that its text always is. */
function utf8Length(text: string): number {
  let bytes = text.length;
  for (let at = 0; at < text.length; at++) {
    const unit = text.charCodeAt(at);
    if (unit < 0x80) continue;
    bytes += unit < 0x800 || isSurrogate(unit) ? 1 : 2;
  }
  return bytes;
}

function isSurrogate(unit: number): boolean {
  return unit >= 0xd800 && unit <= 0xdfff;
}

/** Cuts JSON text so that each piece takes at most `room` bytes inside a JSON string. Never parts a surrogate pair. */
function cut(text: string, room: number): string[] {
  const pieces: string[] = [];
  let start = 0;
  let bytes = 0;
  for (let at = 0; at < text.length; at++) {
    const unit = text.charCodeAt(at);
    const pair = unit >= 0xd800 && unit <= 0xdbff;
    // JSON text holds no control characters, so that only these two are escaped once more.
    const cost = unit < 0x80 ? (unit === 0x22 || unit === 0x5c ? 2 : 1) : pair ? 4 : unit < 0x800 ? 2 : 3;
    if (bytes + cost > room) {
      pieces.push(text.slice(start, at));
      start = at;
      bytes = 0;
    }
    bytes += cost;
    if (pair) at++;
  }
  pieces.push(text.slice(start));
  return pieces;
}

export type WireItem =
  | { kind: 'event'; event: SandboxEvent }
  /** The events with these numbers, both included, did not come. */
  | { kind: 'gap'; from: number; to: number }
  /** A line that is no event and no part of one. */
  | { kind: 'malformed'; malformed: Uint8Array };

/**
 * Reads the lines of a sandbox. What was seen before is dropped, so that a log can be read again from any point: `after`
 * is the number of the last event that is known already. Never throws on what it reads.
 */
export class WireDecoder {
  private last: number;
  private partial: { s: number; count: number; pieces: string[]; length: number } | undefined;
  /** Number of an event whose parts cannot be put together; the rest of them is dropped. */
  private given = 0;
  private readonly maxLength: number;
  private readonly decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

  constructor(after = 0, maxLength = maxEventLength) {
    this.last = after;
    this.maxLength = maxLength;
  }

  /** The number of the last event that was read. */
  get lastNumber(): number {
    return this.last;
  }

  /** Takes one whole line, without its newline. */
  push(line: string | Uint8Array): WireItem[] {
    if (line.length === 0) return [];
    let json: unknown;
    try {
      json = JSON.parse(typeof line === 'string' ? line : this.decoder.decode(line));
    } catch {
      return [malformed(line)];
    }
    if (!isNumbered(json)) return [malformed(line)];
    if (json.s <= this.last) return [];
    if (json.p === undefined || json.type !== undefined) return this.take(json, line);
    return this.part(json.s, json.p, json.d, line);
  }

  private take(json: Numbered, line: string | Uint8Array): WireItem[] {
    const items: WireItem[] = [];
    if (json.s > this.last + 1) items.push({ kind: 'gap', from: this.last + 1, to: json.s - 1 });
    this.last = json.s;
    this.partial = undefined;
    const event = check(json);
    items.push(event === undefined ? malformed(line) : { kind: 'event', event });
    return items;
  }

  private part(s: number, p: unknown, d: unknown, line: string | Uint8Array): WireItem[] {
    if (s === this.given) return [];
    const [index, count] = Array.isArray(p) ? (p as unknown[]) : [];
    if (!isCount(index) || !isCount(count) || index >= count || typeof d !== 'string')
      return [malformed(line)];
    if (this.partial?.s !== s) {
      if (this.partial !== undefined && this.partial.s > s) return [];
      this.partial = { s, count, pieces: [], length: 0 };
    }
    const partial = this.partial;
    if (index < partial.pieces.length && count === partial.count) return [];
    if (
      index !== partial.pieces.length ||
      count !== partial.count ||
      partial.length + d.length > this.maxLength
    ) {
      this.given = s;
      this.partial = undefined;
      return [malformed(line)];
    }
    partial.pieces.push(d);
    partial.length += d.length;
    if (partial.pieces.length < count) return [];
    this.partial = undefined;
    const text = partial.pieces.join('');
    try {
      const json: unknown = JSON.parse(text);
      if (isNumbered(json) && json.s === s) return this.take(json, text);
    } catch {
      // Told below.
    }
    this.given = s;
    return [malformed(text)];
  }
}

interface Numbered {
  s: number;
  type?: unknown;
  p?: unknown;
  d?: unknown;
}

function isNumbered(json: unknown): json is Numbered {
  if (typeof json !== 'object' || json === null) return false;
  const { s } = json as { s?: unknown };
  return Number.isSafeInteger(s) && (s as number) > 0;
}

function isCount(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) >= 0;
}

function check(json: unknown): SandboxEvent | undefined {
  try {
    return parseSandboxEvent(json);
  } catch {
    return undefined;
  }
}

function malformed(line: string | Uint8Array): WireItem {
  return { kind: 'malformed', malformed: typeof line === 'string' ? new TextEncoder().encode(line) : line };
}
