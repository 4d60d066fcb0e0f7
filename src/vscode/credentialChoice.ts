import * as vscode from 'vscode';
import { SallyportError } from '../base/errors.ts';
import type { ChosenSource } from '../runner/modelSources.ts';
import { pickCredential, type CredentialSurroundings } from './credentialList.ts';
import { toSignal } from './signals.ts';

/**
 * The credential for tasks of a repository, confirmed once by the user and found to be good. Undefined when the user
 * leaves. Throws what is wrong with it.
 */
export async function confirmedModel(
  around: CredentialSurroundings,
  repository: string,
  modelName: string | undefined,
): Promise<ChosenSource | undefined> {
  const { models, tasks } = around;
  const service = await tasks.open();
  for (;;) {
    const { credential } = await service.workspaceSettings(repository);
    const chosen = await models.choose(credential);
    if (chosen.sourceId !== credential && !models.isSettled(chosen)) {
      const answer = await confirm(chosen.label);
      if (answer === undefined) return undefined;
      if (answer === 'other') {
        const id = await pickCredential(around, repository);
        if (id === undefined) return undefined;
        continue;
      }
      await service.changeWorkspaceSettings(repository, { credential: chosen.sourceId });
    }
    await check(around, chosen, modelName ?? chosen.model);
    return chosen;
  }
}

async function confirm(label: string): Promise<'use' | 'other' | undefined> {
  const use = 'Use';
  const other = 'Choose Another…';
  const picked = await vscode.window.showInformationMessage(
    `Use the ${label} for this workspace?`,
    {
      modal: true,
      detail:
        'Tasks reach the model with it. It stays outside of the sandbox. You are not asked again for this workspace.',
    },
    use,
    other,
  );
  return picked === use ? 'use' : picked === other ? 'other' : undefined;
}

async function check(
  { models }: CredentialSurroundings,
  chosen: ChosenSource,
  model: string | undefined,
): Promise<void> {
  if (chosen.demonstration) return;
  await vscode.window.withProgress(
    {
      location: vscode.ProgressLocation.Notification,
      title: 'Sallyport: checking the credential…',
      cancellable: true,
    },
    async (_progress, token) => {
      const signal = toSignal(token);
      await models.check(chosen, { signal, ...(model === undefined ? {} : { model }) });
      if (signal.aborted)
        throw new SallyportError('cancelled', 'Cancelled.', 'Start it again when you like.');
    },
  );
}
