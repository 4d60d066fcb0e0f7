import * as z from 'zod/mini';
import { startTestServer } from './server.ts';

/** A server in a process of its own, which can be killed. It says that it listens, and with which token it is asked. */
const options = z
  .object({
    engine: z.optional(z.string()),
    data: z.string(),
    port: z.number(),
    env: z.record(z.string(), z.string()),
    turns: z.array(z.looseObject({})),
    /** One that was made before. */
    token: z.optional(z.string()),
  })
  .parse(JSON.parse(process.argv[2] ?? '{}'));
const { engine, token, ...rest } = options;
const server = await startTestServer({ ...rest, ...(engine === undefined ? {} : { engine }) });
process.on('SIGTERM', () => void server.close().then(() => process.disconnect()));
process.send?.({ token: token ?? (await server.adminToken()) });
// Who has started it may be killed itself.
process.on('disconnect', () => process.exit());
