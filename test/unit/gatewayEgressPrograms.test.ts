import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type RequestListener } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { startRelay, type Relay } from '../../src/supervisor/relay.ts';
import { certificateFor } from '../support/certificate.ts';
import { EgressBench } from '../support/egress.ts';
import { temporaryFolder } from '../support/gitRepo.ts';

const host = 'host.example.com';
const run = promisify(execFile);

/** Programs as a sandbox has them, with their own ways to use a proxy. */
describe('gatewayEgressPrograms', function () {
  let bench: EgressBench;
  let relay: Relay;
  let folder: ReturnType<typeof temporaryFolder>;

  beforeEach(() => {
    bench = new EgressBench();
    folder = temporaryFolder();
  });

  afterEach(() => {
    relay.dispose();
    bench.dispose();
    folder.dispose();
  });

  /** The proxy as the sandbox sees it: a port of its loopback. */
  async function proxy(...rules: string[]): Promise<string> {
    await bench.start({ rules });
    relay = await startRelay(bench.socketPath, 5000);
    return `http://127.0.0.1:${relay.port}`;
  }

  function environment(at: string): NodeJS.ProcessEnv {
    const env: NodeJS.ProcessEnv = { PATH: process.env.PATH, HOME: folder.path, LANG: 'C.UTF-8' };
    for (const name of ['http_proxy', 'https_proxy', 'HTTP_PROXY', 'HTTPS_PROXY']) env[name] = at;
    return env;
  }

  /** The requests that the ledger has, without those that the relay made to see whether anybody is there. */
  function ledger(): string[] {
    return bench.events.flatMap((event) =>
      event.type === 'request'
        ? [`${event.verdict} ${event.kind} ${event.method ?? ''} ${event.path ?? ''}`]
        : [],
    );
  }

  it('curl loads over plain HTTP and over TLS, and is told what is not allowed', async () => {
    const { key, cert } = certificateFor(host);
    const authority = join(folder.path, 'ca.pem');
    writeFileSync(authority, cert);
    const answer: RequestListener = (request, response) =>
      response.end(`${request.method ?? ''} ${request.url ?? ''}`);
    const plain = await bench.listen(createServer(answer));
    const secure = await bench.listen(createSecureServer({ key, cert }, answer));
    const at = await proxy(`${host}:${plain}`, `${host}:${secure}`);
    const curl = async (...args: string[]): Promise<string> =>
      (
        await run('curl', ['-sS', '--max-time', '20', '--cacert', authority, ...args], {
          env: environment(at),
        })
      ).stdout;
    assert.equal(await curl(`http://${host}:${plain}/a/../b?c`), 'GET /b?c');
    assert.equal(await curl(`https://${host}:${secure}/b`), 'GET /b');
    assert.equal(
      await curl('http://other.example.com/'),
      'Blocked by Sallyport: other.example.com is not on the list of this sandbox. Ask the user to allow it.\n',
    );
    assert.match(await curl('-X', 'DELETE', `http://${host}:${plain}/`), /^Blocked by Sallyport: DELETE to /);
    await assert.rejects(curl('https://other.example.com/'), /CONNECT tunnel failed, response 403/);
    await assert.rejects(curl('https://127.0.0.1/'), /CONNECT tunnel failed, response 403/);
    await assert.rejects(
      curl('--connect-to', `${host}:443:other.example.com:${secure}`, `https://${host}/`),
      /403/,
    );
    assert.deepEqual(
      ledger().map((line) => line.split(' ')[0]),
      [...['allowed', 'allowed', 'blocked', 'blocked', 'blocked', 'blocked', 'blocked']],
    );
  });

  it('git clones over plain HTTP and over TLS', async () => {
    const source = join(folder.path, 'source');
    const git = async (env: NodeJS.ProcessEnv, ...args: string[]): Promise<void> => {
      const author = ['-c', 'user.name=A', '-c', 'user.email=a@example.com'];
      await run('git', [...author, ...args], { env: { ...env, GIT_CONFIG_NOSYSTEM: '1' } });
    };
    const local = environment('');
    await git(local, 'init', '-q', source);
    writeFileSync(join(source, 'file'), 'content\n'.repeat(10_000));
    await git(local, '-C', source, 'add', 'file');
    await git(local, '-C', source, 'commit', '-qm', 'one');
    const bare = join(folder.path, 'web', 'repo.git');
    await git(local, 'clone', '-q', '--bare', source, bare);
    await git(local, '-C', bare, 'update-server-info');

    const { key, cert } = certificateFor(host);
    const authority = join(folder.path, 'ca.pem');
    writeFileSync(authority, cert);
    const files = filesBelow(join(folder.path, 'web'));
    const plain = await bench.listen(createServer(files));
    const secure = await bench.listen(createSecureServer({ key, cert }, files));
    const at = await proxy(`${host}:${plain}`, `${host}:${secure}`);
    const env = { ...environment(at), GIT_SSL_CAINFO: authority };
    for (const [index, url] of [`http://${host}:${plain}`, `https://${host}:${secure}`].entries()) {
      const target = join(folder.path, `clone${index}`);
      await git(env, 'clone', '-q', `${url}/repo.git`, target);
      assert.equal(readFileSync(join(target, 'file'), 'utf8').length, 80_000);
    }
    await assert.rejects(
      git(env, 'clone', '-q', 'https://other.example.com/r.git', join(folder.path, 'no')),
      /403/,
    );
    const told = ledger();
    assert.ok(told.includes('allowed http GET /repo.git/info/refs'));
    assert.ok(told.some((line) => line.startsWith('allowed tunnel')));
  });

  it('npm installs from a registry', async () => {
    const packed = join(folder.path, 'package');
    mkdirSync(packed);
    writeFileSync(join(packed, 'package.json'), JSON.stringify({ name: '@scope/thing', version: '1.0.0' }));
    const tarball = join(folder.path, 'thing.tgz');
    await run('tar', ['-czf', tarball, '-C', folder.path, 'package']);
    const bytes = readFileSync(tarball);
    const integrity = `sha512-${createHash('sha512').update(bytes).digest('base64')}`;
    const port = await bench.listen(
      createServer((request, response) => {
        if (request.url?.endsWith('.tgz') === true) {
          response.end(bytes);
          return;
        }
        const dist = { tarball: `http://${host}:${port}/thing/-/thing-1.0.0.tgz`, integrity };
        const version = { name: '@scope/thing', version: '1.0.0', dist };
        response.setHeader('content-type', 'application/json');
        response.end(
          JSON.stringify({
            name: '@scope/thing',
            'dist-tags': { latest: '1.0.0' },
            versions: { '1.0.0': version },
          }),
        );
      }),
    );
    // The name of a scoped package stands in the path with an encoded slash.
    const at = await proxy(
      `${host}:${port}/@scope%2fthing`,
      `${host}:${port}/thing/`,
      `${host}:${port}/@scope`,
    );
    const project = join(folder.path, 'project');
    mkdirSync(project);
    writeFileSync(join(project, 'package.json'), '{}');
    const options = ['--no-audit', '--no-fund', '--no-update-notifier', '--fetch-retries=0'];
    await run('npm', ['install', ...options, '--registry', `http://${host}:${port}/`, '@scope/thing'], {
      cwd: project,
      env: environment(at),
    });
    assert.equal(
      readFileSync(join(project, 'node_modules/@scope/thing/package.json'), 'utf8'),
      '{"name":"@scope/thing","version":"1.0.0"}',
    );
    assert.deepEqual(ledger(), [
      'allowed http GET /@scope%2fthing',
      'allowed http GET /thing/-/thing-1.0.0.tgz',
    ]);
  });

  it('pip loads from an index', async function () {
    const pip = ['-m', 'pip'];
    const there = await run('python3', [...pip, '--version']).then(
      () => true,
      () => false,
    );
    // Debian's Python comes without pip; the test is then shown as pending.
    if (!there) this.skip();
    const name = 'thing-1.0-py3-none-any.whl';
    const wheel = join(folder.path, name);
    const script = [
      'import sys, zipfile',
      'with zipfile.ZipFile(sys.argv[1], "w") as z:',
      '    z.writestr("thing.py", "")',
      '    z.writestr("thing-1.0.dist-info/METADATA", "Metadata-Version: 2.1\\nName: thing\\nVersion: 1.0\\n")',
      '    z.writestr("thing-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")',
      '    z.writestr("thing-1.0.dist-info/RECORD", "")',
    ];
    await run('python3', ['-c', script.join('\n'), wheel]);
    const port = await bench.listen(
      createServer((request, response) => {
        if (request.url === `/files/${name}`) {
          response.end(readFileSync(wheel));
          return;
        }
        response.setHeader('content-type', 'text/html');
        response.end(`<a href="/files/${name}">${name}</a>`);
      }),
    );
    const at = await proxy(`${host}:${port}`);
    const options = ['--no-deps', '--no-cache-dir', '--disable-pip-version-check', '--retries', '0'];
    const index = ['--index-url', `http://${host}:${port}/simple/`, '--trusted-host', host];
    const env = { ...environment(at), PIP_CONFIG_FILE: '/dev/null' };
    const target = join(folder.path, 'loaded');
    await run('python3', [...pip, 'download', ...options, ...index, '-d', target, 'thing'], { env });
    assert.deepEqual(readdirSync(target), [name]);
    const failure = run('python3', [...pip, 'download', '-vvv', ...options, '-d', target, 'other'], {
      env: { ...env, PIP_INDEX_URL: 'https://other.example.com/simple/' },
    });
    await assert.rejects(failure, (error: { stdout?: string; stderr?: string }) => {
      assert.match(`${error.stdout ?? ''}${error.stderr ?? ''}`, /403 Blocked by Sallyport/);
      return true;
    });
  });
});

function filesBelow(root: string): RequestListener {
  return (request, response) => {
    try {
      response.end(readFileSync(join(root, new URL(request.url ?? '', 'http://x').pathname)));
    } catch {
      response.writeHead(404).end();
    }
  };
}
