import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Frame, Page } from 'playwright-core';
import type { Answers, Requests } from './editorProtocol.ts';
import type { Tools } from './measure.ts';
import { pause } from './numbers.ts';

/** How long the editor may take to be there, and a panel to be drawn, in milliseconds. */
const patience = 120_000;

/** A real workbench in Chromium with our code in its extension host, beside the extension (bench/host.ts). */
export class Editor {
  readonly page: Page;
  private readonly socket: Socket;
  private readonly answers: AsyncIterator<string>;

  constructor(page: Page, socket: Socket) {
    this.page = page;
    this.socket = socket;
    this.answers = createInterface({ input: socket })[Symbol.asyncIterator]();
  }

  /** Asks the extension host; one question at a time. */
  async ask<Op extends keyof Requests>(op: Op, request: Requests[Op]): Promise<Answers[Op]> {
    this.socket.write(`${JSON.stringify({ op, request })}\n`);
    const line = await this.answers.next();
    if (line.done === true) throw new Error('The extension host has ended');
    const { answer, error } = JSON.parse(line.value) as { answer: Answers[Op]; error?: string };
    if (error !== undefined) throw new Error(`In the extension host: ${error}`);
    return answer;
  }

  /** The page of the task panel that is shown. */
  async panel(): Promise<Frame> {
    const until = Date.now() + patience;
    while (Date.now() < until) {
      for (const frame of this.page.frames()) {
        const drawn = await frame
          .evaluate<boolean>(`document.querySelector('sallyport-task #log-list .list-view > *') !== null`)
          .catch(() => false);
        if (drawn) return frame;
      }
      await pause(20);
    }
    throw new Error('The panel was not drawn');
  }
}

export async function withEditor<Result>(
  tools: Tools,
  body: (editor: Editor) => Promise<Result>,
  limitMs = 10 * 60_000,
): Promise<Result> {
  const suite = await tools.buildHost();
  const folder = await mkdtemp(join(tmpdir(), 'sallyport-bench-'));
  const path = join(folder, 'host.sock');
  const server = createServer();
  const connected = once(server, 'connection') as Promise<[Socket]>;
  await new Promise<void>((resolve) => server.listen(path, resolve));
  const { promise: opened, resolve: onPage } = Promise.withResolvers<Page>();
  const running = tools.inExtensionHost({ suite, env: { SALLYPORT_BENCH_SOCKET: path }, limitMs, onPage });
  // Before it has connected, its end is a failure.
  const early = running.then((code) =>
    Promise.reject(new Error(`The extension host ended with code ${code}`)),
  );
  early.catch(() => undefined);
  try {
    const [socket] = await Promise.race([connected, early]);
    socket.on('error', () => undefined);
    const editor = new Editor(await opened, socket);
    try {
      return await body(editor);
    } finally {
      await editor.ask('end', {}).catch(() => undefined);
      await running.catch(() => undefined);
      socket.destroy();
    }
  } finally {
    server.close();
    await rm(folder, { recursive: true, force: true });
  }
}
