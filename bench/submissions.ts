import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtemp, open, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { promisify } from 'node:util';
import type { SubmissionInput, TaskPage, TaskView, UploadState } from '../src/protocol/runnerApi.ts';
import { GitRepo } from '../test/support/gitRepo.ts';
import { ServerProcess } from '../test/support/serverProcess.ts';
import { bundleOf, snapshotOf } from '../test/support/serverTasks.ts';
import type { Section, Tools } from './lib/measure.ts';
import { median, ms, now, p99, ratio, thousands } from './lib/numbers.ts';

const run = promisify(execFile);

/** Rows and lines of the floor are as large as those of a task. */
const rowBytes = 400;
const lineBytes = 1200;

interface Taken {
  perSecond: number;
  /** Of each answer, in milliseconds. */
  answers: number[];
}

/** How many submissions a server takes in, each of which is kept for good before it is answered. */
export async function submissions(tools: Tools): Promise<Section> {
  const count = tools.quick ? 100 : 900;
  const folder = await mkdtemp(join(tmpdir(), 'sallyport-bench-'));
  const engine = await silentEngine(join(folder, 'engine.sock'));
  const server = await ServerProcess.start({
    data: join(folder, 'data'),
    engine: `unix://${join(folder, 'engine.sock')}`,
    env: { SALLYPORT_PARALLEL: '1', SALLYPORT_MEMORY_GIB: '64' },
  });
  try {
    const repo = new GitRepo(join(folder, 'work'));
    repo.write('README.md', '# Work\n');
    const commit = repo.commit('First');
    await bring(server, repo, commit);
    const submission: SubmissionInput = { prompt: 'Fix the median', source: snapshotOf(commit, 'work-1') };
    const submit = async (): Promise<void> => {
      const { id } = await ask<TaskView>(server, '/api/v1/tasks', submission);
      if (id === '') throw new Error('A submission has no id');
    };
    tools.say('Submissions, and what the disk takes');
    await taken(20, 1, submit);
    const floor = await floorOf(folder, count);
    const git = await taken(Math.ceil(count / 9), 1, () => gitOf(repo.path, commit));
    const alone = await taken(Math.ceil(count / 3), 1, submit);
    const many = await taken(count, 16, submit);
    const again = await floorOf(folder, count);
    const answered = 20 + Math.ceil(count / 3) + count;
    const { counts } = await ask<TaskPage>(server, '/api/v1/tasks?limit=1');
    if (counts.all !== answered) throw new Error(`${answered} were answered, and ${counts.all} are there`);
    const base = (floor.perSecond + again.perSecond) / 2;
    const row = (name: string, { perSecond, answers }: Taken): string[] => [
      name,
      thousands(perSecond),
      ms(median(answers)),
      ms(p99(answers)),
      ratio(perSecond, base),
    ];
    return {
      title: 'Submissions',
      how: [
        `A server as a process of its own, with a store, a queue with one place and an engine that does not answer, so that all but one task wait. A client in another process submits tasks on a commit that was uploaded before, over HTTP on the loopback with a token: ${thousands(Math.ceil(count / 3))} one after another, then ${thousands(count)} from 16 connections. Each answer comes after the task is in the store for good. In the end the server has as many tasks as were answered.`,
        'The floor is what is kept of a task, alone: a row of 400 bytes put into a table of SQLite with the settings of the store (write-ahead log, `synchronous = FULL`), and a new file of 1,200 bytes, one after another in one process; before and after, the mean of the two. A submission runs three commands of git besides, which look whether the commit is there, pin it in the quarantine, and look for places of mounts; alone they are the other floor.',
      ],
      tables: [
        {
          head: ['Submitted', 'per second', 'answer, median', 'p99', 'of the floor'],
          rows: [
            row('floor: a row and a file, before', floor),
            row('floor: a row and a file, after', again),
            row('floor: three commands of git', git),
            row('one after another', alone),
            row('from 16 connections', many),
          ],
        },
      ],
      targets: [],
    };
  } finally {
    await server.end('SIGKILL');
    engine.close();
    await rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  }
}

/** Takes connections and says nothing, so that who asks it waits. */
async function silentEngine(path: string): Promise<Server> {
  const server = createServer((socket) => socket.on('error', () => undefined));
  await new Promise<void>((listening) => server.listen(path, listening));
  server.unref();
  return server;
}

async function bring(server: ServerProcess, repo: GitRepo, commit: string): Promise<void> {
  const bytes = bundleOf(repo, commit);
  const { id } = await ask<UploadState>(server, '/api/v1/uploads', {
    repository: { id: 'work-1', name: 'work' },
    commit,
    bytes: bytes.length,
    sha256: createHash('sha256').update(bytes).digest('hex'),
  });
  const answer = await fetch(`${server.url}/api/v1/uploads/${id}`, {
    method: 'PATCH',
    headers: {
      authorization: `Bearer ${server.token}`,
      'content-type': 'application/octet-stream',
      'upload-offset': '0',
    },
    body: new Uint8Array(bytes),
  });
  if (!answer.ok) throw new Error(await answer.text());
}

async function ask<T>(server: ServerProcess, path: string, body?: object): Promise<T> {
  const answer = await fetch(`${server.url}${path}`, {
    method: body === undefined ? 'GET' : 'POST',
    headers: { authorization: `Bearer ${server.token}`, 'content-type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
  return (await answer.json()) as T;
}

async function taken(count: number, clients: number, submit: () => Promise<void>): Promise<Taken> {
  const answers: number[] = [];
  let left = count;
  const begin = now();
  await Promise.all(
    Array.from({ length: clients }, async () => {
      while (left-- > 0) {
        const asked = now();
        await submit();
        answers.push(now() - asked);
      }
    }),
  );
  return { perSecond: (count * 1000) / (now() - begin), answers };
}

/** As a submission does: the commit is looked for, pinned, and looked at. */
async function gitOf(path: string, commit: string): Promise<void> {
  const look = ['cat-file', '-e', `${commit}^{commit}`];
  for (const words of [look, ['update-ref', `refs/bases/${commit}`, commit], look])
    await run('git', ['-C', path, ...words]);
}

/** What the machine's disk takes of the same, without a server. */
async function floorOf(folder: string, count: number): Promise<Taken> {
  const place = await mkdtemp(join(folder, 'floor-'));
  const store = new DatabaseSync(join(place, 'floor.sqlite'));
  store.exec(
    'PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE rows (id INTEGER PRIMARY KEY, text TEXT) STRICT',
  );
  const insert = store.prepare('INSERT INTO rows (text) VALUES (?)');
  let n = 0;
  try {
    return await taken(count, 1, async () => {
      insert.run('x'.repeat(rowBytes));
      const file = await open(join(place, `${n++}.ndjson`), 'a', 0o600);
      await file.write('x'.repeat(lineBytes));
      await file.close();
    });
  } finally {
    store.close();
  }
}
