import type { GateReason } from '../protocol/review.ts';
import { safeLine } from '../protocol/safeText.ts';
import { foldPath, isShortName } from './foldPath.ts';
import { namedReason } from './gateNames.ts';
import { changedPackages } from './gatePackages.ts';
import { readPlaces, type Places } from './gatePlaces.ts';
import { hiddenInText, type Hidden } from './hiddenCharacters.ts';
import type { RawChange } from './log.ts';
import type { Quarantine } from './quarantine.ts';

/**
 * The hand-off gate: which changes would later run on the host, steer what runs there, or deceive who reads them. They are
 * shown first, and taken over one by one only. A file's old name counts as its new one does, in every spelling that some disk
 * takes for it, and under every name that a link gives it.
 */

/** A change as the gate looks at it. */
export interface GateChange extends RawChange {
  /** In what is added. */
  hidden: Hidden | undefined;
  /** Too large to be looked into. */
  unread: boolean;
}

/**
 * Why each of the changes may not be taken over in bulk; nothing for those that may.
 * @param tree the newer side, a commit or tree
 */
export async function gateReasons(
  quarantine: Quarantine,
  tree: string,
  changes: readonly GateChange[],
  signal: AbortSignal | undefined,
): Promise<GateReason[][]> {
  const [places, packages] = await Promise.all([
    readPlaces(quarantine, tree, changes, signal),
    changedPackages(quarantine, changes, signal),
  ]);
  return changes.map((change) => {
    const reasons = new Map<GateReason['kind'], GateReason>();
    const add = (reason: GateReason | undefined): void => {
      if (reason !== undefined && !reasons.has(reason.kind)) reasons.set(reason.kind, reason);
    };
    for (const path of namesOf(change)) nameReasons(path, places).forEach(add);
    add(packages.get(change));
    contentReasons(change).forEach(add);
    return [...reasons.values()];
  });
}

function namesOf(change: RawChange): string[] {
  return change.from === undefined ? [change.path] : [change.path, change.from];
}

function nameReasons(path: string, places: Places): GateReason[] {
  const folded = foldPath(path);
  const found: (GateReason | undefined)[] = [namedReason(folded)];
  for (const { path: alias, link } of places.aliases(folded)) {
    const reason = namedReason(alias);
    if (reason !== undefined)
      found.push({
        kind: reason.kind,
        why: `Through the symbolic link ${safeLine(link, 120)} it stands for ${safeLine(alias, 120)}. ${reason.why}`,
      });
  }
  const below = places.below(folded);
  if (below === 'link') {
    found.push({
      kind: 'link',
      why: 'A folder on its way is, or was, a symbolic link, at least on a disk that does not tell cases apart: it may be written to another place.',
    });
  }
  if (below === 'submodule') {
    found.push({
      kind: 'submodule',
      why: 'It is below a folder that is, or was, a submodule: it may be written into another repository.',
    });
  }
  found.push(deceivingName(path), doubleName(places.double(folded, path)));
  return found.filter((reason) => reason !== undefined);
}

function deceivingName(path: string): GateReason | undefined {
  if (hiddenInText(path) !== undefined || /[\t\n]/.test(path)) {
    return {
      kind: 'hidden',
      why: 'Its name has characters that cannot be seen, or that change the order in which it is read: it may look like another file.',
    };
  }
  if (path.includes('\ufffd'))
    return { kind: 'hidden', why: 'Its name is no valid UTF-8 and cannot be shown as it is.' };
  const parts = path.split('/');
  if (parts.some((part) => isShortName(part))) {
    return { kind: 'hidden', why: 'Windows may take its name for the short name of another file.' };
  }
  if (parts.some((part) => /[. ]$|[:\\]/.test(part))) {
    return {
      kind: 'hidden',
      why: 'Windows reads its name as another one: dots and blanks at an end, colons and backslashes mean something else there.',
    };
  }
  return undefined;
}

function doubleName(other: string | undefined): GateReason | undefined {
  if (other === undefined) return undefined;
  return {
    kind: 'hidden',
    why: `On a disk that does not tell cases or compositions apart it is the same file as ${safeLine(other, 120)}.`,
  };
}

function contentReasons({ oldMode, newMode, binary, hidden, unread, status }: GateChange): GateReason[] {
  const reasons: GateReason[] = [];
  if (newMode === '120000') {
    reasons.push({
      kind: 'link',
      why: 'A symbolic link: what is read or written through it is somewhere else, perhaps outside of the repository.',
    });
  } else if (oldMode === '120000' && status !== 'deleted')
    reasons.push({ kind: 'link', why: 'A symbolic link becomes something else of the same name.' });
  if (newMode === '160000' || oldMode === '160000') {
    reasons.push({
      kind: 'submodule',
      why: 'A submodule: another repository, whose content is not here to be looked at.',
    });
  }
  if (newMode === '100755' && oldMode !== '100755')
    reasons.push({ kind: 'mode', why: 'It becomes a program: whoever names it, or clicks on it, runs it.' });
  else if (newMode === '100644' && oldMode === '100755')
    reasons.push({
      kind: 'mode',
      why: 'It is no program any more: what calls it fails, or finds another one.',
    });
  if (status !== 'deleted' && unread)
    reasons.push({
      kind: 'binary',
      why: 'There is too much to be looked at, so nothing is known of what it holds.',
    });
  else if (status !== 'deleted' && binary)
    reasons.push({ kind: 'binary', why: 'Binary content cannot be read, only trusted.' });
  if (hidden !== undefined) reasons.push(hiddenReason(hidden));
  return reasons;
}

function hiddenReason({ line, character, kind }: Hidden): GateReason {
  const what = {
    order: 'changes the order in which the text is shown, so that it reads otherwise than it runs',
    invisible: 'cannot be seen, but is there for programs and agents that read the text',
    control: 'is a control character: terminals obey it, and it can hide what stands before it',
  }[kind];
  return { kind: 'hidden', why: `Line ${line} has ${character}, which ${what}.` };
}
