import * as vscode from 'vscode';
import { asSallyportError } from '../base/errors.ts';
import { setCredential } from './credentialCommands.ts';
import type { Models } from './models.ts';
import type { CredentialStore } from './secrets.ts';
import { readSettings } from './settings.ts';
import { toSignal } from './signals.ts';
import type { Tasks } from './tasks.ts';
import { type CredentialItem, credentialItems } from './view/credentialItems.ts';
import { noticeText } from './view/noticeText.ts';

export interface CredentialSurroundings {
  models: Models;
  tasks: Tasks;
  store: CredentialStore;
  openDocs: () => Promise<void>;
}

type Step =
  | { do: 'use' | 'check'; item: CredentialItem }
  | { do: 'set' | 'remove' | 'demonstration' | 'settings' | 'docs' };
type Item = vscode.QuickPickItem & { step?: Step };

const buttons = {
  check: {
    iconPath: new vscode.ThemeIcon('pulse'),
    tooltip: 'Check Now: sends one request for one token, which costs a fraction of a cent',
  },
  replace: { iconPath: new vscode.ThemeIcon('edit'), tooltip: 'Replace…' },
  remove: { iconPath: new vscode.ThemeIcon('trash'), tooltip: 'Remove from the Secret Storage' },
};

/**
 * Lists what was found, without showing it, and does what the user wants with it, until one is chosen for the repository.
 * Resolves to its id, or undefined when the user leaves.
 */
export async function pickCredential(
  around: CredentialSurroundings,
  repository: string | undefined,
): Promise<string | undefined> {
  for (;;) {
    const step = await pickStep(around, repository);
    switch (step?.do) {
      case undefined:
        return undefined;
      case 'use':
        if (!step.item.usable || repository === undefined) {
          void vscode.window.showInformationMessage(
            repository === undefined
              ? 'Open a folder first: a credential is chosen for the workspace.'
              : step.item.detail,
          );
          return undefined;
        }
        await (
          await around.tasks.open()
        ).changeWorkspaceSettings(repository, {
          credential: step.item.id,
        });
        await tellOfSettings(step.item.id);
        return step.item.id;
      case 'check':
        await checkNow(around, step.item);
        break;
      case 'set':
        await setCredential(around.store);
        break;
      case 'remove':
        await vscode.commands.executeCommand('sallyport.removeCredential');
        break;
      case 'demonstration':
        await vscode.commands.executeCommand('sallyport.useDemonstration');
        return undefined;
      case 'settings':
        await vscode.commands.executeCommand('workbench.action.openSettings', 'sallyport.credentials');
        return undefined;
      case 'docs':
        await around.openDocs();
        return undefined;
    }
  }
}

async function pickStep(
  { models, tasks }: CredentialSurroundings,
  repository: string | undefined,
): Promise<Step | undefined> {
  const pick = vscode.window.createQuickPick<Item>();
  pick.title = 'Credentials';
  pick.placeholder = 'What tasks of this workspace use. No value is shown.';
  pick.matchOnDescription = true;
  pick.matchOnDetail = true;
  pick.busy = true;
  const { promise, resolve, reject } = Promise.withResolvers<Step | undefined>();
  pick.onDidTriggerItemButton(({ item, button }) => {
    if (item.step?.do !== 'use') return;
    if (button === buttons.check) resolve({ do: 'check', item: item.step.item });
    else resolve({ do: button === buttons.replace ? 'set' : 'remove' });
    pick.hide();
  });
  pick.onDidAccept(() => {
    resolve(pick.selectedItems[0]?.step);
    pick.hide();
  });
  pick.onDidHide(() => {
    resolve(undefined);
    pick.dispose();
  });
  pick.show();
  try {
    const settings = readSettings();
    const remembered = await rememberedIn(tasks, repository);
    const chosen =
      settings.modelSource === 'demonstration'
        ? 'demonstration'
        : settings.credentialSource === ''
          ? remembered
          : settings.credentialSource;
    pick.items = toItems(credentialItems(await models.list(), chosen));
    pick.busy = false;
  } catch (thrown) {
    reject(asSallyportError(thrown));
    pick.hide();
  }
  return await promise;
}

/** Nothing where no repository is open: what was found can be looked at all the same. */
async function rememberedIn(tasks: Tasks, repository: string | undefined): Promise<string | undefined> {
  if (repository === undefined) return undefined;
  const service = await tasks.open();
  const settings = await service.workspaceSettings(repository).catch((thrown: unknown) => {
    if (asSallyportError(thrown).code === 'no_repository') return undefined;
    throw thrown;
  });
  return settings?.credential;
}

function toItems(items: readonly CredentialItem[]): Item[] {
  const groups: [CredentialItem['group'], string][] = [
    ['model', 'model'],
    ['forge', 'push and pull requests'],
    ['identity', 'author of commits'],
  ];
  const separator = (label: string): Item => ({ label, kind: vscode.QuickPickItemKind.Separator });
  const listed = groups.flatMap(([group, label]): Item[] => {
    const own = items.filter((item) => item.group === group);
    if (own.length === 0) return [];
    return [
      separator(label),
      ...own.map((item): Item => ({
        label: item.label,
        description: item.description,
        detail: item.detail,
        ...(item.group === 'model' ? { step: { do: 'use', item } } : {}),
        buttons: [
          ...(item.canCheck ? [buttons.check] : []),
          ...(item.stored ? [buttons.replace, buttons.remove] : []),
        ],
      })),
    ];
  });
  return [
    ...listed,
    separator('more'),
    { label: '$(add) Set an API Key or Token…', step: { do: 'set' }, alwaysShow: true },
    ...(items.some(({ id }) => id === 'demonstration')
      ? []
      : [{ label: '$(beaker) Use Demonstration Model', step: { do: 'demonstration' } as const }]),
    { label: '$(gear) Settings of Bedrock, Vertex and Others…', step: { do: 'settings' } },
    { label: '$(book) How Credentials Are Found and Kept', step: { do: 'docs' } },
  ];
}

async function checkNow({ models }: CredentialSurroundings, item: CredentialItem): Promise<void> {
  try {
    await vscode.window.withProgress(
      {
        location: vscode.ProgressLocation.Notification,
        title: 'Sallyport: asking the model for one token…',
        cancellable: true,
      },
      async (_progress, token) => {
        const signal = toSignal(token);
        const chosen = await models.choose(item.id, signal);
        await models.check(chosen, {
          deep: true,
          signal,
          ...(chosen.model === undefined ? {} : { model: chosen.model }),
        });
      },
    );
    void vscode.window.showInformationMessage('The credential is good: the model answered.');
  } catch (thrown) {
    const { code, message, mend } = asSallyportError(thrown);
    if (code !== 'cancelled') void vscode.window.showErrorMessage(noticeText(`${message} ${mend}`));
  }
}

/** A choice in the settings comes before one for the workspace: whoever chooses here has to know. */
async function tellOfSettings(id: string): Promise<void> {
  const { modelSource, credentialSource } = readSettings();
  const key =
    modelSource === 'demonstration' && id !== 'demonstration'
      ? 'sallyport.model.source'
      : credentialSource !== '' && credentialSource !== id
        ? 'sallyport.credentials.source'
        : undefined;
  if (key === undefined) return;
  const change = 'Change the Setting';
  const picked = await vscode.window.showWarningMessage(
    `The setting ${key} comes before the choice for this workspace.`,
    change,
  );
  if (picked === change) await vscode.commands.executeCommand('workbench.action.openSettings', key);
}
