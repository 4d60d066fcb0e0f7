import * as z from 'zod/mini';
import { apiVersion, Problem } from '../../protocol/runnerApi.ts';
import type { RouteDescription, Router } from './router.ts';

type Json = Record<string, unknown>;

/** `GET /api/v1/openapi.json`: the document of every route of the router, made from what the routes themselves check. */
export function openapiRoute(router: Router, version: string): void {
  let document: Json | undefined;
  router.add({
    method: 'GET',
    url: '/api/v1/openapi.json',
    summary: 'This document',
    tag: 'server',
    access: 'public',
    answer: { schema: z.record(z.string(), z.unknown()) },
    // Made at the first request, when every route is there.
    handle: () => Promise.resolve((document ??= openapi(router.routes, version))),
  });
}

export function openapi(routes: readonly RouteDescription[], version: string): Json {
  const paths: Record<string, Json> = {};
  for (const route of routes) {
    const path = route.url.replaceAll(/:(\w+)/g, '{$1}');
    // A WebSocket is a GET to such a document.
    const method = route.method === 'WS' ? 'get' : route.method.toLowerCase();
    const item = (paths[path] ??= {});
    item[method] = { ...(item[method] as Json | undefined), ...operation(route) };
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Sallyport runner',
      version,
      summary: `Version ${apiVersion} of the API`,
      description:
        'Coding agents work in sandboxes; what they commit is brought into a quarantine and inspected. Times are milliseconds since the epoch, money is US dollars. Errors are `application/problem+json` with a stable `code` and a `mend`.',
      license: { name: 'MIT', identifier: 'MIT' },
    },
    paths,
    components: {
      schemas: { Problem: schemaOf(Problem, 'output') },
      securitySchemes: {
        token: { type: 'http', scheme: 'bearer', description: 'An API token: slp_…' },
        apiKey: { type: 'apiKey', in: 'header', name: 'X-API-Key', description: 'The same token' },
        session: { type: 'apiKey', in: 'cookie', name: 'sallyport', description: 'The session of a browser' },
      },
    },
  };
}

function operation(route: RouteDescription): Json {
  const { answer } = route;
  const status = answer.status ?? 200;
  const type = answer.type ?? 'application/json';
  const content =
    route.method === 'WS' || status === 204
      ? {}
      : {
          content: {
            [type]: answer.schema === undefined ? {} : { schema: schemaOf(answer.schema, 'output') },
          },
        };
  const body =
    route.body !== undefined
      ? {
          requestBody: {
            required: true,
            content: { 'application/json': { schema: schemaOf(route.body, 'input') } },
          },
        }
      : route.rawBody !== undefined
        ? { requestBody: { required: true, content: { [route.rawBody]: {} } } }
        : {};
  return {
    operationId: `${route.method.toLowerCase()}${route.url.replaceAll(/[^a-zA-Z0-9]+(.)?/g, (_, next: string | undefined) => (next ?? '').toUpperCase())}`,
    summary: route.summary,
    tags: [route.tag],
    security: security(route),
    ...(route.method === 'WS' ? { 'x-websocket': true } : {}),
    ...(route.access === 'public' ? {} : { 'x-scope': route.access }),
    parameters: [...parameters('path', route.params), ...parameters('query', route.query)],
    ...body,
    responses: {
      [String(status)]: { description: route.summary, ...content },
      default: {
        description: 'A problem, with its code and what to do',
        content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } },
      },
    },
  };
}

function security({ access, sessionOnly }: RouteDescription): Json[] {
  if (access === 'public') return [];
  return sessionOnly === true ? [{ session: [] }] : [{ token: [] }, { apiKey: [] }, { session: [] }];
}

function parameters(where: 'path' | 'query', schema: z.ZodMiniType | undefined): Json[] {
  if (schema === undefined) return [];
  const { properties = {}, required = [] } = schemaOf(schema, 'input') as {
    properties?: Record<string, Json>;
    required?: string[];
  };
  return Object.entries(properties).map(([name, property]) => ({
    name,
    in: where,
    required: where === 'path' || required.includes(name),
    schema: property,
  }));
}

function schemaOf(schema: z.ZodMiniType, io: 'input' | 'output'): Json {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io, unrepresentable: 'any' });
  return rest;
}
