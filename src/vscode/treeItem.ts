import * as vscode from 'vscode';
import type { ItemView } from './view/taskView.ts';

/** A line of a tree. */
export function toItem(view: ItemView, collapsible: vscode.TreeItemCollapsibleState): vscode.TreeItem {
  const item = new vscode.TreeItem(view.label, collapsible);
  item.description = view.description;
  // A plain string: VS Code would read Markdown only from a MarkdownString.
  item.tooltip = view.tooltip;
  item.iconPath = new vscode.ThemeIcon(
    view.icon,
    view.color === undefined ? undefined : new vscode.ThemeColor(view.color),
  );
  item.contextValue = view.contextValue;
  item.accessibilityInformation = { label: view.accessibility };
  return item;
}
