import { SallyportError } from '../base/errors.ts';

/**
 * Forges without a switch for drafts mark them by how the title begins. What each of them reads as such a mark, in any case and
 * however many stand in a row.
 */
const marks = {
  gitlab: /^(?:\s*(?:\[draft\]|\(draft\)|draft:))+\s*/i,
  // Both can be changed by who runs the forge; these are the usual ones, and those of others, which mean the same.
  gitea: /^(?:\s*(?:\[wip\]|wip:|\[draft\]|draft:))+\s*/i,
};

const own = { gitlab: 'Draft: ', gitea: 'WIP: ' };

export type TitleMarkKind = keyof typeof marks;

export function isMarked(kind: TitleMarkKind, title: string): boolean {
  return marks[kind].test(title);
}

/** The title alone. One that is nothing but marks stays. */
export function unmarked(kind: TitleMarkKind, title: string): string {
  const plain = title.replace(marks[kind], '');
  return plain === '' ? title : plain;
}

/** The title as the forge has it. */
export function titleFor(kind: TitleMarkKind, title: string, draft: boolean): string {
  const plain = unmarked(kind, title);
  return draft ? `${own[kind]}${plain}` : plain;
}

/** What a forge says by what it does not do. */
export function stillDraft(forge: string, what: string): SallyportError {
  return new SallyportError(
    'forge_refused',
    `${forge} still takes ${what} for a draft, by a mark in its title.`,
    'Mark it as ready at the forge.',
  );
}
