import * as vscode from 'vscode';
import * as z from 'zod/mini';
import { asSallyportError, SallyportError } from '../base/errors.ts';
import { BranchName, TaskId } from '../protocol/grammar.ts';
import { safeLine } from '../protocol/safeText.ts';
import type { TaskState } from '../protocol/taskState.ts';
import type { Tasks } from './tasks.ts';
import { noticeText } from './view/noticeText.ts';
import { listText, startedText, taskText } from './view/toolText.ts';
import { isHere } from './workspace.ts';

const SubmitInput = z.strictObject({
  prompt: z.string().check(z.minLength(1), z.maxLength(20_000)),
  branch: z.optional(BranchName),
});
const ReadInput = z.strictObject({ task: z.optional(TaskId), diff: z.optional(z.boolean()) });

interface Question {
  title: string;
  text: string;
  button: string;
}

interface Tool<Input> {
  schema: z.ZodMiniType<Input>;
  doing: string;
  question(input: Input): Question;
  run(input: Input, token: vscode.CancellationToken): Promise<string>;
}

/** Nobody reads what is asked, and says yes, in less, in milliseconds. */
const fastestYes = 1000;

/**
 * The tools with which the editor's own chat gives work to a task, and reads how it stands. The chat asks the user before either:
 * starting costs money, and reading shows a model that has hands on this machine what an agent in a sandbox wrote. Where the
 * chat is set up not to ask, a dialog of this extension does.
 */
export class LanguageModelTools implements vscode.Disposable {
  private readonly tasks: Tasks;
  private readonly log: vscode.LogOutputChannel;
  readonly submit: vscode.LanguageModelTool<unknown>;
  readonly read: vscode.LanguageModelTool<unknown>;
  private readonly registered: vscode.Disposable[];
  /** When the chat began to ask about an input. */
  private readonly asked = new Map<string, number>();
  /** Asks in a dialog. A test puts its own in this place. */
  confirm = async ({ title, text, button }: Question): Promise<boolean> =>
    (await vscode.window.showWarningMessage(title, { modal: true, detail: text }, button)) === button;

  constructor(tasks: Tasks, log: vscode.LogOutputChannel) {
    this.tasks = tasks;
    this.log = log;
    this.submit = this.tool(this.submitting());
    this.read = this.tool(this.reading());
    this.registered = [
      vscode.lm.registerTool('sallyport_submit_task', this.submit),
      vscode.lm.registerTool('sallyport_read_task', this.read),
    ];
  }

  dispose(): void {
    for (const each of this.registered) each.dispose();
  }

  private submitting(): Tool<z.infer<typeof SubmitInput>> {
    return {
      schema: SubmitInput,
      doing: 'Starting a Sallyport task',
      question: ({ prompt, branch }) => ({
        title: 'Start a Sallyport task?',
        text: `${branch === undefined ? '' : `Branch: ${branch}\n`}An agent in a sandbox gets a copy of this repository and this prompt. It costs what the agent uses.\n\n${prompt}`,
        button: 'Start Task',
      }),
      run: async ({ prompt, branch }) => {
        const id = await vscode.commands.executeCommand('sallyport.newTask', {
          prompt,
          ...(branch === undefined ? {} : { branch }),
        });
        const started = TaskId.safeParse(id);
        if (!started.success) return 'No task was started: the user left, or was told why it could not be.';
        return startedText(started.data);
      },
    };
  }

  private reading(): Tool<z.infer<typeof ReadInput>> {
    return {
      schema: ReadInput,
      doing: 'Reading a Sallyport task',
      question: ({ task, diff }) => {
        const title = task === undefined ? undefined : this.tasks.get(task)?.spec.title;
        const what =
          title === undefined ? 'the tasks of this repository' : `the task “${safeLine(title, 80)}”`;
        return {
          title: 'Show the chat what an agent wrote?',
          text: `The chat gets how ${what} ${title === undefined ? 'stand' : 'stands'}${diff === true ? ', with the lines that changed' : ''}. An agent in a sandbox wrote it, and it may try to steer the chat.`,
          button: 'Show',
        };
      },
      run: async ({ task, diff }) => {
        const service = await this.tasks.open();
        const here = (state: TaskState): boolean => isHere(state.spec.repository.path);
        if (task === undefined) {
          const newest = this.tasks.list().filter(here);
          return listText(newest.toSorted((a, b) => b.spec.createdAt - a.spec.createdAt));
        }
        const state = this.tasks.get(task);
        // What belongs to other folders is no business of this window's chat.
        if (state === undefined || !here(state)) {
          throw new SallyportError(
            'task_unknown',
            `There is no task ${task} of the repository that is open in this window.`,
            'Leave the id out for a list of those that are there.',
          );
        }
        return taskText(state, diff === true ? await service.patch(task) : undefined);
      },
    };
  }

  private tool<Input>(tool: Tool<Input>): vscode.LanguageModelTool<unknown> {
    const read = (input: unknown): Input => {
      const parsed = tool.schema.safeParse(input);
      if (parsed.success) return parsed.data;
      const [issue] = parsed.error.issues;
      throw new SallyportError(
        'invalid_input',
        `The input does not fit: ${issue?.path.join('.') ?? ''} ${issue?.message ?? ''}.`,
        'Its schema is in the description of the tool.',
      );
    };
    return {
      prepareInvocation: ({ input }) => {
        const { title, text } = tool.question(read(input));
        this.remember(JSON.stringify(input));
        return { invocationMessage: tool.doing, confirmationMessages: { title, message: plain(text) } };
      },
      invoke: async ({ input }, token) => {
        try {
          const known = read(input);
          if (!this.wasAsked(JSON.stringify(input)) && !(await this.confirm(tool.question(known))))
            return result('The user said no. Do not try it again.');
          if (token.isCancellationRequested) throw new vscode.CancellationError();
          return result(await tool.run(known, token));
        } catch (thrown) {
          if (thrown instanceof vscode.CancellationError) throw thrown;
          const { message, mend } = asSallyportError(thrown);
          this.log.warn(`A tool of the chat failed: ${message}`);
          return result(`It did not work. ${noticeText(safeLine(`${message} ${mend}`, 1000))}`);
        }
      },
    };
  }

  private remember(input: string): void {
    this.asked.set(input, Date.now());
    for (const oldest of this.asked.keys()) {
      if (this.asked.size <= 50) break;
      this.asked.delete(oldest);
    }
  }

  /** Whether the chat can have asked the user. It need not, where the user lets every tool run. */
  private wasAsked(input: string): boolean {
    const since = this.asked.get(input);
    this.asked.delete(input);
    const chat = vscode.workspace.getConfiguration('chat');
    const never = ['tools.global.autoApprove', 'tools.autoApprove'].some(
      (key) => chat.get<unknown>(key) === true,
    );
    return !never && since !== undefined && Date.now() - since >= fastestYes;
  }
}

/** No word of a model's becomes a link, a picture or a command. */
function plain(text: string): vscode.MarkdownString {
  return new vscode.MarkdownString().appendText(text);
}

function result(text: string): vscode.LanguageModelToolResult {
  return new vscode.LanguageModelToolResult([new vscode.LanguageModelTextPart(text)]);
}
