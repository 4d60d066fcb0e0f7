import * as z from 'zod/mini';

/**
 * A model's service can itself reach the network for whoever asks: by tools that run there (web search and fetch, code
 * execution, MCP servers) and by contents that it fetches from a URL. A request that asks for such a thing would carry
 * bytes out past a closed sandbox, so it is refused here.
 */

const Source = z.looseObject({ type: z.string() });
const Block = z.looseObject({
  type: z.string(),
  source: z.optional(z.unknown()),
  content: z.optional(z.unknown()),
});
const Tool = z.looseObject({ type: z.optional(z.nullable(z.string())), name: z.optional(z.string()) });
const Request = z.looseObject({
  messages: z.optional(z.array(z.looseObject({ content: z.optional(z.unknown()) }))),
  tools: z.optional(z.nullable(z.array(Tool))),
  mcp_servers: z.optional(z.nullable(z.array(z.unknown()))),
  container: z.optional(z.unknown()),
});

/** Tools that the agent runs itself, in the sandbox; and the search among its own tools. */
const ownTools = /^(custom|(bash|text_editor|computer|memory)_\d+|tool_search_tool_\w+)$/;
/** Sources whose bytes are in the request. */
const inlineSources = ['base64', 'text', 'content'];

/** Why a request to the Messages API is not passed on, a sentence for the agent; nothing when it may pass. */
export function remoteReach(body: unknown): string | undefined {
  const request = Request.safeParse(body);
  if (!request.success) return 'Blocked by Sallyport: the request is not one of the Messages API.';
  const { tools, mcp_servers, container, messages } = request.data;
  for (const { type, name } of tools ?? []) {
    if (type === undefined || type === null || ownTools.test(type)) continue;
    return blocked(`the tool ${name ?? type} (${type}) runs at the model's service`);
  }
  if ((mcp_servers ?? []).length > 0) return blocked("mcp_servers are reached from the model's service");
  if (container !== undefined && container !== null)
    return blocked("a container runs at the model's service");
  for (const { content } of messages ?? []) {
    const source = fetchedSource(content);
    if (source !== undefined)
      return blocked(`a content of source type "${source}" is fetched by the model's service`);
  }
  return undefined;
}

/** The first source in a message's content, at any depth of tool results, whose bytes are somewhere else. */
function fetchedSource(content: unknown): string | undefined {
  if (!Array.isArray(content)) return undefined;
  for (const item of content as unknown[]) {
    const block = Block.safeParse(item);
    if (!block.success) continue;
    const source = Source.safeParse(block.data.source);
    if (source.success && !inlineSources.includes(source.data.type)) return source.data.type;
    // What the model called a tool with is data of the agent's own, whatever it looks like.
    const inner = block.data.type === 'tool_use' ? undefined : fetchedSource(block.data.content);
    if (inner !== undefined) return inner;
  }
  return undefined;
}

function blocked(what: string): string {
  return `Blocked by Sallyport: ${what}, outside the sandbox. Use the tools of the sandbox, or ask the user.`;
}
