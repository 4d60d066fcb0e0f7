import * as vscode from 'vscode';
import { SallyportError } from '../base/errors.ts';

/** Opens an address in the browser; VS Code asks where it leads to a host that the user does not trust yet. */
export async function openWeb(url: string): Promise<string> {
  const parsed = vscode.Uri.parse(url, true);
  if (parsed.scheme !== 'https' && parsed.scheme !== 'http')
    throw new SallyportError('invalid_input', 'This is no address of a web page.', 'Report this.');
  await vscode.env.openExternal(parsed);
  return url;
}
