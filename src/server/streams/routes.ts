import type { ServerContext } from '../context.ts';
import type { Router } from '../http/router.ts';
import { contentRoutes } from './contentRoutes.ts';
import { eventRoutes } from './eventRoutes.ts';
import { streamsOf } from './hub.ts';
import { logRoutes } from './logRoutes.ts';

/** What a task says, as it is said, and what it has made. */
export function streamRoutes(router: Router, context: ServerContext): void {
  const hub = streamsOf(context);
  eventRoutes(router, hub);
  logRoutes(router, hub);
  contentRoutes(router, context, hub);
}
