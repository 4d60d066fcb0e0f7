import * as z from 'zod/mini';
import { SallyportError } from '../../base/errors.ts';
import { TaskId } from '../../protocol/grammar.ts';
import { TerminalSize } from '../../protocol/terminal.ts';
import type { ServerContext } from '../context.ts';
import type { Router } from '../http/router.ts';
import { type TerminalLimits, terminalLimits, TerminalSocket } from './terminalSocket.ts';

const { cols, rows } = TerminalSize.shape;
const Digits = z.pipe(z.string().check(z.regex(/^[0-9]{1,4}$/)), z.transform(Number));

/** As of a terminal that was never given another size. */
const usual: TerminalSize = { cols: 80, rows: 24 };

/** A shell in the sandbox of a task, over a WebSocket: bytes are what is typed and shown, text is JSON. */
export function terminalRoutes(
  router: Router,
  context: ServerContext,
  limits: TerminalLimits = terminalLimits,
): void {
  const open = new Map<string, number>();
  router.socket({
    url: '/api/v1/tasks/:id/terminal',
    summary:
      'A shell in the sandbox of a task that is under way: binary frames are what is typed and shown; text frames are JSON, to the server {"type":"resize","cols":…,"rows":…}, from it {"type":"opened"} first and {"type":"end",…} at last.',
    tag: 'tasks',
    access: 'tasks:write',
    params: z.object({ id: TaskId }),
    query: z.object({ cols: z.optional(z.pipe(Digits, cols)), rows: z.optional(z.pipe(Digits, rows)) }),
    handle: async (socket, call) => {
      const { params, principal, query, request, signal } = call;
      if (principal === undefined)
        throw new SallyportError(
          'unauthorized',
          'This needs a credential.',
          'Sign in, or send an API token.',
        );
      const { user } = principal;
      const mine = open.get(user.id) ?? 0;
      if (mine >= limits.perUser) {
        throw new SallyportError(
          'too_many_requests',
          `You have ${mine} terminals open already.`,
          'Close one of them.',
        );
      }
      open.set(user.id, mine + 1);
      try {
        const { cols = usual.cols, rows = usual.rows } = query;
        const address = context.auth.address(request);
        const opened = (): void =>
          context.audit.record({ user: user.id, address, action: 'terminal', subject: params.id });
        const viewer = new TerminalSocket(socket, { context, limits, principal, opened });
        await viewer.serve(params.id, { cols, rows }, signal);
      } finally {
        const left = (open.get(user.id) ?? 1) - 1;
        if (left > 0) open.set(user.id, left);
        else open.delete(user.id);
      }
    },
  });
}
