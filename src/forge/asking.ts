import { SallyportError, type ErrorCode } from '../base/errors.ts';

/** What is not there is undefined; every other failure is thrown. */
export async function orAbsent<T>(asking: Promise<T>): Promise<T | undefined> {
  return await unless(asking, 'repository_not_found');
}

/** What fails in one of these ways is undefined; every other failure is thrown. */
export async function unless<T>(asking: Promise<T>, ...codes: ErrorCode[]): Promise<T | undefined> {
  try {
    return await asking;
  } catch (thrown) {
    if (thrown instanceof SallyportError && codes.includes(thrown.code) && !('until' in thrown))
      return undefined;
    throw thrown;
  }
}

/** What is there already, or what is made of it now: also when somebody else is faster in between. */
export async function onceOnly<T>(find: () => Promise<T | undefined>, make: () => Promise<T>): Promise<T> {
  const there = await find();
  if (there !== undefined) return there;
  try {
    return await make();
  } catch (thrown) {
    // Somebody else, or this process before it was killed.
    const made = await find().catch(() => undefined);
    if (made !== undefined) return made;
    throw thrown;
  }
}
