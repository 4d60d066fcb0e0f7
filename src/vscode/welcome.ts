import { stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import * as vscode from 'vscode';

/** Tells the welcome view whether a repository is open: `found` or `none`. */
export async function updateRepositoryContext(): Promise<void> {
  const folders = (vscode.workspace.workspaceFolders ?? []).filter(({ uri }) => uri.scheme === 'file');
  const found = await Promise.all(folders.map(({ uri }) => insideRepository(uri.fsPath)));
  await vscode.commands.executeCommand(
    'setContext',
    'sallyport.repository',
    found.includes(true) ? 'found' : 'none',
  );
}

/** True when the folder or one above it has a `.git`. Git itself is not run: the folder may not be trusted. */
async function insideRepository(folder: string): Promise<boolean> {
  for (let at = folder; ; at = dirname(at)) {
    const there = await stat(join(at, '.git')).then(
      () => true,
      () => false,
    );
    if (there) return true;
    if (dirname(at) === at) return false;
  }
}
