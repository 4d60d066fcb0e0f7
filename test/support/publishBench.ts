import { openForge } from '../../src/forge/openForge.ts';
import { TaskPublisher } from '../../src/runner/publishing/taskPublisher.ts';
import type { ForgeToken } from '../../src/runner/publishing/taskPublishing.ts';
import type { Asker } from '../../src/vscode/view/publishFlow.ts';
import { ForgeFake } from './forgeFake.ts';
import type { GitRepo } from './gitRepo.ts';
import { GitServer } from './gitServer.ts';
import { ReviewBench } from './reviewBench.ts';

/** A task with a real review, a git server on loopback, and a forge beside it, which the user has named in the settings. */
export class PublishBench {
  readonly server: GitServer;
  readonly forge: ForgeFake;
  readonly work: ReviewBench;
  readonly bare: GitRepo;
  /** The setting. */
  hosts: unknown;
  readonly token: ForgeToken;
  readonly ownSwitches: boolean;
  readonly publisher: TaskPublisher;

  private constructor(server: GitServer, forge: ForgeFake, work: ReviewBench, ownSwitches: boolean) {
    this.ownSwitches = ownSwitches;
    this.server = server;
    this.forge = forge;
    this.work = work;
    this.bare = server.bare('octo/app');
    this.hosts = [{ host: server.host, kind: 'github', apiUrl: forge.apiUrl }];
    this.token = { host: server.host, token: forge.token };
    this.publisher = new TaskPublisher({
      state: () => work.task,
      quarantine: work.runner.quarantineOf(),
      review: work.review,
      folder: work.taskFolder,
      ownSwitches: this.ownSwitches,
      hosts: () => this.hosts,
      openForge: (place, token) => openForge(place, { ...token, owner: 'user' }),
    });
  }

  static async open(
    files: Record<string, string> = { 'README.md': '# Test\n' },
    change: Parameters<typeof ReviewBench.open>[1] = {},
    ownSwitches = true,
  ): Promise<PublishBench> {
    const work = await ReviewBench.open(files, change);
    const bench = new PublishBench(await GitServer.open(), await ForgeFake.open(), work, ownSwitches);
    bench.forge.repositories.push({ name: 'octo/app' });
    work.user.git('remote', 'add', 'origin', `${bench.server.url('octo/app')}.git`);
    work.user.git('push', '-q', bench.bare.path, 'main');
    return bench;
  }

  async close(): Promise<void> {
    this.work.dispose();
    await this.server.close();
    await this.forge.close();
  }
}

/** Answers of a user, in the order in which they are asked; what is asked is written down. */
export class ScriptedAsker implements Asker {
  readonly asked: string[] = [];
  private readonly answers: (string | boolean)[];

  /** @param answers a label, a text (empty: what is proposed), or a yes or no; the flow is left when there is none left */
  constructor(...answers: (string | boolean)[]) {
    this.answers = answers;
  }

  get left(): number {
    return this.answers.length;
  }

  choose<T extends { label: string }>(
    title: string,
    _hint: string,
    items: readonly T[],
  ): Promise<T | undefined> {
    this.asked.push(`${title} ${items.map(({ label }) => label).join(' | ')}`);
    const answer = this.answers.shift();
    return Promise.resolve(items.find(({ label }) => label === answer));
  }

  text({ title, value, problem }: Parameters<Asker['text']>[0]): Promise<string | undefined> {
    this.asked.push(`${title} ${value}`);
    const answer = this.answers.shift();
    const text = answer === '' ? value : answer;
    if (typeof text === 'string' && problem(text) !== undefined) throw new Error(`Not taken: ${text}`);
    return Promise.resolve(typeof text === 'string' ? text : undefined);
  }

  confirm(question: string, detail: string): Promise<boolean> {
    this.asked.push(`${question}\n${detail}`);
    return Promise.resolve(this.answers.shift() === true);
  }

  progress<T>(
    _title: string,
    work: (report: (line: string) => void, signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    return work(() => undefined, new AbortController().signal);
  }
}
