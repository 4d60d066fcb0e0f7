import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { WebStandardStreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/webStandardStreamableHttp.js';
import * as z from 'zod/mini';
import { asSallyportError } from '../../base/errors.ts';
import type { ServerContext } from '../context.ts';
import type { Router } from '../http/router.ts';
import type { Principal } from '../principal.ts';
import { type Tool, toolsOf } from './tools.ts';

/**
 * `POST /mcp`: the Model Context Protocol over streamable HTTP, without sessions: each message is answered by itself, so a
 * restart of the server goes unnoticed. A client shows an API token as for every other route.
 */
export function mcpRoutes(router: Router, context: ServerContext): void {
  const tools = toolsOf(context.tasks);
  router.add({
    method: 'POST',
    url: '/mcp',
    summary: 'Model Context Protocol (streamable HTTP)',
    tag: 'agents',
    access: 'tasks:read',
    // One message, or several; what is in it the SDK checks.
    body: z.union([z.record(z.string(), z.unknown()), z.array(z.record(z.string(), z.unknown()))]),
    answer: { schema: z.record(z.string(), z.unknown()) },
    handle: async ({ body, principal, request, reply, signal }) => {
      if (principal === undefined) throw new Error('The router let a stranger in');
      const answer = await answerMessage(context, tools, principal, body, request.headers, signal);
      void reply.status(answer.status);
      const type = answer.headers.get('content-type');
      if (type !== null) void reply.type(type);
      await reply.send(await answer.text());
      return undefined;
    },
  });
  for (const method of ['GET', 'DELETE'] as const) {
    router.add({
      method,
      url: '/mcp',
      summary: 'Not offered: there are no sessions and no messages from the server',
      tag: 'agents',
      access: 'tasks:read',
      answer: { status: 405 },
      handle: async ({ reply }) => {
        await reply.status(405).header('allow', 'POST').send();
        return undefined;
      },
    });
  }
}

async function answerMessage(
  context: ServerContext,
  tools: readonly Tool[],
  principal: Principal,
  body: unknown,
  headers: Record<string, string | string[] | undefined>,
  signal: AbortSignal,
): Promise<Response> {
  const server = serverFor(context, tools, principal, signal);
  const transport = new WebStandardStreamableHTTPServerTransport({ enableJsonResponse: true });
  try {
    await server.connect(transport);
    const asked = new Request(new URL('/mcp', context.config.publicUrl), {
      method: 'POST',
      headers: Object.entries(headers).flatMap(([name, value]): [string, string][] =>
        typeof value === 'string' && !/^(content-length|connection|transfer-encoding)$/.test(name)
          ? [[name, value]]
          : [],
      ),
      body: JSON.stringify(body),
    });
    return await transport.handleRequest(asked, { parsedBody: body });
  } finally {
    // The answer is there as a whole, so nothing is cut off.
    void server.close();
  }
}

function serverFor(
  { version, log }: ServerContext,
  tools: readonly Tool[],
  principal: Principal,
  signal: AbortSignal,
): McpServer {
  const server = new McpServer(
    { name: 'sallyport', version },
    {
      instructions:
        'Submits coding tasks to a Sallyport runner. Each task runs in a sandbox; its commits wait in a quarantine for a person to inspect them.',
    },
  );
  for (const { name, title, description, input, readOnly, run } of tools) {
    const annotations = {
      readOnlyHint: readOnly,
      destructiveHint: name === 'cancel_task',
      openWorldHint: !readOnly,
    };
    server.registerTool(
      name,
      { title, description, inputSchema: input, annotations },
      async (given: unknown) => {
        try {
          return { content: [{ type: 'text' as const, text: await run(principal, given, signal) }] };
        } catch (thrown) {
          const { code, message, mend } = asSallyportError(thrown);
          if (code === 'internal') log.error(`MCP ${name}: ${message}`);
          const text =
            code === 'internal' ? 'The server met an unexpected error.' : `${message} ${mend} [${code}]`;
          return { isError: true, content: [{ type: 'text' as const, text }] };
        }
      },
    );
  }
  return server;
}
