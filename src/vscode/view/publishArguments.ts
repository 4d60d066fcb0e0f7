import * as z from 'zod/mini';
import { SallyportError } from '../../base/errors.ts';
import { isBranchName } from '../../protocol/grammar.ts';
import type { PushSaid } from './publishFlow.ts';

/** What other extensions, keybindings and views can say instead of being asked. None of it is a yes. */
const PublishArguments = z.looseObject({
  remote: z.optional(z.string()),
  branch: z.optional(z.string().check(z.refine(isBranchName, 'not a branch name'))),
  what: z.optional(z.enum(['commits', 'rest', 'accepted', 'taken'])),
});

/** Throws `invalid_input` where somebody meant something by it that does not fit. */
export function readSaid(argument: unknown): PushSaid {
  if (typeof argument !== 'object' || argument === null || 'kind' in argument) return {};
  const read = PublishArguments.safeParse(argument);
  if (!read.success) {
    const [issue] = read.error.issues;
    throw new SallyportError(
      'invalid_input',
      `The arguments of the push do not fit: ${issue?.path.join('.') ?? ''}: ${issue?.message ?? ''}.`,
      'They are id, remote, branch and what, all but id optional.',
    );
  }
  const { remote, branch, what } = read.data;
  return {
    ...(remote === undefined ? {} : { remote }),
    ...(branch === undefined ? {} : { branch }),
    ...(what === undefined ? {} : { what }),
  };
}
