/** A path as git has it, one character for each byte, so that every path is one and equal paths are equal strings. */
export type GitPath = string;

export function bytesOf(path: GitPath): Buffer {
  return Buffer.from(path, 'latin1');
}

/** For people: bytes that are no UTF-8 stand as U+FFFD. */
export function shownPath(path: GitPath): string {
  return bytesOf(path).toString('utf8');
}

/** The folders that a path lies in, the outermost first. */
export function foldersOf(path: GitPath): GitPath[] {
  const parts = path.split('/');
  return parts.slice(1).map((_, index) => parts.slice(0, index + 1).join('/'));
}

/** Code points that HFS+ passes over when it compares names. */
const ignorable = /[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]/gu;
const windowsDevice = /^(?:con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$)(?:[. :]|$)/i;

/**
 * Why nothing is written at a path, a clause; undefined where it may be. Everything that some file system takes for `.git` is
 * refused on all of them, as git itself does.
 */
export function unsafePath(path: GitPath, platform: NodeJS.Platform = process.platform): string | undefined {
  const text = shownPath(path);
  if (path === '' || path.startsWith('/')) return 'it is not a path inside the repository';
  if (path.includes('\0')) return 'it holds a zero byte';
  for (const part of text.split('/')) {
    if (part === '' || part === '.' || part === '..') return 'it leads out of its folder';
    if (isGitFolder(part)) return 'it lies in the .git folder';
    if (platform === 'win32') {
      if (/[<>:"|?*\\\u0001-\u001f\ufffd]/.test(part)) return 'Windows does not allow such a name';
      if (/[. ]$/.test(part) || windowsDevice.test(part)) return 'Windows takes this name for another';
    }
  }
  return undefined;
}

/** HFS+ ignores some code points and both fold case; NTFS has short names, streams, and drops dots and spaces at the end. */
function isGitFolder(part: string): boolean {
  const plain = part.replaceAll(ignorable, '').normalize('NFKC').toLowerCase();
  // A backslash parts folders on Windows, and a name that is harmless here may be brought there.
  return plain.split('\\').some((each) => /^(?:\.git|git~\d+)[. ]*(?::.*)?$/.test(each));
}
