import * as z from 'zod/mini';

/** What is done by itself with a task's commits; all off unless somebody asks for it. */
export const Switches = z.object({
  /** The agent is told to commit after each logical change. */
  commitEach: z._default(z.boolean(), false),
  /** Each commit is pushed to the task's branch as soon as it is in the quarantine. */
  autoPush: z._default(z.boolean(), false),
  /** A draft pull request is opened with the first push; implies `autoPush`. */
  draftEarly: z._default(z.boolean(), false),
  /** A pull request is opened, or the draft made ready, when the agent has succeeded; implies `autoPush`. */
  autoPullRequest: z._default(z.boolean(), false),
});
export type Switches = z.infer<typeof Switches>;

export const noSwitches: Switches = {
  commitEach: false,
  autoPush: false,
  draftEarly: false,
  autoPullRequest: false,
};

/** Added to the agent's instructions when its user wants a commit for each change. */
export const commitEachInstructions =
  'Commit after each logical change, with a message that says what it does and why. Do not gather unrelated changes in one commit, and leave nothing uncommitted at the end.';

/** All of them, with what they imply. */
export function wholeSwitches(said: { [K in keyof Switches]?: boolean | undefined } = {}): Switches {
  const { commitEach = false, autoPush = false, draftEarly = false, autoPullRequest = false } = said;
  return { commitEach, autoPush: autoPush || draftEarly || autoPullRequest, draftEarly, autoPullRequest };
}

const words: readonly (readonly [keyof Switches, string])[] = [
  ['commitEach', 'commit after each change'],
  ['autoPush', 'push each commit'],
  ['draftEarly', 'draft pull request early'],
  ['autoPullRequest', 'pull request at the end'],
];

/** Those that are on, for people: "push each commit, pull request at the end"; empty when all are off. */
export function switchWords(switches: Switches | undefined): string {
  if (switches === undefined) return '';
  return words.flatMap(([key, text]) => (switches[key] ? [text] : [])).join(', ');
}
