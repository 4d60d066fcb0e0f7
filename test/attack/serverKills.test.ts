import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { connectEngine } from '../../src/engine/connect.ts';
import type { Engine } from '../../src/engine/engine.ts';
import type { SubmissionInput, TaskPage, TaskView } from '../../src/protocol/runnerApi.ts';
import type { TaskEvent } from '../../src/protocol/taskEvent.ts';
import { openDataFolder } from '../../src/runner/dataFolder.ts';
import { labelNames } from '../../src/runner/sandboxNames.ts';
import { chance } from '../support/chance.ts';
import { engines } from '../support/engines.ts';
import { GitRepo, temporaryFolder } from '../support/gitRepo.ts';
import { followAll, followLines, Shown } from '../support/serverFollowers.ts';
import { ServerProcess } from '../support/serverProcess.ts';
import { bundleOf, snapshotOf } from '../support/serverTasks.ts';
import { assertWhole, bash, only } from '../support/tasks.ts';

const seed = Number(process.env['SALLYPORT_KILL_SEED'] ?? Date.now() % 1_000_000);
/** As many sandboxes as this machine starts and ends in the time; the others never get one. */
const sandboxed = 48;
const unreachable = 20;
const all = 200;
const kills = 5;
const commits = 2;
/** When the test gives up, in milliseconds: before its runner does, so that it still clears away. */
const patience = 400_000;

type Kind = 'sandboxed' | 'cancelled' | 'unreachable';

/** Of every kind as many as there are to be, in an order of chance. */
function plan(random: (below: number) => number): Kind[] {
  const kinds = Array.from({ length: all }, (_, i): Kind => {
    if (i < sandboxed) return 'sandboxed';
    return i < sandboxed + unreachable ? 'unreachable' : 'cancelled';
  });
  for (let i = kinds.length - 1; i > 0; i--) {
    const other = random(i + 1);
    [kinds[i], kinds[other]] = [kinds[other] as Kind, kinds[i] as Kind];
  }
  return kinds;
}

/** A user's programs: they ask again until they are answered. */
class Asker {
  private readonly server: ServerProcess;
  private readonly late: AbortSignal;

  constructor(server: ServerProcess, late: AbortSignal) {
    this.server = server;
    this.late = late;
  }

  async try(path: string, init: RequestInit = {}): Promise<Response | undefined> {
    const signal = AbortSignal.any([this.late, AbortSignal.timeout(15_000)]);
    const headers = { authorization: `Bearer ${this.server.token}`, ...(init.headers as object) };
    const answer = await fetch(`${this.server.url}${path}`, { ...init, headers, signal }).catch(
      () => undefined,
    );
    this.late.throwIfAborted();
    return answer;
  }

  /** Until the server has an answer of its own: one that is away, or goes away, is asked again. */
  async ask<T>(path: string, init: RequestInit = {}, accept: readonly number[] = []): Promise<T> {
    for (let left = 300; ; left--) {
      const answer = await this.try(path, init);
      const text = await answer?.text().catch(() => undefined);
      if (answer !== undefined && text !== undefined) {
        if (answer.ok || accept.includes(answer.status)) return JSON.parse(text) as T;
        const again = answer.status === 409 && text.includes('shutting down');
        if (!again && (answer.status < 500 || left < 0)) throw new Error(`${path}: ${answer.status} ${text}`);
      }
      await pause(100, undefined, { signal: this.late });
    }
  }

  post<T>(path: string, body: object, headers: Record<string, string> = {}): Promise<T> {
    return this.ask<T>(path, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: JSON.stringify(body),
    });
  }
}

describe('promise 8 on a server: no kill of it loses a task, a commit or an event that was shown', function () {
  this.timeout('8m');

  it(`${kills} times killed amid ${all} tasks, of which ${sandboxed} get a sandbox, ${unreachable} have no repository and the others are cancelled in the queue (SALLYPORT_KILL_SEED=${seed})`, async () => {
    const random = chance(seed);
    const address = (await engines()).docker;
    const data = await mkdtemp(join(tmpdir(), 'sallyport-server-'));
    const folder = temporaryFolder();
    const turns = Array.from({ length: commits }, (_, i) =>
      bash(`sleep 0.5; git commit -q --allow-empty -m "Commit ${i}"`),
    );
    const late = AbortSignal.timeout(patience);
    const leave = new AbortController();
    const server = await ServerProcess.start({
      data,
      engine: address,
      env: { SALLYPORT_PARALLEL: '3', SALLYPORT_MEMORY_GIB: '64', SALLYPORT_PRIVATE_FORGES: 'localhost' },
      turns: [...turns, { text: 'Done.' }],
    });
    const engine = await connectEngine({ setting: address });
    const followers: Promise<void>[] = [];
    try {
      const asker = new Asker(server, late);
      const work = new GitRepo(join(folder.path, 'work'));
      work.write('README.md', '# Work\n');
      const base = work.commit('First');
      await upload(asker, work, base);

      const sockets = [new Shown('first socket'), new Shown('second socket')];
      const lines = new Shown('lines');
      const signal = AbortSignal.any([late, leave.signal]);
      for (const shown of sockets) followers.push(followAll(server, shown, signal));

      // Every submission is answered, however often the server is away meanwhile; and it may be asked twice.
      const kinds = plan(random);
      const ids = new Map<number, string>();
      const submit = async (index: number): Promise<TaskView> =>
        await asker.post<TaskView>('/api/v1/tasks', submissionOf(kinds[index] ?? 'cancelled', base), {
          'idempotency-key': `${seed}-${index}`,
        });
      let next = 0;
      let submitting = true;
      const client = async (): Promise<void> => {
        while (next < all) {
          const index = next++;
          const { id } = await submit(index);
          ids.set(index, id);
          if (kinds[index] === 'sandboxed') followers.push(followLines(server, id, lines, signal));
          if (kinds[index] === 'cancelled') {
            await pause(random(1500), undefined, { signal: late });
            await asker.post(`/api/v1/tasks/${id}/cancel`, {});
          }
          await pause(random(400), undefined, { signal: late });
        }
      };
      const killer = async (): Promise<void> => {
        for (let round = 0; round < kills; round++) {
          await pause(2500 + random(6000), undefined, { signal: late });
          // The last ones come when something could be lost.
          while (round >= kills - 2 && !sockets.some(hasNewCommit))
            await pause(50, undefined, { signal: late });
          await server.end('SIGKILL');
          await pause(random(600), undefined, { signal: late });
          await server.start();
        }
      };
      const clients = Promise.all(Array.from({ length: 4 }, client)).then(() => (submitting = false));
      await Promise.all([clients, killer()]);
      assert.equal(submitting, false);
      assert.equal(ids.size, all);

      // All come to an end.
      const seen = sockets[0] as Shown;
      const expected = [...ids.values()];
      while (!expected.every((id) => sockets.every(({ over }) => over.has(id)))) {
        await pause(200, undefined, { signal: late }).catch(() => {
          const open = expected.filter((id) => !seen.over.has(id));
          assert.fail(
            `not over: ${open.map((id) => JSON.stringify(seen.events.get(id)?.slice(-3))).join('\n')}\n${server.printed}`,
          );
        });
      }
      while (kinds.some((kind, index) => kind === 'sandboxed' && !lines.over.has(ids.get(index) ?? '')))
        await pause(200, undefined, { signal: late });

      // Once more, when all is done.
      await server.end('SIGKILL');
      await server.start();

      // None is lost, none is double: also not for one who asks again after all that.
      const views = await listed(asker);
      assert.deepEqual(views.map(({ id }) => id).sort(), [...expected].sort());
      assert.equal(new Set(expected).size, all);
      for (let i = 0; i < 20; i++) {
        const index = random(all);
        assert.equal((await submit(index)).id, ids.get(index), 'a repeated submission is another task');
      }
      assert.equal((await listed(asker)).length, all);

      for (const { wrong } of [...sockets, lines]) assert.deepEqual(wrong, []);
      const byId = new Map(views.map((view) => [view.id, view]));
      let fetched = 0;
      for (const [index, id] of ids) {
        const view = byId.get(id);
        const kept = await eventsOf(asker, id);
        for (const shown of [...sockets, lines]) assert.deepEqual(shown.compare(id, kept), []);
        assert.equal(seen.last(id), kept.length, `${id} has events that were not shown`);
        if (kinds[index] === 'unreachable') {
          assert.equal(view?.stage, 'failed', JSON.stringify(view));
          continue;
        }
        if (kept.length > 0) assertWhole(kept);
        if (kinds[index] === 'cancelled') continue;
        assert.equal(lines.last(id), kept.length);
        assert.equal(only(kept, 'ended')[0]?.outcome, 'succeeded', JSON.stringify(kept.slice(-5)));
        const announced = only(kept, 'commit').map(({ commit }) => commit.sha);
        assert.equal(announced.length, commits, JSON.stringify(kept));
        assert.deepEqual(await missing(asker, folder.path, work, id, announced), []);
        fetched += announced.length;
      }
      assert.equal(fetched, sandboxed * commits);
      assert.deepEqual(await remains(engine, data), []);
    } finally {
      leave.abort();
      await Promise.all(followers);
      await server.end('SIGKILL');
      await clearAway(engine, data);
      engine.dispose();
      await rm(data, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
      folder.dispose();
    }
  });
});

/** True in the second half of a task: it has committed, and is not over. */
function hasNewCommit({ events, over }: Shown): boolean {
  return [...events].some(([id, list]) => !over.has(id) && list.some(({ type }) => type === 'commit'));
}

function submissionOf(kind: Kind, base: string): SubmissionInput {
  const prompt = `Work that is ${kind}`;
  // Nobody listens at the first port of all.
  if (kind === 'unreachable') return { prompt, source: { kind: 'url', url: 'http://localhost:1/acme/none' } };
  // What is to be cancelled comes after everything that is to get a place.
  return {
    prompt,
    source: snapshotOf(base, 'work-1'),
    priority: kind === 'sandboxed' ? 1 : -1,
  };
}

async function upload(asker: Asker, work: GitRepo, commit: string): Promise<void> {
  const bytes = bundleOf(work, commit);
  const { id } = await asker.post<{ id: string }>('/api/v1/uploads', {
    repository: { id: 'work-1', name: 'work' },
    commit,
    bytes: bytes.length,
    sha256: createHash('sha256').update(bytes).digest('hex'),
  });
  const { complete } = await asker.ask<{ complete: boolean }>(`/api/v1/uploads/${id}`, {
    method: 'PATCH',
    headers: { 'content-type': 'application/octet-stream', 'upload-offset': '0' },
    body: new Uint8Array(bytes),
  });
  assert.ok(complete);
}

async function listed(asker: Asker): Promise<TaskView[]> {
  const views: TaskView[] = [];
  let cursor: string | undefined;
  do {
    const page: TaskPage = await asker.ask(
      `/api/v1/tasks?limit=70${cursor === undefined ? '' : `&cursor=${encodeURIComponent(cursor)}`}`,
    );
    views.push(...page.tasks);
    cursor = page.next;
  } while (cursor !== undefined);
  return views;
}

/** All that the log holds, for one who was not there before. */
async function eventsOf(asker: Asker, id: string): Promise<TaskEvent[]> {
  const answer = await asker.try(`/api/v1/tasks/${id}/events?follow=false`);
  assert.ok(answer?.ok, `events of ${id}: ${answer?.status}`);
  const text = await answer.text();
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as TaskEvent);
}

/** Those commits that the task's bundle does not bring. */
async function missing(
  asker: Asker,
  folder: string,
  work: GitRepo,
  id: string,
  announced: readonly string[],
): Promise<string[]> {
  const answer = await asker.try(`/api/v1/tasks/${id}/bundle`);
  assert.ok(answer?.ok, `bundle of ${id}: ${answer?.status}`);
  const file = join(folder, `${id}.bundle`);
  await writeFile(file, new Uint8Array(await answer.arrayBuffer()));
  work.git('fetch', '--quiet', file, `+refs/*:refs/fetched/${id}/*`);
  const here = work.git('rev-list', `--glob=refs/fetched/${id}/*`).split('\n');
  return announced.filter((sha) => !here.includes(sha));
}

async function remains(engine: Engine, data: string): Promise<string[]> {
  const { id } = await openDataFolder(data);
  const labels = { [labelNames.home]: id };
  return [...(await engine.list(labels)), ...(await engine.listVolumes(labels))].map(({ name }) => name);
}

async function clearAway(engine: Engine, data: string): Promise<void> {
  const { id } = await openDataFolder(data);
  const labels = { [labelNames.home]: id };
  for (const container of await engine.list(labels)) await engine.remove(container.id);
  for (const { name } of await engine.listVolumes(labels)) await engine.removeVolume(name);
}
