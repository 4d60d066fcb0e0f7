import * as vscode from 'vscode';
import { asSallyportError, type SallyportError } from '../base/errors.ts';
import { safeLine } from '../protocol/safeText.ts';
import { noticeText } from './view/noticeText.ts';
import { problemButtons } from './view/problemButtons.ts';

/**
 * Shows a failure as a sentence with what to do about it, and a button where one can help. Cancelling is no failure.
 * Resolves when the message is closed; `retry` is offered where trying again can make a difference.
 */
export async function showProblem(
  thrown: unknown,
  log: vscode.LogOutputChannel,
  retry?: () => unknown,
): Promise<SallyportError | undefined> {
  const error = asSallyportError(thrown);
  if (error.code === 'cancelled') return undefined;
  log.error(`${error.code}: ${error.message}`);
  if (error.cause instanceof Error) log.error(error.cause);
  const buttons = problemButtons(error.code, retry !== undefined);
  const picked = await vscode.window.showErrorMessage(
    noticeText(safeLine(`${error.message} ${error.mend}`, 2000)),
    ...buttons.map(({ title }) => title),
  );
  const button = buttons.find(({ title }) => title === picked);
  if (button === undefined) return error;
  if (button.command === 'retry') await retry?.();
  else await vscode.commands.executeCommand(button.command, ...(button.args ?? []));
  return error;
}

/** Does what a user has asked for. What goes wrong is told, with another try, and undefined comes of it. */
export async function attempt<T>(
  run: () => Promise<T>,
  log: vscode.LogOutputChannel,
): Promise<T | undefined> {
  try {
    return await run();
  } catch (thrown) {
    // Not awaited: a command must not hang on a message that nobody closes.
    void showProblem(thrown, log, () => attempt(run, log));
    return undefined;
  }
}
