import type { Readable } from 'node:stream';
import type Docker from 'dockerode';
import { Demultiplexer } from './demux.ts';
import { ask } from './dial.ts';

/** Bytes that an attachment may hold for its reader. */
const maxHeld = 64 << 20;

/**
 * A container's live output, drained whether its reader takes it or not, because an attachment that is not read stalls
 * the container. When too much is held it ends; the log file has the rest.
 */
export class Attachment {
  private held: Uint8Array[] = [];
  private heldBytes = 0;
  private over = false;
  private wake: (() => void) | undefined;
  private readonly stream: Readable;

  private constructor(stream: Readable) {
    this.stream = stream;
    const demultiplexer = new Demultiplexer((number, data) => {
      if (number !== 1 || this.over || data.length === 0) return;
      this.held.push(data);
      this.heldBytes += data.length;
    });
    stream.on('data', (chunk: Uint8Array) => {
      try {
        demultiplexer.push(chunk);
      } catch {
        this.close();
      }
      if (this.heldBytes > maxHeld) this.close();
      this.wake?.();
    });
    stream.on('end', () => this.close());
    stream.on('error', () => this.close());
    stream.on('close', () => this.close());
  }

  static async open(docker: Docker, id: string, signal: AbortSignal): Promise<Attachment> {
    const path = `/containers/${id}/attach?stream=1&stdout=1&stderr=1`;
    return new Attachment((await ask(docker, 'POST', path, { isStream: true, signal })) as Readable);
  }

  /** What came and has not been taken; nothing at the end. */
  async next(): Promise<Uint8Array[]> {
    while (this.heldBytes === 0 && !this.over) {
      await new Promise<void>((resolve) => (this.wake = resolve));
      this.wake = undefined;
    }
    const taken = this.held;
    this.held = [];
    this.heldBytes = 0;
    return taken;
  }

  close(): void {
    this.over = true;
    this.stream.destroy();
    this.wake?.();
  }
}
