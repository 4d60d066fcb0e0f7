import * as z from 'zod/mini';
import { fits } from './segments.ts';

/** Who may push to which branches. */
export const Restriction = z.object({
  kind: z.string(),
  branch_match_kind: z.catch(z.string(), 'glob'),
  pattern: z.catch(z.string(), ''),
  /** Of a rule for a kind of branch: `development`, `production`, `feature`, … */
  branch_type: z.catch(z.optional(z.string()), undefined),
});

const Place = z.catch(
  z.nullish(
    z.object({
      name: z.catch(z.nullish(z.string()), null),
      branch: z.catch(z.nullish(z.object({ name: z.string() })), null),
    }),
  ),
  null,
);

/** Which branches are of which kind. */
export const BranchingModel = z.object({
  development: Place,
  production: Place,
  branch_types: z.catch(z.array(z.object({ kind: z.string(), prefix: z.string() })), []),
});

/** Whether a rule is about this branch. Pure. */
export function guards(
  rule: z.infer<typeof Restriction>,
  branch: string,
  model: z.infer<typeof BranchingModel> | undefined,
): boolean {
  if (rule.kind !== 'push') return false;
  if (rule.branch_match_kind !== 'branching_model') return fits(branch, rule.pattern);
  const type = rule.branch_type;
  if (type === 'development' || type === 'production') {
    const place = model?.[type];
    return (place?.branch?.name ?? place?.name) === branch;
  }
  return model?.branch_types.some(({ kind, prefix }) => kind === type && branch.startsWith(prefix)) ?? false;
}
