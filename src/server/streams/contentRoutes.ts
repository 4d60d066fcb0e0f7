import * as z from 'zod/mini';
import { SallyportError } from '../../base/errors.ts';
import type { DetailedChange } from '../../git/diff.ts';
import { Sha } from '../../protocol/grammar.ts';
import { ChangeView } from '../../protocol/runnerApi.ts';
import type { TaskState } from '../../protocol/taskState.ts';
import type { Range } from '../../runner/taskService.ts';
import type { ServerContext } from '../context.ts';
import type { Call, Router } from '../http/router.ts';
import { asking } from '../principal.ts';
import { TaskPath } from './eventRoutes.ts';
import { HttpStream } from './httpStream.ts';
import type { StreamHub } from './hub.ts';
import { ledgerRoute } from './ledgerRoute.ts';

/** Most commits that are named as known in a query; in a body it is more. */
const maxHaveInQuery = 300;
const maxHave = 5000;

const Shas = z.pipe(
  z.string().check(z.regex(/^(?:[0-9a-f]{40,64}(?:,[0-9a-f]{40,64})*)?$/)),
  z.pipe(
    z.transform((text: string) => (text === '' ? [] : text.split(','))),
    z.array(Sha).check(z.maxLength(maxHaveInQuery)),
  ),
);

const RangeQuery = z.object({ from: z.optional(Sha), to: z.optional(Sha) });

/** What a task's commits hold. All of it was written by an agent: it is bytes and text, and never shown as a page. */
export function contentRoutes(router: Router, context: ServerContext, hub: StreamHub): void {
  const { tasks } = context;

  // A reader that stalls would keep the git process that packs it.
  const bundle = async (
    call: Call,
    id: string,
    have: readonly string[],
  ): Promise<AsyncIterable<Uint8Array>> => {
    const stream = new HttpStream(hub, call, { whole: true });
    try {
      const bytes = await tasks.bundle(stream.connection.user, id, have);
      void call.reply.header('content-disposition', `attachment; filename="${id}.bundle"`);
      return stream.pass(bytes);
    } catch (thrown) {
      stream.connection.dispose();
      throw thrown;
    }
  };
  const bundleType = 'application/x-git-bundle';
  router.add({
    method: 'GET',
    url: '/api/v1/tasks/:id/bundle',
    summary: 'A git bundle of all commits of a task but what those reach that the client has',
    tag: 'results',
    access: 'tasks:read',
    params: TaskPath,
    query: z.object({
      /** Commits with commas between them. */
      have: z.optional(Shas),
    }),
    answer: { type: bundleType },
    handle: (call) => bundle(call, call.params.id, call.query.have ?? []),
  });
  router.add({
    method: 'POST',
    url: '/api/v1/tasks/:id/bundle',
    summary: 'The same, for a client that has many commits',
    tag: 'results',
    access: 'tasks:read',
    params: TaskPath,
    body: z.object({ have: z.array(Sha).check(z.maxLength(maxHave)) }),
    answer: { type: bundleType },
    handle: (call) => bundle(call, call.params.id, call.body.have),
  });

  router.add({
    method: 'GET',
    url: '/api/v1/tasks/:id/diff',
    summary: 'A unified diff, of the whole result or from one commit of the task to another',
    tag: 'results',
    access: 'tasks:read',
    params: TaskPath,
    query: RangeQuery,
    answer: { type: 'text/x-diff; charset=utf-8' },
    handle: async ({ principal, params, query, reply }) => {
      const { user } = asking(principal);
      const range = rangeOf(query, () => tasks.state(user, params.id));
      const { text, truncated } = await tasks.patch(user, params.id, range);
      if (truncated) void reply.header('x-sallyport-truncated', 'true');
      return text;
    },
  });

  router.add({
    method: 'GET',
    url: '/api/v1/tasks/:id/changes',
    summary: 'The files that differ, with the object names of both sides',
    tag: 'results',
    access: 'tasks:read',
    params: TaskPath,
    query: RangeQuery,
    answer: {
      schema: z.object({ from: z.optional(Sha), to: z.optional(Sha), changes: z.array(ChangeView) }),
    },
    handle: async ({ principal, params, query }) => {
      const { user } = asking(principal);
      const range = rangeOf(query, () => tasks.state(user, params.id)) ?? tasks.result(user, params.id);
      const changes = range === undefined ? [] : await tasks.changes(user, params.id, range);
      return { ...range, changes: changes.map(changeView) };
    },
  });

  router.add({
    method: 'GET',
    url: '/api/v1/tasks/:id/blobs/:oid',
    summary: 'The content of one file, by the object name that the changes say',
    tag: 'results',
    access: 'tasks:read',
    params: z.object({ ...TaskPath.shape, oid: Sha }),
    answer: { type: 'application/octet-stream' },
    handle: async ({ principal, params, reply }) => {
      const bytes = await tasks.blob(asking(principal).user, params.id, params.oid);
      void reply
        .header('x-content-type-options', 'nosniff')
        .header('content-disposition', `attachment; filename="${params.oid}"`)
        .header('content-security-policy', "default-src 'none'; sandbox");
      return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    },
  });

  ledgerRoute(router, context);
}

/** Both ends or none, and both of this task: a quarantine holds the commits of other tasks too. */
function rangeOf({ from, to }: z.output<typeof RangeQuery>, state: () => TaskState): Range | undefined {
  if (from === undefined && to === undefined) return undefined;
  if (from === undefined || to === undefined) {
    throw new SallyportError(
      'invalid_input',
      'A range has two ends.',
      'Send both "from" and "to", or neither.',
    );
  }
  const known = commitsOf(state());
  for (const sha of [from, to]) {
    if (known.has(sha)) continue;
    throw new SallyportError(
      'not_found',
      `The task has no commit ${sha}.`,
      "Take the commits from the task's state: its snapshot, its commits and their parents.",
    );
  }
  return { from, to };
}

function commitsOf({ spec, commits, leftovers }: TaskState): Set<string> {
  return new Set([
    spec.snapshot.commit,
    ...commits.flatMap(({ sha, parents }) => [sha, ...parents]),
    ...(leftovers === undefined ? [] : [leftovers.commit, leftovers.parent]),
  ]);
}

function changeView({ rawPath, rawFrom, ...change }: DetailedChange): ChangeView {
  return {
    ...change,
    ...(isText(rawPath, change.path) ? {} : { rawPath: base64(rawPath) }),
    ...(rawFrom === undefined || isText(rawFrom, change.from ?? '') ? {} : { rawFrom: base64(rawFrom) }),
  };
}

function isText(raw: Uint8Array, text: string): boolean {
  return Buffer.from(text).equals(raw);
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64');
}
