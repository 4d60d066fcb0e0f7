import * as vscode from 'vscode';
import type { PullRequestRecord, PushRecord } from '../protocol/review.ts';
import { safeLine } from '../protocol/safeText.ts';
import type { TaskState } from '../protocol/taskState.ts';
import type { Node } from './taskNodes.ts';
import { toItem } from './treeItem.ts';
import { type Place, placeWords } from './view/places.ts';
import { branchView, pullRequestBadge, pullRequestView } from './view/publishItems.ts';
import { commitView, leftoversView, placeOf, taskView } from './view/taskView.ts';

const { Collapsed, Expanded, None } = vscode.TreeItemCollapsibleState;

type Of<Kind extends Node['kind']> = Extract<Node, { kind: Kind }>;

/** @param count how many lines are below it */
export function runnerItem(place: Place, count: number): vscode.TreeItem {
  const { description, tooltip, icon, color, contextValue } = placeWords(place, Date.now());
  const label = safeLine(place.name, 60);
  const words = description === '' && count === 0 ? 'no tasks' : description;
  const item = toItem(
    {
      label,
      description: words,
      tooltip,
      icon,
      ...(color === undefined ? {} : { color }),
      contextValue,
      accessibility: `Runner ${label}${words === '' ? '' : `, ${words}`}`,
    },
    count === 0 ? None : Expanded,
  );
  // Another one as soon as it has tasks: as the same it would stay as closed as it was without any.
  item.id = `runner/${place.id}/${count === 0 ? 'empty' : 'tasks'}`;
  return item;
}

/** @param alone no task of the same runner is shown beside it */
export function elsewhereItem(runner: string, alone: boolean): vscode.TreeItem {
  const item = new vscode.TreeItem('Other Repositories', alone ? Expanded : Collapsed);
  item.id = `elsewhere/${runner}`;
  item.contextValue = 'elsewhere';
  return item;
}

export function taskItem(
  state: TaskState,
  node: Of<'task'>,
  known: {
    hasResult: boolean;
    where: Parameters<typeof taskView>[3];
    pullRequest: PullRequestRecord | undefined;
  },
): vscode.TreeItem {
  const view = taskView(state, Date.now(), known.hasResult, known.where);
  const badge = pullRequestBadge(known.pullRequest);
  if (badge !== '') {
    view.description = `${badge} · ${view.description}`;
    view.accessibility = `${view.accessibility}, pull request ${badge}`;
  }
  const children = state.commits.length > 0 || state.leftovers !== undefined;
  const item = toItem(view, children ? Collapsed : None);
  item.id = node.id;
  item.command = { command: 'sallyport.open', title: 'Open Task', arguments: [node] };
  return item;
}

export function commitItem(state: TaskState, node: Of<'commit'>): vscode.TreeItem {
  const commit = state.commits.find(({ sha }) => sha === node.sha);
  if (commit === undefined) return new vscode.TreeItem(node.sha);
  const place = placeOf(state, node.sha);
  const item = toItem(commitView(commit, place), None);
  item.id = `${node.id}/${node.sha}`;
  if (place === 'imported') item.command = showDiff(node);
  return item;
}

export function leftoversItem(state: TaskState, node: Of<'leftovers'>): vscode.TreeItem {
  const view = leftoversView(state);
  const item = view === undefined ? new vscode.TreeItem('') : toItem(view, None);
  item.id = `${node.id}/leftovers`;
  item.command = showDiff(node);
  return item;
}

/** @param current whether nothing newer could be pushed there */
export function branchItem(
  push: PushRecord | undefined,
  current: boolean,
  node: Of<'branch'>,
): vscode.TreeItem {
  if (push === undefined) return new vscode.TreeItem(node.branch);
  const item = toItem(branchView(push, current), None);
  item.id = `${node.id}/branch/${node.remote}/${node.branch}`;
  return item;
}

export function pullRequestItem(
  record: PullRequestRecord | undefined,
  node: Of<'pullRequest'>,
): vscode.TreeItem {
  if (record === undefined) return new vscode.TreeItem('');
  const item = toItem(pullRequestView(record), None);
  item.id = `${node.id}/pullRequest`;
  item.command = { command: 'sallyport.openPullRequest', title: 'Open Pull Request', arguments: [node] };
  return item;
}

function showDiff(node: Node): vscode.Command {
  return { command: 'sallyport.showDiff', title: 'Show Diff', arguments: [node] };
}
