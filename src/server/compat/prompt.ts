import * as z from 'zod/mini';
import { SallyportError } from '../../base/errors.ts';
import { maxPromptLength } from '../../protocol/grammar.ts';

const Model = z.string().check(z.minLength(1), z.maxLength(200));

/** Body of a question: `{ prompt, options: { model } }`. What else is in it is left alone. */
export const PromptBody = z.object({
  prompt: z.optional(z.unknown()),
  options: z.optional(z.nullable(z.object({ model: z.optional(z.nullable(Model)) }))),
});

/** Throws `prompt_empty` and `prompt_too_long`. */
export function promptOf(value: unknown): string {
  if (typeof value !== 'string' || value.trim() === '') {
    throw new SallyportError(
      'prompt_empty',
      'A prompt is required.',
      'Send {"prompt": "…"} with a text that is not empty.',
    );
  }
  if (value.length > maxPromptLength) {
    throw new SallyportError(
      'prompt_too_long',
      `The prompt has ${value.length.toLocaleString('en')} characters; at most ${maxPromptLength.toLocaleString('en')} are possible.`,
      'Put the long part into a file of the repository and name that file in the prompt.',
    );
  }
  return value;
}
