import * as vscode from 'vscode';
import { safeLine } from '../protocol/safeText.ts';
import type { ForgeAccounts } from './forgeAccounts.ts';

/** Asks for a token of a forge, and keeps it. Resolves to its host; undefined when the user leaves. */
export async function setForgeToken(accounts: ForgeAccounts): Promise<string | undefined> {
  const host = await vscode.window.showInputBox({
    title: 'Set Forge Token: for which host?',
    placeHolder: 'git.example.com',
    prompt: 'A GitHub, GitLab, Gitea, Forgejo or Bitbucket host. The token is sent there and nowhere else.',
    ignoreFocusOut: true,
    validateInput: (text) =>
      /^[a-z0-9.-]+(?::\d{1,5})?(?:\/[\w./-]*)?$/i.test(text.trim()) ? undefined : 'This is no host.',
  });
  if (host === undefined) return undefined;
  const name = host.trim().toLowerCase().replace(/\/+$/, '');
  const kind = name === 'bitbucket.org' ? 'bitbucket' : undefined;
  return (await accounts.enter(name, kind)) && name;
}

/** Resolves to whether one was removed. */
export async function removeForgeToken(accounts: ForgeAccounts): Promise<boolean> {
  const hosts = accounts.hosts();
  if (hosts.length === 0) {
    void vscode.window.showInformationMessage('There is no stored token of a forge.');
    return false;
  }
  const host = await vscode.window.showQuickPick(hosts, {
    title: 'Remove Forge Token: of which host?',
  });
  if (host === undefined) return false;
  await accounts.remove(host);
  void vscode.window.showInformationMessage(`The token for ${safeLine(host, 100)} was removed.`);
  return true;
}
