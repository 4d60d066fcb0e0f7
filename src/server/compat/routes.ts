import type { ServerContext } from '../context.ts';
import type { Router } from '../http/router.ts';
import { queryRoute } from './queryRoute.ts';
import { compatSocketRoute } from './socketRoute.ts';
import { compatTaskRoutes } from './taskRoutes.ts';

/** The endpoints of the HTTP APIs of Claude Code containers, so that their clients work here unchanged. */
export function compatRoutes(router: Router, context: ServerContext): void {
  compatTaskRoutes(router, context);
  queryRoute(router, context);
  compatSocketRoute(router, context);
}
