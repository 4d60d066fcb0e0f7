import type { FastifyRequest } from 'fastify';
import * as z from 'zod/mini';
import { SallyportError } from '../../base/errors.ts';
import { KnownCommits, KnownCommitsRequest, UploadRequest, UploadState } from '../../protocol/runnerApi.ts';
import type { ServerContext } from '../context.ts';
import type { Router } from '../http/router.ts';
import { asking } from '../principal.ts';

const tag = 'uploads';

const OneUpload = z.object({ id: z.string().check(z.regex(/^[0-9a-f]{32}$/)) });

/** How long a client may go on to send what nobody wants, in milliseconds. */
const leaveMs = 10_000;

/** The commits that tasks begin with. */
export function uploadRoutes(router: Router, { tasks }: ServerContext): void {
  router.add({
    method: 'POST',
    url: '/api/v1/uploads/known',
    summary: 'Which of these commits you have brought already, so that a bundle need not bring them.',
    tag,
    access: 'tasks:write',
    body: KnownCommitsRequest,
    answer: { schema: KnownCommits },
    handle: async ({ body, principal }) => ({
      commits: await tasks.knownCommits(asking(principal).user, body.repository, body.commits),
    }),
  });

  router.add({
    method: 'POST',
    url: '/api/v1/uploads',
    summary: 'Announce a git bundle, or find out how much of it is here.',
    tag,
    access: 'tasks:write',
    body: UploadRequest,
    answer: { status: 201, schema: UploadState },
    handle: ({ body, principal }) => tasks.beginUpload(asking(principal).user, body),
  });

  router.add({
    method: 'GET',
    url: '/api/v1/uploads/:id',
    summary: 'How much of an upload is here.',
    tag,
    access: 'tasks:write',
    params: OneUpload,
    answer: { schema: UploadState },
    handle: ({ params, principal }) => tasks.uploadState(asking(principal).user, params.id),
  });

  router.add({
    method: 'PATCH',
    url: '/api/v1/uploads/:id',
    summary: 'Send the next bytes of an upload; the header Upload-Offset says where they begin.',
    tag,
    access: 'tasks:write',
    params: OneUpload,
    rawBody: 'application/octet-stream',
    answer: { schema: UploadState },
    handle: async ({ params, principal, request }) => {
      try {
        const { user } = asking(principal);
        return await tasks.continueUpload(user, params.id, offsetOf(request), bytesOf(request));
      } catch (thrown) {
        leaveRest(request);
        throw thrown;
      }
    },
  });
}

function offsetOf(request: FastifyRequest): number {
  const text = String(request.headers['upload-offset'] ?? '');
  if (/^\d{1,15}$/.test(text)) return Number(text);
  throw new SallyportError(
    'invalid_input',
    'The header Upload-Offset is missing, or is no number of bytes.',
    'Send it with the offset that the upload stands at.',
  );
}

/** A body of another type was read as such, so that nothing of it is left. */
function bytesOf(request: FastifyRequest): AsyncIterable<Uint8Array> {
  const [type = ''] = (request.headers['content-type'] ?? '').split(';');
  if (type.trim().toLowerCase() === 'application/octet-stream' || hasNoBody(request))
    return request.raw.iterator({ destroyOnReturn: false });
  throw new SallyportError(
    'invalid_input',
    'The bytes of an upload come as application/octet-stream.',
    'Set the header Content-Type to that.',
  );
}

/**
 * What a refused upload still sends is thrown away, so that its client reads the answer, and its connection serves the next
 * request. One that does not stop is cut off.
 */
function leaveRest({ raw }: FastifyRequest): void {
  if (raw.readableEnded || raw.destroyed) return;
  const late = setTimeout(() => raw.destroy(), leaveMs);
  raw.once('close', () => clearTimeout(late));
  raw.once('end', () => clearTimeout(late));
  raw.resume();
}

function hasNoBody({ headers }: FastifyRequest): boolean {
  return headers['transfer-encoding'] === undefined && (headers['content-length'] ?? '0') === '0';
}
