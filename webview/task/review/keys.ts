/** What a key does in the review. */
export type KeyAction =
  | 'next'
  | 'previous'
  | 'nextFile'
  | 'previousFile'
  | 'accept'
  | 'reject'
  | 'restore'
  | 'reviewed'
  | 'comment'
  | 'open'
  | 'fold'
  | 'split'
  | 'filter'
  | 'help'
  | 'leave';

const keys: Readonly<Record<string, KeyAction>> = {
  j: 'next',
  k: 'previous',
  J: 'nextFile',
  K: 'previousFile',
  a: 'accept',
  r: 'reject',
  u: 'restore',
  v: 'reviewed',
  c: 'comment',
  o: 'open',
  x: 'fold',
  s: 'split',
  '/': 'filter',
  '?': 'help',
  Escape: 'leave',
};

/** For people. */
export const keyHelp: readonly { keys: string[]; words: string; decides?: true }[] = [
  { keys: ['j', 'k'], words: 'Next, previous hunk' },
  { keys: ['J', 'K'], words: 'Next, previous file' },
  { keys: ['a'], words: 'Accept the hunk or the file', decides: true },
  { keys: ['r'], words: 'Reject it', decides: true },
  { keys: ['u'], words: 'Take the verdict back', decides: true },
  { keys: ['v'], words: 'Mark the file as reviewed, or not', decides: true },
  { keys: ['c'], words: 'Comment', decides: true },
  { keys: ['o'], words: 'Open in the editor' },
  { keys: ['x'], words: 'Fold or unfold the file' },
  { keys: ['s'], words: 'Side by side, or inline' },
  { keys: ['/'], words: 'Filter the files' },
  { keys: ['?'], words: 'These keys' },
];

/** Of a keyboard event. */
interface Stroke {
  key: string;
  ctrlKey: boolean;
  metaKey: boolean;
  altKey: boolean;
  isComposing: boolean;
  /** An element, or nothing. */
  target: unknown;
}

/** What a key stroke means; undefined where it is meant for a field, or is no key of the review's. */
export function keyOf(event: Stroke): KeyAction | undefined {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return undefined;
  if (typesInto(event.target)) return undefined;
  return Object.hasOwn(keys, event.key) ? keys[event.key] : undefined;
}

function typesInto(target: unknown): boolean {
  const element = target as { tagName?: string; type?: string } | null;
  const tag = element?.tagName?.toLowerCase();
  return tag === 'textarea' || tag === 'select' || (tag === 'input' && element?.type !== 'checkbox');
}
