import { isAbsolute, join, relative } from 'node:path';
import * as vscode from 'vscode';
import { safeLine } from '../protocol/safeText.ts';
import type { SecretFinding } from '../runner/taskService.ts';
import type { SecretsFound } from '../runner/secretsFound.ts';
import { noticeText } from './view/noticeText.ts';
import { findingItem, secretsTitle } from './view/secretItems.ts';

type Item = vscode.QuickPickItem & { answer?: 'send' | 'accept' | 'leave'; finding?: SecretFinding };

const openButton: vscode.QuickInputButton = {
  iconPath: new vscode.ThemeIcon('go-to-file'),
  tooltip: 'Open File',
};

/**
 * Shows likely keys in what a sandbox would get, and asks. The list stays open while its files are looked at. Undefined when
 * the task is not to be started.
 */
export function askAboutSecrets(found: SecretsFound, folder: string): Promise<'send' | 'accept' | undefined> {
  const pick = vscode.window.createQuickPick<Item>();
  const { promise, resolve } = Promise.withResolvers<'send' | 'accept' | undefined>();
  const count = found.findings.length + found.more;
  pick.title = secretsTitle(count);
  pick.placeholder = 'The agent, and the model’s service, could read them. Start anyway?';
  pick.ignoreFocusOut = true;
  pick.matchOnDescription = true;
  pick.items = [
    { label: '$(close) Cancel', description: 'the prompt is kept', answer: 'leave' },
    { label: '$(play) Start Anyway', description: 'this time', answer: 'send' },
    {
      label: '$(pass) Start, and Never Ask about These in This Repository',
      description: 'such as keys of tests',
      answer: 'accept',
    },
    { label: 'found', kind: vscode.QuickPickItemKind.Separator },
    ...found.findings.map((finding): Item => ({
      ...findingItem(finding),
      finding,
      buttons: [openButton],
    })),
    ...(found.more > 0 ? [{ label: `and ${found.more.toLocaleString('en')} more` }] : []),
  ];
  pick.onDidTriggerItemButton(({ item }) => {
    if (item.finding !== undefined) void openFinding(item.finding, folder);
  });
  pick.onDidAccept(() => {
    const [item] = pick.selectedItems;
    if (item?.finding !== undefined) {
      void openFinding(item.finding, folder);
      return;
    }
    if (item?.answer === undefined) return;
    resolve(item.answer === 'leave' ? undefined : item.answer);
    pick.hide();
  });
  pick.onDidHide(() => {
    resolve(undefined);
    pick.dispose();
  });
  pick.show();
  return promise;
}

/** Paths are from the root of the repository, of which the folder may be a part. */
async function openFinding({ path, line }: SecretFinding, folder: string): Promise<void> {
  const { openRepository } = await import('../git/repository.ts');
  const repository = await openRepository(folder);
  const file = join(repository.ref.path, path);
  const inside = relative(repository.ref.path, file);
  if (inside.startsWith('..') || isAbsolute(inside)) return;
  try {
    const at = new vscode.Position(Math.max(0, line - 1), 0);
    await vscode.window.showTextDocument(vscode.Uri.file(file), {
      preview: true,
      preserveFocus: true,
      selection: new vscode.Range(at, at),
    });
  } catch {
    void vscode.window.showInformationMessage(
      noticeText(`${safeLine(path, 200)} is not in the work tree now; it is in a commit.`),
    );
  }
}
