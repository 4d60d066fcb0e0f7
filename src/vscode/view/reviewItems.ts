import type { PartId, ReviewFile, ReviewPart, ReviewState } from '../../protocol/review.ts';
import { editWords, isTaken } from '../../protocol/reviewState.ts';
import { safeLine } from '../../protocol/safeText.ts';
import { lines, plural } from '../../protocol/words.ts';
import type { FileStanding, FileVerdict } from './reviewProgress.ts';
import { shownPath } from './reviewUri.ts';
import type { ItemView } from './taskView.ts';

/** What the lines of the review's tree say. */

/** As source control writes it. */
const letters: Record<ReviewFile['status'], { letter: string; word: string; color: string }> = {
  added: { letter: 'A', word: 'added', color: 'gitDecoration.addedResourceForeground' },
  modified: { letter: 'M', word: 'modified', color: 'gitDecoration.modifiedResourceForeground' },
  deleted: { letter: 'D', word: 'deleted', color: 'gitDecoration.deletedResourceForeground' },
  renamed: { letter: 'R', word: 'renamed', color: 'gitDecoration.renamedResourceForeground' },
  copied: { letter: 'C', word: 'copied', color: 'gitDecoration.addedResourceForeground' },
  'type-changed': {
    letter: 'T',
    word: 'type changed',
    color: 'gitDecoration.modifiedResourceForeground',
  },
};

const verdictWords: Record<FileVerdict, string> = {
  open: '',
  accepted: 'accepted',
  rejected: 'rejected',
  mixed: 'in part rejected',
  partly: 'partly decided',
  taken: 'taken over',
};

const verdictIcons: Record<Exclude<FileVerdict, 'open'>, { icon: string; color: string }> = {
  accepted: { icon: 'pass-filled', color: 'testing.iconPassed' },
  rejected: { icon: 'circle-slash', color: 'testing.iconFailed' },
  mixed: { icon: 'pass', color: 'testing.iconPassed' },
  partly: { icon: 'circle-large-outline', color: 'charts.yellow' },
  taken: { icon: 'verified-filled', color: 'testing.iconPassed' },
};

/** A badge of at most two characters with its colour, for the tree and for the tabs of editors. */
export interface Decoration {
  badge: string;
  tooltip: string;
  color: string;
}

export function fileDecoration(
  file: Pick<ReviewFile, 'status' | 'gate'>,
  standing: FileStanding,
): Decoration {
  const { letter, word, color } = letters[file.status];
  const conflict = isInConflict(standing);
  const mark = { open: '', accepted: '✓', taken: '✓', rejected: '✗', mixed: '±', partly: '·' }[
    standing.verdict
  ];
  return {
    badge: `${letter}${conflict || standing.returned ? '!' : mark}`,
    tooltip: [
      word,
      conflict ? 'your edit is in conflict' : '',
      standing.returned ? 'came back' : verdictWords[standing.verdict],
    ]
      .filter((text) => text !== '')
      .join(', '),
    color: conflict
      ? 'gitDecoration.conflictingResourceForeground'
      : standing.verdict === 'rejected'
        ? 'gitDecoration.ignoredResourceForeground'
        : color,
  };
}

function counts(file: ReviewFile): string {
  if (file.binary || file.added === undefined || file.removed === undefined) return 'binary';
  return lines({ added: file.added, removed: file.removed });
}

function isInConflict({ edit }: FileStanding): boolean {
  return edit?.kind === 'conflict';
}

/** The words of a file's line after its name, in this order. */
function standingWords(standing: FileStanding): string[] {
  return [
    standing.returned ? 'came back' : '',
    verdictWords[standing.verdict],
    standing.edit === undefined ? '' : editWords(standing.edit),
    standing.drafts > 0 ? plural(standing.drafts, 'remark') : '',
    standing.sent > 0 ? `${plural(standing.sent, 'remark')} sent` : '',
  ].filter((text) => text !== '');
}

/** @param folder is left out of the line where the tree shows folders */
export function fileItem(file: ReviewFile, standing: FileStanding, folder: 'shown' | 'hidden'): ItemView {
  const path = shownPath(file.path);
  const { letter, word } = letters[file.status];
  const at = path.lastIndexOf('/');
  const name = at === -1 ? path : path.slice(at + 1);
  const where = folder === 'shown' && at !== -1 ? path.slice(0, at) : '';
  const from = file.from === undefined || file.from === file.path ? '' : `from ${shownPath(file.from)}`;
  const words = standingWords(standing);
  const icon = isInConflict(standing)
    ? { icon: 'git-merge', color: 'list.warningForeground' }
    : standing.returned && standing.verdict !== 'accepted'
      ? { icon: 'debug-restart', color: 'list.warningForeground' }
      : standing.verdict === 'open'
        ? { icon: 'file' }
        : verdictIcons[standing.verdict];
  return {
    label: name,
    description: [counts(file), ...words, where, from].filter((text) => text !== '').join(' · '),
    tooltip: [
      path,
      `${letter} ${word}${from === '' ? '' : ` ${from}`} · ${counts(file)}`,
      ...modeWords(file),
      ...words,
      ...file.gate.map(({ why }) => `⚠ ${safeLine(why)}`),
    ].join('\n'),
    ...icon,
    contextValue: [
      'file',
      standing.verdict,
      standing.reviewed ? 'reviewed' : 'unreviewed',
      file.gate.length > 0 ? 'gate' : 'plain',
      ...(standing.edit === undefined ? [] : ['edited']),
      ...(isInConflict(standing) ? ['conflict'] : []),
    ].join(' '),
    accessibility: [
      path,
      word,
      counts(file).replace('−', 'minus '),
      ...(file.gate.length > 0 ? ['on the hand-off list'] : []),
      ...words,
      standing.reviewed ? 'reviewed' : 'not reviewed',
    ].join(', '),
  };
}

const modes: Readonly<Record<string, string>> = {
  '100755': 'executable',
  '100644': 'not executable',
  '120000': 'symbolic link',
  '160000': 'submodule',
};

function modeWords({ oldMode, newMode, status }: ReviewFile): string[] {
  if (oldMode === newMode || status === 'deleted') return [];
  const now = modes[newMode];
  if (status === 'added') return now === undefined || newMode === '100644' ? [] : [now];
  return [`mode ${oldMode} → ${newMode}${now === undefined ? '' : ` (${now})`}`];
}

const partWords: Record<ReviewPart['kind'], string> = {
  hunk: '',
  add: 'new file',
  delete: 'deleted file',
  rename: 'rename',
  mode: 'mode',
  binary: 'binary content',
  link: 'symbolic link',
  submodule: 'submodule',
  type: 'type',
};

/** How one part stands. */
export type PartStanding = 'open' | 'accepted' | 'rejected' | 'taken';

export function standingOfPart(part: Pick<ReviewPart, 'id'>, state: ReviewState): PartStanding {
  if (isTaken(state, part.id)) return 'taken';
  return state.verdicts[part.id] ?? 'open';
}

export function partItem(part: ReviewPart, state: ReviewState, returned: ReadonlySet<PartId>): ItemView {
  const standing = standingOfPart(part, state);
  const back = returned.has(part.id);
  const label = safeLine(part.label, 120) || partWords[part.kind] || 'Change';
  const place =
    part.kind === 'hunk'
      ? `${part.new === undefined ? '' : `line ${Math.max(1, part.new.start)} · `}${lines(part)}`
      : partWords[part.kind];
  const words = [place, back ? 'came back' : '', standing === 'open' ? '' : verdictWords[standing]].filter(
    (text) => text !== '',
  );
  const icon =
    back && standing !== 'accepted'
      ? { icon: 'debug-restart', color: 'list.warningForeground' }
      : standing === 'open'
        ? { icon: part.kind === 'hunk' ? 'diff' : 'diff-modified' }
        : verdictIcons[standing];
  return {
    label,
    description: words.join(' · '),
    tooltip: [
      label,
      ...words,
      ...(back ? ['You rejected this and told the agent so; it is here again as it was.'] : []),
    ].join('\n'),
    ...icon,
    contextValue: `part ${part.kind === 'hunk' ? 'hunk' : 'whole'} ${standing}`,
    accessibility: [label, ...words.map((text) => text.replace('−', 'minus '))].join(', '),
  };
}

export function folderItem(path: string, name: string, files: number, done: number): ItemView {
  return {
    label: shownPath(name),
    description: `${done} of ${files}`,
    tooltip: `${shownPath(path)}\n${done} of ${plural(files, 'file')} done`,
    icon: 'folder',
    contextValue: 'folder',
    accessibility: `Folder ${shownPath(path)}, ${done} of ${plural(files, 'file')} done`,
  };
}

export function gateItem(files: number, open: number): ItemView {
  const left = open === 0 ? 'all answered' : `${open} of ${files} open`;
  return {
    label: 'Look at These First',
    description: left,
    tooltip:
      'Files that would later run on your machine, or steer what does. Each of them is accepted on its own, never together with others.',
    icon: 'shield',
    color: open === 0 ? 'testing.iconPassed' : 'list.warningForeground',
    contextValue: 'gateGroup',
    accessibility: `Look at these first, ${plural(files, 'file')}, ${left}`,
  };
}

export function reasonItem(why: string): ItemView {
  const text = safeLine(why);
  return {
    label: text,
    description: '',
    tooltip: text,
    icon: 'warning',
    color: 'list.warningForeground',
    contextValue: 'reason',
    accessibility: `Why it is on the hand-off list: ${text}`,
  };
}
