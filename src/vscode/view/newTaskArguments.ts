import * as z from 'zod/mini';
import { SallyportError } from '../../base/errors.ts';
import { EgressMode, EgressRuleText } from '../../protocol/egress.ts';
import { Switches } from '../../protocol/runnerApi.ts';
import { SnapshotMode } from '../../protocol/task.ts';
import type { SubmitRequest } from '../../runner/taskService.ts';

/** What other extensions, keybindings and tests can say instead of being asked. */
const NewTaskArguments = z.object({
  prompt: z.optional(z.string()),
  /** Stands in the form when it opens, and starts nothing. */
  draft: z.optional(z.string()),
  /** Who wrote the draft, where that was not the user. */
  origin: z.optional(z.literal('link')),
  snapshot: z.optional(SnapshotMode),
  folder: z.optional(z.string()),
  model: z.optional(z.string()),
  branch: z.optional(z.string()),
  egress: z.optional(z.object({ mode: z.optional(EgressMode), rules: z.optional(z.array(EgressRuleText)) })),
  budgetUsd: z.optional(z.number().check(z.positive())),
  /** Id, name or address. */
  runner: z.optional(z.string()),
  switches: z.optional(z.partial(Switches)),
});
export type NewTaskArguments = z.infer<typeof NewTaskArguments>;

/**
 * Reads what the command was called with. What a menu passes along means nothing.
 * @throws SallyportError invalid_input where somebody meant something by it that does not fit
 */
export function readArguments(argument: unknown): NewTaskArguments {
  if (typeof argument !== 'object' || argument === null) return {};
  const known = Object.keys(NewTaskArguments.shape).some((key) => key in argument);
  if (!known) return {};
  const read = NewTaskArguments.safeParse(argument);
  if (read.success) return read.data;
  const [issue] = read.error.issues;
  throw new SallyportError(
    'invalid_input',
    `The arguments of sallyport.newTask do not fit: ${issue?.path.join('.') ?? ''}: ${issue?.message ?? ''}.`,
    'They are prompt, draft, snapshot, folder, model, branch, egress, budgetUsd, runner and switches, all optional.',
  );
}

/** Longest draft that is shown in one line, in characters. */
const maxLine = 200;

/**
 * True for a draft that is written in an editor from the beginning: one line would not show all of it; and a link must not put a text
 * where the next Enter of somebody who types starts it.
 */
export function needsEditor({ draft, origin }: Pick<NewTaskArguments, 'draft' | 'origin'>): boolean {
  return origin === 'link' || draft?.includes('\n') === true || (draft?.length ?? 0) > maxLine;
}

export function egressOf({
  mode,
  rules,
}: NonNullable<NewTaskArguments['egress']>): SubmitRequest['egress'] & object {
  return { ...(mode === undefined ? {} : { mode }), ...(rules === undefined ? {} : { rules }) };
}
