import * as z from 'zod/mini';

const Block = z.looseObject({ type: z.string() });

/** As much of a request to the Messages API as an answer without a model needs. */
export const MessagesRequest = z.object({
  model: z.string(),
  stream: z.optional(z.boolean()),
  messages: z.array(z.object({ role: z.string(), content: z.union([z.string(), z.array(Block)]) })),
  tools: z.optional(z.array(z.looseObject({ name: z.optional(z.string()) }))),
});
export type MessagesRequest = z.infer<typeof MessagesRequest>;

/** A tool that was used in the conversation, with what came of it. */
export interface ToolCall {
  id: string;
  name: string;
  input: unknown;
  result: string;
  isError: boolean;
}

const ToolUse = z.object({
  type: z.literal('tool_use'),
  id: z.string(),
  name: z.string(),
  input: z.unknown(),
});
const ToolResult = z.object({
  type: z.literal('tool_result'),
  tool_use_id: z.string(),
  is_error: z.optional(z.nullable(z.boolean())),
  content: z.optional(z.union([z.string(), z.array(Block)])),
});

/** How often the model has answered in this conversation. */
export function answersSoFar(request: MessagesRequest): number {
  return request.messages.filter(({ role }) => role === 'assistant').length;
}

/** A request for a title, a summary or the like: not the conversation itself, which always brings its tools. */
export function isHelperRequest(request: MessagesRequest): boolean {
  return (request.tools ?? []).length === 0;
}

export function toolCalls(request: MessagesRequest): ToolCall[] {
  const calls = new Map<string, ToolCall>();
  for (const { content } of request.messages) {
    for (const block of typeof content === 'string' ? [] : content) {
      const use = ToolUse.safeParse(block);
      if (use.success) calls.set(use.data.id, { ...use.data, result: '', isError: false });
      const result = ToolResult.safeParse(block);
      const call = result.success ? calls.get(result.data.tool_use_id) : undefined;
      if (call === undefined || !result.success) continue;
      call.result = textOf(result.data.content ?? '');
      call.isError = result.data.is_error ?? false;
    }
  }
  return [...calls.values()];
}

/** What the user asked: the text of the first message, without what the CLI adds in tags of its own. */
export function promptOf(request: MessagesRequest): string {
  const first = request.messages.find(({ role }) => role === 'user');
  return textOf(first?.content ?? '')
    .replaceAll(/<system-reminder>[\s\S]*?<\/system-reminder>/g, '')
    .trim();
}

function textOf(content: string | { type: string; text?: unknown }[]): string {
  if (typeof content === 'string') return content;
  return content.flatMap(({ text }) => (typeof text === 'string' ? [text] : [])).join('\n');
}
