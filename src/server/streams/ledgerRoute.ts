import * as z from 'zod/mini';
import { Ledger, ledgerCsv, ledgerJson, passes } from '../../protocol/ledger.ts';
import type { TaskEvent } from '../../protocol/taskEvent.ts';
import type { ServerContext } from '../context.ts';
import type { Router } from '../http/router.ts';
import { asking } from '../principal.ts';
import { Flag, TaskPath } from './eventRoutes.ts';

/** So many requests are told of one task at most, the first ones; of the others there is the log. */
const maxRows = 100_000;

const LedgerQuery = z.object({
  format: z.optional(z.enum(['json', 'csv'])),
  show: z.optional(z.enum(['all', 'allowed', 'blocked', 'model'])),
  /** Without the requests to the model. */
  withoutModel: z.optional(Flag),
  words: z.optional(z.string().check(z.maxLength(200))),
});

/** `GET …/ledger`: the requests of a task's sandbox, JSON, or CSV for whoever asks for it. */
export function ledgerRoute(router: Router, { tasks }: ServerContext): void {
  router.add({
    method: 'GET',
    url: '/api/v1/tasks/:id/ledger',
    summary: 'Every request that the sandbox made, as JSON or CSV (Accept: text/csv)',
    tag: 'results',
    access: 'tasks:read',
    params: TaskPath,
    query: LedgerQuery,
    answer: { schema: z.array(z.record(z.string(), z.union([z.string(), z.number()]))) },
    handle: async ({ principal, params, query, request, reply, signal }) => {
      const { user } = asking(principal);
      const last = Number(tasks.get(user, params.id).state?.['lastEvent'] ?? 0);
      const { ledger, truncated } = await ledgerOf(
        (leave) => tasks.events(user, params.id, 0, leave),
        last,
        signal,
      );
      const filter = {
        show: query.show ?? ('all' as const),
        withoutModel: query.withoutModel === 'true',
        words: query.words ?? '',
      };
      const rows = ledger.rows.filter((row) => passes(row, filter));
      if (truncated) void reply.header('x-sallyport-truncated', 'true');
      const wantsCsv = query.format ?? (accepts(request.headers.accept, 'text/csv') ? 'csv' : 'json');
      if (wantsCsv === 'csv') {
        void reply
          .type('text/csv; charset=utf-8')
          .header('content-disposition', `attachment; filename="${params.id}-requests.csv"`);
        return ledgerCsv(rows, ledger);
      }
      void reply.type('application/json; charset=utf-8');
      return ledgerJson(rows, ledger);
    },
  });
}

async function ledgerOf(
  read: (signal: AbortSignal) => AsyncIterable<TaskEvent[]>,
  last: number,
  signal: AbortSignal,
): Promise<{ ledger: Ledger; truncated: boolean }> {
  const ledger = new Ledger();
  if (last === 0) return { ledger, truncated: false };
  const leaving = new AbortController();
  const leave = (): void => leaving.abort();
  signal.addEventListener('abort', leave, { once: true });
  if (signal.aborted) leave();
  try {
    for await (const events of read(leaving.signal)) {
      // Of a tool's call only its name and its time are told, and its input may be long.
      for (const event of events)
        ledger.push(event.type === 'tool_use' ? { ...event, input: undefined } : event);
      if (ledger.rows.length >= maxRows) return { ledger, truncated: true };
      if ((events.at(-1)?.n ?? 0) >= last) break;
    }
    return { ledger, truncated: false };
  } finally {
    leave();
    signal.removeEventListener('abort', leave);
  }
}

function accepts(header: string | undefined, type: string): boolean {
  return (header ?? '').split(',').some((part) => part.split(';', 1)[0]?.trim().toLowerCase() === type);
}
