import type { ServerContext } from '../context.ts';
import type { Router } from '../http/router.ts';
import { accountRoutes } from './accountRoutes.ts';
import { githubRoutes } from './githubRoutes.ts';
import { grantRoutes } from './grantRoutes.ts';
import { magicLinkRoutes } from './magicLinkRoutes.ts';
import { signInRoutes } from './signInRoutes.ts';
import { singleTokenRoutes } from './singleTokenRoutes.ts';
import { userRoutes } from './userRoutes.ts';

/** Everything about users and their credentials. `context.auth` has to be of `createAuth`. */
export function authRoutes(router: Router, context: ServerContext): void {
  signInRoutes(router, context);
  magicLinkRoutes(router, context);
  githubRoutes(router, context);
  grantRoutes(router, context);
  accountRoutes(router, context);
  singleTokenRoutes(router, context);
  userRoutes(router, context);
}
