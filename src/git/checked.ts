import type * as z from 'zod/mini';
import { SallyportError } from '../base/errors.ts';

/** Gives back what fits the schema. Throws `invalid_input`. */
export function checked<T>(schema: z.ZodMiniType<T>, value: unknown, what: string): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new SallyportError('invalid_input', `Not a valid ${what}: ${JSON.stringify(value)}.`, 'Report this.');
}
