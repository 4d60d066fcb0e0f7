import type { WebSocket } from '@fastify/websocket';
import * as z from 'zod/mini';
import { SallyportError } from '../../base/errors.ts';
import { TaskId } from '../../protocol/grammar.ts';
import { problemOf } from '../http/problem.ts';
import type { Call, Router } from '../http/router.ts';
import { asking, type Principal } from '../principal.ts';
import type { Batch } from './batch.ts';
import type { Follow } from './follow.ts';
import { HttpStream } from './httpStream.ts';
import { closeCodes } from '../../protocol/runnerApi.ts';
import { type Farewell, farewells, type StreamHub } from './hub.ts';
import { SocketClient } from './socketClient.ts';
import { StreamSocket } from './streamSocket.ts';

export const TaskPath = z.object({ id: TaskId });

/** A number in a query. */
export const Count = z.pipe(z.string().check(z.regex(/^[0-9]{1,15}$/)), z.transform(Number));
export const Flag = z.enum(['true', 'false']);

const EventsQuery = z.object({
  after: z.optional(Count),
  /** False: only what the log holds now. */
  follow: z.optional(Flag),
});
type EventsCall = Call<z.output<typeof TaskPath>, z.output<typeof EventsQuery>>;

/** How long an `EventSource` waits before it comes again, in milliseconds. */
const retryMs = 2000;

/** How events are written into an answer. */
interface Writing {
  type: string;
  first: string;
  batch: (batch: Batch) => Buffer;
  heartbeat: string | undefined;
  problem: (text: string) => string;
  over: string;
}

const ndjson: Writing = {
  type: 'application/x-ndjson; charset=utf-8',
  first: '',
  batch: (batch) => batch.ndjson(),
  heartbeat: undefined,
  problem: (text) => `{"problem":${text}}\n`,
  over: '',
};

const sse: Writing = {
  type: 'text/event-stream; charset=utf-8',
  first: `retry: ${retryMs}\n\n`,
  batch: (batch) => batch.sse(),
  heartbeat: ': still here\n\n',
  problem: (text) => `event: problem\ndata: ${text}\n\n`,
  over: 'event: over\ndata: {}\n\n',
};

/** A task's events, in every way in which they can be had, and the stream of a client that follows many tasks. */
export function eventRoutes(router: Router, hub: StreamHub): void {
  router.add({
    method: 'GET',
    url: '/api/v1/tasks/:id/events',
    summary:
      'Events of a task after a number, then live: one JSON object a line; Server-Sent Events to whoever accepts them; over a WebSocket one message each',
    tag: 'events',
    access: 'tasks:read',
    params: TaskPath,
    query: EventsQuery,
    answer: { type: ndjson.type },
    handle: (call) => Promise.resolve(answer(hub, call)),
    socket: (socket, call) => tellSocket(hub, socket, call),
  });
  router.socket({
    url: '/api/v1/stream',
    summary: 'All tasks that the user may see, their changes, and the events of those that are followed',
    tag: 'events',
    access: 'tasks:read',
    handle: (socket, { principal }) => {
      new StreamSocket(hub, socket, asking(principal));
      return Promise.resolve();
    },
  });
}

function answer(hub: StreamHub, call: EventsCall): AsyncIterable<Uint8Array> | undefined {
  const { id } = call.params;
  const { user } = asking(call.principal);
  const writing = call.request.headers.accept?.includes('text/event-stream') === true ? sse : ndjson;
  const after = call.query.after ?? lastSeen(call);
  // An EventSource that has seen all comes again until it is told that there is nothing.
  if (writing === sse && isOver(hub, user, id, after)) {
    void call.reply.status(204).send();
    return undefined;
  }
  const until = call.query.follow === 'false' ? lastEventOf(hub, user, id) : undefined;
  const stream = new HttpStream(hub, call);
  const follow = followOrLeave(hub, stream, id, after, until);
  void call.reply.type(writing.type).header('x-accel-buffering', 'no');
  return stream.pass(written(hub, stream, follow, writing));
}

function followOrLeave(
  hub: StreamHub,
  stream: HttpStream,
  id: string,
  after: number,
  until: number | undefined,
): Follow {
  try {
    return hub.follow(stream.connection, id, after, until);
  } catch (thrown) {
    stream.close(farewells.goingAway);
    throw thrown;
  }
}

/** `Last-Event-ID` of an `EventSource` that comes again. */
function lastSeen({ request }: EventsCall): number {
  const read = Count.safeParse(request.headers['last-event-id']);
  return read.success ? read.data : 0;
}

/** Number of the newest event that the task has now; 0 before its log begins. */
export function lastEventOf(hub: StreamHub, user: Principal['user'], id: string): number {
  const { state, summary } = hub.context.tasks.get(user, id);
  return Number(state?.['lastEvent'] ?? summary?.lastEvent ?? 0);
}

function isOver(hub: StreamHub, user: Principal['user'], id: string, after: number): boolean {
  const { stage, state } = hub.context.tasks.get(user, id);
  if (stage === 'failed' || stage === 'cancelled') return state === undefined;
  return (
    (state?.['sandboxRemoved'] === true || state?.['kept'] !== undefined) &&
    after >= Number(state['lastEvent'])
  );
}

async function* written(
  hub: StreamHub,
  stream: HttpStream,
  follow: Follow,
  writing: Writing,
): AsyncGenerator<Buffer, void> {
  const leave = (): void => follow.dispose();
  stream.signal.addEventListener('abort', leave);
  if (stream.signal.aborted) leave();
  try {
    if (writing.first !== '') yield Buffer.from(writing.first);
    const wait = writing.heartbeat === undefined ? undefined : hub.limits.heartbeatMs;
    for (let found; (found = await follow.ready(wait)) !== 'over';) {
      if (found === 'nothing') yield Buffer.from(writing.heartbeat ?? '');
      else yield* nextPieces(hub, follow, writing);
    }
    const { farewell } = stream;
    if (farewell !== undefined) yield problemPiece(writing, farewellError(farewell));
    else if (writing.over !== '') yield Buffer.from(writing.over);
  } catch (thrown) {
    yield problemPiece(writing, thrown);
  } finally {
    follow.dispose();
    stream.signal.removeEventListener('abort', leave);
  }
}

/** Apart from the loop around it, which would hold on to what was told last for as long as it waits. */
async function* nextPieces(hub: StreamHub, follow: Follow, writing: Writing): AsyncGenerator<Buffer, void> {
  for (const batch of await follow.next()) {
    hub.sent(batch.count);
    yield writing.batch(batch);
  }
}

function problemPiece(writing: Writing, thrown: unknown): Buffer {
  return Buffer.from(writing.problem(JSON.stringify(problemOf(thrown))));
}

/** What is told where a stream that is no WebSocket is ended. */
export function farewellError({ code, reason }: Farewell): SallyportError {
  switch (code) {
    case closeCodes.unauthorized:
      return new SallyportError('unauthorized', reason, 'Sign in again, or use another token.');
    case closeCodes.forbidden:
      return new SallyportError('forbidden', reason, 'Ask an administrator of this runner.');
    default:
      return new SallyportError('cancelled', reason, 'Come again, and go on after the last event.');
  }
}

async function tellSocket(hub: StreamHub, socket: WebSocket, call: EventsCall): Promise<void> {
  const principal = asking(call.principal);
  const { id } = call.params;
  const client = new SocketClient(hub, socket, principal);
  const until = call.query.follow === 'false' ? lastEventOf(hub, principal.user, id) : undefined;
  const follow = hub.follow(client.connection, id, call.query.after ?? 0, until);
  client.signal.addEventListener('abort', () => follow.dispose());
  try {
    while ((await follow.ready()) === 'more') await tellNext(hub, client, follow);
    client.close({ code: 1000, reason: 'The log is over.' });
  } finally {
    follow.dispose();
  }
}

async function tellNext(hub: StreamHub, { sink, signal }: SocketClient, follow: Follow): Promise<void> {
  const end = await sink.turn();
  try {
    for (const batch of signal.aborted ? [] : await follow.next()) {
      for (const message of batch.messages()) sink.send(message);
      hub.sent(batch.count);
    }
  } finally {
    end();
  }
}
