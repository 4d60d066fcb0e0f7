import * as vscode from 'vscode';
import { SallyportError } from '../base/errors.ts';
import { safeLine } from '../protocol/safeText.ts';
import type { TalkRequest } from '../protocol/talkMessages.ts';
import { hasEnded, isInTurn } from '../protocol/taskState.ts';
import type { Tasks } from './tasks.ts';

/**
 * Does what a panel's user says to the agent. Resolves to the id of the task that goes on with it, where that is another one
 * or begins anew.
 */
export async function talk(tasks: Tasks, id: string, request: TalkRequest): Promise<string | undefined> {
  const service = await tasks.open();
  const state = service.task(id);
  if (state === undefined) {
    throw new SallyportError('task_unknown', 'This task does not exist any more.', 'Choose another one.');
  }
  switch (request.type) {
    case 'say': {
      const { checkPrompt } = await import('../runner/localTasks.ts');
      checkPrompt(request.text);
      if (hasEnded(state)) return (await service.followUp(id, request.text)).spec.id;
      // Of a turn that begins with this very message nothing is to be stopped.
      const stops = request.now && isInTurn(state);
      await service.send(id, request.text);
      if (stops) await service.interrupt(id);
      return undefined;
    }
    case 'interrupt':
      await service.interrupt(id);
      return undefined;
    case 'answer':
      await service.answerQuestion(id, request.question, request.answer);
      return undefined;
    case 'continueFrom': {
      const { checkPrompt } = await import('../runner/localTasks.ts');
      const text = await vscode.window.showInputBox({
        title: `Continue “${safeLine(state.spec.title, 50)}” from Turn ${request.turn}`,
        prompt:
          'A new task goes on from the end of that turn, with what was said until then. This one stays as it is.',
        ignoreFocusOut: true,
        validateInput: (typed) => (typed.trim() === '' ? 'Say what the agent is to do.' : undefined),
      });
      if (text === undefined) return undefined;
      checkPrompt(text);
      return (await service.continueFrom(id, { turn: request.turn }, text)).spec.id;
    }
  }
}
