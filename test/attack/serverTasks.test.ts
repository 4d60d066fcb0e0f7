import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import type { TaskPage, TaskView, UploadRequest, UploadState } from '../../src/protocol/runnerApi.ts';
import { newTaskId } from '../../src/protocol/task.ts';
import {
  bundle,
  commitOf,
  gitMemory,
  inflating,
  nameOf,
  pack,
  packed,
  packedDelta,
  treeOf,
} from '../support/evilPacks.ts';
import { GitRepo, temporaryFolder } from '../support/gitRepo.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { bundleOf, snapshotOf } from '../support/serverTasks.ts';

type Init = NonNullable<Parameters<TestServer['fetch']>[1]>;

/** Somebody who uses the server with a token. */
interface Person {
  call(method: string, path: string, json?: unknown, more?: Init): Promise<Response>;
  token: string;
}

const empty = Buffer.alloc(0);

describe('attacks on the tasks of others, and on the server by uploads', function () {
  this.timeout('2m');
  let server: TestServer;
  let ada: Person;
  let eve: Person;
  let folder: ReturnType<typeof temporaryFolder>;
  let repo: GitRepo;
  let commit: string;
  /** Of Ada's: a task, and what she has uploaded for it. */
  let task: TaskView;

  before(async () => {
    server = await startTestServer();
    ada = await person('ada');
    eve = await person('eve');
    folder = temporaryFolder();
    repo = new GitRepo(join(folder.path, 'work'));
    repo.write('secret.txt', 'of Ada alone\n');
    commit = repo.commit('Secret');
    assert.equal((await upload(ada, commit, bundleOf(repo, commit))).status, 200);
    task = await json(
      await ada.call('POST', '/api/v1/tasks', { prompt: 'Look at it', source: snapshotOf(commit) }),
    );
  });
  after(async () => {
    await server.close();
    folder.dispose();
  });

  async function person(login: string): Promise<Person> {
    const token = await server.token(await server.user(login, 'member'), ['tasks:read', 'tasks:write']);
    return {
      token,
      call: (method, path, body, more = {}) =>
        server.fetch(path, { method, token, ...(body === undefined ? {} : { json: body }), ...more }),
    };
  }

  async function json<T>(answer: Response, status?: number): Promise<T> {
    const text = await answer.text();
    assert.ok(status === undefined ? answer.ok : answer.status === status, `${answer.status} ${text}`);
    return JSON.parse(text) as T;
  }

  const problem = async (answer: Response, status: number, code: string): Promise<void> => {
    const found = await json<{ code: string; mend: string }>(answer, status);
    assert.equal(found.code, code);
    assert.ok(found.mend.length > 5);
  };

  function announced(sha: string, bytes: Uint8Array, change: Partial<UploadRequest> = {}): UploadRequest {
    const sha256 = createHash('sha256').update(bytes).digest('hex');
    const repository = { id: 'demo-1', name: 'demo' };
    return { repository, commit: sha, bytes: bytes.length, sha256, ...change };
  }

  function piece(who: Person, id: string, offset: number | string, bytes: Uint8Array): Promise<Response> {
    return who.call('PATCH', `/api/v1/uploads/${id}`, undefined, {
      headers: { 'content-type': 'application/octet-stream', 'upload-offset': String(offset) },
      body: new Uint8Array(bytes),
    });
  }

  async function upload(who: Person, sha: string, bytes: Uint8Array): Promise<Response> {
    const state = await json<UploadState>(await who.call('POST', '/api/v1/uploads', announced(sha, bytes)));
    if (state.complete) return Response.json(state);
    return await piece(who, state.id, 0, bytes);
  }

  async function known(who: Person, commits: string[], repository = 'demo-1'): Promise<string[]> {
    const body = { repository, commits };
    return (await json<{ commits: string[] }>(await who.call('POST', '/api/v1/uploads/known', body))).commits;
  }

  it('nobody sees, stops, changes, removes, repeats or follows a task of somebody else’s', async () => {
    const path = `/api/v1/tasks/${task.id}`;
    assert.equal((await json<TaskView>(await ada.call('GET', path))).id, task.id);
    const absent = `/api/v1/tasks/${newTaskId(Date.now())}`;
    const calls: [string, string, unknown?][] = [
      ['GET', ''],
      ['PATCH', '', { shared: true }],
      ['PATCH', '', { priority: 100 }],
      ['DELETE', ''],
      ['DELETE', '?force=true'],
      ['POST', '/cancel'],
      ['POST', '/retry'],
      ['POST', '/confirm', {}],
      ['POST', '/messages', { text: 'Hello' }],
      ['POST', '/budget', { usd: 1000 }],
      ['POST', '/egress', { allow: 'task', mode: 'open' }],
      ['GET', '/events'],
      ['GET', '/bundle'],
      ['GET', '/diff'],
      ['GET', '/changes'],
      ['GET', `/blobs/${commit}`],
      ['GET', '/ledger'],
      ['GET', '/logs'],
    ];
    for (const [method, rest, body] of calls) {
      const theirs = await eve.call(method, `${path}${rest}`, body);
      const nobodys = await eve.call(method, `${absent}${rest}`, body);
      const [one, other] = [await theirs.text(), await nobodys.text()];
      assert.equal(theirs.status, 404, `${method} ${rest}: ${one}`);
      // Not even that it is there.
      assert.equal(theirs.status, nobodys.status);
      assert.equal(one.replaceAll(task.id, 'X'), other.replaceAll(/(?<=\/|\b)[0-9a-z]{15}\b/g, 'X'));
    }
    const page = await json<TaskPage>(await eve.call('GET', '/api/v1/tasks?q=look'));
    assert.deepEqual([page.tasks.length, page.counts.all], [0, 0]);
    const view = await json<TaskView>(await ada.call('GET', path));
    assert.deepEqual([view.shared, view.priority], [false, 0]);
  });

  it('nobody finds out what somebody else has uploaded, nor starts from it', async () => {
    assert.deepEqual(await known(ada, [commit]), [commit]);
    assert.deepEqual(await known(eve, [commit]), []);
    // The names under which the server keeps it are no way round.
    const folders = await readdir(join(server.data, 'quarantine'));
    assert.equal(folders.length, 1);
    for (const name of folders) assert.deepEqual(await known(eve, [commit], name.replace('.git', '')), []);
    const source = snapshotOf(commit);
    await problem(await eve.call('POST', '/api/v1/tasks', { prompt: 'x', source }), 404, 'not_found');
    // Announced with the very hash of the bundle, it has to come all the same.
    const bytes = bundleOf(repo, commit);
    const state = await json<UploadState>(
      await eve.call('POST', '/api/v1/uploads', announced(commit, bytes)),
    );
    assert.deepEqual([state.offset, state.complete], [0, false]);
    // A bundle that builds on it, or only names it, brings nothing.
    repo.write('more.txt', 'more\n');
    const next = repo.commit('Next');
    await problem(await upload(eve, next, bundleOf(repo, next, [commit])), 400, 'import_refused');
    const hollow = bundle(pack([]), [`${commit} refs/heads/x`]);
    await problem(await upload(eve, commit, hollow), 400, 'import_refused');
    assert.deepEqual(await known(eve, [commit, next]), []);
  });

  it('nobody reads, goes on with or finishes an upload of somebody else’s', async () => {
    repo.write('slow.txt', 'slow\n');
    const sha = repo.commit('Slow');
    const bytes = bundleOf(repo, sha);
    const { id } = await json<UploadState>(await ada.call('POST', '/api/v1/uploads', announced(sha, bytes)));
    assert.equal((await piece(ada, id, 0, bytes.subarray(0, 64))).status, 200);
    await problem(await eve.call('GET', `/api/v1/uploads/${id}`), 404, 'not_found');
    await problem(await piece(eve, id, 64, bytes.subarray(64)), 404, 'not_found');
    const mine = await json<UploadState>(await ada.call('GET', `/api/v1/uploads/${id}`));
    assert.deepEqual(mine, { id, offset: 64, complete: false });
    assert.equal((await json<UploadState>(await piece(ada, id, 64, bytes.subarray(64)))).complete, true);
  });

  it('nobody takes the id of somebody else’s task, before or after', async () => {
    assert.equal((await upload(eve, commit, bundleOf(repo, commit))).status, 200);
    const body = { id: task.id, prompt: 'Look at it', source: snapshotOf(commit) };
    await problem(await eve.call('POST', '/api/v1/tasks', body), 409, 'conflict');
    assert.equal((await json<TaskView>(await ada.call('POST', '/api/v1/tasks', body))).id, task.id);
    // The same words for a task of Ada's and for one of Eve's with other content.
    const own = newTaskId(Date.now());
    await json(await eve.call('POST', '/api/v1/tasks', { ...body, id: own }));
    const answers = [task.id, own].map(async (id) => {
      const answer = await eve.call('POST', '/api/v1/tasks', { ...body, id, prompt: 'Other' });
      return await answer.text();
    });
    const [theirs, mine] = await Promise.all(answers);
    assert.equal(theirs, mine);
    // Who comes first has it; the other is refused and gets nothing of it.
    const squatted = newTaskId(Date.now());
    await json(await eve.call('POST', '/api/v1/tasks', { ...body, id: squatted }));
    await problem(await ada.call('POST', '/api/v1/tasks', { ...body, id: squatted }), 409, 'conflict');
    assert.equal((await ada.call('GET', `/api/v1/tasks/${squatted}`)).status, 404);
    for (const id of ['../../etc', 'a/b', '', 'A'.repeat(15), `${'a'.repeat(14)}\n`])
      await problem(await eve.call('POST', '/api/v1/tasks', { ...body, id }), 400, 'invalid_input');
  });

  it('nobody’s idempotency key answers with the task of somebody else', async () => {
    const body = { prompt: 'With a key', source: snapshotOf(commit) };
    const headers = { 'idempotency-key': 'the-same-key' };
    const first = await json<TaskView>(await ada.call('POST', '/api/v1/tasks', body, { headers }));
    const again = await json<TaskView>(await ada.call('POST', '/api/v1/tasks', body, { headers }));
    const other = await json<TaskView>(await eve.call('POST', '/api/v1/tasks', body, { headers }));
    assert.equal(again.id, first.id);
    assert.notEqual(other.id, first.id);
    assert.notEqual(other.owner.id, first.owner.id);
  });

  it('a client gives a sandbox no mounts, image, engine or limits beyond the server’s', async () => {
    const body = {
      prompt: 'x',
      source: snapshotOf(commit),
      isolation: { image: 'evil.example.com/x', mounts: [{ source: '/', target: '/host', readonly: false }] },
      mounts: ['/:/host:rw'],
      image: 'evil.example.com/x',
      forge: true,
      path: '/etc',
      limits: { timeMs: 1e12, pids: 1e12, cpus: 1e12, diskBytes: 1e18 },
    };
    const { id } = await json<TaskView>(await eve.call('POST', '/api/v1/tasks', body));
    const { state } = await json<{
      state: { spec: Record<string, unknown> & { limits: Record<string, number> } };
    }>(await eve.call('GET', `/api/v1/tasks/${id}`));
    assert.deepEqual(state.spec['isolation'], { readonlyRoot: false });
    assert.equal(state.spec['forge'], undefined);
    assert.deepEqual((state.spec['repository'] as { path: string }).path, '');
    const { timeMs = 0, pids = 0, cpus = 0, diskBytes = 0 } = state.spec.limits;
    assert.ok(timeMs <= 3_600_000 && pids <= 8192 && cpus <= 1024 && diskBytes <= 2 ** 40);
    const inner = { ...body, egress: { rules: ['metadata.internal.example.com private'] } };
    await problem(await eve.call('POST', '/api/v1/tasks', inner), 403, 'forbidden');
    const greedy = { ...body, limits: { memoryBytes: 2 ** 60 } };
    await problem(await eve.call('POST', '/api/v1/tasks', greedy), 400, 'invalid_input');
  });

  it('addresses of repositories lead nowhere but to repositories of the outside', async () => {
    for (const url of [
      'file:///etc/passwd',
      'http://forge.example.com/a/b',
      'ssh://git@forge.example.com/a/b',
      'ext::sh -c id',
      '--upload-pack=id',
      'https://user:password@forge.example.com/a/b',
      'https://forge.example.com/a/b\n--config=x',
    ]) {
      const body = { prompt: 'x', source: { kind: 'url', url } };
      const answer = await eve.call('POST', '/api/v1/tasks', body);
      const text = await answer.text();
      assert.equal(answer.status, 400, `${url}: ${text}`);
      assert.doesNotMatch(text, /password@/);
    }
    for (const url of ['https://127.0.0.1/a/b', 'https://[::1]/a/b', 'https://169.254.169.254/latest/meta']) {
      const answer = await eve.call('POST', '/api/v1/tasks', { prompt: 'x', source: { kind: 'url', url } });
      const { id } = await json<TaskView>(answer);
      const ended = await settled(eve, id);
      assert.equal(ended.stage, 'failed', url);
    }
  });

  async function settled(who: Person, id: string): Promise<TaskView> {
    for (let tries = 0; ; tries++) {
      const view = await json<TaskView>(await who.call('GET', `/api/v1/tasks/${id}`));
      if (view.stage === 'failed' || tries > 2000) return view;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  it('offsets are believed to nobody', async () => {
    repo.write('offsets.txt', 'offsets\n');
    const sha = repo.commit('Offsets');
    const bytes = bundleOf(repo, sha);
    const { id } = await json<UploadState>(await ada.call('POST', '/api/v1/uploads', announced(sha, bytes)));
    for (const offset of ['-1', '1e3', '0x0', ' ', 'NaN', '1.5', '99999999999999999999', '0, 0'])
      await problem(await piece(ada, id, offset, bytes), 400, 'invalid_input');
    for (const offset of [1, bytes.length, 2 ** 40])
      await problem(await piece(ada, id, offset, bytes), 409, 'conflict');
    assert.equal((await piece(ada, id, 0, bytes.subarray(0, 80))).status, 200);
    // Over what is there already, and behind what is not there yet.
    for (const offset of [0, 79, 81]) await problem(await piece(ada, id, offset, bytes), 409, 'conflict');
    await problem(await piece(ada, id, 80, Buffer.concat([bytes, bytes])), 413, 'too_large');
    // Two at the same place: one of them at most.
    const both = await Promise.all([1, 2].map(() => piece(ada, id, 80, bytes.subarray(80, 120))));
    assert.ok(both.filter(({ status }) => status === 200).length <= 1);
    const { offset } = await json<UploadState>(await ada.call('GET', `/api/v1/uploads/${id}`));
    assert.ok(offset === 80 || offset === 120, String(offset));
    assert.equal(
      (await json<UploadState>(await piece(ada, id, offset, bytes.subarray(offset)))).complete,
      true,
    );
  });

  it('a connection that is cut leaves what came, and the rest is enough', async () => {
    const noise = Buffer.alloc(6 << 20);
    for (let at = 0; at < noise.length; at += 20)
      createHash('sha1').update(String(at)).digest().copy(noise, at);
    repo.write('large.bin', noise);
    const sha = repo.commit('Large');
    const bytes = bundleOf(repo, sha);
    assert.ok(bytes.length > 5 << 20);
    const { id } = await json<UploadState>(await ada.call('POST', '/api/v1/uploads', announced(sha, bytes)));
    const { hostname, port, host } = new URL(server.url);
    const socket = connect(Number(port), hostname);
    const head = [
      `PATCH /api/v1/uploads/${id} HTTP/1.1`,
      `Host: ${host}`,
      `Authorization: Bearer ${ada.token}`,
      'Content-Type: application/octet-stream',
      'Upload-Offset: 0',
      `Content-Length: ${bytes.length}`,
    ];
    socket.write(`${head.join('\r\n')}\r\n\r\n`);
    await new Promise((resolve) => socket.write(bytes.subarray(0, 3 << 20), resolve));
    const at = async (): Promise<number> =>
      (await json<UploadState>(await ada.call('GET', `/api/v1/uploads/${id}`))).offset;
    for (let tries = 0; (await at()) < 3 << 20 && tries < 3000; tries++)
      await new Promise((resolve) => setTimeout(resolve, 20));
    socket.destroy();
    await server.restart();
    assert.equal(await at(), 3 << 20);
    const rest = await piece(ada, id, 3 << 20, bytes.subarray(3 << 20));
    assert.equal((await json<UploadState>(rest)).complete, true);
    assert.deepEqual(await known(ada, [sha]), [sha]);
  });

  it('uploads that are too large, too many or of another kind are refused before they cost anything', async () => {
    const large = announced('1'.repeat(40), empty, { bytes: 2 ** 45 });
    await problem(await eve.call('POST', '/api/v1/uploads', large), 413, 'too_large');
    for (const change of [
      { bytes: -1 },
      { bytes: 1.5 },
      { sha256: 'x' },
      { commit: 'HEAD' },
      { commit: '--all' },
      { repository: { id: '../../x', name: 'x' } },
      { repository: { id: 'A', name: 'x' } },
    ])
      await problem(
        await eve.call('POST', '/api/v1/uploads', {
          ...announced('1'.repeat(40), Buffer.from('x')),
          ...change,
        }),
        400,
        'invalid_input',
      );
    const statuses: number[] = [];
    for (let n = 10; n < 40; n++) {
      const sha = String(n).repeat(20);
      statuses.push((await eve.call('POST', '/api/v1/uploads', announced(sha, Buffer.from('x')))).status);
    }
    assert.ok(statuses.filter((status) => status === 201).length <= 16);
    assert.equal(statuses.at(-1), 429);
    const many = Array.from({ length: 1001 }, () => '1'.repeat(40));
    const body = { repository: 'demo-1', commits: many };
    await problem(await eve.call('POST', '/api/v1/uploads/known', body), 400, 'invalid_input');
    await problem(await eve.call('GET', '/api/v1/uploads/..%2f..%2fid'), 400, 'invalid_input');
  });

  it('no bundle gets in but what is whole and harmless, and none takes the server with it', async () => {
    const blob = Buffer.from('x\n');
    const blobSha = nameOf('blob', blob);
    const evil = (entries: Parameters<typeof treeOf>[0], more: Buffer[] = []): [string, Buffer] => {
      const tree = treeOf(entries);
      const made = commitOf(nameOf('tree', tree), []);
      const sha = nameOf('commit', made);
      const objects = [packed('blob', blob), ...more, packed('tree', tree), packed('commit', made)];
      return [sha, bundle(pack(objects), [`${sha} refs/heads/x`])];
    };
    const [good, goodBytes] = evil([['100644', 'file', blobSha]]);
    const goodPack = goodBytes.subarray(goodBytes.indexOf('PACK'));
    const base = Buffer.from('0123456789abcdef'.repeat(4096));
    const bombSize = 4 * 2 ** 30;
    const bombs: Record<string, [string, Buffer]> = {
      'a .git folder': evil([['100644', '.git', blobSha]]),
      'a .GIT folder': evil([['100644', '.GIT', blobSha]]),
      'a name that climbs': evil([['100644', '..', blobSha]]),
      'a name with a slash': evil([['100644', 'a/b', blobSha]]),
      'a link as .gitmodules': evil([['120000', '.gitmodules', blobSha]]),
      'a tree that is not there': evil([['40000', 'folder', '1'.repeat(40)]]),
      'a file that is not there': evil([['100644', 'file', '2'.repeat(40)]]),
      'a commit that is a file': [blobSha, bundle(pack([packed('blob', blob)]), [`${blobSha} refs/heads/x`])],
      'another commit than was announced': ['3'.repeat(40), goodBytes],
      'one ref too many': [good, bundle(goodPack, [`${good} refs/heads/x`, `${good} refs/heads/y`])],
      'a commit that it does not bring': [good, bundle(pack([]), [`${good} refs/heads/x`])],
      'a base of others': [good, bundle(goodPack, [`${good} refs/heads/x`], ['4'.repeat(40)])],
      'no end of its header': [good, Buffer.from(`# v2 git bundle\n${'-'.repeat(2 << 20)}`)],
      'no bundle': [good, Buffer.from('<html></html>')],
      'half a pack': [good, goodBytes.subarray(0, goodBytes.length - 30)],
      'four billion objects': [
        good,
        bundle(pack([packed('blob', blob)], 0xffffffff), [`${good} refs/heads/x`]),
      ],
      'gigabytes in a kilobyte': [
        good,
        bundle(
          pack([packed('blob', base), packedDelta(nameOf('blob', base), inflating(base.length, bombSize))]),
          [`${good} refs/heads/x`],
        ),
      ],
    };
    const most = await gitMemory(async () => {
      for (const [name, [sha, bytes]] of Object.entries(bombs)) {
        const answer = await upload(ada, sha, bytes);
        const text = await answer.text();
        assert.equal(answer.status, 400, `${name}: ${answer.status} ${text}`);
        assert.equal((JSON.parse(text) as { code: string }).code, 'import_refused', `${name}: ${text}`);
        assert.deepEqual(await known(ada, [sha]), [], name);
      }
    });
    assert.ok(most < 2 ** 30, `git took ${most} bytes`);
    assert.deepEqual(await readdir(join(server.data, 'uploads')), []);
    // It was all about what is wrong with them.
    assert.equal((await upload(ada, good, goodBytes)).status, 200);
    assert.deepEqual(await known(ada, [good]), [good]);
  });
});
