import { SallyportError } from '../../base/errors.ts';
import { hiddenInText } from '../../git/hiddenCharacters.ts';
import { isBranchName } from '../../protocol/grammar.ts';

/** What a link `vscode://<extension>/new?prompt=…&branch=…` asks for. Any page can have one. */
export interface TaskLink {
  prompt: string;
  branch?: string;
}

export const newTaskPath = '/new';
/** Longest prompt, in characters. */
const maxPrompt = 10_000;

/**
 * Of a query the editor gives the text without its escapes, so that `&` in a prompt looks like the one before a parameter:
 * the branch stands first or last, and all the rest is the prompt.
 * @throws SallyportError invalid_input where any of it does not fit: a link is taken whole or not at all
 */
export function readTaskLink(query: string): TaskLink {
  const read = /^(?:branch=(?<first>[^&]*)&)?prompt=(?<prompt>.*?)(?:&branch=(?<last>[^&]*))?$/s.exec(query);
  if (read?.groups === undefined) throw refused('It is not prompt=… with an optional branch=….');
  const { first, last } = read.groups;
  if (first !== undefined && last !== undefined) throw refused('It names two branches.');
  const branch = first ?? last;
  const prompt = (read.groups['prompt'] ?? '').replaceAll('\r\n', '\n').trim();
  if (prompt === '') throw refused('It has no prompt.');
  if (prompt.length > maxPrompt) throw refused(`Its prompt is longer than ${maxPrompt} characters.`);
  // What cannot be seen would still be read by the agent.
  if (hiddenInText(prompt) !== undefined) throw refused('Its prompt has characters that cannot be seen.');
  if (branch !== undefined && !(isBranchName(branch) && /^[A-Za-z0-9][\w./-]*$/.test(branch)))
    throw refused('Its branch is no name of a branch.');
  return branch === undefined ? { prompt } : { prompt, branch };
}

function refused(why: string): SallyportError {
  return new SallyportError(
    'invalid_input',
    `A link from outside of the editor wanted to fill in a new task, and was refused. ${why}`,
    'Nothing was started. Write the prompt yourself, with New Task….',
  );
}
