import * as vscode from 'vscode';
import { readRule } from '../protocol/egress.ts';
import type { Tasks } from './tasks.ts';
import { pickFolder } from './workspace.ts';

type Item = vscode.QuickPickItem & { rule?: string; run?: 'add' | 'settings' };

const removeButton: vscode.QuickInputButton = {
  iconPath: new vscode.ThemeIcon('trash'),
  tooltip: 'Remove This Rule',
};

/** Shows the rules of a workspace, to add and remove. They are kept outside of the repository, where no agent reaches. */
export async function editNetworkRules(tasks: Tasks, folder?: string): Promise<void> {
  const repository = folder ?? (await pickFolder('Network Rules: which repository?'));
  if (repository === undefined) return;
  const service = await tasks.open();
  for (;;) {
    const { egressRules } = await service.workspaceSettings(repository);
    const step = await pickRule(egressRules);
    if (step === undefined) return;
    if ('remove' in step) {
      const { egressRules: now } = await service.workspaceSettings(repository);
      await service.changeWorkspaceSettings(repository, {
        egressRules: now.filter((rule) => rule !== step.remove),
      });
    } else if (step.run === 'settings') {
      await vscode.commands.executeCommand('workbench.action.openSettings', 'sallyport.egress');
      return;
    } else {
      const rule = await askRule(egressRules);
      if (rule === undefined) continue;
      const { egressRules: now } = await service.workspaceSettings(repository);
      await service.changeWorkspaceSettings(repository, { egressRules: [...now, rule] });
    }
  }
}

function pickRule(
  rules: readonly string[],
): Promise<{ remove: string } | { run: 'add' | 'settings' } | undefined> {
  const pick = vscode.window.createQuickPick<Item>();
  const { promise, resolve } = Promise.withResolvers<
    { remove: string } | { run: 'add' | 'settings' } | undefined
  >();
  pick.title = 'Network Rules of This Workspace';
  pick.placeholder =
    rules.length === 0
      ? 'No rule yet. New tasks may reach what your settings allow.'
      : 'New tasks may reach these hosts, besides what your settings allow.';
  pick.items = [
    ...rules.map((rule): Item => ({ label: `$(globe) ${rule}`, rule, buttons: [removeButton] })),
    { label: '', kind: vscode.QuickPickItemKind.Separator },
    { label: '$(add) Add Rule…', run: 'add', alwaysShow: true },
    { label: '$(gear) Rules of All Workspaces…', run: 'settings', alwaysShow: true },
  ];
  pick.onDidTriggerItemButton(({ item }) => {
    resolve(item.rule === undefined ? undefined : { remove: item.rule });
    pick.hide();
  });
  pick.onDidAccept(() => {
    const [item] = pick.selectedItems;
    // A rule itself does nothing: removing it takes its button.
    if (item?.run === undefined) return;
    resolve({ run: item.run });
    pick.hide();
  });
  pick.onDidHide(() => {
    resolve(undefined);
    pick.dispose();
  });
  pick.show();
  return promise;
}

async function askRule(rules: readonly string[]): Promise<string | undefined> {
  const typed = await vscode.window.showInputBox({
    title: 'Add Network Rule',
    prompt: 'HOST[:PORT][/PATH] [METHODS] [private]. The host may begin with *. for the names below it.',
    placeHolder: 'mirror.example.com',
    ignoreFocusOut: true,
    validateInput: (text) => {
      if (text.trim() === '') return undefined;
      const read = readRule(text);
      return typeof read === 'string' ? read : undefined;
    },
  });
  const rule = typed?.trim().replace(/\s+/g, ' ');
  return rule === undefined || rule === '' || rules.includes(rule) ? undefined : rule;
}
