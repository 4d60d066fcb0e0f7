import type { DatabaseSync } from 'node:sqlite';
import type { FastifyRequest } from 'fastify';
import type { Logger } from '../base/logger.ts';
import type { ServerConfig } from './config.ts';
import type { Gate } from './http/router.ts';
import type { Principal } from './principal.ts';
import type { ServerTasks } from './tasks/serverTasks.ts';

/** What is written down of who did what: never a secret. */
export interface Audit {
  record(entry: {
    user?: string | undefined;
    address: string;
    action: string;
    subject?: string;
    detail?: string;
  }): void;
}

/** Sign-in, sessions and tokens (`auth/`). */
export interface Auth extends Gate {
  /** True until the first administrator is made. */
  needsSetUp(): boolean;
  /** The one-time link for that, with the secret in its fragment; undefined when there is an administrator. */
  setUpLink(): string | undefined;
  /** The user whom a principal stands for, read anew; undefined when the credential is not valid any more. */
  renew(principal: Principal): Principal | undefined;
  address(request: FastifyRequest): string;
}

/** What the routes work with. */
export interface ServerContext {
  config: ServerConfig;
  store: DatabaseSync;
  auth: Auth;
  audit: Audit;
  tasks: ServerTasks;
  log: Logger;
  /** Of the server's program. */
  version: string;
  now: () => number;
}
