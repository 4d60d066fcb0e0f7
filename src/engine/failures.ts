import { isAbort, SallyportError } from '../base/errors.ts';

/** What dockerode throws for an answer that is no success. */
interface HttpFailure extends Error {
  statusCode: number;
}

export function statusOf(thrown: unknown): number | undefined {
  return thrown instanceof Error && 'statusCode' in thrown ? (thrown as HttpFailure).statusCode : undefined;
}

export function codeOf(thrown: unknown): string | undefined {
  return thrown instanceof Error ? (thrown as NodeJS.ErrnoException).code : undefined;
}

/** What Docker says of a container that somebody is just removing: its log is closed before its name is gone. */
const beingRemoved =
  /dead or marked for removal|marked for removal and cannot|RWLayer of container .* is unexpectedly nil/i;

/** True when there is no such container any more, or not for long. */
export function isRemoved(thrown: unknown): boolean {
  const status = statusOf(thrown);
  if (status === 404) return true;
  return (status === 409 || status === 500) && beingRemoved.test(messageOf(thrown));
}

const goneCodes = new Set(['ECONNREFUSED', 'ENOENT', 'ECONNRESET', 'EPIPE', 'ERR_STREAM_PREMATURE_CLOSE']);

/** True when the engine stopped answering in the middle of something. */
export function isGone(thrown: unknown): boolean {
  if (!(thrown instanceof Error) || statusOf(thrown) !== undefined) return false;
  return goneCodes.has(codeOf(thrown) ?? '') || /socket hang up|^aborted$/.test(thrown.message);
}

const noSpace = /no space left on device|ENOSPC|disk quota exceeded/i;

/** Tells a failure of a call to the engine in a user's terms. `doing` completes "while …". */
export function engineFailure(thrown: unknown, doing: string): Error {
  if (thrown instanceof SallyportError) return thrown;
  if (isAbort(thrown)) return thrown as Error;
  if (isGone(thrown)) {
    return new SallyportError(
      'engine_gone',
      `The container engine went away while ${doing}.`,
      'Start the engine again; Sallyport then finds its tasks again.',
      { cause: thrown },
    );
  }
  const text = messageOf(thrown);
  if (noSpace.test(text)) return diskFull(text, thrown);
  return new SallyportError(
    'internal',
    `The container engine failed while ${doing}: ${text}`,
    'Look into the Sallyport log and the log of the engine.',
    { cause: thrown },
  );
}

export function diskFull(text: string, cause?: unknown): SallyportError {
  return new SallyportError(
    'disk_full',
    `The disk of the container engine is full: ${text}`,
    'Make room, for example with: docker system prune',
    { cause },
  );
}

export function isDiskFull(text: string): boolean {
  return noSpace.test(text);
}

/** The engine's own words, without what dockerode puts around them. */
export function messageOf(thrown: unknown): string {
  const text = thrown instanceof Error ? thrown.message : String(thrown);
  return text.replace(/^\(HTTP code \d+\) [^-]* - /, '').trim();
}
