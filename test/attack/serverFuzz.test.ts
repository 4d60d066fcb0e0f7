import assert from 'node:assert/strict';
import fc from 'fast-check';
import * as z from 'zod/mini';
import type { RouteDescription } from '../../src/server/http/router.ts';
import { startTestServer, type TestServer } from '../support/server.ts';

type Json = Record<string, unknown>;

/** How long any answer may take to begin, in milliseconds: a hang is a defect. */
const patience = 60_000;
const runs = 12;

const anything = fc.oneof(
  fc.string({ maxLength: 40, unit: 'binary' }),
  fc.constantFrom(
    '',
    '0',
    '-1',
    '1e309',
    'NaN',
    '../../etc/passwd',
    '%00',
    '\u202e',
    "' OR 1=1 --",
    '__proto__',
    'a'.repeat(5000),
  ),
  fc.integer(),
  fc.double(),
  fc.boolean(),
  fc.constant(null),
  fc.array(fc.string(), { maxLength: 3 }),
  fc.dictionary(fc.string(), fc.string(), { maxKeys: 3 }),
);

/** Values that fit a JSON schema, mostly. */
function fitting(schema: Json): fc.Arbitrary<unknown> {
  if (schema['const'] !== undefined) return fc.constant(schema['const']);
  if (Array.isArray(schema['enum'])) return fc.constantFrom(...(schema['enum'] as unknown[]));
  for (const key of ['oneOf', 'anyOf'] as const) {
    const options = schema[key];
    if (Array.isArray(options)) return fc.oneof(...(options as Json[]).map(fitting));
  }
  switch (schema['type']) {
    case 'object': {
      const required = new Set((schema['required'] ?? []) as string[]);
      const fields = Object.entries((schema['properties'] ?? {}) as Record<string, Json>);
      const parts = fields.map(([name, part]): [string, fc.Arbitrary<unknown>] => [
        name,
        required.has(name)
          ? sometimesWrong(fitting(part))
          : fc.option(sometimesWrong(fitting(part)), { nil: undefined }),
      ]);
      return fc.record(Object.fromEntries(parts));
    }
    case 'array':
      return fc.array(fitting((schema['items'] ?? {}) as Json), { maxLength: 3 });
    case 'integer':
      return fc.oneof(fc.integer({ min: 0, max: 100 }), fc.maxSafeInteger());
    case 'number':
      return fc.oneof(fc.integer({ min: 0, max: 100 }), fc.double());
    case 'boolean':
      return fc.boolean();
    case 'string':
      return typeof schema['pattern'] === 'string'
        ? fc.stringMatching(new RegExp(schema['pattern'])).map((text) => text.slice(0, 200))
        : fc.string({ maxLength: 60, unit: 'binary' });
    default:
      return anything;
  }
}

function sometimesWrong(good: fc.Arbitrary<unknown>): fc.Arbitrary<unknown> {
  return fc.oneof({ weight: 9, arbitrary: good }, { weight: 1, arbitrary: anything });
}

function schemaOf(schema: z.ZodMiniType | undefined): Json | undefined {
  return schema && z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' });
}

function requestOf(route: RouteDescription): fc.Arbitrary<{ path: string; body: unknown }> {
  const parts = [...route.url.matchAll(/:(\w+)/g)].map(([, name]) => name ?? '');
  const schema = schemaOf(route.params);
  const properties = (schema?.['properties'] ?? {}) as Record<string, Json>;
  const params = fc.tuple(
    ...parts.map((name) => sometimesWrong(fitting(properties[name] ?? { type: 'string' }))),
  );
  const query = schemaOf(route.query);
  const queries =
    query === undefined
      ? fc.dictionary(fc.string(), fc.string(), { maxKeys: 2 })
      : (fitting(query) as fc.Arbitrary<Json>);
  const body = schemaOf(route.body);
  const bodies = body === undefined ? fc.option(anything, { nil: undefined }) : sometimesWrong(fitting(body));
  return fc.record({ params, queries, body: bodies }).map((made) => {
    const values = [...made.params];
    const path = route.url.replaceAll(/:\w+/g, () => encode(values.shift()) || '-');
    const search = Object.entries(made.queries)
      .filter(([, value]) => value !== undefined)
      .map(([name, value]) => `${encode(name)}=${encode(value)}`)
      .join('&');
    return { path: search === '' ? path : `${path}?${search}`, body: made.body };
  });
}

function encode(value: unknown): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  // A half of a surrogate pair has no encoding.
  return encodeURIComponent(text.toWellFormed());
}

describe('promise 9: whatever is sent, the server answers, and never with an error of its own', function () {
  this.timeout('4m');
  let server: TestServer;
  let token: string;
  let cookie: string;

  before(async () => {
    server = await startTestServer();
    token = await server.adminToken();
    cookie = await server.user('fuzzer', 'admin');
  });
  after(() => server.close());

  it('on every route of the document', async () => {
    const wrong: string[] = [];
    for (const route of server.running.routes) {
      if (route.method === 'WS' || route.url === '/health') continue;
      // These end what the test itself needs.
      if (/^\/(auth\/logout|auth\/password)$/.test(route.url)) continue;
      await fc.assert(
        fc.asyncProperty(requestOf(route), async ({ path, body }) => {
          const gone = new AbortController();
          const late = setTimeout(() => gone.abort(new Error('no answer in time')), patience);
          const session = route.sessionOnly === true;
          const hasBody = body !== undefined && route.method !== 'GET' && route.method !== 'HEAD';
          try {
            const answer = await server.fetch(path, {
              method: route.method,
              signal: gone.signal,
              headers: {
                ...(session ? { cookie, origin: server.url } : { authorization: `Bearer ${token}` }),
                ...(hasBody && route.rawBody !== undefined ? { 'content-type': route.rawBody } : {}),
              },
              ...(hasBody
                ? route.rawBody === undefined
                  ? { json: body }
                  : { body: JSON.stringify(body) }
                : {}),
            });
            // Of what a service beyond this server has to do with, it says that it could not.
            if (answer.status === 500 || answer.status === 501) {
              wrong.push(
                `${route.method} ${path} ${JSON.stringify(body)}: ${answer.status} ${await answer.text()}`,
              );
            }
          } catch (thrown) {
            wrong.push(`${route.method} ${path} ${JSON.stringify(body)}: ${String(thrown)}`);
          } finally {
            clearTimeout(late);
            gone.abort();
          }
        }),
        { numRuns: runs },
      );
    }
    assert.deepEqual(wrong, []);
    assert.deepEqual(
      server.log.filter((line) => line.startsWith('error')),
      [],
    );
    // It still works.
    assert.equal((await server.fetch('/api/v1/version')).status, 200);
  });
});
