import * as z from 'zod/mini';
import { ada, StreamServer } from './streamServer.ts';

/** A server of streams in a process of its own, whose memory and processor time are its own. Spoken to over Node's IPC. */

const Order = z.discriminatedUnion('op', [
  z.object({ op: z.literal('add'), count: z.int() }),
  /** To each of the tasks, `rounds` times, `events` with a text of that length; `everyMs` apart. */
  z.object({
    op: z.literal('say'),
    tasks: z.array(z.string()),
    rounds: z.int(),
    events: z.int(),
    length: z.int(),
    everyMs: z.number(),
  }),
  z.object({ op: z.literal('look') }),
  z.object({ op: z.literal('stop') }),
]);

export interface Look {
  rss: number;
  /** The most that it was since the last look. */
  peakRss: number;
  /** Of the heap and outside it, after what is garbage was collected. */
  held: number;
  /** In all since the start, in microseconds. */
  cpu: number;
  open: number;
  slowClosed: number;
  readers: number;
}

const limits = JSON.parse(process.argv[2] ?? '{}') as Record<string, number>;
const server = await StreamServer.start(limits);
const send = (message: unknown): void => void process.send?.(message);

let peakRss = 0;
const watching = setInterval(() => (peakRss = Math.max(peakRss, process.memoryUsage.rss())), 20);
watching.unref();

process.on('message', (message) => {
  void obey(Order.parse(message)).then(
    (answer) => answer !== undefined && send(answer),
    (thrown: unknown) => {
      console.error(thrown);
      process.exitCode = 1;
    },
  );
});
send({ port: server.port });

async function obey(order: z.infer<typeof Order>): Promise<unknown> {
  switch (order.op) {
    case 'add':
      return { tasks: await Promise.all(Array.from({ length: order.count }, () => server.tasks.add(ada))) };
    case 'say':
      await say(order);
      return { said: true };
    case 'look': {
      globalThis.gc?.();
      const { rss, heapUsed, external } = process.memoryUsage();
      const { user, system } = process.cpuUsage();
      const { open, slowClosed } = server.hub.counters();
      const look: Look = {
        rss,
        peakRss: Math.max(peakRss, rss),
        held: heapUsed + external,
        cpu: user + system,
        open,
        slowClosed,
        readers: server.tasks.readers,
      };
      peakRss = 0;
      return look;
    }
    case 'stop':
      await server.stop();
      // Nothing that is left may keep the process.
      process.disconnect();
      return undefined;
  }
}

async function say({
  tasks,
  rounds,
  events,
  length,
  everyMs,
}: Extract<z.infer<typeof Order>, { op: 'say' }>): Promise<void> {
  const begin = performance.now();
  for (let round = 0; round < rounds; round++) {
    await Promise.all(
      tasks.map((id) =>
        server.tasks.say(
          id,
          ...Array.from({ length: events }, () => {
            const t = performance.timeOrigin + performance.now();
            return { type: 'notice' as const, level: 'info' as const, text: 'x'.repeat(length), t };
          }),
        ),
      ),
    );
    const wait = begin + (round + 1) * everyMs - performance.now();
    if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
    else await new Promise((resolve) => setImmediate(resolve));
  }
}
