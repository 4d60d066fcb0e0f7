import * as z from 'zod/mini';
import WebSocket from 'ws';

/** Many followers in one process: each with a WebSocket of its own, each of one task. Spoken to over Node's IPC. */

const Options = z.object({
  port: z.int(),
  followers: z.int(),
  tasks: z.array(z.string()),
  /** The client's stream, or the address of the task itself. */
  way: z.enum(['stream', 'task']),
});
const { port, followers, tasks, way } = Options.parse(JSON.parse(process.argv[2] ?? ''));

const Events = z.object({
  type: z.literal('events'),
  events: z.array(z.object({ n: z.number(), t: z.number() })),
});
const One = z.object({ n: z.number(), t: z.number() });

let delays: number[] = [];
let messages = 0;
let broken = 0;
let measuring = false;

const now = (): number => performance.timeOrigin + performance.now();

function take(text: string, seen: { last: number }): void {
  const at = now();
  messages += 1;
  if (way === 'stream' && !text.startsWith('{"type":"events"')) return;
  const json: unknown = JSON.parse(text);
  const events = way === 'stream' ? Events.parse(json).events : [One.parse(json)];
  for (const { n, t } of events) {
    if (n !== seen.last + 1) broken += 1;
    seen.last = n;
    if (measuring) delays.push(at - t);
  }
}

async function connect(task: string): Promise<WebSocket> {
  const path = way === 'stream' ? '/api/v1/stream' : `/api/v1/tasks/${task}/events`;
  const socket = new WebSocket(`ws://127.0.0.1:${port}${path}`, {
    headers: { authorization: 'Bearer ada' },
    perMessageDeflate: false,
    skipUTF8Validation: true,
  });
  const seen = { last: 0 };
  socket.on('message', (data: Buffer) => take(data.toString(), seen));
  await new Promise((open, fail) => socket.once('open', open).once('error', fail));
  if (way === 'stream') socket.send(JSON.stringify({ type: 'follow', task, after: 0 }));
  return socket;
}

const sockets: WebSocket[] = [];
for (let i = 0; i < followers; i += 50) {
  const some = Array.from({ length: Math.min(50, followers - i) }, (_, j) =>
    connect(tasks[(i + j) % tasks.length] ?? ''),
  );
  sockets.push(...(await Promise.all(some)));
}
process.send?.({ ready: true });

process.on('message', (order) => {
  if (order === 'measure') {
    delays = [];
    messages = 0;
    measuring = true;
    process.send?.({ measuring: true });
  } else if (order === 'report') {
    measuring = false;
    process.send?.({ delays, messages, broken });
  } else {
    for (const socket of sockets) socket.terminate();
    process.disconnect();
  }
});
