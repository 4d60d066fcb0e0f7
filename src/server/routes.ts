import { authRoutes } from './auth/authRoutes.ts';
import type { ServerContext } from './context.ts';
import { dashboardRoutes } from './dashboard/dashboardRoutes.ts';
import type { Router } from './http/router.ts';
import { streamRoutes } from './streams/routes.ts';
import { taskRoutes } from './tasks/routes.ts';

/** Every part of the server, and what it answers. */
const parts: readonly ((router: Router, context: ServerContext) => void)[] = [
  authRoutes,
  taskRoutes,
  streamRoutes,
  dashboardRoutes,
];

export function addRoutes(router: Router, context: ServerContext): void {
  for (const add of parts) add(router, context);
}
