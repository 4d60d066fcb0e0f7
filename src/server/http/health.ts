import * as z from 'zod/mini';
import { apiVersion, oldestApi, ServerVersion } from '../../protocol/runnerApi.ts';
import type { Router } from './router.ts';

/** What a server knows of itself; nothing of anybody's tasks but their number. */
export interface HealthSource {
  version: string;
  /** Resolves to true when a credential for the model is there. */
  hasCredential(): Promise<boolean>;
  /** Resolves to true when the container engine answers. */
  engineAnswers(): Promise<boolean>;
  counts(): { queued: number; running: number; all: number };
  now(): number;
}

const Health = z.object({
  ok: z.boolean(),
  status: z.enum(['healthy', 'unhealthy']),
  /** A credential for the model is there. */
  hasToken: z.boolean(),
  /** The container engine answers. */
  sdkLoaded: z.boolean(),
  message: z.string(),
  timestamp: z.string(),
  tasks: z.int(),
  running: z.int(),
});

const Live = z.object({ ok: z.literal(true) });

/** How long a look at engine and credentials is good for, in milliseconds: anybody may ask. */
const goodForMs = 5000;

/** `GET /health`, with the fields that clients of other such servers know, `/health/live` and `/api/v1/version`. All are public. */
export function healthRoutes(router: Router, source: HealthSource): void {
  let look: { at: number; hasToken: Promise<boolean>; sdkLoaded: Promise<boolean> } | undefined;
  router.add({
    method: 'GET',
    url: '/health',
    summary: 'Whether the server can run tasks',
    tag: 'server',
    access: 'public',
    answer: { schema: Health },
    handle: async ({ reply }) => {
      const now = source.now();
      if (look === undefined || Math.abs(now - look.at) > goodForMs) {
        look = { at: now, hasToken: source.hasCredential(), sdkLoaded: source.engineAnswers() };
      }
      const [hasToken, sdkLoaded] = await Promise.all([look.hasToken, look.sdkLoaded]);
      const ok = hasToken && sdkLoaded;
      const { all, running } = source.counts();
      void reply.status(ok ? 200 : 503);
      await reply.send({
        ok,
        status: ok ? 'healthy' : 'unhealthy',
        hasToken,
        sdkLoaded,
        message: ok ? 'Sallyport runner' : unwell(hasToken, sdkLoaded),
        timestamp: new Date(now).toISOString(),
        tasks: all,
        running,
      } satisfies z.infer<typeof Health>);
      return undefined;
    },
  });
  // For who would restart the server: that mends neither an engine nor a credential.
  router.add({
    method: 'GET',
    url: '/health/live',
    summary: 'Whether the server answers at all',
    tag: 'server',
    access: 'public',
    answer: { schema: Live },
    handle: () => Promise.resolve({ ok: true as const }),
  });
  router.add({
    method: 'GET',
    url: '/api/v1/version',
    summary: 'Version of the server and of its API',
    tag: 'server',
    access: 'public',
    answer: { schema: ServerVersion },
    handle: () => Promise.resolve(versionOf(source.version)),
  });
}

export function versionOf(version: string): ServerVersion {
  return { name: 'sallyport-runner', version, api: apiVersion, oldestApi };
}

function unwell(hasToken: boolean, sdkLoaded: boolean): string {
  const missing = [
    ...(hasToken ? [] : ['no credential for the model']),
    ...(sdkLoaded ? [] : ['the container engine does not answer']),
  ];
  return `Sallyport runner: ${missing.join(', ')}`;
}
