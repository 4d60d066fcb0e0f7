import * as vscode from 'vscode';
import { Ledger, ledgerCsv, type LedgerFilter, ledgerJson, passes } from '../protocol/ledger.ts';
import { plural } from '../protocol/words.ts';
import type { Tasks } from './tasks.ts';

type Item = vscode.QuickPickItem & { format: 'csv' | 'json'; to: 'clipboard' | 'file' };

const choices: Item[] = [
  { label: '$(copy) Copy as CSV', format: 'csv', to: 'clipboard' },
  { label: '$(copy) Copy as JSON', format: 'json', to: 'clipboard' },
  { label: '$(save) Save as CSV…', format: 'csv', to: 'file' },
  { label: '$(save) Save as JSON…', format: 'json', to: 'file' },
];

/** Copies or saves the requests of a task that pass the filter, from its whole log. */
export async function exportLedger(tasks: Tasks, id: string, filter: LedgerFilter): Promise<void> {
  const picked = await vscode.window.showQuickPick(choices, {
    title: 'Export Network Requests',
    placeHolder: 'The requests that are shown',
  });
  if (picked === undefined) return;
  const { text, count } = await ledgerText(tasks, id, filter, picked.format);
  if (picked.to === 'clipboard') {
    await vscode.env.clipboard.writeText(text);
    vscode.window.setStatusBarMessage(`Copied ${plural(count, 'request')}`, 3000);
    return;
  }
  const uri = await vscode.window.showSaveDialog({
    title: 'Export Network Requests',
    filters: picked.format === 'csv' ? { CSV: ['csv'] } : { JSON: ['json'] },
    defaultUri: vscode.Uri.file(
      `${vscode.workspace.workspaceFolders?.[0]?.uri.fsPath ?? ''}/requests.${picked.format}`,
    ),
  });
  if (uri === undefined) return;
  await vscode.workspace.fs.writeFile(uri, new TextEncoder().encode(text));
  vscode.window.setStatusBarMessage(`Saved ${plural(count, 'request')}`, 3000);
}

/** Reads the log up to where it is now. */
export async function ledgerText(
  tasks: Tasks,
  id: string,
  filter: LedgerFilter,
  format: 'csv' | 'json',
): Promise<{ text: string; count: number }> {
  const service = await tasks.open();
  const newest = service.task(id)?.lastEvent ?? 0;
  const ledger = new Ledger();
  const reading = new AbortController();
  try {
    if (newest > 0) {
      for await (const batch of service.events(id, 0, reading.signal)) {
        for (const event of batch) ledger.push(event);
        if ((batch.at(-1)?.n ?? 0) >= newest) break;
      }
    }
  } finally {
    reading.abort();
  }
  const rows = ledger.rows.filter((row) => passes(row, filter));
  return { text: format === 'csv' ? ledgerCsv(rows, ledger) : ledgerJson(rows, ledger), count: rows.length };
}
