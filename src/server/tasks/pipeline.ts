import { asSallyportError, SallyportError } from '../../base/errors.ts';
import type { Logger } from '../../base/logger.ts';
import type { TaskId } from '../../protocol/grammar.ts';
import type { FoundRepository } from '../../protocol/runnerApi.ts';
import type { Snapshot } from '../../protocol/task.ts';
import type { ServedTasks } from '../../runner/servedTasks.ts';
import type { ServerConfig } from '../config.ts';
import type { User } from '../principal.ts';
import type { FetchCommit, Finder } from './seams.ts';
import { repositoryId, requestOf } from './submissions.ts';
import type { TaskRow, TaskRows } from './taskRows.ts';

/** How many repositories are fetched at the same time. */
const fetches = 4;
/** What an orchestrator may take beyond its own time limit, for its sandbox and its place in the queue, in milliseconds. */
const findingRoom = 24 * 60 * 60_000;

export interface PipelineParts {
  rows: TaskRows;
  service: ServedTasks;
  config: Pick<ServerConfig, 'queue' | 'limits' | 'privateForges' | 'forge' | 'otherForges'>;
  user: (id: string) => User | undefined;
  fetchCommit: FetchCommit;
  finder: Finder | undefined;
  /** A row was changed. */
  changed: (id: TaskId) => void;
  /** The task that looks for a repository gets a row of its own, before it is submitted. */
  reported: (parent: TaskRow, task: TaskId) => void;
  log: Logger;
}

/** Where a task's commits are kept: apart for each user, and for what was uploaded and what was fetched. */
export function repositoryOf({ owner, url, submission: { source } }: Readonly<TaskRow>): {
  id: string;
  name: string;
} {
  if (url !== undefined) return { id: repositoryId(owner, 'url', plainUrl(url)), name: nameOf(url) };
  if (source.kind !== 'snapshot') return { id: repositoryId(owner, 'url', ''), name: '' };
  return { id: repositoryId(owner, 'snapshot', source.repository.id), name: source.repository.name };
}

function plainUrl(url: string): string {
  return url.replace(/\/+$/, '').replace(/\.git$/, '');
}

/** The last part of the path, for people. */
function nameOf(url: string): string {
  return plainUrl(url).split('/').at(-1) ?? url;
}

/**
 * Takes a task to the beginning of its log: finds its repository, waits for a yes, fetches it, submits it. Where it is
 * stands in its row, so that the same steps serve a new task and one that is taken up after a restart.
 */
export class Pipeline {
  private readonly parts: PipelineParts;
  private readonly running = new Map<TaskId, { end: AbortController; done: Promise<void> }>();
  private readonly leaving = new AbortController();
  private free = fetches;
  private readonly waiting: (() => void)[] = [];

  constructor(parts: PipelineParts) {
    this.parts = parts;
  }

  /** Goes on with a task from where it is, as far as it can. Resolves then; what goes wrong is in its row. */
  run(id: TaskId): Promise<void> {
    const known = this.running.get(id);
    if (known !== undefined) return known.done;
    const end = new AbortController();
    const signal = AbortSignal.any([end.signal, this.leaving.signal]);
    const done = this.steps(id, signal)
      .catch((thrown: unknown) => this.failed(id, thrown, signal))
      // A store that takes nothing, because its disk is full: the task stays where it is, for the next start.
      .catch((thrown: unknown) => this.parts.log.error(`Task ${id}: ${asSallyportError(thrown).message}`))
      .finally(() => this.running.delete(id));
    this.running.set(id, { end, done });
    return done;
  }

  /** The same for a task whose commit is here; what goes wrong is thrown, and its row is left as it is. */
  async submitNow(id: TaskId): Promise<void> {
    const row = this.parts.rows.get(id);
    if (row?.submission.source.kind === 'snapshot')
      await this.submit(row, row.submission.source.snapshot, this.leaving.signal);
  }

  /** Ends what is being done for a task that has no log yet. Resolves when nothing of it goes on. */
  async cancel(id: TaskId): Promise<void> {
    const known = this.running.get(id);
    known?.end.abort();
    await known?.done;
  }

  /** Resolves when nothing is being done for a task that has no log yet. */
  async idle(id: TaskId): Promise<void> {
    await this.running.get(id)?.done;
  }

  /** Leaves every task where it is. */
  async close(): Promise<void> {
    this.leaving.abort();
    await Promise.all([...this.running.values()].map(({ done }) => done));
  }

  private async steps(id: TaskId, signal: AbortSignal): Promise<void> {
    for (;;) {
      signal.throwIfAborted();
      const row = this.parts.rows.get(id);
      switch (row?.stage) {
        case 'finding':
          await this.find(row, signal);
          break;
        case 'fetching':
          await this.submit(row, await this.snapshot(row, signal), signal);
          return;
        default:
          return;
      }
    }
  }

  private failed(id: TaskId, thrown: unknown, signal: AbortSignal): void {
    // Whoever cancels it says so; and what a restart cuts off goes on after it.
    if (signal.aborted) return;
    const { code, message, mend } = asSallyportError(thrown);
    this.parts.log.warn(`Task ${id}: ${code}: ${message}`);
    const told =
      code === 'internal'
        ? { message: 'The runner met an unexpected error.', mend: "The runner's log says more; report it." }
        : { message, mend };
    this.change(id, { stage: 'failed', problem: { code, ...told } });
  }

  private async find(row: Readonly<TaskRow>, signal: AbortSignal): Promise<void> {
    const { finder, config } = this.parts;
    if (finder === undefined)
      throw new SallyportError(
        'invalid_input',
        'This runner has no forge in which it could look for the repository.',
        'Name the repository, or have the administrator give the runner a token of a forge.',
      );
    const late = AbortSignal.timeout(Math.min(config.limits.findingMs + findingRoom, 2 ** 31 - 1));
    const report = (task: TaskId): void => {
      this.parts.reported(row, task);
      this.change(row.id, { finding: { task } });
    };
    const either = AbortSignal.any([signal, late]);
    const owner = this.owner(row);
    const { task, found } = await finder.find(owner, row.submission, report, either, row.finding?.task);
    signal.throwIfAborted();
    const { source } = row.submission;
    const waits = source.kind === 'find' && source.confirm;
    this.change(row.id, {
      finding: { task, found },
      url: this.urlOf(found),
      stage: waits ? 'confirming' : 'fetching',
    });
  }

  /** Where the forge has a repository. */
  urlOf({ repository }: Pick<FoundRepository, 'repository'>): string {
    return `${(this.parts.config.forge?.webUrl ?? '').replace(/\/+$/, '')}/${repository}`;
  }

  private async snapshot(row: Readonly<TaskRow>, signal: AbortSignal): Promise<Snapshot> {
    const { source } = row.submission;
    if (source.kind === 'snapshot') return source.snapshot;
    if (row.url === undefined) throw new Error('A repository that is to be fetched has no address');
    const branch = source.kind === 'url' ? source.branch : row.finding?.found?.branch;
    const { fetchCommit, config, service } = this.parts;
    const token = tokenFor(row.url, config);
    await this.takeTurn(signal);
    try {
      const { commit, headBranch } = await fetchCommit({
        quarantine: service.quarantine(repositoryOf(row).id),
        url: row.url,
        ...(branch === undefined ? {} : { branch }),
        ...(token === undefined ? {} : { token }),
        privateHosts: config.privateForges,
        signal,
      });
      return { mode: 'head', commit, head: commit, headBranch };
    } finally {
      this.free += 1;
      this.waiting.shift()?.();
    }
  }

  private async takeTurn(signal: AbortSignal): Promise<void> {
    while (this.free === 0) {
      const { promise, resolve } = Promise.withResolvers<undefined>();
      const wake = (): void => resolve(undefined);
      this.waiting.push(wake);
      signal.addEventListener('abort', wake, { once: true });
      await promise;
      signal.removeEventListener('abort', wake);
      const index = this.waiting.indexOf(wake);
      if (index !== -1) this.waiting.splice(index, 1);
      if (!signal.aborted) continue;
      // The turn that was given to it is another's.
      if (index === -1) this.waiting.shift()?.();
      signal.throwIfAborted();
    }
    this.free -= 1;
  }

  private async submit(row: Readonly<TaskRow>, snapshot: Snapshot, signal: AbortSignal): Promise<void> {
    const { service, config } = this.parts;
    const repository = repositoryOf(row);
    // It has to stay here as long as the task does.
    if (!(await service.quarantine(repository.id).keepKnown(snapshot.commit, signal)))
      throw new SallyportError(
        'not_found',
        `The commit ${snapshot.commit} of ${repository.name} is not here.`,
        'Upload it first, then submit the task.',
      );
    const request = requestOf(row.submission, {
      id: row.id,
      owner: this.owner(row),
      repository,
      snapshot,
      config,
      prompt: row.finding?.found?.prompt,
    });
    signal.throwIfAborted();
    // Once it is in the log it is a task, whoever has cancelled it meanwhile.
    if (service.task(row.id) === undefined) await service.submitSnapshot(request, signal);
    this.change(row.id, { stage: 'task' });
  }

  private owner({ owner }: Readonly<TaskRow>): User {
    const found = this.parts.user(owner);
    if (found !== undefined) return found;
    throw new SallyportError('forbidden', 'The owner of the task is gone.', 'Submit it as another user.');
  }

  private change(id: TaskId, change: Partial<TaskRow>): void {
    if (this.parts.rows.change(id, change) !== undefined) this.parts.changed(id);
  }
}

/** Each of the runner's tokens is for its own forge, and for nobody else. */
function tokenFor(
  url: string,
  { forge, otherForges = [] }: Pick<ServerConfig, 'forge' | 'otherForges'>,
): string | undefined {
  if (!URL.canParse(url)) return undefined;
  const { origin, pathname } = new URL(url);
  const isThere = ({ webUrl }: { webUrl: string }): boolean => {
    const web = new URL(webUrl);
    return web.origin === origin && pathname.startsWith(`${web.pathname.replace(/\/+$/, '')}/`);
  };
  return [...(forge === undefined ? [] : [forge]), ...otherForges].find(isThere)?.token;
}
