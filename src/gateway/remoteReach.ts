import * as z from 'zod/mini';

/**
 * A model's service can itself reach the network for whoever asks: by tools that run there (web search and fetch, code
 * execution, MCP servers) and by contents that it fetches from a URL. A request that asks for such a thing would carry
 * bytes out past a closed sandbox, so it is refused here. Bedrock and Vertex AI take the same bodies.
 */

const Source = z.looseObject({ type: z.string(), content: z.optional(z.unknown()) });
const Block = z.looseObject({
  type: z.string(),
  source: z.optional(z.unknown()),
  content: z.optional(z.unknown()),
  tools: z.optional(z.unknown()),
  tool: z.optional(z.unknown()),
});
const Tool = z.looseObject({
  type: z.optional(z.nullable(z.string())),
  name: z.optional(z.string()),
  definition: z.optional(z.unknown()),
});
const Request = z.looseObject({
  system: z.optional(z.unknown()),
  messages: z.optional(z.array(z.looseObject({ content: z.optional(z.unknown()) }))),
  tools: z.optional(z.nullable(z.array(Tool))),
  mcp_servers: z.optional(z.nullable(z.array(z.unknown()))),
  container: z.optional(z.unknown()),
});
/** What Bedrock counts the tokens of: the body of an invocation, in base64. */
const Counted = z.object({ input: z.object({ invokeModel: z.object({ body: z.string() }) }) });

/** Tools that the agent runs itself, in the sandbox; and the search among its own tools. */
const ownTools = /^(custom|(bash|text_editor|computer|memory)_\d+|tool_search_tool_\w+)$/;
/** Sources whose bytes are in the request. */
const inlineSources = ['base64', 'text', 'content'];
/** How deep contents lie in contents; the API takes two or three. */
const maxDepth = 16;

const noMessages = 'Blocked by Sallyport: the request is not one of the Messages API.';

/** Why a request to the Messages API is not passed on, a sentence for the agent; nothing when it may pass. */
export function remoteReach(body: unknown): string | undefined {
  const request = Request.safeParse(body);
  if (!request.success) return noMessages;
  const { tools, mcp_servers, container, messages, system } = request.data;
  if ((mcp_servers ?? []).length > 0) return blocked("mcp_servers are reached from the model's service");
  if (container !== undefined && container !== null)
    return blocked("a container runs at the model's service");
  return (
    remoteTool(tools) ??
    [system, ...(messages ?? []).map(({ content }) => content)]
      .map((content) => remoteContent(content, 0))
      .find((reason) => reason !== undefined)
  );
}

/** The same for a request to count tokens at Bedrock, which wraps what it counts. */
export function remoteReachOfCount(body: unknown): string | undefined {
  const counted = Counted.safeParse(body);
  if (!counted.success) return noMessages;
  try {
    return remoteReach(
      JSON.parse(Buffer.from(counted.data.input.invokeModel.body, 'base64').toString('utf8')),
    );
  } catch {
    return noMessages;
  }
}

function remoteTool(tools: unknown): string | undefined {
  if (tools === undefined || tools === null) return undefined;
  for (const tool of Array.isArray(tools) ? (tools as unknown[]) : [tools]) {
    const { type, name, definition } = Tool.safeParse(tool).data ?? {};
    if (type === undefined || type === null || ownTools.test(type)) continue;
    // In the middle of a conversation tools are named that are there, or defined anew.
    if (type === 'tool_reference') continue;
    if (type === 'tool_definition') {
      const reason = remoteTool(definition ?? []);
      if (reason !== undefined) return reason;
      continue;
    }
    return blocked(`the tool ${name ?? type} (${type}) runs at the model's service`);
  }
  return undefined;
}

/** What in a content, at any depth of tool results and documents, the service would fetch or run. */
function remoteContent(content: unknown, depth: number): string | undefined {
  if (!Array.isArray(content)) return undefined;
  if (depth > maxDepth) return noMessages;
  for (const item of content as unknown[]) {
    const block = Block.safeParse(item);
    // What the model called a tool with is data of the agent's own, whatever it looks like.
    if (!block.success || block.data.type === 'tool_use') {
      const source = Source.safeParse(block.data?.source);
      if (source.success && !inlineSources.includes(source.data.type)) return fetched(source.data.type);
      continue;
    }
    const { type, source: from, content: inner, tools, tool } = block.data;
    if (type === 'container_upload') return blocked("a file of a container is read at the model's service");
    const source = Source.safeParse(from);
    if (source.success && !inlineSources.includes(source.data.type)) return fetched(source.data.type);
    const reason =
      remoteTool(tools) ??
      remoteTool(tool) ??
      remoteContent(inner, depth + 1) ??
      remoteContent(source.data?.content, depth + 1);
    if (reason !== undefined) return reason;
  }
  return undefined;
}

function fetched(type: string): string {
  return blocked(`a content of source type "${type}" is fetched by the model's service`);
}

function blocked(what: string): string {
  return `Blocked by Sallyport: ${what}, outside the sandbox. Use the tools of the sandbox, or ask the user.`;
}
