import { SallyportError } from '../base/errors.ts';
import { maxPromptLength } from '../protocol/grammar.ts';

/** Throws `invalid_input`. */
export function checkBudget(usd: number): void {
  if (Number.isFinite(usd) && usd > 0) return;
  throw new SallyportError(
    'invalid_input',
    `${usd} is no budget.`,
    'Give an amount in US dollars above 0, such as 5, or none for no limit.',
  );
}

/** Throws `prompt_empty` or `prompt_too_long`. */
export function checkPrompt(prompt: string): void {
  if (prompt.trim() === '') {
    throw new SallyportError('prompt_empty', 'The prompt is empty.', 'Say what the agent is to do.');
  }
  if (prompt.length > maxPromptLength) {
    throw new SallyportError(
      'prompt_too_long',
      `The prompt has ${prompt.length.toLocaleString('en')} characters; at most ${maxPromptLength.toLocaleString('en')} are possible.`,
      'Put the long part into a file of the repository and name that file in the prompt.',
    );
  }
}

export function taskUnknown(id: string): SallyportError {
  return new SallyportError('task_unknown', `There is no task ${id}.`, 'It may have been removed.');
}
