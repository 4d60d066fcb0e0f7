import { SallyportError } from '../../base/errors.ts';

/** Longest answer of another service that is read, in bytes: those that are asked for are small. */
const maxBytes = 256 << 10;

/** The JSON of an answer; undefined for what is none, or is too long. */
export async function jsonOf(response: Response): Promise<unknown> {
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const part of (response.body ?? []) as AsyncIterable<Uint8Array>) {
    size += part.byteLength;
    if (size > maxBytes) return undefined;
    parts.push(part);
  }
  try {
    return JSON.parse(Buffer.concat(parts).toString('utf8')) as unknown;
  } catch {
    return undefined;
  }
}

/** What a failed connection may say: its code, and nothing that holds a URL or a credential. */
export function reasonOf(thrown: unknown): string {
  const cause = thrown instanceof Error && thrown.cause instanceof Error ? thrown.cause : thrown;
  if (cause instanceof Error && 'code' in cause && typeof cause.code === 'string') return cause.code;
  return cause instanceof Error ? cause.name : 'unknown';
}

export function refused(message: string, mend: string): SallyportError {
  return new SallyportError('forbidden', message, mend);
}
