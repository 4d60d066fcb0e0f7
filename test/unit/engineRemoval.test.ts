import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DockerEngine } from '../../src/engine/client.ts';
import type { EngineInfo } from '../../src/engine/engine.ts';

const info: EngineInfo = {
  kind: 'docker',
  version: '20.10.24',
  apiVersion: '1.41',
  platform: 'linux/amd64',
  rootless: false,
  address: '',
  source: 'test',
  seccomp: true,
  ignoredLimits: [],
  runtimes: ['runc'],
  storageDriver: 'overlay2',
};
const id = 'a'.repeat(64);
const marked = 'can not get logs from container which is dead or marked for removal';

describe('a container that somebody is just removing', () => {
  let folder: string;
  let server: Server;
  let engine: DockerEngine;
  /** What the engine answers, by the end of the path; 404 for the rest. */
  let answers: Record<string, { status: number; body: unknown }>;
  let removals: number;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'sallyport-fake-engine-'));
    answers = {};
    removals = 0;
    server = createServer((request, response) => {
      const path = request.url?.split('?')[0] ?? '';
      if (request.method === 'DELETE') removals++;
      // The third try finds it gone.
      if (removals > 2) answers = {};
      const key =
        request.method === 'DELETE'
          ? 'remove'
          : (Object.keys(answers).find((end) => path.endsWith(end)) ?? '');
      const { status, body } = answers[key] ?? { status: 404, body: { message: 'No such container' } };
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    }).listen(join(folder, 'socket'));
    await once(server, 'listening');
    const address = join(folder, 'socket');
    engine = new DockerEngine({ type: 'socket', path: address }, {}, { ...info, address });
  });
  afterEach(async () => {
    engine.dispose();
    server.close();
    await rm(folder, { recursive: true, force: true });
  });

  const state = {
    Id: id,
    Name: '/x',
    Config: { Labels: {} },
    State: { Status: 'removing', Running: false, ExitCode: 137, OOMKilled: false },
  };

  it('has no log, as one that is gone', async () => {
    answers['/json'] = { status: 200, body: state };
    answers['/logs'] = { status: 409, body: { message: marked } };
    const parts: Uint8Array[] = [];
    for await (const part of engine.logs(id, new AbortController().signal)) parts.push(part);
    assert.deepEqual(parts, []);
  });

  it('cannot be looked at or measured', async () => {
    answers['/json'] = {
      status: 500,
      body: { message: `RWLayer of container ${id} is unexpectedly nil` },
    };
    assert.equal(await engine.inspect(id), undefined);
    assert.equal(await engine.written(id), undefined);
  });

  it('counts as there until its name is free', async () => {
    answers['/json'] = { status: 409, body: { message: marked } };
    answers['remove'] = {
      status: 409,
      body: { message: `removal of container ${id} is already in progress` },
    };
    await engine.remove(id);
    assert.equal(removals, 3);
  });

  it('does not hide another conflict', async () => {
    answers['/json'] = { status: 200, body: state };
    answers['/logs'] = { status: 409, body: { message: 'the log driver does not support reading' } };
    const read = async (): Promise<void> => {
      for await (const _ of engine.logs(id, new AbortController().signal));
    };
    await assert.rejects(read(), /does not support reading/);
  });
});
