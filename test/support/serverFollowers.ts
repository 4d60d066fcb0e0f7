import WebSocket from 'ws';
import { isDeepStrictEqual } from 'node:util';
import type { StreamMessage } from '../../src/protocol/runnerApi.ts';
import type { TaskEvent } from '../../src/protocol/taskEvent.ts';

/** What one client of a server was shown of each task's events, in the order in which it was shown them. */
export class Shown {
  readonly events = new Map<string, TaskEvent[]>();
  /** Tasks of which it was told that there is no more. */
  readonly over = new Set<string>();
  /** What must not be: a gap, a repetition, another order. */
  readonly wrong: string[] = [];
  private readonly name: string;

  constructor(name: string) {
    this.name = name;
  }

  last(task: string): number {
    return this.events.get(task)?.length ?? 0;
  }

  take(task: string, events: readonly TaskEvent[]): void {
    const list = this.events.get(task) ?? [];
    this.events.set(task, list);
    for (const event of events) {
      if (event.n === list.length + 1) list.push(event);
      else this.wrong.push(`${this.name}: ${task} has event ${event.n} after ${list.length}`);
    }
  }

  /** What is not as it was shown. */
  compare(task: string, kept: readonly TaskEvent[]): string[] {
    return (this.events.get(task) ?? []).flatMap((event, index) =>
      isDeepStrictEqual(event, kept[index])
        ? []
        : [
            `${this.name}: event ${event.n} of ${task} was ${JSON.stringify(event)}, and is ${JSON.stringify(kept[index])}`,
          ],
    );
  }
}

/** Follows every task that it hears of over one WebSocket, and comes again after each loss, until `signal` aborts. */
export async function followAll(
  server: { port: number; token: string },
  shown: Shown,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    await new Promise<void>((gone) => {
      const socket = new WebSocket(`ws://localhost:${server.port}/api/v1/stream`, {
        headers: { authorization: `Bearer ${server.token}` },
      });
      const follow = (task: string): void =>
        socket.send(JSON.stringify({ type: 'follow', task, after: shown.last(task) }));
      const known = new Set<string>();
      const leave = (): void => socket.terminate();
      signal.addEventListener('abort', leave, { once: true });
      socket.on('error', () => undefined);
      socket.on('close', () => {
        signal.removeEventListener('abort', leave);
        gone();
      });
      socket.on('message', (data: Buffer) => {
        const message = JSON.parse(data.toString()) as StreamMessage;
        const tasks =
          message.type === 'tasks' ? message.tasks : message.type === 'task' ? [message.task] : [];
        for (const { id } of tasks) {
          if (known.has(id) || shown.over.has(id)) continue;
          known.add(id);
          follow(id);
        }
        if (message.type === 'events') shown.take(message.task, message.events);
        if (message.type === 'over') shown.over.add(message.task);
        if (message.type === 'problem') {
          // As a client does that is told to come again.
          const { task } = message;
          if (task !== undefined) setTimeout(() => socket.readyState === WebSocket.OPEN && follow(task), 200);
        }
      });
    });
    await new Promise((passed) => setTimeout(passed, 100));
  }
}

/** Follows one task as lines of JSON, as `curl -N` does, and comes again until its log is over or `signal` aborts. */
export async function followLines(
  server: { url: string; token: string },
  task: string,
  shown: Shown,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted && !shown.over.has(task)) {
    try {
      const answer = await fetch(`${server.url}/api/v1/tasks/${task}/events?after=${shown.last(task)}`, {
        headers: { authorization: `Bearer ${server.token}` },
        signal,
      });
      let rest = '';
      let told = false;
      const decoder = new TextDecoder();
      for await (const bytes of answer.ok ? (answer.body ?? []) : []) {
        rest += decoder.decode(bytes as Uint8Array, { stream: true });
        const lines = rest.split('\n');
        rest = lines.pop() ?? '';
        for (const line of lines) {
          const said = JSON.parse(line) as TaskEvent | { problem: unknown };
          if ('problem' in said) told = true;
          else shown.take(task, [said]);
        }
      }
      // An answer that came to its own end is the whole log.
      if (answer.ok && !told) shown.over.add(task);
    } catch {
      // The server is away.
    }
    await new Promise((passed) => setTimeout(passed, 100));
  }
}
