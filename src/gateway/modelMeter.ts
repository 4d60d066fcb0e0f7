import { PassThrough, type Transform } from 'node:stream';
import { StringDecoder } from 'node:string_decoder';
import { createBrotliDecompress, createUnzip } from 'node:zlib';
import * as z from 'zod/mini';
import { FrameReader } from './bedrockFrames.ts';
import { UsageCount, type AnswerUsage } from './modelUsage.ts';

/** Longest line of a stream, and longest whole answer, that is read for its usage, in characters. */
const maxText = 32 << 20;

const newline = 0x0a;

/** Reads along with an answer that passes, and counts what it used. Changes nothing and holds nothing up. */
export class ModelMeter {
  private readonly count: UsageCount;
  private readonly reader: (piece: Buffer) => void;
  private readonly finish: () => void;
  private readonly unpacked: Transform | undefined;

  constructor(contentType: string, contentEncoding: string, requestBytes: number) {
    this.count = new UsageCount(requestBytes);
    const { read, end } = this.readerFor(contentType);
    this.finish = end;
    this.unpacked = unpackerFor(contentEncoding);
    this.unpacked?.on('data', read).on('error', () => undefined);
    this.reader = this.unpacked === undefined ? read : (piece) => void this.unpacked?.write(piece);
  }

  see(piece: Buffer): void {
    this.reader(piece);
  }

  /** Call once, when nothing more comes. */
  async total(): Promise<AnswerUsage> {
    const { unpacked } = this;
    if (unpacked !== undefined && !unpacked.destroyed) {
      await new Promise<void>((resolve) => unpacked.once('close', resolve).end().resume());
    }
    this.finish();
    return this.count.total;
  }

  private readerFor(contentType: string): { read: (piece: Buffer) => void; end: () => void } {
    if (contentType.includes('event-stream')) return this.lines();
    if (contentType.includes('eventstream')) return this.frames();
    return this.whole();
  }

  private lines(): { read: (piece: Buffer) => void; end: () => void } {
    const decoder = new StringDecoder('utf8');
    let rest = '';
    return {
      read: (piece) => {
        rest += decoder.write(piece);
        // A long line comes in many pieces, and is read once.
        if (!piece.includes(newline)) {
          if (rest.length > maxText) rest = '';
          return;
        }
        const lines = rest.split('\n');
        rest = lines.pop() ?? '';
        for (const line of lines) if (line.startsWith('data:')) this.count.add(line.slice(5));
      },
      end: () => undefined,
    };
  }

  private frames(): { read: (piece: Buffer) => void; end: () => void } {
    const reader = new FrameReader();
    return {
      read: (piece) => {
        for (const payload of reader.read(piece)) {
          const bytes = Chunk.safeParse(parsed(payload.toString('utf8'))).data?.bytes;
          if (bytes !== undefined) this.count.add(Buffer.from(bytes, 'base64').toString('utf8'));
        }
      },
      end: () => undefined,
    };
  }

  private whole(): { read: (piece: Buffer) => void; end: () => void } {
    const pieces: Buffer[] = [];
    let length = 0;
    return {
      read: (piece) => {
        length += piece.length;
        if (length <= maxText) pieces.push(piece);
      },
      end: () => this.count.add(Buffer.concat(pieces).toString('utf8')),
    };
  }
}

const Chunk = z.object({ bytes: z.string() });

/** The gateway asks for plain answers, and not every proxy on the way does as it is asked. */
function unpackerFor(encoding: string): Transform | undefined {
  if (/^(gzip|x-gzip|deflate)$/.test(encoding)) return createUnzip();
  if (encoding === 'br') return createBrotliDecompress();
  return encoding === '' || encoding === 'identity' ? undefined : new PassThrough();
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
