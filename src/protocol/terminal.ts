import * as z from 'zod/mini';
import type { ByteStream } from './runner.ts';
import { Problem } from './runnerApi.ts';

const Cells = z.int().check(z.minimum(1), z.maximum(1000));

/** In characters. */
export const TerminalSize = z.object({ cols: Cells, rows: Cells });
export type TerminalSize = z.infer<typeof TerminalSize>;

/** What a viewer of a terminal sends as text; what is typed goes as bytes. */
export const TerminalRequest = z.discriminatedUnion('type', [
  z.object({ type: z.literal('resize'), cols: Cells, rows: Cells }),
]);

/**
 * Why a terminal shows nothing more: its shell has ended; it was cut off, because its sandbox is gone or its runner leaves;
 * or its reader did not keep up with what others read.
 */
export type TerminalEnd =
  { reason: 'exit'; code: number } | { reason: 'gone' } | { reason: 'slow' } | { reason: 'left' };

/** What a server says as text: `opened` first, or why not; and `end` before it closes the socket. What the terminal shows comes as bytes. */
export const TerminalMessage = z.union([
  z.object({ type: z.literal('opened') }),
  z.object({ type: z.literal('end'), reason: z.literal('exit'), code: z.int() }),
  z.object({ type: z.literal('end'), reason: z.enum(['gone', 'left']) }),
  /** It could not be opened. */
  z.object({ type: z.literal('problem'), problem: Problem }),
]);
export type TerminalMessage = z.infer<typeof TerminalMessage>;

/** One viewer's view of a shell in a task's sandbox. All viewers of a task see and write to the same. */
export interface Terminal {
  /** First what was printed last (at most 256 KiB), then what comes. Ends with the terminal. Read once. */
  output: ByteStream;
  /** Types. Resolves when there is room for more. */
  write(data: Uint8Array): Promise<void>;
  /** How much this viewer can show; the shell has the smallest of all viewers' sizes. */
  resize(size: TerminalSize): void;
  /** Never rejects. */
  ended: Promise<TerminalEnd>;
  /** Leaves the terminal; the shell goes on for others, and for those who come later. */
  dispose(): void;
}
