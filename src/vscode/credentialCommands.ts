import * as vscode from 'vscode';
import {
  checkCredential,
  type Credential,
  type CredentialKind,
  problemWithBaseUrl,
  problemWithCredential,
} from '../credentials/credential.ts';
import type { CredentialStore } from './secrets.ts';

/** Asks for a credential and keeps it. False when the user leaves. */
export async function setCredential(store: CredentialStore): Promise<boolean> {
  const kinds: (vscode.QuickPickItem & { of: CredentialKind })[] = [
    {
      of: 'api_key',
      label: 'Anthropic API key',
      detail: 'Begins with sk-ant-api. From console.anthropic.com.',
    },
    {
      of: 'oauth',
      label: 'Claude OAuth token',
      detail: 'Begins with sk-ant-oat. Made by `claude setup-token`.',
    },
    {
      of: 'bearer',
      label: 'Another service',
      detail: 'Base URL and token of a service that speaks the same API.',
    },
  ];
  const picked = await vscode.window.showQuickPick(kinds, {
    title: 'Set Credential',
    placeHolder: 'It is kept in the secret storage of the editor, and never enters a sandbox.',
  });
  if (picked === undefined) return false;
  const kind = picked.of;
  let baseUrl: string | undefined;
  if (kind === 'bearer') {
    baseUrl = await vscode.window.showInputBox({
      title: 'Set Credential: base URL',
      placeHolder: 'https://models.example.com',
      ignoreFocusOut: true,
      validateInput: (text) => (text.trim() === '' ? undefined : problemWithBaseUrl(text.trim())),
    });
    if (baseUrl === undefined || baseUrl.trim() === '') return false;
  }
  const build = (value: string): Credential => ({
    kind,
    value: value.trim(),
    ...(baseUrl === undefined ? {} : { baseUrl: baseUrl.trim() }),
  });
  const value = await vscode.window.showInputBox({
    title: `Set Credential: ${picked.label}`,
    prompt: 'Kept in the secret storage of the editor.',
    password: true,
    ignoreFocusOut: true,
    validateInput: (text) => (text.trim() === '' ? undefined : problemWithCredential(build(text))),
  });
  if (value === undefined || value.trim() === '') return false;
  await store.set(checkCredential(build(value), 'the input'));
  return true;
}
