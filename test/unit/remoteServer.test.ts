import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { SallyportError } from '../../src/base/errors.ts';
import type { TaskSpec } from '../../src/protocol/task.ts';
import { checkRunner } from '../../src/remote/remoteTasks.ts';
import { defaultPolicy } from '../../src/runner/userPolicy.ts';
import { CuttingProxy } from '../support/cuttingProxy.ts';
import { GitRepo, temporaryFolder } from '../support/gitRepo.ts';
import { RemoteClient, until } from '../support/remoteClient.ts';
import { freePort, startTestServer, type TestServer } from '../support/server.ts';

/** The real server, without an engine: its tasks begin, and end because there is nothing to run them. */
describe('remote client and a real server', function () {
  let server: TestServer;
  let proxy: CuttingProxy;
  let client: RemoteClient;
  let folder: ReturnType<typeof temporaryFolder>;
  let repository: GitRepo;

  beforeEach(async () => {
    const port = await freePort();
    proxy = await CuttingProxy.start(port);
    server = await startTestServer({ port, env: { SALLYPORT_ALLOWED_HOSTS: new URL(proxy.url).host } });
    client = await RemoteClient.open(proxy.url);
    client.token = await server.adminToken();
    folder = temporaryFolder();
    repository = new GitRepo(join(folder.path, 'project'));
    repository.write('noise', randomBytes(6 << 20));
    repository.commit('First');
  });
  afterEach(async () => {
    await client.close();
    await proxy.close();
    await server.close();
    folder.dispose();
  });

  const submit = async (change = {}): Promise<TaskSpec> =>
    (
      await client.service.submit({
        repositoryPath: repository.path,
        prompt: 'Do it.',
        snapshot: 'head',
        ...change,
      })
    ).spec;

  it('says who is there', async () => {
    const { user, version, scopes } = await checkRunner({
      url: proxy.url,
      token: client.token,
      policy: () => defaultPolicy,
    });
    assert.equal(user.role, 'admin');
    assert.equal(version.version, '0.0.0-test');
    assert.ok(scopes.includes('tasks:write'));
    await assert.rejects(checkRunner({ url: proxy.url, token: 'slp_wrong', policy: () => defaultPolicy }), {
      code: 'unauthorized',
    });
  });

  it('brings a snapshot through connections that break off, and its log back', async () => {
    await client.service.open();
    await client.status('online');
    proxy.cuts = [
      { up: 2_000_000, down: Infinity },
      { up: 3_000_000, down: 400 },
      { up: 5000, down: 900 },
      { up: Infinity, down: 2000 },
    ];
    proxy.cutAll();
    let spec: TaskSpec | undefined;
    for (let tries = 0; spec === undefined; tries++) {
      try {
        spec = await submit();
      } catch (thrown) {
        if (tries > 10 || !(thrown instanceof SallyportError) || thrown.code !== 'runner_unreachable')
          throw thrown;
      }
    }
    const { id } = spec;
    assert.equal(client.service.tasks().length, 1);
    await until(() => client.service.task(id)?.endedAt !== undefined, 'the end', client.log);
    const state = client.service.task(id);
    assert.equal(state?.failure?.kind, 'engine_gone', JSON.stringify(state?.failure));
    const events = await client.eventsUpTo(id, state.lastEvent);
    const there = server.running.context.tasks;
    const admin = (await checkRunner({ url: proxy.url, token: client.token, policy: () => defaultPolicy }))
      .user;
    const whole: unknown[] = [];
    const enough = new AbortController();
    for await (const batch of there.events(admin, id, 0, enough.signal)) {
      whole.push(...batch);
      if (whole.length >= state.lastEvent) break;
    }
    enough.abort();
    assert.deepEqual(events.slice(1), whole.slice(1, events.length));
  });

  it('sends the second task of a repository without what the first has brought', async () => {
    await submit();
    const { passed } = proxy;
    assert.ok(passed > 0);
    repository.write('small', 'x\n');
    repository.commit('Second');
    const sent: number[] = [];
    client.service.onProgress(({ stage, total }) => {
      if (stage === 'uploading') sent.push(total);
    });
    await submit();
    assert.ok(Math.max(...sent) < 10_000, sent.join());
  });

  it('removes a task that is over, here and there', async () => {
    const { id } = await submit();
    await until(() => client.service.task(id)?.endedAt !== undefined, 'the end', client.log);
    await client.service.remove(id, { force: true });
    assert.equal(client.service.task(id), undefined);
    assert.deepEqual(
      (await server.ask<{ tasks: unknown[] }>('/api/v1/tasks', { token: client.token })).tasks,
      [],
    );
  });

  it('goes on when the server was away', async () => {
    const { id } = await submit();
    await server.restart();
    await client.status('online');
    const second = await submit();
    assert.deepEqual(
      client.service.tasks().map(({ spec }) => spec.id),
      [id, second.id],
    );
  });

  it('is refused with a token that may only read, and sees all the same', async () => {
    const { id } = await submit();
    const reader = await RemoteClient.open(proxy.url);
    try {
      reader.token = await server.token(await server.session(), ['tasks:read']);
      await reader.service.open();
      await reader.eventsUpTo(id, 1);
      await assert.rejects(
        reader.service.submit({ repositoryPath: repository.path, prompt: 'x', snapshot: 'head' }),
        { code: 'forbidden' },
      );
      await assert.rejects(reader.service.remove(id, { force: true }), { code: 'forbidden' });
    } finally {
      await reader.close();
    }
  });

  it('shows what is shared to another user, who cannot change it', async () => {
    const { id } = await submit();
    const other = await RemoteClient.open(proxy.url);
    try {
      other.token = await server.token(await server.user('grace', 'member'), ['tasks:read', 'tasks:write']);
      await other.service.open();
      await other.status('online');
      assert.deepEqual(other.service.tasks(), []);
      await server.ask(`/api/v1/tasks/${id}`, {
        method: 'PATCH',
        token: client.token,
        json: { shared: true },
      });
      await other.eventsUpTo(id, 1);
      assert.equal(other.service.mayChange(id), false);
      await assert.rejects(other.service.remove(id, { force: true }), { code: 'forbidden' });
      await server.ask(`/api/v1/tasks/${id}`, {
        method: 'PATCH',
        token: client.token,
        json: { shared: false },
      });
      await until(() => other.service.task(id) === undefined, 'the end of the sharing', other.log);
    } finally {
      await other.close();
    }
  });

  it('is refused as soon as its token is revoked', async () => {
    await client.service.open();
    await client.status('online');
    const { tokens } = await server.ask<{ tokens: { id: string }[] }>('/api/v1/tokens', {
      headers: { cookie: await server.session() },
    });
    const cookie = await server.session();
    for (const { id } of tokens)
      await server.ask(`/api/v1/tokens/${id}`, { method: 'DELETE', headers: { cookie, origin: server.url } });
    const status = await client.status('refused');
    assert.ok(status.kind === 'refused' && status.error.code === 'unauthorized');
  });
});
