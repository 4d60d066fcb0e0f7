import type { ReviewPart } from '../../protocol/review.ts';
import type { PartsFile } from './readParts.ts';

/** A name in a tree. */
interface Place {
  below: Map<string, Place>;
  /** What takes away the file that is here on the older side, and what puts one here. */
  goes?: ReviewPart;
  comes?: ReviewPart;
}

/**
 * A tree holds no file and folder of one name. Where a change puts a file at a place that is a folder of the older side, or
 * below one that is a file there, it needs the changes that take the old ones away. Paths that are on both sides are in
 * nobody's way.
 */
export function addNeeds(files: readonly PartsFile[]): void {
  const root: Place = { below: new Map() };
  const goes: { path: Uint8Array; part: ReviewPart }[] = [];
  const comes: { path: Uint8Array; part: ReviewPart }[] = [];
  for (const { file, rawPath, rawFrom } of files) {
    const [part] = file.parts;
    if (part === undefined) continue;
    if (file.status === 'deleted') goes.push({ path: rawPath, part });
    if (file.status === 'renamed') goes.push({ path: rawFrom ?? rawPath, part });
    if (file.status === 'renamed' || file.status === 'added' || file.status === 'copied')
      comes.push({ path: rawPath, part });
  }
  if (goes.length === 0 || comes.length === 0) return;
  for (const { path, part } of goes) last(root, path).goes = part;
  for (const { path, part } of comes) last(root, path).comes = part;
  // On either side no file is below another, so on its way each path meets at most one of the other side.
  for (const { path, part } of comes) {
    for (const place of way(root, path)) if (place.goes !== undefined) need(part, place.goes);
  }
  for (const { path, part } of goes) {
    for (const place of way(root, path)) if (place.comes !== undefined) need(place.comes, part);
  }
}

function need(part: ReviewPart, needed: ReviewPart): void {
  if (part !== needed && !part.needs.includes(needed.id)) part.needs.push(needed.id);
}

function last(root: Place, path: Uint8Array): Place {
  let place = root;
  for (place of way(root, path));
  return place;
}

/** The places from the root to a path, which are made where they are not there. */
function* way(root: Place, path: Uint8Array): Generator<Place> {
  let place = root;
  for (const name of Buffer.from(path).toString('latin1').split('/')) {
    let next = place.below.get(name);
    if (next === undefined) {
      next = { below: new Map() };
      place.below.set(name, next);
    }
    place = next;
    yield place;
  }
}
