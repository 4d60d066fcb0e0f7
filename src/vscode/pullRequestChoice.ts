import type { PullRequestPlace } from '../runner/publishing/taskPublishing.ts';
import type { Asker } from './view/publishFlow.ts';

/** Into which of these repositories a pull request goes. Undefined when the user leaves. */
export async function choosePlace(
  ask: Asker,
  places: readonly PullRequestPlace[],
): Promise<PullRequestPlace | undefined> {
  if (places.length < 2) return places[0];
  const items = places.map((place, i) => ({
    label: place.repository,
    description: i === 0 ? 'what it is a fork of' : 'the fork itself',
    place,
  }));
  return (await ask.choose('Pull request: in which repository?', '', items))?.place;
}

/** Into which branch of it. Asks only where there are several. */
export async function chooseBase(
  ask: Asker,
  place: PullRequestPlace,
  branches: readonly string[],
): Promise<string | undefined> {
  const first = place.defaultBranch;
  const others = branches.filter((name) => name !== first).sort();
  if (first !== undefined && others.length === 0) return first;
  const items = [
    ...(first === undefined ? [] : [{ label: first, description: 'default branch' }]),
    ...others.map((label) => ({ label })),
  ];
  return (await ask.choose('Pull request: into which branch?', 'The base branch.', items))?.label;
}
