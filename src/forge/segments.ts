import { SallyportError } from '../base/errors.ts';
import { isBranchName } from '../protocol/grammar.ts';

/** A branch or a commit as one segment of a path. Throws `invalid_branch` for what is none. */
export function segmentOf(branch: string): string {
  if (!isBranchName(branch))
    throw new SallyportError(
      'invalid_branch',
      `${JSON.stringify(branch.slice(0, 200))} is no name of a branch.`,
      'Choose another name.',
    );
  return encodeURIComponent(branch);
}

/** Whether a name fits a pattern in which `*` stands for any characters, as forges write what they guard. Pure. */
export function fits(name: string, pattern: string): boolean {
  const [first = '', ...rest] = pattern.split('*');
  if (rest.length === 0) return name === pattern;
  const last = rest.pop() ?? '';
  if (name.length < first.length + last.length || !name.startsWith(first) || !name.endsWith(last))
    return false;
  let at = first.length;
  for (const piece of rest) {
    const found = name.indexOf(piece, at);
    if (found < 0) return false;
    at = found + piece.length;
  }
  return at <= name.length - last.length;
}
