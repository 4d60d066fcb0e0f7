import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Browser } from 'playwright-core';
import type { Turn } from '../../src/gateway/scriptedModel.ts';
import { ModelServer } from './modelServer.ts';
import { removeFromEngine } from './witness.ts';
import {
  CodeServer,
  type Household,
  launchBrowser,
  makeHousehold,
  tellFailure,
  until,
  Workbench,
} from './workbench.ts';

/** A first task may have to wait for its image; milliseconds. */
export const longest = 8 * 60_000;
/** What the scripted model's users have in their environment. */
export const key = 'sk-ant-api03-a-key-of-these-tests-0123456789';

/** An event as it stands in a file. */
export type Logged = { type: string } & Record<string, unknown>;

export const bash = (command: string): Turn => ({
  tools: [{ name: 'Bash', input: { command, description: 'Work' } }],
});

/**
 * What a journey plays in: one browser for all of a suite; for each test a household, an editor's server, its windows, and a
 * model with a script where it is asked for. What a test has begun is ended behind it, also when it failed.
 */
export class Scene {
  browser!: Browser;
  household!: Household;
  server: CodeServer | undefined;
  readonly windows: Workbench[] = [];
  private scripted: ModelServer | undefined;
  private endings: (() => unknown)[] = [];

  /** Makes the hooks of the suite in which it is called. */
  static ofSuite(): Scene {
    const scene = new Scene();
    before(async () => {
      scene.browser = await launchBrowser();
    });
    after(() => scene.browser.close());
    afterEach(async function () {
      try {
        if (this.currentTest?.state === 'failed') await scene.tell(this.currentTest.title);
      } finally {
        await scene.end();
      }
    });
    return scene;
  }

  /** What else has to be ended behind this test; what began last is ended first. */
  ending(end: () => unknown): void {
    this.endings.push(end);
  }

  async settle(settings: Readonly<Record<string, unknown>> = {}): Promise<Household> {
    const household = await makeHousehold(settings);
    this.household = household;
    this.endings.push(() => household.remove());
    this.endings.push(async () => {
      for (const id of this.tasks()) await removeFromEngine(id);
    });
    return household;
  }

  /** A household whose agents speak with a script. @param gated numbers of the answers that wait for `model.go` */
  async settleWithModel(
    turns: readonly Turn[],
    settings: Readonly<Record<string, unknown>> = {},
    gated: readonly number[] = [],
  ): Promise<Household> {
    const model = await ModelServer.start(turns, gated);
    this.scripted = model;
    this.endings.push(() => model.stop());
    return this.settle({ 'sallyport.network.proxy': model.url, ...settings });
  }

  /** A window of the household's editor. @param env of its server: what the model asks for, or the demonstration */
  async open(env: Readonly<Record<string, string | undefined>> = this.environment()): Promise<Workbench> {
    this.server ??= await CodeServer.start(this.household, env);
    const window = await Workbench.open(this.browser, this.server.url);
    this.windows.push(window);
    return window;
  }

  /** Ends windows and server, so that `open` begins anew in the same household. */
  async leave(): Promise<void> {
    for (const window of this.windows.splice(0)) await window.close();
    await this.server?.stop();
    this.server = undefined;
  }

  /** Starts a task with the scripted model, and says yes to the credential that was found. */
  async startTask(vscode: Workbench, prompt: string): Promise<void> {
    await vscode.showTasks();
    await vscode.command('Sallyport: New Task');
    await vscode.type('New Task', prompt);
    await vscode.dialogButton('Use').first().waitFor({ timeout: 90_000 });
    await vscode.screenshot('40-credential');
    await vscode.page.keyboard.press('Enter');
  }

  /** Ids, the oldest first. */
  tasks(): string[] {
    return list(join(this.household.data, 'tasks')).sort();
  }

  /** The log of the task at this place, by default of the newest; empty while there is none. */
  log(at = -1, file = 'events.ndjson'): Logged[] {
    const id = this.tasks().at(at);
    return id === undefined ? [] : linesOf(join(this.household.data, 'tasks', id, file));
  }

  of(type: string, at?: number): Logged[] {
    return this.log(at).filter((event) => event.type === type);
  }

  comes(type: string, count = 1, at?: number): Promise<boolean> {
    return until(`${type} ${count}`, longest, () => this.of(type, at).length >= count);
  }

  /** What the user decided about the newest task. */
  review(): Logged[] {
    return this.log(-1, 'review.ndjson');
  }

  /** The end of so many turns, with all commits brought in. */
  async turnsOver(count: number): Promise<void> {
    await this.comes('turn', count);
    await this.comes('imported', this.of('commit').length);
  }

  get model(): ModelServer {
    if (this.scripted === undefined)
      throw new Error('This scene has no model: begin it with settleWithModel.');
    return this.scripted;
  }

  private environment(): Record<string, string | undefined> {
    if (this.scripted === undefined) return { SALLYPORT_DEMONSTRATION: '1' };
    return { ANTHROPIC_API_KEY: key, ANTHROPIC_BASE_URL: this.model.url, NO_PROXY: this.model.host };
  }

  private async tell(title: string): Promise<void> {
    for (const [at, window] of this.windows.entries())
      await tellFailure({ title: at === 0 ? title : `${title} ${at}` }, window);
    if (this.windows.length === 0) return;
    for (const event of [...this.log().slice(-20), ...this.review().slice(-10)])
      console.log(JSON.stringify(event).slice(0, 300));
  }

  private async end(): Promise<void> {
    await this.leave();
    for (const end of this.endings.splice(0).reverse()) await end();
    this.scripted = undefined;
  }
}

function list(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

/** Whole lines only: the last one may be under way. */
function linesOf(path: string): Logged[] {
  let text = '';
  try {
    text = readFileSync(path, 'utf8');
  } catch {
    // The folder is there a moment earlier.
  }
  const whole = text.slice(0, text.lastIndexOf('\n') + 1);
  return whole.split('\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line) as Logged]));
}
