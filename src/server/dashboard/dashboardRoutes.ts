import { join } from 'node:path';
import type { FastifyReply, FastifyRequest } from 'fastify';
import * as z from 'zod/mini';
import type { ServerContext } from '../context.ts';
import type { Call, Router } from '../http/router.ts';
import { Assets, bestOf, type Encoding, hashOf, pack } from './assets.ts';
import { contentPolicy, shellOf } from './shell.ts';

/** A year, in seconds: the address of a file changes with its content. */
const forever = 'public, max-age=31536000, immutable';
const asked = 'no-cache';

const pageType = 'text/html; charset=utf-8';
const described = { tag: 'dashboard', access: 'public' } as const;

/** What is the same for everybody, with its hash. */
interface Content {
  type: string;
  hash: string;
  encoding: Encoding;
  body: Buffer;
}

/** The dashboard: its page at every address that it has, its files, and what makes it installable. */
export function dashboardRoutes(router: Router, context: ServerContext): void {
  const { config, auth } = context;
  let read: Promise<Assets> | undefined;
  // A folder that was not there when it was first needed may be there later.
  const assets = (): Promise<Assets> =>
    (read ??= Assets.read(join(config.distFolder, 'dashboard')).catch((thrown: unknown) => {
      read = undefined;
      throw thrown;
    }));
  const pages = new Map<Encoding, Promise<Content>>();
  const page = async (accepted: string | undefined): Promise<Content> => {
    const encoding = bestOf(accepted);
    let known = pages.get(encoding);
    if (known === undefined) {
      known = assets().then(async (files) => {
        const plain = Buffer.from(shellOf(files));
        return { type: pageType, hash: hashOf(plain), encoding, body: await pack(plain, encoding) };
      });
      pages.set(encoding, known);
      known.catch(() => pages.delete(encoding));
    }
    return await known;
  };

  router.add({
    ...described,
    method: 'GET',
    url: '/',
    summary: 'Leads to the dashboard, the sign-in or the set-up',
    answer: { status: 303, type: 'text/plain' },
    handle: async ({ principal, reply }) => {
      const to = auth.needsSetUp() ? '/setup' : principal === undefined ? '/signin' : '/dashboard';
      await reply.redirect(to, 303);
      return undefined;
    },
  });

  const places: [url: string, summary: string][] = [
    ['/dashboard', 'The tasks'],
    ['/dashboard/*', 'One page of the dashboard'],
    ['/setup', 'Makes the first administrator; the secret stands in the fragment'],
    ['/signin', 'All ways to sign in'],
    ['/connect', 'Asks a user whether a program may have a token'],
  ];
  for (const [url, summary] of places) {
    router.add({
      ...described,
      method: 'GET',
      url,
      summary,
      answer: { type: pageType },
      handle: async ({ request, reply }) => {
        const secure = request.protocol === 'https' || config.publicUrl.startsWith('https:');
        void reply.header('content-security-policy', contentPolicy(request.host, secure));
        return send(request, reply, await page(request.headers['accept-encoding']), asked);
      },
    });
  }

  const file =
    (name: string, cache: string) =>
    async ({ request, reply }: Call) =>
      send(request, reply, await (await assets()).get(name, request.headers['accept-encoding']), cache);

  router.add({
    ...described,
    method: 'GET',
    url: '/assets/:name',
    summary: 'A file of the dashboard',
    params: z.object({ name: z.string().check(z.regex(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$/)) }),
    query: z.object({ v: z.optional(z.string().check(z.maxLength(64))) }),
    answer: { type: 'application/octet-stream' },
    handle: async (call) => {
      const { name } = call.params;
      const { v } = call.query;
      const known = await (await assets()).get(name, 'identity');
      const lasts = v === known.hash || (v === undefined && /-[A-Z0-9]{8}\.js$/.test(name));
      await file(name, lasts ? forever : asked)(call);
      return undefined;
    },
  });
  router.add({
    ...described,
    method: 'GET',
    url: '/manifest.webmanifest',
    summary: 'What makes the dashboard installable',
    answer: { type: 'application/manifest+json' },
    handle: file('manifest.webmanifest', asked),
  });
  router.add({
    ...described,
    method: 'GET',
    url: '/service-worker.js',
    summary: 'Keeps the shell of the dashboard in the browser',
    answer: { type: 'text/javascript' },
    handle: async (call) => {
      // A worker has a policy of its own: it asks nobody but this server.
      void call.reply.header(
        'content-security-policy',
        "default-src 'none'; connect-src 'self'; script-src 'self'",
      );
      await file('service-worker.js', asked)(call);
      return undefined;
    },
  });
  router.add({
    ...described,
    method: 'GET',
    url: '/favicon.ico',
    summary: 'The icon, for browsers that look for it here',
    answer: { type: 'image/png' },
    handle: file('icon-256.png', asked),
  });
}

/** With its tag, and nothing but that for a browser that has it. */
async function send(
  request: FastifyRequest,
  reply: FastifyReply,
  { type, hash, encoding, body }: Content,
  cache: string,
): Promise<undefined> {
  const tag = `"${hash}-${encoding}"`;
  void reply.header('etag', tag).header('cache-control', cache).header('vary', 'accept-encoding');
  const known = (request.headers['if-none-match'] ?? '')
    .split(',')
    .map((one) => one.trim().replace(/^W\//, ''));
  if (known.includes(tag)) await reply.status(304).send();
  else {
    if (encoding !== 'identity') void reply.header('content-encoding', encoding);
    await reply.type(type).send(body);
  }
  return undefined;
}
