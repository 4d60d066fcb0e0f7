import { isCiFile } from '../../git/ciFiles.ts';
import type { ReviewDiff, ReviewFile, ReviewState } from '../../protocol/review.ts';
import { isReviewed, openGate, verdictOf } from '../../protocol/reviewState.ts';
import { safeLine } from '../../protocol/safeText.ts';
import { plural } from '../../protocol/words.ts';

/** What is known of a task's work when the user wants to push some of it. */
export interface PushFacts {
  /** The newest commit, and how many there are since the start. */
  commit: string;
  commits: number;
  branch: string;
  diff: ReviewDiff;
  review: ReviewState;
  /** Paths that earlier commits have touched, and that the newest one has as they were. */
  onlyInHistory: readonly string[];
  /** The task began with the user's uncommitted edits, which are a commit of its history. */
  ownEdits: boolean;
}

/** Something of a task that can be pushed. */
export interface PushOffer {
  /**
   * `commits` are the agent's own, with everything in them; `rest` is one commit without what was rejected, and with the user's
   * edits; `accepted` one commit with what was accepted; `taken` is the branch that an accept has made.
   */
  kind: 'commits' | 'rest' | 'accepted' | 'taken';
  label: string;
  detail: string;
  /** Undefined where it has to be made first, as a new branch of the user's repository. */
  commit?: string;
  /** The name that is proposed. */
  branch: string;
  /** What has to be read before it leaves, a sentence each. */
  warnings: string[];
  /** Changes that the user rejected, or has written anew, are in it: that takes a yes of its own. */
  against: string[];
}

const namedPaths = 8;

/**
 * What can be pushed, the best choice first: the agent's commits, unless something of them was rejected or edited; then what was
 * made without that. So nothing that the user has turned down leaves by a habit. Pure.
 */
export function pushOffers(facts: PushFacts): PushOffer[] {
  const { review, diff, branch } = facts;
  const { files } = diff;
  const rejected = files.filter((file) => file.parts.some(({ id }) => review.verdicts[id] === 'rejected'));
  const edited = files.filter(({ edit }) => edit !== undefined);
  const accepted = files.filter((file) => file.parts.some(({ id }) => review.verdicts[id] === 'accepted'));
  const historic = rejectedInHistory(facts);
  const against = [
    ...(rejected.length === 0
      ? []
      : [`You rejected changes in ${pathList(rejected)}. These commits hold them.`]),
    ...(edited.length === 0
      ? []
      : [`You edited ${pathList(edited)}. These commits hold what the agent wrote.`]),
    ...(historic.length === 0
      ? []
      : [
          `You rejected changes in ${texts(historic)} that the newest commit no longer has. Its history does.`,
        ]),
  ];
  const unread = files.filter((file) => !isReviewed(review, file) && verdictOf(review, file) === 'none');
  const offers: PushOffer[] = [];
  const commits: PushOffer = {
    kind: 'commits',
    label: facts.commits === 1 ? "The Agent's Commit" : `The Agent's ${facts.commits} Commits`,
    detail:
      against.length === 0
        ? `${plural(files.length, 'file')}, with the agent's own messages.`
        : 'Everything, also what you rejected or edited.',
    commit: facts.commit,
    branch,
    warnings: [
      ...ciWarning(files),
      ...gateWarning(openGate(review, files).filter((file) => file.parts.length > 0)),
      ...(unread.length === 0
        ? []
        : [
            `${plural(unread.length, 'file')} of ${files.length} ${unread.length === 1 ? 'was' : 'were'} not looked at.`,
          ]),
      ...(facts.onlyInHistory.length === 0
        ? []
        : [
            `Earlier commits hold something else in ${texts(facts.onlyInHistory)}, which the diff of the whole task does not show.`,
          ]),
      ...(diff.further === undefined || diff.further === 0
        ? []
        : [`${plural(diff.further, 'further file')} could not be shown at all.`]),
      ...(facts.ownEdits
        ? ['The history begins with your uncommitted edits, as a commit of their own.']
        : []),
    ],
    against,
  };
  const taken = review.accepts.findLast(
    ({ target, undone, commit }) => target.kind === 'branch' && !undone && commit !== undefined,
  );
  if (taken?.commit !== undefined && taken.commit !== facts.commit) {
    const name = taken.branch ?? branch;
    offers.push({
      kind: 'taken',
      label: `The Branch ${safeLine(name, 80)}`,
      detail: 'What you accepted as a branch.',
      commit: taken.commit,
      branch: name,
      warnings: ciWarning(files),
      against: [],
    });
  }
  if (rejected.length > 0 || edited.length > 0) {
    const kept = files.filter((file) => verdictOf(review, file) !== 'rejected');
    if (kept.length > 0)
      offers.push({
        kind: 'rest',
        label: 'What You Did Not Reject',
        detail: 'One commit, with your edits; it is made as a new branch of your repository first.',
        branch,
        warnings: [
          ...ciWarning(kept),
          ...(unread.length === 0
            ? []
            : [
                `${plural(unread.length, 'file')} of it ${unread.length === 1 ? 'was' : 'were'} not looked at.`,
              ]),
        ],
        against: [],
      });
  }
  if (accepted.length > 0 && (accepted.length < files.length || rejected.length > 0))
    offers.push({
      kind: 'accepted',
      label: 'Only What You Accepted',
      detail: `${plural(accepted.length, 'file')} as one commit; it is made as a new branch of your repository first.`,
      branch,
      warnings: ciWarning(accepted),
      against: [],
    });
  if (against.length === 0) return [commits, ...offers];
  return [...offers, commits];
}

/** What a forge would run at once. */
export function ciWarning(files: readonly ReviewFile[]): string[] {
  const found = files.filter(({ path, from }) => isCiFile(path) || (from !== undefined && isCiFile(from)));
  if (found.length === 0) return [];
  return [
    `It changes ${pathList(found)}: the forge may run that as soon as the branch is there, with the repository's secrets.`,
  ];
}

function gateWarning(files: readonly ReviewFile[]): string[] {
  const others = files.filter(({ path }) => !isCiFile(path));
  if (others.length === 0) return [];
  return [`Not accepted yet, though on the hand-off list: ${pathList(others)}.`];
}

function rejectedInHistory({ onlyInHistory, review }: PushFacts): string[] {
  const paths = new Set(Object.values(review.rejected).map(({ path }) => path));
  return onlyInHistory.filter((path) => paths.has(path));
}

function pathList(files: readonly { path: string }[]): string {
  return texts(files.map(({ path }) => path));
}

function texts(paths: readonly string[]): string {
  const shown = paths.slice(0, namedPaths).map((path) => safeLine(path, 120));
  const more = paths.length - shown.length;
  return more > 0 ? `${shown.join(', ')} and ${more} more` : shown.join(', ');
}
