import * as vscode from 'vscode';
import * as z from 'zod/mini';
import type { DoctorCheck } from '../runner/taskService.ts';
import { toSignal } from './signals.ts';
import type { Tasks } from './tasks.ts';
import type { TextDocuments } from './texts.ts';
import { doctorReport } from './view/doctorReport.ts';

/** Whoever calls the command with this is not asked. */
const Argument = z.object({ callModel: z.boolean() });

/** Asks whether the model is to be called too. Undefined when the user leaves. */
export async function askToCallModel(argument: unknown): Promise<boolean | undefined> {
  const said = Argument.safeParse(argument);
  if (said.success) return said.data.callModel;
  const picked = await vscode.window.showQuickPick(
    [
      { label: '$(pulse) Check this machine', detail: 'Nothing is sent to the model.', call: false },
      {
        label: '$(comment) Also send one request to the model',
        detail: 'For one token. It costs a fraction of a cent.',
        call: true,
      },
    ],
    { title: 'Doctor', placeHolder: 'Also send one request to the model?' },
  );
  return picked?.call;
}

/** Checks, and shows what was found as a document. */
export async function doctor(tasks: Tasks, texts: TextDocuments, callModel: boolean): Promise<DoctorCheck[]> {
  const checks = await vscode.window.withProgress(
    {
      location: vscode.ProgressLocation.Notification,
      title: 'Sallyport: checking this machine…',
      cancellable: true,
    },
    async (_progress, token) => (await tasks.open()).doctor({ callModel, signal: toSignal(token) }),
  );
  await texts.show('Sallyport Doctor.md', doctorReport(checks));
  return checks;
}
