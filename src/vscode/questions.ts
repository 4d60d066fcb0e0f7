import * as vscode from 'vscode';
import type { AgentQuestion, Choice, QuestionAnswer } from '../protocol/question.ts';
import { safeLine } from '../protocol/safeText.ts';
import type { TaskState } from '../protocol/taskState.ts';
import type { Tasks } from './tasks.ts';
import type { TextDocuments } from './texts.ts';
import { optionItems, questionLine, questionText, verdictItems } from './view/questionItems.ts';

/** Puts what the agent asks to the user, one after the other. False when the user leaves one open. */
export async function answerAgent(tasks: Tasks, state: TaskState, texts: TextDocuments): Promise<boolean> {
  const service = await tasks.open();
  for (const question of state.conversation?.questions ?? []) {
    const answer = await ask(question, safeLine(state.spec.title, 50), texts);
    if (answer === undefined) return false;
    await service.answerQuestion(state.spec.id, question.id, answer);
  }
  return true;
}

function ask(
  question: AgentQuestion,
  task: string,
  texts: TextDocuments,
): Promise<QuestionAnswer | undefined> {
  return question.what === 'choice' ? choose(question, task) : judge(question, task, texts);
}

async function choose({ choices = [] }: AgentQuestion, task: string): Promise<QuestionAnswer | undefined> {
  const answers: string[][] = [];
  for (const [index, choice] of choices.entries()) {
    const count = choices.length === 1 ? '' : ` (${index + 1}/${choices.length})`;
    const given = await chooseOne(choice, `“${task}” asks: ${safeLine(choice.header, 50)}${count}`);
    if (given === undefined) return undefined;
    answers.push(given);
  }
  return { kind: 'choose', answers };
}

async function chooseOne(choice: Choice, title: string): Promise<string[] | undefined> {
  const placeHolder = safeLine(choice.question, 300);
  const items = optionItems(choice);
  const options = { title, placeHolder, ignoreFocusOut: true, matchOnDetail: true };
  const picked = choice.multiple
    ? await vscode.window.showQuickPick(items, { ...options, canPickMany: true })
    : await vscode.window.showQuickPick(items, options);
  if (picked === undefined) return undefined;
  const chosen = Array.isArray(picked) ? picked : [picked];
  const values = chosen.flatMap(({ value }) => value ?? []);
  if (chosen.length > 0 && values.length === chosen.length) return values;
  const words = await vscode.window.showInputBox({
    title,
    prompt: placeHolder,
    ignoreFocusOut: true,
    validateInput: (typed) => (typed.trim() === '' ? 'Say something, or press Escape.' : undefined),
  });
  return words === undefined ? undefined : [...values, words];
}

async function judge(
  question: AgentQuestion,
  task: string,
  texts: TextDocuments,
): Promise<QuestionAnswer | undefined> {
  const title = `“${task}”: ${questionLine(question)}`;
  for (;;) {
    const picked = await vscode.window.showQuickPick(verdictItems(question), {
      title,
      placeHolder: 'It waits for your answer',
      ignoreFocusOut: true,
    });
    if (picked === undefined) return undefined;
    if (picked.answer === 'show') {
      const name = question.what === 'plan' ? 'Plan.txt' : `${safeLine(question.tool, 40)}.txt`;
      await texts.show(name, questionText(question));
      continue;
    }
    if (picked.answer !== 'refuse with words') return picked.answer;
    const why = await vscode.window.showInputBox({
      title,
      prompt: 'Why not, or what to do instead? The agent reads it. It may be empty.',
      ignoreFocusOut: true,
    });
    if (why === undefined) continue;
    return { kind: 'refuse', ...(why.trim() === '' ? {} : { why: why.trim() }) };
  }
}
