import { SallyportError } from '../../base/errors.ts';
import { isBranchName } from '../../protocol/grammar.ts';
import type { ReviewState } from '../../protocol/review.ts';
import { safeLine } from '../../protocol/safeText.ts';
import { plural } from '../../protocol/words.ts';
import type { PushOffer } from '../../runner/publishing/pushOffers.ts';
import type {
  BranchLook,
  ForgeToken,
  PushOutcome,
  PushWish,
  RemoteChoice,
  RemoteForge,
  TaskPublishing,
} from '../../runner/publishing/taskPublishing.ts';

/** How the user is asked. Every question can be left, which ends the flow and changes nothing. */
export interface Asker {
  choose<T extends { label: string }>(
    title: string,
    hint: string,
    items: readonly T[],
  ): Promise<T | undefined>;
  text(options: {
    title: string;
    prompt: string;
    value: string;
    problem: (text: string) => string | undefined;
  }): Promise<string | undefined>;
  /** A question that nobody can miss, with one way to say yes. */
  confirm(question: string, detail: string, yes: string): Promise<boolean>;
  progress<T>(
    title: string,
    work: (report: (line: string) => void, signal: AbortSignal) => Promise<T>,
  ): Promise<T>;
}

/** What was said already, by a keybinding or another view. Never a yes. */
export interface PushSaid {
  remote?: string;
  branch?: string;
  what?: PushOffer['kind'];
}

export interface PushedBranch extends PushOutcome {
  remote: RemoteChoice;
  branch: string;
  commit: string;
  look: BranchLook;
}

export interface PushSurroundings {
  publishing: TaskPublishing;
  review: ReviewState;
  /** Of the task, for the message of a commit that is made. */
  title: string;
  /** The account that was confirmed for that forge before; nobody is asked. */
  token: (forge: RemoteForge) => Promise<ForgeToken | undefined>;
  ask: Asker;
}

/**
 * Asks what is to be pushed where, says what leaves with it, and pushes it. Undefined when the user leaves. Before each push
 * there is a yes that names branch, remote and what was not looked at; a second one for the default branch or a protected one,
 * for giving up what is there, and for what the user has turned down.
 */
export async function pushFlow(around: PushSurroundings, said: PushSaid): Promise<PushedBranch | undefined> {
  const { publishing, ask } = around;
  const { remotes, offers } = await ask.progress(
    'looking at what can be pushed',
    async (_report, signal) => ({
      remotes: await publishing.remotes(signal),
      offers: await publishing.offers(signal),
    }),
  );
  const remote = await chooseRemote(ask, remotes, said.remote);
  if (remote === undefined) return undefined;
  const offer = await chooseOffer(ask, offers, said.what);
  if (offer === undefined) return undefined;
  const branch = said.branch ?? (await askBranch(ask, remote, proposedBranch(around.review, remote, offer)));
  if (branch === undefined) return undefined;
  let commit = offer.commit;
  if (commit === undefined) {
    const message = await ask.text({
      title: 'Message of the Commit',
      prompt: `It is made as the branch ${branch} of your repository first. Nothing has left yet.`,
      value: safeLine(around.title, 200),
      problem: (text) => (text.trim() === '' ? 'Say what the commit does.' : undefined),
    });
    if (message === undefined) return undefined;
    commit = await ask.progress('making the commit', (_report, signal) =>
      publishing.compose(offer, branch, message.trim(), signal),
    );
  }
  const made = commit;
  const token = remote.forge && (await around.token(remote.forge));
  const wish: PushWish = { remote, branch, commit: made, token };
  const look = await ask.progress(`asking ${remote.name}`, (_report, signal) =>
    publishing.look({ ...wish, signal }),
  );
  const done = { remote, branch, commit: made, look };
  if (look.relation === 'same')
    return { ...done, changed: false, words: [], record: { remote: remote.name, branch, commit: made } };
  for (const question of questions(offer, wish, look))
    if (!(await ask.confirm(question.text, question.detail, question.yes))) return undefined;
  const outcome = await ask.progress(`pushing to ${branch} of ${remote.name}`, (report, signal) =>
    publishing.push({
      ...wish,
      ...(look.protectedWhy === undefined ? {} : { protectedToo: true }),
      ...(look.relation === 'other' && look.at !== undefined ? { overwrite: look.at } : {}),
      onProgress: report,
      signal,
    }),
  );
  return { ...done, ...outcome };
}

interface Question {
  text: string;
  detail: string;
  yes: string;
}

/** What has to be said yes to, in this order. Pure. */
export function questions(
  offer: PushOffer,
  { remote, branch }: Pick<PushWish, 'remote' | 'branch'>,
  look: BranchLook,
): Question[] {
  const where = `${branch} at ${safeLine(remote.name, 60)} (${remote.shown})`;
  const all: Question[] = [
    {
      text: `Push ${inSentence(offer)} to ${where}?`,
      detail: [
        look.relation === 'new'
          ? 'The branch is new there.'
          : look.relation === 'ahead'
            ? 'The branch is there, and moves on.'
            : '',
        ...(look.earlierCommits > 0
          ? [
              `${plural(look.earlierCommits, 'commit')} from before the task, not there yet, ${look.earlierCommits === 1 ? 'goes' : 'go'} along.`,
            ]
          : []),
        ...(remote.kind === 'http' ? ['The way there is not encrypted.'] : []),
        ...offer.warnings,
      ]
        .filter((line) => line !== '')
        .join('\n'),
      yes: 'Push',
    },
  ];
  if (offer.against.length > 0)
    all.push({
      text: 'Push what you turned down as well?',
      detail: offer.against.join('\n'),
      yes: 'Push All of It',
    });
  if (look.protectedWhy !== undefined)
    all.push({
      text: `Push to ${branch} itself?`,
      detail: `${look.protectedWhy} People and programs build on it. Usually a branch of its own and a pull request are the way.`,
      yes: `Push to ${branch}`,
    });
  if (look.relation === 'other')
    all.push({
      text: `Overwrite ${branch}?`,
      detail: `It stands at ${look.at?.slice(0, 10) ?? ''} there, with commits that this push gives up. If it has moved by then, nothing is overwritten.`,
      yes: 'Overwrite',
    });
  return all;
}

/** Its label, in a sentence; a branch keeps its name. */
function inSentence({ kind, label }: PushOffer): string {
  return kind === 'taken' ? label.replace(/^The Branch/, 'the branch') : label.toLowerCase();
}

async function chooseRemote(
  ask: Asker,
  remotes: readonly RemoteChoice[],
  said: string | undefined,
): Promise<RemoteChoice | undefined> {
  if (said !== undefined) {
    const named = remotes.find(({ name }) => name === said);
    if (named !== undefined) return named;
    throw new SallyportError(
      'no_remote',
      `The repository has no remote ${safeLine(said, 60)} that can be pushed to.`,
      'See "git remote -v".',
    );
  }
  if (remotes.length === 1) return remotes[0];
  const items = remotes.map((remote) => ({
    label: safeLine(remote.name, 60),
    description: remote.shown,
    ...(remote.forge === undefined ? {} : { detail: `${remote.forge.name}: ${remote.forge.repository}` }),
    remote,
  }));
  return (await ask.choose('Push: where to?', 'The remotes of your repository.', items))?.remote;
}

async function chooseOffer(
  ask: Asker,
  offers: readonly PushOffer[],
  said: PushOffer['kind'] | undefined,
): Promise<PushOffer | undefined> {
  const named = offers.find(({ kind }) => kind === said);
  if (named !== undefined) return named;
  if (offers.length === 1) return offers[0];
  const items = offers.map((offer) => ({ label: offer.label, detail: offer.detail, offer }));
  return (await ask.choose('Push: what?', 'Nothing leaves before you have seen what is in it.', items))
    ?.offer;
}

/** The one that was pushed to before; else the offer's own. Pure. */
export function proposedBranch(
  { pushes }: Pick<ReviewState, 'pushes'>,
  remote: RemoteChoice,
  offer: PushOffer,
): string {
  return pushes.findLast(({ remote: name }) => name === remote.name)?.branch ?? offer.branch;
}

function askBranch(ask: Asker, remote: RemoteChoice, value: string): Promise<string | undefined> {
  return ask
    .text({
      title: 'Push: which branch?',
      prompt: `At ${safeLine(remote.name, 60)} (${remote.shown}). It is made there if it does not exist.`,
      value,
      problem: (text) =>
        isBranchName(text.trim()) ? undefined : 'Git does not take this as the name of a branch.',
    })
    .then((text) => text?.trim());
}
