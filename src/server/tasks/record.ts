import type { FastifyRequest } from 'fastify';
import type { ServerContext } from '../context.ts';
import type { Principal } from '../principal.ts';

/** Writes down what somebody has done with a task. */
export type Record = (
  who: Principal,
  request: FastifyRequest,
  action: string,
  subject: string,
  detail?: string,
) => void;

export function recorder({ audit, auth }: Pick<ServerContext, 'audit' | 'auth'>): Record {
  return (who, request, action, subject, detail = '') =>
    audit.record({ user: who.user.id, address: auth.address(request), action, subject, detail });
}
