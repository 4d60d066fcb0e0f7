import { SallyportError } from '../base/errors.ts';
import { isBranchName } from '../protocol/grammar.ts';

/** A branch's name as one segment of a path. Throws `invalid_branch` for what is no name of a branch. */
export function segmentOf(branch: string): string {
  if (!isBranchName(branch))
    throw new SallyportError(
      'invalid_branch',
      `${JSON.stringify(branch.slice(0, 200))} is no name of a branch.`,
      'Choose another name.',
    );
  return encodeURIComponent(branch);
}

/** What is not there is undefined; every other failure is thrown. */
export async function orAbsent<T>(asking: Promise<T>): Promise<T | undefined> {
  try {
    return await asking;
  } catch (thrown) {
    if (thrown instanceof SallyportError && thrown.code === 'repository_not_found') return undefined;
    throw thrown;
  }
}
