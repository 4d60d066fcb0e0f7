import { connect } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import * as vscode from 'vscode';
import { createTaskService } from '../src/runner/localTasks.ts';
import type { TaskService } from '../src/runner/taskService.ts';
import type { TestSeam } from '../src/vscode/extension.ts';
import type { TaskEvent } from '../src/protocol/taskEvent.ts';
import type { Turns } from '../test/support/tasks.ts';
import type { Answers, Requests } from './lib/editorProtocol.ts';
import { defaultPolicy } from '../src/runner/userPolicy.ts';

/**
 * The bench's part in the extension host: it does there what the bench asks for over a socket. Bundled by itself; called
 * by VS Code as a suite of tests is.
 */
export async function run(): Promise<void> {
  const path = process.env['SALLYPORT_BENCH_SOCKET'];
  if (path === undefined) throw new Error('SALLYPORT_BENCH_SOCKET is not set');
  const socket = connect(path);
  for await (const line of createInterface({ input: socket })) {
    const { op, request } = JSON.parse(line) as { op: keyof Requests; request: never };
    const answer = await operations[op](request).then(
      (answered) => ({ answer: answered }),
      (thrown: unknown) => ({
        error: thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown),
      }),
    );
    socket.write(`${JSON.stringify(answer)}\n`);
    if (op === 'end') break;
  }
  socket.end();
}

let turns: Turns = [];
let service: TaskService | undefined;

async function extension(): Promise<{ path: string; seam: TestSeam }> {
  const found = vscode.extensions.getExtension<TestSeam>('sallyport.sallyport');
  if (found === undefined) throw new Error('The extension is not there');
  return { path: found.extensionPath, seam: await found.activate() };
}

const operations: { [Op in keyof Requests]: (request: Requests[Op]) => Promise<Answers[Op]> } = {
  activation: async () => {
    await extension();
    await vscode.commands.executeCommand('perfview.show');
    for (;;) {
      const text = vscode.workspace.textDocuments.find(({ uri }) => uri.scheme === 'perf')?.getText() ?? '';
      if (/sallyport/.test(text)) return { text };
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  },

  service: async ({ engine, containerFolder }) => {
    const { path, seam } = await extension();
    const dataFolder = process.env['SALLYPORT_HOME'];
    if (dataFolder === undefined) throw new Error('SALLYPORT_HOME is not set');
    seam.useService(() =>
      createTaskService({
        dataFolder,
        distFolder: join(path, 'dist'),
        containerFolder,
        engineSetting: () => engine,
        policy: () => defaultPolicy,
        credentials: () =>
          Promise.resolve({
            label: 'scripted model',
            demonstration: true,
            upstream: { kind: 'scripted', turns },
          }),
        log: { debug: () => 0, info: () => 0, warn: console.warn, error: console.error },
      }),
    );
    service = await seam.tasks.open();
    return { ready: true };
  },

  task: async (request) => {
    const tasks = known();
    turns = request.turns;
    const { repositoryPath, prompt } = request;
    const { spec } = await tasks.submit({ repositoryPath, prompt, snapshot: 'head' });
    await vscode.commands.executeCommand('sallyport.open', spec.id);
    return { id: spec.id };
  },

  events: async ({ id, only }) => {
    const events: TaskEvent[] = [];
    let count = 0;
    // No second reader beside the panel where nothing is to be read.
    if (only.length === 0) {
      for (;;) {
        const state = known().task(id);
        if (state?.sandboxRemoved === true) return { count: state.lastEvent, events };
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    }
    const over = new AbortController();
    for await (const batch of known().events(id, 0, over.signal)) {
      count += batch.length;
      events.push(...batch.filter(({ type }) => only.includes(type)));
    }
    return { count, events };
  },

  end: async () => {
    for (const { spec } of service?.tasks() ?? []) await service?.remove(spec.id, { force: true });
    return { ended: true };
  },
};

function known(): TaskService {
  if (service === undefined) throw new Error('No service was made');
  return service;
}
