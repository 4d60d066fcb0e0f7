/** A folder of the review's tree. Folders that hold nothing but one folder are one line with it. */
export interface Folder<T> {
  /** From the top, such as `src/git`. */
  path: string;
  /** Its own part of the path: more than one name where folders are joined. */
  name: string;
  folders: Folder<T>[];
  files: T[];
  /** Of it and all below. */
  all: T[];
}

/** Files by folder: folders first, each sorted by name; what is in no folder is in `files` of the root. */
export function foldersOf<T extends { path: string }>(files: readonly T[]): Folder<T> {
  const root: Folder<T> = { path: '', name: '', folders: [], files: [], all: [...files] };
  const known = new Map<string, Folder<T>>([['', root]]);
  const folderOf = (path: string): Folder<T> => {
    const found = known.get(path);
    if (found !== undefined) return found;
    const at = path.lastIndexOf('/');
    const folder: Folder<T> = { path, name: path.slice(at + 1), folders: [], files: [], all: [] };
    folderOf(at === -1 ? '' : path.slice(0, at)).folders.push(folder);
    known.set(path, folder);
    return folder;
  };
  for (const file of files) {
    const at = file.path.lastIndexOf('/');
    folderOf(at === -1 ? '' : file.path.slice(0, at)).files.push(file);
    for (let end = at; end > 0; end = file.path.lastIndexOf('/', end - 1))
      folderOf(file.path.slice(0, end)).all.push(file);
  }
  return sorted(root);
}

function sorted<T extends { path: string }>(folder: Folder<T>): Folder<T> {
  folder.folders = folder.folders.map((one) => joined(sorted(one))).sort((a, b) => order(a.path, b.path));
  folder.files.sort((a, b) => order(a.path, b.path));
  return folder;
}

function joined<T>(folder: Folder<T>): Folder<T> {
  const [only, ...more] = folder.folders;
  if (only === undefined || more.length > 0 || folder.files.length > 0) return folder;
  return { ...only, name: `${folder.name}/${only.name}` };
}

function order(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
