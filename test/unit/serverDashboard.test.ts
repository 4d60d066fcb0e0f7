import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile, mkdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { brotliDecompressSync, gunzipSync } from 'node:zlib';
import type { FastifyInstance } from 'fastify';
import { createApp } from '../../src/server/http/app.ts';
import { Router } from '../../src/server/http/router.ts';
import type { ServerContext } from '../../src/server/context.ts';
import { readConfig } from '../../src/server/operation/readConfig.ts';
import { bestOf } from '../../src/server/dashboard/assets.ts';
import { dashboardRoutes } from '../../src/server/dashboard/dashboardRoutes.ts';
import { contentPolicy } from '../../src/server/dashboard/shell.ts';

const log = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };

describe("the server's part of the dashboard", () => {
  let folder: string;
  let app: FastifyInstance;
  let needsSetUp = false;
  let signedIn = false;
  const script = `console.log(${JSON.stringify('x'.repeat(5000))})`;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'sallyport-dist-'));
    const config = readConfig({ SALLYPORT_HOME: folder }, { distFolder: folder, containerFolder: folder });
    app = await createApp(config, log);
    const user = { id: 'u', login: 'ada', name: 'Ada', role: 'admin' } as const;
    const principal = { user, scopes: new Set([]), via: 'session', credential: 'c' } as const;
    const gate = { identify: () => Promise.resolve(signedIn ? principal : undefined) };
    const auth = { ...gate, needsSetUp: () => needsSetUp };
    dashboardRoutes(new Router(app, gate), { config, auth } as unknown as ServerContext);
    await app.ready();
  });
  after(async () => {
    await app.close();
    await rm(folder, { recursive: true });
  });

  const get = (url: string, headers: Record<string, string> = {}) =>
    app.inject({ method: 'GET', url, headers });

  it('says what to do where it was not built, and finds it when it was', async () => {
    const answer = await get('/dashboard');
    assert.equal(answer.statusCode, 503);
    assert.match(answer.body, /npm run build/);
    const dashboard = join(folder, 'dashboard');
    await mkdir(dashboard);
    await writeFile(join(dashboard, 'dashboard.js'), script);
    await writeFile(join(dashboard, 'service-worker.js'), '1;');
    await writeFile(join(dashboard, 'chunk-ABCDEFGH.js'), '2;');
    await writeFile(join(dashboard, 'secret.env'), 'KEY=1');
    for (const name of ['dashboard.css', 'icon.svg', 'icon-256.png', 'manifest.webmanifest'])
      await writeFile(join(dashboard, name), name);
    assert.equal((await get('/dashboard')).statusCode, 200);
  });

  it('leads to where one can go on', async () => {
    needsSetUp = true;
    assert.equal((await get('/')).headers.location, '/setup');
    needsSetUp = false;
    assert.equal((await get('/')).headers.location, '/signin');
    signedIn = true;
    assert.equal((await get('/')).headers.location, '/dashboard');
    signedIn = false;
  });

  it('gives the same page at each of its addresses, with a policy that leaves nothing open', async () => {
    const pages = ['/dashboard', '/dashboard/tasks/abcdefghij', '/setup', '/signin', '/connect?callback=x'];
    const bodies = new Set<string>();
    for (const path of pages) {
      const { headers, body, statusCode } = await get(path, { host: 'localhost:8787' });
      assert.equal(statusCode, 200, path);
      assert.match(String(headers['content-type']), /^text\/html; charset=utf-8$/);
      const policy = String(headers['content-security-policy']);
      assert.doesNotMatch(policy, /unsafe|\*|https?:/);
      for (const part of [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "require-trusted-types-for 'script'",
        "connect-src 'self' ws://localhost:8787",
      ])
        assert.ok(policy.split('; ').includes(part), part);
      assert.equal(headers['x-content-type-options'], 'nosniff');
      assert.equal(headers['referrer-policy'], 'no-referrer');
      assert.equal(headers['cross-origin-opener-policy'], 'same-origin');
      assert.equal(headers['cross-origin-resource-policy'], 'same-origin');
      bodies.add(body);
    }
    assert.equal(bodies.size, 1);
    const [body = ''] = bodies;
    // Every script and style is a file, and none is anybody else's.
    assert.doesNotMatch(body, /<style|style=|<script(?![^>]* src="\/assets\/)|\son\w+=|https?:\/\//);
  });

  it('lets no name of a host write into the policy', () => {
    for (const host of ["a; script-src 'unsafe-inline'", 'a b', 'a\r\nb', "'self'", '*', 'a/b', '']) {
      assert.equal(contentPolicy(host, true), contentPolicy('?', true), host);
    }
    assert.match(contentPolicy('[::1]:8787', true), /connect-src 'self' wss:\/\/\[::1\]:8787;/);
  });

  it('packs files, tags them, and lets those be kept whose address changes with them', async () => {
    const { body } = await get('/dashboard');
    const address = /src="(\/assets\/dashboard\.js\?v=[0-9a-f]{16})"/.exec(body)?.[1];
    assert.ok(address !== undefined);
    const br = await get(address, { 'accept-encoding': 'gzip, br' });
    assert.equal(br.headers['content-encoding'], 'br');
    assert.equal(br.headers['cache-control'], 'public, max-age=31536000, immutable');
    assert.equal(br.headers.vary, 'accept-encoding');
    assert.equal(brotliDecompressSync(br.rawPayload).toString(), script);
    assert.ok(br.rawPayload.length < script.length / 10);
    const gzip = await get(address, { 'accept-encoding': 'br;q=0, gzip' });
    assert.equal(gunzipSync(gzip.rawPayload).toString(), script);
    const plain = await get(address);
    assert.equal(plain.body, script);
    assert.equal(plain.headers['content-encoding'], undefined);
    const tags = [br, gzip, plain].map(({ headers }) => String(headers.etag));
    assert.equal(new Set(tags).size, 3, 'each form has a tag of its own');
    const again = await get(address, { 'accept-encoding': 'br', 'if-none-match': `"x", W/${tags[0] ?? ''}` });
    assert.equal(again.statusCode, 304);
    assert.equal(again.body, '');
    // Without its version, or with another one, it is asked for anew each time.
    for (const other of ['/assets/dashboard.js', '/assets/dashboard.js?v=0000000000000000'])
      assert.equal((await get(other)).headers['cache-control'], 'no-cache');
    assert.match(String((await get('/assets/chunk-ABCDEFGH.js')).headers['cache-control']), /immutable/);
    assert.equal((await get('/service-worker.js')).headers['cache-control'], 'no-cache');
  });

  it('gives no other file, however it is asked for', async () => {
    const paths = [
      '/assets/secret.env',
      '/assets/..%2f..%2fkey',
      '/assets/%2e%2e/server.js',
      '/assets/.htaccess',
      '/assets/nothing.js',
      '/assets/__proto__',
    ];
    for (const path of paths) {
      const { statusCode, headers, body } = await get(path);
      assert.ok(statusCode === 404 || statusCode === 400, `${path}: ${statusCode}`);
      assert.match(String(headers['content-type']), /problem\+json/);
      assert.doesNotMatch(body, /KEY=/);
    }
  });

  it('takes the best that a client takes', () => {
    assert.equal(bestOf(undefined), 'identity');
    assert.equal(bestOf('gzip, deflate, br, zstd'), 'br');
    assert.equal(bestOf('BR;q=0.1'), 'br');
    assert.equal(bestOf('br;q=0, *'), 'gzip');
    assert.equal(bestOf('deflate'), 'identity');
    assert.equal(bestOf('gzip;q=x'), 'identity');
  });
});
