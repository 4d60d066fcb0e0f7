import { authRoutes } from './auth/authRoutes.ts';
import { compatRoutes } from './compat/routes.ts';
import type { ServerContext } from './context.ts';
import { dashboardRoutes } from './dashboard/dashboardRoutes.ts';
import type { Router } from './http/router.ts';
import { mcpRoutes } from './mcp/mcp.ts';
import { streamRoutes } from './streams/routes.ts';
import { actionRoutes } from './tasks/actionRoutes.ts';
import { taskRoutes } from './tasks/routes.ts';
import { uploadRoutes } from './tasks/uploadRoutes.ts';
import { terminalRoutes } from './terminal/terminalRoutes.ts';

/** Every part of the server, and what it answers. */
const parts: readonly ((router: Router, context: ServerContext) => void)[] = [
  authRoutes,
  taskRoutes,
  actionRoutes,
  uploadRoutes,
  streamRoutes,
  compatRoutes,
  terminalRoutes,
  dashboardRoutes,
  mcpRoutes,
];

export function addRoutes(router: Router, context: ServerContext): void {
  for (const add of parts) add(router, context);
}
