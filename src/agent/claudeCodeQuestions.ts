import * as z from 'zod/mini';
import { AgentQuestion, QuestionId, type QuestionAnswer } from '../protocol/question.ts';
import type { OpenQuestion } from './adapter.ts';

/**
 * How Claude Code asks, over the stdout and stdin of a conversation (`--permission-prompt-tool stdio`): it says
 * `control_request` with `can_use_tool`, for a tool that needs a permission and for the tools that ask themselves, and waits for
 * a `control_response` with that number.
 */

const Request = z.object({
  request_id: z.string(),
  request: z.looseObject({
    subtype: z.string(),
    tool_name: z.optional(z.string()),
    input: z.optional(z.record(z.string(), z.unknown())),
  }),
});

const Cancel = z.object({ request_id: QuestionId });

const Questions = z.object({
  questions: z.array(
    z.object({
      question: z.string(),
      header: z.catch(z.string(), ''),
      multiSelect: z.catch(z.boolean(), false),
      options: z.catch(z.array(z.object({ label: z.string(), description: z.catch(z.string(), '') })), []),
    }),
  ),
});

const Plan = z.object({ plan: z.string() });

const longest = { words: 5000, short: 500, text: 20_000 };

/** What a `control_request` asks, or what is to be answered at once to one that nobody here understands. */
export function readRequest(message: unknown): { question: OpenQuestion } | { reply: string } | undefined {
  const parsed = Request.safeParse(message);
  if (!parsed.success) return undefined;
  const { request_id: id, request } = parsed.data;
  const { subtype, tool_name: tool, input = {} } = request;
  if (subtype !== 'can_use_tool' || tool === undefined || !QuestionId.safeParse(id).success)
    return { reply: failure(id, 'This is not supported here.') };
  const question = AgentQuestion.safeParse({ id, tool: cut(tool, longest.short), ...asked(tool, input) });
  if (!question.success) return { reply: failure(id, 'This question cannot be shown to the user.') };
  return { question: { question: question.data, input } };
}

/** The question that the agent does not want to ask any more. */
export function readCancel(message: unknown): string | undefined {
  return Cancel.safeParse(message).data?.request_id;
}

function asked(tool: string, input: Record<string, unknown>): Omit<AgentQuestion, 'id' | 'tool'> {
  const choices = tool === 'AskUserQuestion' ? Questions.safeParse(input).data : undefined;
  if (choices !== undefined) {
    return {
      what: 'choice',
      choices: choices.questions.map(({ question, header, multiSelect, options }) => ({
        question: cut(question, longest.words),
        header: cut(header, longest.short),
        multiple: multiSelect,
        // Labels go back as they are, so none is cut.
        options: options.map(({ label, description }) => ({
          label,
          description: cut(description, longest.words),
        })),
      })),
    };
  }
  const plan = tool === 'ExitPlanMode' ? Plan.safeParse(input).data : undefined;
  if (plan !== undefined) return { what: 'plan', text: cut(plan.plan, longest.text) };
  return { what: 'permission', text: cut(JSON.stringify(input, undefined, 2), longest.text) };
}

/** The user's answer as the CLI takes it on its stdin. */
export function answerLine({ question, input }: OpenQuestion, answer: QuestionAnswer): string {
  return respond(question.id, response(question, input, answer));
}

function response(
  question: AgentQuestion,
  input: Record<string, unknown>,
  answer: QuestionAnswer,
): Record<string, unknown> {
  if (answer.kind === 'refuse') {
    const why = answer.why?.trim() ?? '';
    return { behavior: 'deny', message: why === '' ? 'The user does not want this.' : why };
  }
  if (answer.kind === 'allow') return { behavior: 'allow', updatedInput: input };
  // The CLI knows its questions by their words, which the input has uncut.
  const words = Questions.safeParse(input).data?.questions ?? [];
  const answers = Object.fromEntries(
    words.map((each, index) => [each.question, (answer.answers[index] ?? []).join(', ')]),
  );
  return { behavior: 'allow', updatedInput: { ...input, answers } };
}

/** Has the CLI stop what it does, and end its turn. */
export function interruptLine(id: string): string {
  return line({ type: 'control_request', request_id: id, request: { subtype: 'interrupt' } });
}

function respond(id: string, inner: Record<string, unknown>): string {
  return line({
    type: 'control_response',
    response: { subtype: 'success', request_id: id, response: inner },
  });
}

function failure(id: string, error: string): string {
  return line({ type: 'control_response', response: { subtype: 'error', request_id: id, error } });
}

function line(json: unknown): string {
  return `${JSON.stringify(json)}\n`;
}

function cut(text: string, length: number): string {
  return text.length <= length ? text : `${text.slice(0, length - 1)}…`;
}
