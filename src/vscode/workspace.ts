import * as vscode from 'vscode';
import { SallyportError } from '../base/errors.ts';
import { related } from './view/taskView.ts';

/** Paths of the open folders that are on this machine's disk. */
export function folderPaths(): string[] {
  return (vscode.workspace.workspaceFolders ?? [])
    .filter(({ uri }) => uri.scheme === 'file')
    .map(({ uri }) => uri.fsPath);
}

/** True for a repository that is open in this window, or a part of it, or around it. */
export function isHere(repositoryPath: string): boolean {
  return folderPaths().some((folder) => related(folder, repositoryPath));
}

/**
 * The folder that is meant: the only one, or the one that is picked; undefined when the user leaves.
 * @throws SallyportError no_repository
 */
export async function pickFolder(title: string): Promise<string | undefined> {
  const folders = (vscode.workspace.workspaceFolders ?? []).filter(({ uri }) => uri.scheme === 'file');
  const [first, ...more] = folders;
  if (first === undefined) {
    throw new SallyportError(
      'no_repository',
      'No folder is open.',
      'Open a folder with a git repository first.',
    );
  }
  if (more.length === 0) return first.uri.fsPath;
  const picked = await vscode.window.showQuickPick(
    folders.map(({ name, uri }) => ({ label: name, description: uri.fsPath, path: uri.fsPath })),
    { title, matchOnDescription: true },
  );
  return picked?.path;
}
