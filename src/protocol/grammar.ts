import * as z from 'zod/mini';

/** Grammars for every name that comes from outside. What does not fit never reaches a process, a path or an engine. */

/** A git object name, SHA-1 or SHA-256. */
export const Sha = z.string().check(z.regex(/^(?:[0-9a-f]{40}|[0-9a-f]{64})$/));

/** A task's id: sorts by time, fits container names, git refs and file names. */
export const TaskId = z.string().check(z.regex(/^[a-z0-9]{10,32}$/));
export type TaskId = z.infer<typeof TaskId>;

/** A message of a conversation. */
export const MessageId = z.string().check(z.regex(/^[a-z0-9]{10,32}$/));

/** How an agent names a conversation: a UUID. It becomes a part of a path. */
export const SessionId = z.string().check(z.regex(/^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/));

/** Longest branch name that is accepted, in characters. */
const maxBranchLength = 200;

/**
 * The rules of git-check-ref-format for a branch name, and a little stricter: no component that starts with a dash
 * or a dot, only printable ASCII.
 */
export function isBranchName(name: string): boolean {
  if (name.length === 0 || name.length > maxBranchLength) return false;
  if (/[^\x21-\x7e]|[~^:?*[\\]|\.\.|@\{|\/\/|\.$|\/$|^\//.test(name)) return false;
  if (name === '@' || name === 'HEAD' || name.startsWith('refs/')) return false;
  return name.split('/').every((part) => part !== '' && !/^[.-]/.test(part) && !/\.(lock)?$/.test(part));
}

export const BranchName = z.string().check(z.refine(isBranchName, 'not a valid branch name'));

/** Longest reference of an image that is accepted, in characters. */
const maxReferenceLength = 300;
const referenceGrammar =
  /^(?:[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?(?::\d{1,5})?\/)?[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*)*(?::[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127})?(?:@sha256:[0-9a-f]{64})?$/;

/** A reference of a container image as registries have it: `host:port/path/name:tag@sha256:…`, host, tag and digest optional. */
export function isImageReference(text: string): boolean {
  return text.length <= maxReferenceLength && referenceGrammar.test(text);
}

/** Longest prompt that is accepted, in characters. */
export const maxPromptLength = 100_000;

/** `claude/<timestamp>`, UTC, to the second. */
export function defaultBranchName(now: Date): string {
  return `claude/${now.toISOString().slice(0, 19).replaceAll(/[-:]/g, '').replace('T', '-')}`;
}
