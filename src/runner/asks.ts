import { randomBytes } from 'node:crypto';
import { watch, type FSWatcher } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod/mini';
import { isErrno } from '../base/errors.ts';
import { EgressMode, EgressRuleText } from '../protocol/egress.ts';
import { maxPromptLength, MessageId } from '../protocol/grammar.ts';
import { QuestionAnswer, QuestionId } from '../protocol/question.ts';

/** What a user decides about a task that is under way. */
export const Ask = z.discriminatedUnion('op', [
  z.object({
    op: z.literal('egress'),
    answer: z.union([
      z.object({ allow: z.enum(['task', 'workspace']), rule: EgressRuleText }),
      z.object({ allow: z.literal('task'), mode: EgressMode }),
      z.object({ refuse: z.string().check(z.maxLength(300)) }),
    ]),
  }),
  z.object({ op: z.literal('budget'), usd: z.nullable(z.number().check(z.positive())) }),
  /** A message to the agent of a conversation. */
  z.object({
    op: z.literal('say'),
    id: MessageId,
    text: z.string().check(z.maxLength(maxPromptLength)),
    by: z.optional(z.string().check(z.maxLength(200))),
  }),
  /** An answer to a question of the agent's. */
  z.object({
    op: z.literal('answer'),
    id: QuestionId,
    answer: QuestionAnswer,
    by: z.optional(z.string().check(z.maxLength(200))),
  }),
  /** The agent of a conversation is to stop what it does. */
  z.object({ op: z.literal('interrupt'), by: z.optional(z.string().check(z.maxLength(200))) }),
  z.object({ op: z.literal('stop') }),
]);
export type Ask = z.infer<typeof Ask>;

/** Name of the folder in which other processes leave what they ask of a task. */
export const asksFolder = 'asks';

/** Between two looks where the system does not tell of a new file, in milliseconds. */
const pollMs = 1000;

/**
 * Leaves a request for the process that attends to a task, in the task's own folder. Resolves to what withdraws it.
 * It is a file, so that it outlives both processes.
 */
export async function leaveAsk(folder: string, ask: Ask): Promise<() => Promise<void>> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const name = `${Date.now().toString(36).padStart(9, '0')}-${randomBytes(6).toString('hex')}`;
  const path = join(folder, `${name}.json`);
  const aside = join(folder, name);
  await writeFile(aside, JSON.stringify(ask), { mode: 0o600 });
  await rename(aside, path);
  return () => rm(path, { force: true });
}

/**
 * Hands over what other processes ask for, one at a time and in order, until `signal` aborts. A request is deleted when
 * `take` has resolved; so after a crash it comes once more, and `take` has to see that it is done already. What `take`
 * throws at is kept for later.
 */
export async function takeAsks(
  folder: string,
  take: (ask: Ask) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  let wake: (() => void) | undefined;
  let watcher: FSWatcher | undefined;
  try {
    watcher = watch(folder, () => wake?.());
    watcher.on('error', () => undefined);
  } catch {
    // The poll is enough.
  }
  const aborted = (): void => wake?.();
  signal.addEventListener('abort', aborted);
  try {
    while (!signal.aborted) {
      const next = new Promise<void>((resolve) => (wake = resolve));
      await takeAll(folder, take, signal);
      const timer = setTimeout(() => wake?.(), pollMs);
      timer.unref();
      await next;
      clearTimeout(timer);
    }
  } finally {
    signal.removeEventListener('abort', aborted);
    watcher?.close();
  }
}

async function takeAll(
  folder: string,
  take: (ask: Ask) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  const names = await readdir(folder).catch((thrown: unknown) => {
    // The task was removed.
    if (isErrno(thrown, 'ENOENT')) return [];
    throw thrown;
  });
  for (const name of names.filter((one) => one.endsWith('.json')).sort()) {
    if (signal.aborted) return;
    const path = join(folder, name);
    const ask = await read(path);
    if (ask !== undefined) {
      try {
        await take(ask);
      } catch {
        return;
      }
    }
    await rm(path, { force: true });
  }
}

/** Undefined for what was withdrawn, and for what is no request. */
async function read(path: string): Promise<Ask | undefined> {
  try {
    return Ask.parse(JSON.parse(await readFile(path, 'utf8')));
  } catch {
    return undefined;
  }
}
