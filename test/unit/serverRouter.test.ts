import assert from 'node:assert/strict';
import * as z from 'zod/mini';
import { SallyportError } from '../../src/base/errors.ts';
import type { Scope } from '../../src/protocol/runnerApi.ts';
import type { ServerConfig } from '../../src/server/config.ts';
import { createApp } from '../../src/server/http/app.ts';
import { openapiRoute } from '../../src/server/http/openapi.ts';
import { type Gate, Router } from '../../src/server/http/router.ts';
import type { Principal } from '../../src/server/principal.ts';

const quiet = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};

function principal(scopes: Scope[], via: Principal['via'] = 'token'): Principal {
  return {
    user: { id: '1', login: 'ada', name: 'Ada', role: 'member' },
    scopes: new Set(scopes),
    via,
    credential: 'c',
  };
}

async function appWith(gate: Gate, add: (router: Router) => void) {
  const config = { trustedProxies: [], publicUrl: 'http://localhost:1' } as unknown as ServerConfig;
  const app = await createApp(config, quiet);
  const router = new Router(app, gate);
  add(router);
  openapiRoute(router, '0.0.0');
  return app;
}

const asReader: Gate = { identify: () => Promise.resolve(principal(['tasks:read'])) };
const asNobody: Gate = { identify: () => Promise.resolve(undefined) };

describe('routes of the server', () => {
  const echo = (router: Router): void =>
    router.add({
      method: 'POST',
      url: '/things/:id',
      summary: 'A thing',
      tag: 'things',
      access: 'tasks:read',
      params: z.object({ id: z.string().check(z.regex(/^\d+$/)) }),
      query: z.object({ size: z._default(z.coerce.number(), 1) }),
      body: z.object({ text: z.string() }),
      answer: { status: 201, schema: z.object({ text: z.string() }) },
      handle: ({ params, query, body }) =>
        Promise.resolve({ text: body.text.repeat(query.size) + params.id }),
    });

  it('check what is sent, and answer with what is made of it', async () => {
    const app = await appWith(asReader, echo);
    const good = await app.inject({ method: 'POST', url: '/things/7?size=2', payload: { text: 'ab' } });
    assert.deepEqual([good.statusCode, good.json()], [201, { text: 'abab7' }]);
    for (const [url, payload, said] of [
      ['/things/x', { text: 'a' }, /path is not right: id/],
      ['/things/7', { text: 1 }, /body is not right: text/],
      ['/things/7?size=big', { text: 'a' }, /query is not right: size/],
      ['/things/7', undefined, /body is not right/],
    ] as const) {
      const bad = await app.inject({ method: 'POST', url, ...(payload && { payload }) });
      assert.equal(bad.statusCode, 400, url);
      assert.match(bad.headers['content-type'] ?? '', /^application\/problem\+json/);
      assert.match(bad.json<{ detail: string }>().detail, said);
    }
    await app.close();
  });

  it('answer nobody without a credential, and nobody without the right', async () => {
    const open = await appWith(asNobody, echo);
    assert.equal(
      (await open.inject({ method: 'POST', url: '/things/7', payload: { text: 'a' } })).statusCode,
      401,
    );
    await open.close();
    const other: Gate = { identify: () => Promise.resolve(principal(['account'])) };
    const app = await appWith(other, echo);
    assert.equal(
      (await app.inject({ method: 'POST', url: '/things/7', payload: { text: 'a' } })).statusCode,
      403,
    );
    await app.close();
  });

  it('tell malformed input apart from errors of their own, and of these nothing', async () => {
    const app = await appWith(asReader, (router) => {
      echo(router);
      router.add({
        method: 'GET',
        url: '/broken',
        summary: 'Broken',
        tag: 'things',
        access: 'public',
        answer: {},
        handle: () => Promise.reject(new Error('the password is hunter2')),
      });
      router.add({
        method: 'GET',
        url: '/full',
        summary: 'Full',
        tag: 'things',
        access: 'public',
        answer: {},
        handle: () => Promise.reject(new SallyportError('disk_full', 'The disk is full.', 'Free some.')),
      });
    });
    const broken = await app.inject({ url: '/broken' });
    assert.equal(broken.statusCode, 500);
    assert.doesNotMatch(broken.body, /hunter2/);
    const full = await app.inject({ url: '/full' });
    assert.deepEqual([full.statusCode, full.json<{ mend: string }>().mend], [507, 'Free some.']);
    const json = { 'content-type': 'application/json' };
    assert.equal(
      (await app.inject({ method: 'POST', url: '/things/7', headers: json, payload: '{' })).statusCode,
      400,
    );
    assert.equal(
      (
        await app.inject({
          method: 'POST',
          url: '/things/7',
          headers: json,
          payload: '{"__proto__":{"x":1},"text":"a"}',
        })
      ).statusCode,
      201,
    );
    assert.equal(
      (
        await app.inject({
          method: 'POST',
          url: '/things/7',
          headers: { 'content-type': 'text/x' },
          payload: 'a',
        })
      ).statusCode,
      400,
    );
    assert.equal(
      (
        await app.inject({
          method: 'POST',
          url: '/things/7',
          headers: json,
          payload: `"${'a'.repeat(3 << 20)}"`,
        })
      ).statusCode,
      413,
    );
    assert.equal((await app.inject({ url: '/nowhere' })).statusCode, 404);
    assert.equal((await app.inject({ url: '/%' })).statusCode, 400);
    await app.close();
  });

  it('stand in the document of the API with their schemas', async () => {
    const app = await appWith(asReader, echo);
    const document = (await app.inject({ url: '/api/v1/openapi.json' })).json<{
      paths: Record<
        string,
        Record<string, { parameters: { name: string }[]; 'x-scope': string; requestBody: object }>
      >;
    }>();
    const operation = document.paths['/things/{id}']?.['post'];
    assert.ok(operation);
    assert.deepEqual(
      operation.parameters.map(({ name }) => name),
      ['id', 'size'],
    );
    assert.equal(operation['x-scope'], 'tasks:read');
    assert.match(JSON.stringify(operation.requestBody), /"text":\{"type":"string"\}/);
    await app.close();
  });

  it('send the headers of a careful server with every answer', async () => {
    const app = await appWith(asReader, echo);
    const { headers } = await app.inject({ url: '/nowhere' });
    assert.equal(headers['x-content-type-options'], 'nosniff');
    assert.match(String(headers['content-security-policy']), /default-src 'none'/);
    assert.equal(headers['cache-control'], 'no-store');
    await app.close();
  });
});
