import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { RequestListener, Server } from 'node:http';
import { createServer as createPlainServer } from 'node:net';
import type { Server as PlainServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connectEngine, describeCandidates } from '../../src/engine/connect.ts';

describe('connecting to an engine', () => {
  let folder: string;
  const servers: (Server | PlainServer)[] = [];

  before(async () => (folder = await mkdtemp(join(tmpdir(), 'sallyport-connect-'))));
  after(async () => {
    for (const server of servers) server.close();
    await rm(folder, { recursive: true });
  });

  const listen = (server: Server | PlainServer, name: string): Promise<string> => {
    servers.push(server);
    const path = join(folder, name);
    return new Promise((resolve) => server.listen(path, () => resolve(path)));
  };
  const answer =
    (version: object, info: object): RequestListener =>
    (request, response) => {
      response.end(JSON.stringify(request.url?.startsWith('/version') === true ? version : info));
    };
  const connect = (setting: string) => connectEngine({ setting, env: {}, home: folder });

  it('says that a chosen socket is not there', async () => {
    await assert.rejects(connect(join(folder, 'none.sock')), {
      code: 'engine_not_running',
      message: /There is no engine/,
    });
  });

  it('says that a chosen socket is dead', async () => {
    const path = join(folder, 'dead.sock');
    // A process that ends without closing leaves the socket behind.
    spawnSync(process.execPath, [
      '-e',
      `require('net').createServer().listen(${JSON.stringify(path)},()=>process.kill(process.pid,9))`,
    ]);
    await assert.rejects(connect(path), { code: 'engine_not_running', message: /Nothing answers/ });
  });

  it('says that DOCKER_HOST does not answer, and tries nothing else', async () => {
    const env = { DOCKER_HOST: 'tcp://127.0.0.1:1' };
    await assert.rejects(connectEngine({ env, home: folder }), {
      code: 'engine_not_running',
      message: /DOCKER_HOST/,
    });
  });

  it('says that a socket may not be opened', async () => {
    const path = await listen(createServer(answer({}, {})), 'closed.sock');
    await chmod(path, 0o000);
    await chmod(folder, 0o755);
    // Root opens everything: another user's eyes, for a moment. What is loaded lazily is there from the tests before.
    const root = process.geteuid?.() === 0;
    if (root) process.seteuid!('nobody');
    try {
      await assert.rejects(connect(path), { code: 'engine_forbidden', mend: /usermod -aG docker/ });
    } finally {
      if (root) process.seteuid!(0);
    }
  });

  it('refuses what is no engine', async () => {
    const html = createServer((_, response) => response.writeHead(404).end('<html>'));
    await assert.rejects(connect(await listen(html, 'html.sock')), { code: 'engine_unsupported' });
    const chat = createPlainServer((socket) => socket.end('SSH-2.0-x\r\n'));
    await assert.rejects(connect(await listen(chat, 'chat.sock')), { code: 'engine_unsupported' });
    const json = createServer(answer({ hello: 1 }, {}));
    await assert.rejects(connect(await listen(json, 'json.sock')), { code: 'engine_unsupported' });
    await writeFile(join(folder, 'file.sock'), '');
    await assert.rejects(connect(join(folder, 'file.sock')), {
      code: /engine_unsupported|engine_not_running/,
    });
  });

  it('refuses an engine that is too old, and Windows containers', async () => {
    const old = createServer(answer({ Version: '18.09', ApiVersion: '1.39' }, {}));
    await assert.rejects(connect(await listen(old, 'old.sock')), {
      code: 'engine_unsupported',
      message: /too old/,
    });
    const windows = createServer(answer({ Version: '24', ApiVersion: '1.43' }, { OSType: 'windows' }));
    const refused = { code: 'engine_unsupported', mend: /Linux containers/ };
    await assert.rejects(connect(await listen(windows, 'windows.sock')), refused);
  });

  it('tells Docker from Podman, rootless from root, and speaks no newer API than it knows', async () => {
    const version = {
      Version: '5.0',
      ApiVersion: '1.99',
      Os: 'linux',
      Arch: 'arm64',
      Components: [{ Name: 'Podman Engine' }],
    };
    const podman = await connect(
      await listen(createServer(answer(version, { Rootless: true })), 'podman.sock'),
    );
    const { kind, rootless, apiVersion, platform } = podman.info;
    assert.deepEqual(
      { kind, rootless, apiVersion, platform },
      { kind: 'podman', rootless: true, apiVersion: '1.47', platform: 'linux/arm64' },
    );
    const docker = { Version: '27', ApiVersion: '1.45' };
    const info = { SecurityOptions: ['name=seccomp', 'name=rootless'] };
    const found = await connect(await listen(createServer(answer(docker, info)), 'rootless.sock'));
    assert.deepEqual([found.info.kind, found.info.rootless, found.info.apiVersion], ['docker', true, '1.45']);
  });

  it('describes what it looked at', async () => {
    const path = join(folder, 'none.sock');
    const [only] = await describeCandidates({ setting: path, env: {}, home: folder });
    assert.equal(only?.address, path);
    assert.equal((only.result as { code: string }).code, 'engine_not_running');
  });
});
