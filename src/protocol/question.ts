import * as z from 'zod/mini';

/**
 * What an agent asks its user in the middle of a turn, and what the user says to it. The agent stands still meanwhile, and
 * so do the clocks of its time limits.
 */

/** How the agent names a question of its. */
export const QuestionId = z.string().check(z.regex(/^[A-Za-z0-9_-]{1,100}$/));

const Words = z.string().check(z.maxLength(5000));
const Short = z.string().check(z.maxLength(500));

/** One of the things that are asked together. */
export const Choice = z.object({
  question: Words,
  /** One or two words, for lists. */
  header: Short,
  /** Several options can be chosen. */
  multiple: z.boolean(),
  options: z.array(z.object({ label: Short, description: Words })).check(z.maxLength(20)),
});
export type Choice = z.infer<typeof Choice>;

/** What is asked: something to choose, whether a tool may be used, or whether a plan is good. */
export const AgentQuestion = z.object({
  id: QuestionId,
  what: z.enum(['choice', 'permission', 'plan']),
  /** The agent's tool that asks, or that it wants to use. */
  tool: Short,
  /** With `choice`. */
  choices: z.optional(z.array(Choice).check(z.maxLength(10))),
  /** With `permission`: what the tool would get. With `plan`: the plan. */
  text: z.optional(z.string().check(z.maxLength(20_000))),
});
export type AgentQuestion = z.infer<typeof AgentQuestion>;

/** What the user says to it. */
export const QuestionAnswer = z.discriminatedUnion('kind', [
  /** The tool may be used this once; the plan is good. */
  z.object({ kind: z.literal('allow') }),
  /** No, and why, in words for the agent. */
  z.object({ kind: z.literal('refuse'), why: z.optional(Words) }),
  /** To each question, in their order: labels, or words of the user's. */
  z.object({
    kind: z.literal('choose'),
    answers: z.array(z.array(Words).check(z.maxLength(20))).check(z.maxLength(10)),
  }),
]);
export type QuestionAnswer = z.infer<typeof QuestionAnswer>;

/** Why an answer does not fit a question, as a sentence; undefined when it does. */
export function misfit(question: AgentQuestion, answer: QuestionAnswer): string | undefined {
  if (answer.kind === 'refuse') return undefined;
  if (answer.kind === 'allow')
    return question.what === 'choice' ? 'The agent asks for a choice, not for a permission.' : undefined;
  const { choices = [] } = question;
  if (question.what !== 'choice') return 'The agent asks for a permission, not for a choice.';
  if (answer.answers.length !== choices.length)
    return `The agent asks ${choices.length} questions, and there are ${answer.answers.length} answers.`;
  for (const [index, given] of answer.answers.entries()) {
    if (given.length === 0 || given.some((word) => word.trim() === ''))
      return `There is no answer to the question “${choices[index]?.header ?? index + 1}”.`;
    if (given.length > 1 && choices[index]?.multiple === false)
      return `One answer only to the question “${choices[index].header}”.`;
  }
  return undefined;
}
