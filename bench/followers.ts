import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { StreamProcess } from '../test/support/streamProcess.ts';
import type { Section, Tools } from './lib/measure.ts';
import { mega, median, ms, p99, pause, thousands } from './lib/numbers.ts';

const goalMs = 100;
const taskCount = 20;
const textLength = 300;
const everyMs = 100;

interface Report {
  delays: number[];
  messages: number;
  broken: number;
}

interface Load {
  name: string;
  way: 'stream' | 'task';
  /** Of each task, every `everyMs`. */
  events: number;
}

interface Measured extends Load {
  delays: number[];
  perSecond: number;
  messagesPerSecond: number;
  broken: number;
  /** Share of one processor. */
  cpu: number;
  rss: number;
  idleRss: number;
}

/** Many followers of few live tasks: what they cost the server, and how long an event takes to reach them. */
export async function followers(tools: Tools): Promise<Section> {
  const count = tools.quick ? 100 : 1000;
  const seconds = tools.quick ? 3 : 20;
  const loads: Load[] = [
    { name: 'the address of the task', way: 'task', events: 1 },
    { name: 'the address of the task', way: 'task', events: 5 },
    { name: 'the stream of a client', way: 'stream', events: 1 },
    { name: 'the stream of a client', way: 'stream', events: 5 },
  ];
  const all: Measured[] = [];
  for (const load of loads) {
    tools.say(
      `${thousands(count)} followers, ${load.name}, ${(load.events * 1000) / everyMs} events/s a task`,
    );
    all.push(await take(tools, load, count, seconds));
  }
  const lost = all.reduce((sum, { broken }) => sum + broken, 0);
  return {
    title: 'Followers of live tasks',
    how: [
      `${thousands(count)} WebSockets in one process follow ${taskCount} tasks, ${count / taskCount} each, of a server in another process: the product's HTTP server, router and streams over tasks whose logs are real files, on the loopback of the same machine, without TLS. Each task says some events of ${textLength} characters every ${everyMs} ms, all tasks at the same moment, which is the worst for the last of the followers; ${seconds} seconds after a warm-up.`,
      'The delay of an event is from the moment before it is written to the log to the moment when the message that holds it is parsed, on one clock. The processor time is that of the server process, as a share of one processor; the followers take the other one. On the stream of a client each WebSocket also hears of all changes of all tasks, about once a second, as a dashboard does.',
    ],
    tables: [
      {
        head: [
          'Over',
          'events/s a task',
          'delivered/s',
          'messages/s',
          'delay, median',
          'p99',
          'CPU',
          'memory',
          'of it idle',
        ],
        rows: all.map((one) => [
          one.name,
          thousands((one.events * 1000) / everyMs),
          thousands(one.perSecond),
          thousands(one.messagesPerSecond),
          ms(median(one.delays)),
          ms(p99(one.delays)),
          `${Math.round(one.cpu * 100)} %`,
          `${mega(one.rss)} MB`,
          `${mega(one.idleRss)} MB`,
        ]),
      },
    ],
    targets: [
      ...all
        .filter(({ events }) => events === 1)
        .map(({ name, delays }) => ({
          what: `Delay of an event to ${thousands(count)} followers over ${name}, p99`,
          target: `under ${goalMs} ms`,
          measured: ms(p99(delays)),
          met: p99(delays) < goalMs,
        })),
      {
        what: 'Events that are lost, doubled or out of order',
        target: 'none',
        measured: lost === 0 ? 'none' : thousands(lost),
        met: lost === 0,
      },
    ],
  };
}

async function take(tools: Tools, load: Load, count: number, seconds: number): Promise<Measured> {
  const server = await StreamProcess.start();
  let client: ChildProcess | undefined;
  try {
    const tasks = await server.addTasks(taskCount);
    const idleRss = (await server.look()).rss;
    const options = { port: server.port, followers: count, tasks, way: load.way };
    client = fork(join(tools.root, 'bench', 'followersClient.ts'), [JSON.stringify(options)], {
      execArgv: ['--disable-warning=ExperimentalWarning'],
    });
    await once(client, 'message');
    const saying = { tasks, events: load.events, length: textLength, everyMs };
    await server.say({ ...saying, rounds: 3000 / everyMs });
    await ask(client, 'measure');
    const before = await server.look();
    const begin = performance.now();
    await server.say({ ...saying, rounds: (seconds * 1000) / everyMs });
    const took = (performance.now() - begin) / 1000;
    const after = await server.look();
    await pause(500);
    const { delays, messages, broken } = (await ask(client, 'report')) as Report;
    return {
      ...load,
      delays,
      broken,
      perSecond: delays.length / took,
      messagesPerSecond: messages / took,
      cpu: (after.cpu - before.cpu) / 1e6 / took,
      rss: after.peakRss,
      idleRss,
    };
  } finally {
    if (client !== undefined) {
      const exited = once(client, 'exit');
      client.send('stop');
      await exited;
    }
    await server.stop();
  }
}

async function ask(client: ChildProcess, order: string): Promise<unknown> {
  const answered = once(client, 'message') as Promise<[unknown]>;
  client.send(order);
  return (await answered)[0];
}
