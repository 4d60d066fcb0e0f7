import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import { SallyportError } from '../../src/base/errors.ts';
import { Quarantine } from '../../src/git/quarantine.ts';
import type { Role, Submission, SubmissionInput } from '../../src/protocol/runnerApi.ts';
import { Submission as SubmissionSchema } from '../../src/protocol/runnerApi.ts';
import type { TaskState } from '../../src/protocol/taskState.ts';
import { hasEnded } from '../../src/protocol/taskState.ts';
import { Admission } from '../../src/runner/admission.ts';
import type { ServedTasks, SnapshotRequest } from '../../src/runner/servedTasks.ts';
import type { User } from '../../src/server/principal.ts';
import { openStore } from '../../src/server/store.ts';
import type { ForgeParts } from '../../src/server/tasks/forgeParts.ts';
import type { Finder, PublishedTasks } from '../../src/server/tasks/seams.ts';
import type { ServerTasks } from '../../src/server/tasks/serverTasks.ts';
import { createServerTasks, type ServerTaskOptions } from '../../src/server/tasks/tasks.ts';
import { FakeTaskService } from './fakeTaskService.ts';
import { GitRepo, temporaryFolder } from './gitRepo.ts';
import { aSpec, shaOf } from './specs.ts';

const gibi = 2 ** 30;

/** A fake of the tasks on a server's machine; what has to do with git is real. */
export class FakeServedTasks extends FakeTaskService implements ServedTasks {
  readonly requests: SnapshotRequest[] = [];
  readonly said: { id: string; text: string; by: string | undefined }[] = [];
  readonly bundled: { id: string; have: readonly string[] }[] = [];
  /** Awaited by the next submission, when it is set. */
  holdUp: Promise<void> | undefined;
  private readonly root: string;

  constructor(root: string) {
    super();
    this.root = root;
  }

  async submitSnapshot(request: SnapshotRequest): Promise<TaskState> {
    await this.holdUp;
    if (this.refusal !== undefined) throw this.refusal;
    this.requests.push(request);
    const { id, prompt, repository, snapshot, identity, limits, title = prompt } = request;
    const place = { ...repository, path: '' };
    return this.add(aSpec({ id, title, prompt, repository: place, snapshot, identity, limits }));
  }

  quarantine(repositoryId: string): Quarantine {
    return Quarantine.open(join(this.root, 'quarantine'), repositoryId);
  }

  bundle(id: string, have: readonly string[]): Promise<AsyncIterable<Uint8Array>> {
    this.bundled.push({ id, have });
    const bytes = async function* (): AsyncGenerator<Uint8Array> {
      yield await Promise.resolve(new TextEncoder().encode('bundle'));
    };
    return Promise.resolve(bytes());
  }

  override send(id: string, text: string, options: { by?: string | undefined } = {}): Promise<void> {
    this.said.push({ id, text, by: options.by });
    return Promise.resolve();
  }

  /** As a real one refuses. */
  override async remove(id: string, { force = false }: { force?: boolean } = {}): Promise<void> {
    const state = this.task(id);
    if (!force && state !== undefined && !hasEnded(state))
      throw new SallyportError('task_busy', 'The task is still running.', 'Stop it first.');
    if (!force && (state?.pendingImports.length ?? 0) > 0)
      throw new SallyportError('commits_not_imported', 'Commits are not in the quarantine.', 'Wait.');
    await super.remove(id);
  }

  /** The task is over, and its sandbox gone. */
  end(id: string, outcome: 'succeeded' | 'failed' | 'stopped' = 'succeeded'): void {
    this.say(id, { type: 'ended', outcome, message: 'Over.' }, { type: 'sandbox_removed' });
  }
}

/** The tasks of a server without an engine and without a network: real store, real git, a fake of what runs tasks. */
export class TasksBench {
  readonly folder = temporaryFolder();
  readonly store: DatabaseSync;
  readonly log: string[] = [];
  readonly audit: unknown[] = [];
  service: FakeServedTasks;
  admission = new Admission({ parallel: 2, memoryBytes: 16 * gibi });
  /** Milliseconds since the epoch, as the server sees them. */
  time = Date.UTC(2026, 10, 21, 12);
  tasks!: ServerTasks;
  published: PublishedTasks | undefined;
  finder: Finder | undefined;
  /** Answers of the forge; throws what it throws. */
  fetch: ForgeParts['fetchCommit'] = () => Promise.reject(new Error('Nothing is to be fetched'));
  config: ServerTaskOptions['config'];
  uploadLimits: ServerTaskOptions['uploadLimits'];

  constructor() {
    this.store = openStore(join(this.folder.path, 'runner.sqlite'));
    this.service = new FakeServedTasks(this.folder.path);
    this.config = {
      dataFolder: this.folder.path,
      queue: { parallel: 2, memoryBytes: 16 * gibi },
      limits: { findingMs: 20 * 60_000, workMs: 60 * 60_000 },
      privateForges: [],
      forge: {
        kind: 'github',
        apiUrl: 'https://api.forge.example.com',
        webUrl: 'https://forge.example.com',
        token: 'runner-token',
      },
    };
  }

  static async open(change: (bench: TasksBench) => void = () => undefined): Promise<TasksBench> {
    const bench = new TasksBench();
    change(bench);
    await bench.start();
    return bench;
  }

  async start(): Promise<void> {
    const line = (level: string) => (message: string) => void this.log.push(`${level} ${message}`);
    this.tasks = await createServerTasks({
      config: this.config,
      store: this.store,
      service: this.service,
      admission: this.admission,
      audit: { record: (entry) => void this.audit.push(entry) },
      log: { debug: line('debug'), info: line('info'), warn: line('warn'), error: line('error') },
      now: () => this.time,
      forge: {
        fetchCommit: (request) => this.fetch(request),
        finder: this.finder,
        publisher: { attach: (tasks) => (this.published = tasks), dispose: () => undefined },
      },
      ...(this.uploadLimits === undefined ? {} : { uploadLimits: this.uploadLimits }),
    });
  }

  /** As after the server was ended in order, with the same tasks. */
  async restart(): Promise<void> {
    await this.tasks.close();
    await this.start();
  }

  user(login: string, role: Role = 'member'): User {
    const user = { id: `user-${login}`, login, name: `Name of ${login}`, role };
    this.store
      .prepare('INSERT OR IGNORE INTO users (id, login, name, role, created_at) VALUES (?, ?, ?, ?, ?)')
      .run(user.id, login, user.name, role, this.time);
    return user;
  }

  /** A repository of a user's own, with one commit. */
  repository(name = 'work'): { repo: GitRepo; commit: string } {
    const path = join(this.folder.path, 'repositories', name);
    mkdirSync(path, { recursive: true });
    const repo = new GitRepo(path);
    repo.write('README.md', `# ${name}\n`);
    return { repo, commit: repo.commit('First') };
  }

  async close(): Promise<void> {
    await this.tasks.close();
    this.store.close();
    this.folder.dispose();
  }
}

/** A submission as it comes out of the schema. */
export function aSubmission(change: Partial<SubmissionInput> = {}): Submission {
  return SubmissionSchema.parse({
    prompt: 'Fix the median',
    source: { kind: 'url', url: 'https://forge.example.com/ada/demo' },
    ...change,
  });
}

export function snapshotOf(commit = shaOf('base'), repository = 'demo-1'): Submission['source'] {
  return {
    kind: 'snapshot',
    repository: { id: repository, name: 'demo' },
    snapshot: { mode: 'head', commit, head: commit, headBranch: 'main' },
  };
}

/** A bundle with a commit and its history, as a client makes it. */
export function bundleOf(repo: GitRepo, commit: string, without: readonly string[] = []): Buffer {
  repo.git('update-ref', 'refs/sallyport/snapshot', commit);
  const excluded = without.map((sha) => `^${sha}`);
  return repo.raw(['bundle', 'create', '--quiet', '-', 'refs/sallyport/snapshot', ...excluded]);
}
