import * as vscode from 'vscode';
import type { Range, TaskService } from '../runner/taskService.ts';
import { type BlobParts, diffSides } from './view/blobUri.ts';

/** Opens the difference of a range in the editor: one file as a diff, more as a multi-diff. False when nothing differs. */
export async function openDiff(
  service: TaskService,
  id: string,
  title: string,
  range: Range | undefined,
  path?: string,
): Promise<boolean> {
  const changes = await service.changes(id, range);
  const wanted = path === undefined ? changes : changes.filter((change) => change.path === path);
  const sides = wanted.map((change) => diffSides(id, change)).filter((side) => side !== undefined);
  if (path !== undefined && sides[0]?.original !== undefined && sides[0].modified !== undefined) {
    await vscode.commands.executeCommand(
      'vscode.diff',
      toUri(sides[0].original),
      toUri(sides[0].modified),
      `${path} (${title})`,
    );
    return true;
  }
  if (sides.length === 0) return false;
  const resources = sides.map(({ label, original, modified }) => [
    toUri(label),
    original === undefined ? undefined : toUri(original),
    modified === undefined ? undefined : toUri(modified),
  ]);
  await vscode.commands.executeCommand('vscode.changes', title, resources);
  return true;
}

function toUri(parts: BlobParts): vscode.Uri {
  return vscode.Uri.from(parts);
}
