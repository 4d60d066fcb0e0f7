/**
 * What `git fsck` finds in histories that old tools wrote, and what harms nobody: dates, names of authors, modes with a
 * zero in front. What it says of paths, of links and of submodules counts.
 */
export const oldDefects: readonly string[] = [
  'zeroPaddedFilemode',
  'badDate',
  'badEmail',
  'badName',
  'badTimezone',
  'badTagName',
  'missingEmail',
  'missingNameBeforeEmail',
  'missingSpaceBeforeDate',
  'missingSpaceBeforeEmail',
  'missingTaggerEntry',
  'multipleAuthors',
];

/** The same of a history that comes from a forge, which has let more through in its time. */
export const fetchedDefects: readonly string[] = [
  ...oldDefects,
  'badDateOverflow',
  'badFilemode',
  'nulInCommit',
  'zeroPaddedDate',
];
