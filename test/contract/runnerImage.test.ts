import assert from 'node:assert/strict';
import { stat } from 'node:fs/promises';
import { PassThrough } from 'node:stream';
import { setTimeout as pause } from 'node:timers/promises';
import Docker from 'dockerode';
import { runnerRecipe } from '../../scripts/lib/runnerImage.mjs';
import { connectEngine } from '../../src/engine/connect.ts';
import { engines } from '../support/engines.ts';
import { freePort } from '../support/server.ts';

const tag = 'localhost/sallyport/runner:test';

describe('the image of the runner', function () {
  // Built from Debian's packages, the first time.
  this.timeout('6m');
  let docker: Docker;
  let socket: string;
  const containers: Docker.Container[] = [];

  before(async () => {
    const address = (await engines()).docker;
    socket = address.replace('unix://', '');
    docker = new Docker({ socketPath: socket });
    const engine = await connectEngine({ setting: address });
    try {
      // Its bundles are what changes; everything else of it the engine has from before.
      await docker
        .getImage(tag)
        .remove({ force: true, noprune: true })
        .catch(() => undefined);
      await engine.ensureImage(await runnerRecipe(tag), () => undefined);
    } finally {
      engine.dispose();
    }
  });
  after(() => removeAll());

  async function removeAll(): Promise<void> {
    for (const container of containers.splice(0))
      await container.remove({ force: true }).catch(() => undefined);
  }

  /** As container/compose.yaml starts it. */
  async function start(port: number, env: Record<string, string>, volume: string): Promise<Docker.Container> {
    const container = await docker.createContainer({
      Image: tag,
      Env: Object.entries({ PORT: String(port), SALLYPORT_ENGINE: 'unix:///run/engine.sock', ...env }).map(
        ([name, value]) => `${name}=${value}`,
      ),
      ExposedPorts: { [`${port}/tcp`]: {} },
      Labels: { 'sallyport.test': '1' },
      HostConfig: {
        PortBindings: { [`${port}/tcp`]: [{ HostIp: '127.0.0.1', HostPort: String(port) }] },
        Binds: [`${volume}:/data`, `${socket}:/run/engine.sock`],
        GroupAdd: [String((await stat(socket)).gid)],
        ReadonlyRootfs: true,
        Tmpfs: { '/tmp': '' },
        CapDrop: ['ALL'],
        SecurityOpt: ['no-new-privileges:true'],
      },
    });
    containers.push(container);
    await container.start();
    return container;
  }

  async function logOf(container: Docker.Container): Promise<string> {
    const raw = await container.logs({ stdout: true, stderr: true, follow: false });
    return raw.toString('utf8');
  }

  async function until(
    what: string,
    test: () => Promise<boolean>,
    container: Docker.Container,
  ): Promise<void> {
    for (let left = 240; !(await test().catch(() => false)); left--) {
      if (left === 0) assert.fail(`${what}: ${await logOf(container)}`);
      await pause(250);
    }
  }

  async function inside(container: Docker.Container, command: string[]): Promise<string> {
    const exec = await container.exec({ Cmd: command, AttachStdout: true, AttachStderr: true });
    const stream = await exec.start({});
    const out = new PassThrough();
    docker.modem.demuxStream(stream, out, out);
    stream.on('end', () => out.end());
    let text = '';
    for await (const part of out) text += String(part);
    return text.trim();
  }

  it('starts without any configuration, as nobody, on a root that cannot be written, and is found healthy', async () => {
    const port = await freePort();
    const volume = `sallyport-runner-image-${process.pid}`;
    const env = { SALLYPORT_DEMONSTRATION: '1' };
    const first = await start(port, env, volume);
    const url = `http://localhost:${port}`;
    await until('It answers', async () => (await fetch(`${url}/health`)).ok, first);
    assert.equal(await inside(first, ['id', '-u']), '10001');
    assert.match(
      await inside(first, ['sh', '-c', 'touch /opt/sallyport/x 2>&1; touch /x 2>&1; true']),
      /Read-only/,
    );
    assert.equal(await inside(first, ['sh', '-c', 'sallyport-runner health && echo well']), 'well');
    const link = /\/setup#(\S+)/.exec(await logOf(first))?.[1];
    assert.ok(link);
    const setUp = await fetch(`${url}/auth/setup`, {
      method: 'POST',
      headers: { origin: url, 'content-type': 'application/json' },
      body: JSON.stringify({ secret: link, login: 'ada', password: 'correct horse battery' }),
    });
    assert.equal(setUp.status, 201, await setUp.text());

    // An orderly end, within the time that an engine gives; and the data is there for the next one.
    const stopped = Date.now();
    await first.stop({ t: 20 });
    assert.ok(Date.now() - stopped < 15_000);
    const { State } = await first.inspect();
    assert.equal(State.ExitCode, 0);
    const backup = await docker.createContainer({
      Image: tag,
      Cmd: ['backup', '/tmp/backup.tar.gz'],
      HostConfig: { Binds: [`${volume}:/data`], Tmpfs: { '/tmp': '' }, ReadonlyRootfs: true },
    });
    containers.push(backup);
    await backup.start();
    assert.equal(((await backup.wait()) as { StatusCode: number }).StatusCode, 0, await logOf(backup));
    const second = await start(port, env, volume);
    await until('It answers again', async () => (await fetch(`${url}/health`)).ok, second);
    assert.doesNotMatch(await logOf(second), /\/setup#/);
    const login = await fetch(`${url}/auth/login`, {
      method: 'POST',
      headers: { origin: url, 'content-type': 'application/json' },
      body: JSON.stringify({ login: 'ada', password: 'correct horse battery' }),
    });
    assert.equal(login.status, 200, await login.text());
    await removeAll();
    await docker.getVolume(volume).remove();
  });

  it('refuses to start with a dangerous configuration, and says why', async () => {
    const container = await start(
      await freePort(),
      { SALLYPORT_PUBLIC_URL: 'http://runner.example.com', SESSION_SECRET: 'changeme' },
      `sallyport-runner-refused-${process.pid}`,
    );
    const { StatusCode } = (await container.wait()) as { StatusCode: number };
    assert.equal(StatusCode, 1);
    const log = await logOf(container);
    assert.match(log, /over the network as they are/);
    assert.match(log, /example or too short/);
    await removeAll();
    await docker.getVolume(`sallyport-runner-refused-${process.pid}`).remove();
  });
});
