import { LineSplitter } from '../base/lines.ts';
import type { AgentReader, Reading } from '../agent/adapter.ts';
import type { SandboxBody } from '../protocol/taskEvent.ts';

/** Longest line of the agent's that is read as a message, in bytes; a longer one is kept as output. */
const maxMessageBytes = 32 << 20;
/** Longest piece of output in one event, in bytes. */
const maxPieceBytes = 1 << 20;

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Makes events of the bytes of one stream of the agent's. */
export class AgentOutput {
  private readonly splitter: LineSplitter;
  private inLongLine = false;

  /**
   * Without a reader every line is output.
   * @param onRead is called behind the events of each message
   */
  constructor(
    stream: 'stdout' | 'stderr',
    reader: AgentReader | undefined,
    emit: (body: SandboxBody) => void,
    onRead: (reading: Reading) => void = () => undefined,
  ) {
    this.splitter = new LineSplitter(
      (line, end) => {
        const whole = end && !this.inLongLine;
        this.inLongLine = !end;
        const reading = whole && reader !== undefined ? readLine(line, reader) : undefined;
        if (reading === undefined) {
          for (const body of outputBodies(line, stream)) emit(body);
          return;
        }
        for (const body of reading.bodies) emit(body);
        onRead(reading);
      },
      reader === undefined ? maxPieceBytes : maxMessageBytes,
    );
  }

  push(chunk: Uint8Array): void {
    this.splitter.push(chunk);
  }

  end(): void {
    this.splitter.end();
  }
}

function readLine(line: Uint8Array, reader: AgentReader): ReturnType<AgentReader> {
  if (line[0] !== 0x7b) return undefined;
  const text = decode(line);
  return text === undefined ? undefined : reader(text);
}

/** A line in pieces: text, or base64 where the bytes are no UTF-8. Cuts do not fall into a character. */
export function outputBodies(
  line: Uint8Array,
  stream: 'stdout' | 'stderr',
  maxBytes = maxPieceBytes,
): SandboxBody[] {
  const bodies: SandboxBody[] = [];
  let at = 0;
  do {
    let end = Math.min(at + maxBytes, line.length);
    for (let back = 0; back < 3 && end < line.length && isContinuation(line[end]); back++) end--;
    const piece = line.subarray(at, end);
    const text = decode(piece);
    bodies.push(
      text === undefined
        ? { type: 'output', stream, base64: Buffer.from(piece).toString('base64') }
        : { type: 'output', stream, text },
    );
    at = end;
  } while (at < line.length);
  return bodies;
}

function isContinuation(byte: number | undefined): boolean {
  return byte !== undefined && (byte & 0xc0) === 0x80;
}

function decode(bytes: Uint8Array): string | undefined {
  try {
    return decoder.decode(bytes);
  } catch {
    return undefined;
  }
}
