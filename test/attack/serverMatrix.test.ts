import assert from 'node:assert/strict';
import { WebSocket } from 'ws';
import { scopesOf, type Role, type Scope } from '../../src/protocol/runnerApi.ts';
import type { RouteDescription } from '../../src/server/http/router.ts';
import { startTestServer, type TestServer } from '../support/server.ts';

interface Credential {
  name: string;
  headers: Record<string, string>;
  /** What it may do; undefined for one that is not valid. */
  scopes: readonly Scope[] | undefined;
  via: 'none' | 'session' | 'token';
  /** Of a page that is not the server's. It cannot read what a GET answers, and a browser sends no cookie along. */
  foreign?: true;
}

/** Calls that end the very credential with which they are made. */
const endsItself =
  /^(POST \/auth\/(logout|password)|DELETE \/api\/v1\/(sessions|users|tokens)\b.*|DELETE \/token)$/;

describe('promise 9: the server answers nobody without a credential that may', function () {
  this.timeout('2m');
  let server: TestServer;
  const credentials: Credential[] = [];

  before(async () => {
    server = await startTestServer();
    const admin = await server.session();
    const sessions: [Role, string][] = [['admin', admin]];
    for (const role of ['member', 'viewer'] as const)
      sessions.push([role, await server.user(`a-${role}`, role)]);
    for (const [role, cookie] of sessions) {
      const scopes = scopesOf[role];
      credentials.push({
        name: `session of a ${role}`,
        headers: { cookie, origin: server.url },
        scopes,
        via: 'session',
      });
      for (const scope of scopes) {
        const token = await server.token(cookie, [scope], `${role} ${scope}`);
        const name = `token of a ${role} for ${scope}`;
        credentials.push({
          name,
          headers: { authorization: `Bearer ${token}` },
          scopes: [scope],
          via: 'token',
        });
        credentials.push({
          name: `${name} as X-API-Key`,
          headers: { 'x-api-key': token },
          scopes: [scope],
          via: 'token',
        });
      }
      const foreign = { cookie, origin: 'https://evil.example.com' };
      credentials.push({
        name: `session of a ${role} from a foreign page`,
        headers: foreign,
        scopes: undefined,
        via: 'session',
        foreign: true,
      });
    }
    const gone = await server.user('gone', 'member');
    const token = await server.token(gone, ['tasks:read', 'tasks:write', 'account'], 'gone');
    const users = await server.ask<{ users: { id: string; login: string }[] }>('/api/v1/users', {
      headers: { cookie: admin },
    });
    const id = users.users.find(({ login }) => login === 'gone')?.id ?? '';
    await server.ask(`/api/v1/users/${id}`, {
      method: 'PATCH',
      headers: { cookie: admin, origin: server.url },
      json: { disabled: true },
    });
    credentials.push(
      { name: 'nothing', headers: {}, scopes: undefined, via: 'none' },
      {
        name: 'a token that was made up',
        headers: { authorization: `Bearer slp_${'a'.repeat(43)}` },
        scopes: undefined,
        via: 'token',
      },
      { name: 'an empty bearer', headers: { authorization: 'Bearer ' }, scopes: undefined, via: 'token' },
      {
        name: 'a password as basic authentication',
        headers: { authorization: `Basic ${btoa('admin:correct horse battery')}` },
        scopes: undefined,
        via: 'token',
      },
      {
        name: 'a cookie that was made up',
        headers: { cookie: `${admin.split('=')[0] ?? ''}=${'a'.repeat(64)}`, origin: server.url },
        scopes: undefined,
        via: 'session',
      },
      {
        name: 'the session of a user who is disabled',
        headers: { cookie: gone, origin: server.url },
        scopes: undefined,
        via: 'session',
      },
      {
        name: 'the token of a user who is disabled',
        headers: { 'x-api-key': token },
        scopes: undefined,
        via: 'token',
      },
    );
  });
  after(() => server.close());

  /** Status of the answer to a request without a body that makes sense: who may is decided before that is looked at. */
  async function statusOf(route: RouteDescription, headers: Record<string, string>): Promise<number> {
    const path = route.url.replaceAll(/:\w+/g, '0000000000none0').replaceAll('*', 'none');
    if (route.method === 'WS') return await socketStatus(path, headers);
    const gone = new AbortController();
    const answer = await server.fetch(path, { method: route.method, headers, signal: gone.signal });
    gone.abort();
    return answer.status;
  }

  function socketStatus(path: string, headers: Record<string, string>): Promise<number> {
    return new Promise((resolve) => {
      const socket = new WebSocket(`${server.url.replace('http', 'ws')}${path}`, { headers });
      socket.on('unexpected-response', (_request, answer) => {
        resolve(answer.statusCode ?? 0);
        socket.terminate();
      });
      socket.on('open', () => {
        resolve(101);
        socket.terminate();
      });
      socket.on('error', () => undefined);
    });
  }

  function expected(route: RouteDescription, { scopes, via }: Credential): 'answered' | 401 | 403 {
    if (route.access === 'public') return 'answered';
    if (scopes === undefined) return 401;
    if (!scopes.includes(route.access)) return 403;
    return route.sessionOnly === true && via !== 'session' ? 403 : 'answered';
  }

  /** Whoever shows many that are not valid waits, and is told so. */
  function isRefusal(status: number, should: 401 | 403): boolean {
    return status === should || status === 403 || (should === 401 && status === 429);
  }

  function isRead({ method }: RouteDescription): boolean {
    return method === 'GET' || method === 'HEAD';
  }

  it('on every route, with every role and every kind of credential', async () => {
    const wrong: string[] = [];
    let tried = 0;
    for (const route of server.running.routes) {
      for (const credential of credentials) {
        const name = `${route.method} ${route.url}`;
        const should = expected(route, credential);
        // What would end a credential that others still need is tried only where it must fail.
        if (should === 'answered' && credential.scopes !== undefined && endsItself.test(name)) continue;
        const status = await statusOf(route, credential.headers);
        tried++;
        const right =
          should === 'answered'
            ? // A credential that is no good is refused on a public address too, and a foreign page's request.
              credential.scopes === undefined || (status !== 401 && status !== 403)
            : isRefusal(status, should) || (credential.foreign === true && isRead(route));
        if (!right) wrong.push(`${name} with ${credential.name}: ${status}, expected ${should}`);
      }
    }
    assert.deepEqual(wrong, []);
    assert.ok(tried > 500, `only ${tried} were tried`);
  });

  it('a page of another site changes nothing with a session, and opens no WebSocket', async () => {
    const foreign = credentials.filter(({ name }) => name.includes('admin from a foreign page'));
    for (const route of server.running.routes) {
      if (route.access === 'public' || route.method === 'GET' || route.method === 'HEAD') continue;
      for (const { headers } of foreign) {
        const status = await statusOf(route, headers);
        assert.ok(status === 403 || status === 401, `${route.method} ${route.url}: ${status}`);
      }
    }
  });

  it('a name that is rebound to this machine is answered on no route', async () => {
    const { request } = await import('node:http');
    const { port } = new URL(server.url);
    for (const route of server.running.routes) {
      // Whoever looks after the machine asks for its health by its address; it says nothing of anybody.
      if (route.method === 'WS' || /^\/health(\/live)?$/.test(route.url)) continue;
      const status = await new Promise<number>((resolve, reject) => {
        const path = route.url.replaceAll(/:\w+/g, '0000000000none0').replaceAll('*', 'none');
        const asked = request(
          {
            host: '127.0.0.1',
            port,
            path,
            method: route.method,
            headers: { host: `evil.example.com:${port}` },
          },
          (answer) => {
            answer.destroy();
            resolve(answer.statusCode ?? 0);
          },
        );
        asked.on('error', reject);
        asked.end();
      });
      assert.ok(status >= 400 && status < 500, `${route.method} ${route.url}: ${status}`);
    }
  });
});
