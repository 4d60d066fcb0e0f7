import { asSallyportError, SallyportError } from '../../base/errors.ts';
import type { Disposable } from '../../base/disposable.ts';
import type { Logger } from '../../base/logger.ts';
import { pause } from '../../base/pause.ts';
import { TooManyRequests } from '../../forge/failures.ts';
import type { Forge, PullRequest } from '../../forge/forge.ts';
import { markOf, pullRequestBody, pullRequestTitle } from '../../forge/pullRequestText.ts';
import { pushBranch } from '../../git/pushUrl.ts';
import type { TaskId } from '../../protocol/grammar.ts';
import { hasEnded } from '../../protocol/taskState.ts';
import { checkCiFiles, targetOf } from '../../runner/publishing/switchRules.ts';
import type { Publishable, PublishedTasks, Publisher } from './seams.ts';

export interface PublisherParts {
  /** To another than these nothing can be pushed, and whoever wants it is told so. */
  forges: readonly Forge[];
  /** Egress rules of hosts in private networks that may be reached. */
  privateHosts: readonly string[];
  log: Logger;
  /** Waits between tries, and between looks at open pull requests, in milliseconds; for tests. */
  times?: { retryMs?: readonly number[]; watchMs?: number };
}

/** After so long a try that failed is repeated, in milliseconds; the last one for all further tries. */
const retryMs = [2000, 5000, 15_000, 60_000, 5 * 60_000, 15 * 60_000];
const maxTries = 40;
/** From this try on the user is told that it does not go well. */
const toldFrom = 2;
/** How often it is looked whether a pull request was merged or closed, in milliseconds, and of how many. */
const watchMs = 10 * 60_000;
const maxWatched = 50;
/** How many tasks are attended to at once. */
const atOnce = 4;
/** How many tasks' last states are remembered, so that nothing is done twice. */
const maxJobs = 1000;
/** What is over for so long is left alone after a restart, in milliseconds. */
const freshMs = 24 * 60 * 60_000;

/** What passes: everything else stays as it is until the task changes. */
const passing = ['repository_unreachable', 'forge_unreachable', 'disk_full'];

export function createPublisher(parts: PublisherParts): Publisher {
  return new ForgePublisher(parts);
}

/** One task, of which only the newest state counts. */
interface Job {
  task: Publishable;
  /** What was done last: the same once more is nothing to do. */
  done: string;
  running: boolean;
  /** False when there is certainly no problem that its user was told. */
  told: boolean;
  /** The body that the pull request has. */
  body?: string;
}

class ForgePublisher implements Publisher {
  private readonly parts: PublisherParts;
  private readonly leaving = new AbortController();
  private readonly jobs = new Map<TaskId, Job>();
  private readonly waiting: (() => void)[] = [];
  private running = 0;
  private tasks: PublishedTasks | undefined;
  private listening: Disposable | undefined;
  private watch: NodeJS.Timeout | undefined;

  constructor(parts: PublisherParts) {
    this.parts = parts;
  }

  attach(tasks: PublishedTasks): void {
    if (this.tasks !== undefined) throw new Error('It is attached already');
    this.tasks = tasks;
    this.listening = tasks.onDidChange((task) => this.take(task));
    // What was under way when the server ended.
    for (const task of tasks.all()) {
      const { endedAt } = task.state;
      if (endedAt === undefined || Date.now() - endedAt < freshMs) this.take(task);
    }
    this.watch = setInterval(() => void this.lookAround(), this.parts.times?.watchMs ?? watchMs);
    this.watch.unref();
  }

  dispose(): void {
    this.leaving.abort();
    this.listening?.dispose();
    clearInterval(this.watch);
    for (const go of this.waiting.splice(0)) go();
  }

  private take(task: Publishable): void {
    if (!task.switches.autoPush || this.leaving.signal.aborted) return;
    const { id } = task.state.spec;
    const job = this.jobs.get(id) ?? { task, done: '', running: false, told: true };
    job.task = task;
    this.jobs.set(id, job);
    if (this.jobs.size > maxJobs) this.forget(id);
    if (job.running || keyOf(task) === job.done) return;
    job.running = true;
    void this.attend(job).finally(() => (job.running = false));
  }

  /** The oldest that nothing is done for: should it change again, it is looked at anew. */
  private forget(but: TaskId): void {
    for (const [id, { running }] of this.jobs) {
      if (running || id === but) continue;
      this.jobs.delete(id);
      return;
    }
  }

  /** Works until nothing has changed meanwhile. Never rejects. */
  private async attend(job: Job): Promise<void> {
    const { signal } = this.leaving;
    for (let tries = 0; !signal.aborted && keyOf(job.task) !== job.done;) {
      const key = keyOf(job.task);
      const wait = await this.inTurn(() => this.try(job, key, tries));
      if (wait === undefined) {
        tries = 0;
        continue;
      }
      tries++;
      await pause(wait, signal);
    }
  }

  /** Not too many tasks at once. */
  private async inTurn<T>(work: () => Promise<T>): Promise<T> {
    while (this.running >= atOnce && !this.leaving.signal.aborted)
      await new Promise<void>((go) => this.waiting.push(go));
    this.running++;
    try {
      return await work();
    } finally {
      this.running--;
      this.waiting.shift()?.();
    }
  }

  /** Resolves to how long to wait before the next try, or undefined when there is none. */
  private async try(job: Job, key: string, tries: number): Promise<number | undefined> {
    const { id } = job.task.state.spec;
    try {
      await this.publish(job);
      job.done = key;
      if (job.told) this.tasks?.problem(id, undefined);
      job.told = false;
      return undefined;
    } catch (thrown) {
      if (this.leaving.signal.aborted) return undefined;
      const error = asSallyportError(thrown);
      this.parts.log.warn(`Publishing of task ${id}: ${error.code}: ${error.message}`);
      const limited = thrown instanceof TooManyRequests ? thrown.until - Date.now() : undefined;
      const again = (limited !== undefined || passing.includes(error.code)) && tries < maxTries;
      if (!again || limited !== undefined || tries >= toldFrom) {
        job.told = true;
        this.tellProblem(id, error);
      }
      if (again) {
        const waits = this.parts.times?.retryMs ?? retryMs;
        return Math.max(limited ?? 0, waits[Math.min(tries, waits.length - 1)] ?? 0);
      }
      job.done = key;
      return undefined;
    }
  }

  private tellProblem(id: TaskId, error: SallyportError): void {
    const { code, message, mend } = error;
    this.tasks?.problem(id, code === 'internal' ? ownFailure : { code, message, mend });
  }

  private async publish(job: Job): Promise<void> {
    const { task } = job;
    const place = this.placeOf(task.url);
    if (place === undefined) {
      if (targetOf(task.state) === undefined) return;
      throw new SallyportError(
        'push_refused',
        'The runner has no token for the forge of this repository, so nothing was pushed.',
        'Fetch the commits from the runner and push them yourself.',
      );
    }
    const { forge, repository } = place;
    const pushed = await this.push(task, forge);
    if (pushed === undefined) return;
    await this.propose(job, forge, repository, pushed);
  }

  private placeOf(url: string): { forge: Forge; repository: string } | undefined {
    for (const forge of this.parts.forges) {
      const repository = forge.repositoryAt(url);
      if (repository !== undefined) return { forge, repository };
    }
    return undefined;
  }

  /** Brings the branch at the forge to where the task's is; resolves to its commit, undefined when there is none yet. */
  private async push(
    { state, url, pushedBranch, pushedCommit }: Publishable,
    forge: Forge,
  ): Promise<string | undefined> {
    const { spec } = state;
    const target = targetOf(state);
    if (target === undefined) return undefined;
    if (pushedBranch === spec.branch && pushedCommit === target) return target;
    const tasks = this.attached();
    const quarantine = tasks.quarantineOf(spec.id);
    const { signal } = this.leaving;
    // What is pushed is what came in, not what the sandbox says of it.
    const here = new Set((await quarantine.tips(spec.id, signal)).map(({ sha }) => sha));
    if (!here.has(target)) return undefined;
    await checkCiFiles(quarantine, spec.snapshot.commit, target, 'server', signal);
    const mine = state.imported.filter((sha) => here.has(sha));
    const once = pushedBranch === spec.branch && pushedCommit !== undefined;
    await pushBranch({
      quarantine,
      url,
      credential: forge.credential,
      privateHosts: this.parts.privateHosts,
      commit: target,
      branch: spec.branch,
      // Until this task has made the branch it is only moved forward; then the agent may have amended what is there.
      lease: { at: once ? [pushedCommit, ...mine] : mine, rewrite: once },
      signal,
    });
    tasks.pushed(spec.id, spec.branch, target);
    return target;
  }

  /** The pull request of the branch, as the switches say. */
  private async propose(job: Job, forge: Forge, repository: string, pushedCommit: string): Promise<void> {
    const { task } = job;
    const { signal } = this.leaving;
    const { state, switches, owner } = task;
    const { spec } = state;
    const ready = switches.autoPullRequest && state.phase === 'succeeded';
    const text = { state, owner: owner.login, pushedCommit };
    const body = pullRequestBody(text, forge.kind);
    let pull: PullRequest;
    if (task.pullRequest === undefined) {
      if (!switches.draftEarly && !ready) return;
      const base = task.base ?? (await forge.repository(repository, signal)).defaultBranch;
      if (base === undefined || base === spec.branch) return;
      const title = pullRequestTitle(spec.title);
      pull = await forge.openPullRequest(
        { repository, branch: spec.branch, base, title, body, draft: !ready },
        signal,
      );
      this.say(spec.id, pull);
    } else {
      if (body === job.body && !(ready && task.pullRequest.state === 'draft')) return;
      pull = await forge.pullRequest(repository, task.pullRequest.number, signal);
    }
    const open = pull.state === 'draft' || pull.state === 'open';
    // What somebody else has opened for the branch, or has written anew, is theirs.
    if (open && pull.body.includes(markOf(spec.id, forge.kind)) && differs(pull.body, body))
      pull = await forge.changePullRequest(repository, pull.number, { body }, signal);
    if (pull.state === 'draft' && ready) pull = await forge.markReady(repository, pull.number, signal);
    job.body = body;
    this.say(spec.id, pull);
  }

  private say(id: TaskId, { url, number, state }: PullRequest): void {
    const tasks = this.attached();
    const known = this.jobs.get(id)?.task.pullRequest;
    if (known?.url === url && known.number === number && known.state === state) return;
    tasks.pullRequest(id, { url, number, state });
    // The next look must not open a second one, should the news come late.
    const job = this.jobs.get(id);
    if (job !== undefined) job.task = { ...job.task, pullRequest: { url, number, state } };
  }

  /** Whether a pull request was merged or closed. */
  private async lookAround(): Promise<void> {
    const { log } = this.parts;
    const silent = new Set<Forge>();
    const open = this.attached()
      .all()
      .filter(({ pullRequest }) => pullRequest?.state === 'draft' || pullRequest?.state === 'open')
      .slice(-maxWatched);
    for (const { url, pullRequest, state } of open) {
      if (this.leaving.signal.aborted) return;
      const place = this.placeOf(url);
      if (place === undefined || pullRequest === undefined || silent.has(place.forge)) continue;
      try {
        const now = await place.forge.pullRequest(place.repository, pullRequest.number, this.leaving.signal);
        if (now.state !== pullRequest.state)
          this.attached().pullRequest(state.spec.id, { url: now.url, number: now.number, state: now.state });
      } catch (thrown) {
        // Another forge may answer.
        log.debug(`The pull request of ${state.spec.id}: ${asSallyportError(thrown).message}`);
        silent.add(place.forge);
      }
    }
  }

  private attached(): PublishedTasks {
    if (this.tasks === undefined) throw new Error('It is not attached');
    return this.tasks;
  }
}

const ownFailure = {
  code: 'internal',
  message: 'The server met an unexpected error when it published the commits.',
  mend: "The server's log says more; report it.",
};

/** A forge may write line ends its own way. */
function differs(theirs: string, ours: string): boolean {
  return theirs.replace(/\r\n/g, '\n').trim() !== ours.trim();
}

/** Changes with everything that publishing depends on. */
function keyOf({ state, switches, url }: Publishable): string {
  const over = hasEnded(state) ? state.phase : 'working';
  const left = state.leftovers?.commit ?? '';
  const { draftEarly, autoPullRequest } = switches;
  return JSON.stringify([
    url,
    targetOf(state) ?? '',
    over,
    left,
    state.imported.length,
    state.refusedImports.length,
    draftEarly,
    autoPullRequest,
  ]);
}
