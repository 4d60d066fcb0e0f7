import type { FastifyReply } from 'fastify';
import * as z from 'zod/mini';
import { SallyportError } from '../../base/errors.ts';
import type { ServerContext } from '../context.ts';
import { ServerAuth } from './auth.ts';
import type { UserRow } from './users.ts';

/** Largest body of these routes, in bytes. */
export const bodyLimit = 16 << 10;

export const IdParams = z.object({ id: z.string().check(z.regex(/^[0-9a-f]{1,64}$/)) });
export const Nothing = { status: 204 } as const;

/** What these routes work with: the server's own sign-in, not just what others need of it. */
export function ownAuth({ auth }: ServerContext): ServerAuth {
  if (auth instanceof ServerAuth) return auth;
  throw new Error('These routes belong to the sign-in of createAuth.');
}

export async function nothing(reply: FastifyReply): Promise<undefined> {
  await reply.status(204).send();
  return undefined;
}

/** A user for a way of signing in that brings its own proof. Throws `forbidden` for one who is disabled. */
export function enabled(user: UserRow): UserRow {
  if (user.disabled === 0) return user;
  throw new SallyportError('forbidden', 'This user is disabled.', 'Ask an administrator.');
}

/** Throws `conflict` while there is no administrator: until then nobody comes in by mail or by another site. */
export function afterSetUp(auth: ServerAuth): void {
  if (!auth.needsSetUp()) return;
  throw new SallyportError(
    'conflict',
    'This server has no administrator yet.',
    "Open the set-up link that stands in the server's log.",
  );
}
