import { maxPromptLength } from '../../protocol/grammar.ts';

/** Says what is wrong with a prompt, with numbers, or nothing. */
export function problemWithPrompt(prompt: string): string | undefined {
  if (prompt.trim() === '') return 'Say what is to be done.';
  if (prompt.length <= maxPromptLength) return undefined;
  const over = prompt.length - maxPromptLength;
  return `${prompt.length.toLocaleString('en')} characters: ${over.toLocaleString('en')} more than the ${maxPromptLength.toLocaleString('en')} that are allowed.`;
}
