import { isBranchName, maxPromptLength } from '../../src/protocol/grammar.ts';
import type { SubmissionInput } from '../../src/protocol/runnerApi.ts';

/** What the form says, as the server wants it; or what is not right yet, by field. */
export function submissionOf(
  kind: 'url' | 'find',
  field: (name: string) => string,
): { submission?: SubmissionInput; wrong: Record<string, string> } {
  const wrong: Record<string, string> = {};
  const text = (name: string): string => field(name).trim();
  const on = (name: string): boolean => field(name) !== '';
  const prompt = text('prompt');
  if (prompt === '') wrong['prompt'] = 'Say what is to be done.';
  else if (prompt.length > maxPromptLength)
    wrong['prompt'] = `At most ${maxPromptLength.toLocaleString('en')} characters.`;
  const url = text('url');
  if (kind === 'url') {
    const parsed = URL.canParse(url) ? new URL(url) : undefined;
    if (url === '') wrong['url'] = 'Enter the address of the repository.';
    else if (parsed === undefined || !/^https?:$/.test(parsed.protocol))
      wrong['url'] = 'An address begins with https://.';
    else if (parsed.username !== '' || parsed.password !== '')
      wrong['url'] = 'Leave user and password out: the runner uses its own token.';
  }
  for (const name of ['base', 'branch']) {
    const branch = text(name);
    if (branch !== '' && !isBranchName(branch)) wrong[name] = 'That is no name of a branch.';
  }
  const number = (name: string, min: number, max: number, what: string): number | undefined => {
    const raw = text(name);
    if (raw === '') return undefined;
    const value = Number(raw);
    if (Number.isFinite(value) && value >= min && value <= max) return value;
    wrong[name] = `${what} between ${min} and ${max.toLocaleString('en')}.`;
    return undefined;
  };
  const minutes = number('minutes', 1, 1440, 'Minutes');
  const budgetUsd = number('budget', 0.01, 1_000_000, 'Dollars');
  const priority = number('priority', -100, 100, 'A whole number');
  if (priority !== undefined && !Number.isInteger(priority))
    wrong['priority'] = 'A whole number between -100 and 100.';
  if (Object.keys(wrong).length > 0) return { wrong };
  const base = text('base');
  const branch = text('branch');
  const model = text('model');
  return {
    wrong,
    submission: {
      prompt,
      source:
        kind === 'url'
          ? { kind, url, ...(base === '' ? {} : { branch: base }) }
          : { kind, confirm: on('confirm') },
      ...(branch === '' ? {} : { branch }),
      ...(model === '' ? {} : { model }),
      ...(minutes === undefined ? {} : { limits: { timeMs: minutes * 60_000 } }),
      ...(budgetUsd === undefined ? {} : { budgetUsd }),
      ...(priority === undefined ? {} : { priority }),
      switches: {
        commitEach: on('commitEach'),
        autoPush: on('autoPush'),
        draftEarly: on('draftEarly'),
        autoPullRequest: on('autoPullRequest'),
      },
      shared: on('shared'),
      conversation: on('conversation'),
    },
  };
}
