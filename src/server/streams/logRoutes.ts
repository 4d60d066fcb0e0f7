import * as z from 'zod/mini';
import { asSallyportError } from '../../base/errors.ts';
import { safeText } from '../../protocol/safeText.ts';
import type { TaskEvent } from '../../protocol/taskEvent.ts';
import { lineOf } from '../../runner/headless.ts';
import { problemOf } from '../http/problem.ts';
import type { Call, Router } from '../http/router.ts';
import type { User } from '../principal.ts';
import { Count, farewellError, Flag, lastEventOf, TaskPath } from './eventRoutes.ts';
import { HttpStream } from './httpStream.ts';
import type { StreamHub } from './hub.ts';

/** Most lines that `tail` gives, and how long they may be in all, in characters. */
const maxTail = 10_000;
const maxTailLength = 8 << 20;

export const textType = 'text/plain; charset=utf-8';

const LogsQuery = z.object({
  /** False: only what the log holds now. */
  follow: z.optional(Flag),
  /** Only so many lines of what is there, and then what comes. */
  tail: z.optional(Count),
});

/** The log as a person reads it in a terminal. */
export function logRoutes(router: Router, hub: StreamHub): void {
  router.add({
    method: 'GET',
    url: '/api/v1/tasks/:id/logs',
    summary: 'The log of a task as text for people, then live',
    tag: 'events',
    access: 'tasks:read',
    params: TaskPath,
    query: LogsQuery,
    answer: { type: textType },
    handle: (call) => Promise.resolve(logAnswer(hub, call, call.params.id, call.query)),
  });
}

/** What a request for a log is answered with. */
export function logAnswer(
  hub: StreamHub,
  call: Call,
  id: string,
  { follow, tail }: z.output<typeof LogsQuery> = {},
): AsyncIterable<Uint8Array> | string {
  if (call.request.method === 'HEAD') return '';
  const stream = new HttpStream(hub, call);
  try {
    const last = lastEventOf(hub, stream.connection.user, id);
    return stream.pass(logText(hub, stream, id, { last, live: follow !== 'false', tail }));
  } catch (thrown) {
    stream.connection.dispose();
    throw thrown;
  }
}

async function* logText(
  hub: StreamHub,
  stream: HttpStream,
  id: string,
  { last, live, tail }: { last: number; live: boolean; tail: number | undefined },
): AsyncGenerator<Buffer, void> {
  const { tasks } = hub.context;
  const user = (): User => stream.connection.user;
  const reading = new AbortController();
  const leave = (): void => reading.abort();
  stream.signal.addEventListener('abort', leave);
  let lost: unknown;
  const guard = stream.connection.guard(id, (thrown) => {
    lost = thrown;
    leave();
  });
  try {
    let after = 0;
    if (tail !== undefined) {
      const ended = await tailOf((from) => tasks.events(user(), id, from, reading.signal), last, tail);
      if (ended !== '') yield Buffer.from(ended);
      after = last;
    }
    if (live || after < last) {
      for await (const events of tasks.events(user(), id, after, reading.signal)) {
        const text = textOf(live ? events : events.filter(({ n }) => n <= last));
        if (text !== '') yield Buffer.from(text);
        if (!live && (events.at(-1)?.n ?? 0) >= last) break;
      }
    }
  } catch (thrown) {
    lost ??= asSallyportError(thrown);
  } finally {
    guard.dispose();
    reading.abort();
    stream.signal.removeEventListener('abort', leave);
  }
  if (stream.farewell !== undefined) lost ??= farewellError(stream.farewell);
  if (lost !== undefined) yield Buffer.from(`! ${problemOf(lost).detail}\n`);
}

/** Events as lines of text. What the sandbox says is text: nothing of it steers a terminal or hides in it. */
function textOf(events: readonly TaskEvent[]): string {
  return events
    .map(lineOf)
    .filter((line) => line !== undefined)
    .map((line) => `${safeText(line)}\n`)
    .join('');
}

/** The last lines up to event number `last`; looks back further and further until there are enough. */
async function tailOf(
  read: (after: number) => AsyncIterable<TaskEvent[]>,
  last: number,
  wanted: number,
): Promise<string> {
  const count = Math.min(wanted, maxTail);
  if (count === 0 || last === 0) return '';
  for (let back = count; ; back *= 4) {
    const from = Math.max(0, last - back);
    let lines: string[] = [];
    for await (const events of read(from)) {
      const text = textOf(events.filter(({ n }) => n <= last));
      if (text !== '') lines = shortened([...lines, ...text.slice(0, -1).split('\n')], count);
      if ((events.at(-1)?.n ?? 0) >= last) break;
    }
    const length = lines.reduce((sum, line) => sum + line.length, 0);
    if (lines.length >= count || from === 0 || length > maxTailLength / 2)
      return lines.map((line) => `${line}\n`).join('');
  }
}

function shortened(lines: readonly string[], count: number): string[] {
  const kept: string[] = [];
  let length = 0;
  for (let at = lines.length - 1; at >= 0 && kept.length < count; at--) {
    const line = lines[at] ?? '';
    length += line.length;
    if (length > maxTailLength && kept.length > 0) break;
    kept.push(line);
  }
  return kept.reverse();
}
