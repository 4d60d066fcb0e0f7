import { asSallyportError, SallyportError } from '../base/errors.ts';
import type { Event } from '../base/event.ts';
import type { Logger } from '../base/logger.ts';
import type { TaskId } from '../protocol/grammar.ts';
import { Me } from '../protocol/accounts.ts';
import { ServerVersion, type TaskView } from '../protocol/runnerApi.ts';
import { openDataFolder } from '../runner/dataFolder.ts';
import { outwardWay } from '../runner/outwardWay.ts';
import { RunnerTasks } from '../runner/runnerTasks.ts';
import type { DoctorCheck, TaskService } from '../runner/taskService.ts';
import type { UserPolicy } from '../runner/userPolicy.ts';
import { WorkspaceStore } from '../runner/workspaceStore.ts';
import type { Backoff } from './backoff.ts';
import { misfitOf, type ConnectionStatus } from './connection.ts';
import { openMirrorFolder } from './mirrorFolder.ts';
import { RemoteRunner, type SubmitProgress } from './remoteRunner.ts';
import { readRunnerAddress } from './runnerAddress.ts';
import { RunnerHttp, type RunnerAccess } from './runnerHttp.ts';
import { paths } from './runnerPaths.ts';

export type { ConnectionStatus } from './connection.ts';
export type { SubmitProgress } from './remoteRunner.ts';

export interface RemoteTaskOptions {
  /** As the user gave it; https, or http on this machine. */
  url: string;
  /** Asked before each request and connection. */
  token: () => Promise<string>;
  /** The one of the tasks of this machine: repositories' settings and quarantines are shared with those. */
  dataFolder: string;
  /** The user's own settings; read anew each time. Of these count: network rules, budgets of tasks, proxy and further authorities. */
  policy: () => UserPolicy;
  log: Logger;
  /** Allows http to another machine, where the way is safe by itself, such as a tunnel. */
  plainHttp?: boolean;
  /** Between two attempts to reach the runner. */
  backoff?: Backoff;
  /** In milliseconds. */
  heartbeatMs?: number;
}

/** Tasks of one runner's server, mirrored on this machine: a task service that also works while there is no connection. */
export interface RemoteTaskService extends TaskService {
  /** The address, with a slash at its end. */
  readonly url: string;
  readonly onDidChangeStatus: Event<ConnectionStatus>;
  readonly onDidChangeView: Event<TaskView>;
  /** How far submissions are. */
  readonly onProgress: Event<SubmitProgress>;
  connectionStatus(): ConnectionStatus;
  /** Connects at once, as after a sign-in. */
  reconnect(): void;
  /** All that the runner lists: also tasks whose log has not begun, which are not among `tasks()`. */
  views(): TaskView[];
  view(id: TaskId): TaskView | undefined;
  /** False for a task that another user shares: it can only be looked at. */
  mayChange(id: TaskId): boolean;
}

/** Opens the mirror of a runner. Nothing is asked of it before `open`. Throws `invalid_input` for an address that cannot be. */
export async function createRemoteTaskService(options: RemoteTaskOptions): Promise<RemoteTaskService> {
  const access = accessOf(options);
  const data = await openDataFolder(options.dataFolder);
  const runner = new RemoteRunner({
    access,
    folder: await openMirrorFolder(options.dataFolder, access.url),
    quarantineRoot: data.quarantine,
    log: options.log,
    backoff: options.backoff,
    heartbeatMs: options.heartbeatMs,
  });
  return new RemoteTasks(runner, access, new WorkspaceStore(data.workspaces), data.quarantine, options);
}

class RemoteTasks extends RunnerTasks implements RemoteTaskService {
  readonly url: string;
  readonly onDidChangeStatus;
  readonly onDidChangeView;
  readonly onProgress;
  private readonly remote: RemoteRunner;

  constructor(
    runner: RemoteRunner,
    access: RunnerAccess,
    workspaces: WorkspaceStore,
    quarantineRoot: string,
    { policy }: Pick<RemoteTaskOptions, 'policy'>,
  ) {
    super(runner, {
      quarantineRoot,
      workspaces,
      policy,
      // How a container is made there, and with which credential, is for the runner to say.
      isolation: (wish) => {
        if (wish.image !== undefined || wish.dockerfile !== undefined || (wish.mounts?.length ?? 0) > 0)
          return Promise.reject(notThere());
        return Promise.resolve(undefined);
      },
      model: () => Promise.resolve({ label: 'the model of the runner', demonstration: false }),
      doctor: (how) => examine(runner, access, how),
    });
    this.remote = runner;
    this.url = access.url.href;
    this.onDidChangeStatus = runner.onDidChangeStatus;
    this.onDidChangeView = runner.onDidChangeView;
    this.onProgress = runner.onProgress;
  }

  connectionStatus(): ConnectionStatus {
    return this.remote.status;
  }

  reconnect(): void {
    this.remote.reconnect();
  }

  views(): TaskView[] {
    return this.remote.knownViews();
  }

  view(id: TaskId): TaskView | undefined {
    return this.remote.view(id);
  }

  mayChange(id: TaskId): boolean {
    return this.remote.mayChange(id);
  }
}

function notThere(): SallyportError {
  return new SallyportError(
    'invalid_input',
    'An image, a Dockerfile or mounts of this machine cannot be used on a remote runner.',
    'Clear those settings, or run the task on this machine.',
  );
}

function accessOf({
  url,
  token,
  policy,
  plainHttp = false,
}: Pick<RemoteTaskOptions, 'url' | 'token' | 'policy' | 'plainHttp'>): RunnerAccess {
  return {
    url: readRunnerAddress(url, { plainHttp }),
    token,
    way: (to) => outwardWay(to, policy(), process.env),
  };
}

/**
 * Asks a runner who it is, and for whom it takes the token. Throws `runner_unreachable`, `runner_version`, `unauthorized`
 * and `invalid_input`, each with what to do.
 */
export async function checkRunner(
  options: Pick<RemoteTaskOptions, 'url' | 'policy' | 'plainHttp'> & { token: string },
  signal?: AbortSignal,
): Promise<{ url: string; version: ServerVersion; user: Me['user']; scopes: Me['scopes'] }> {
  const access = accessOf({ ...options, token: () => Promise.resolve(options.token) });
  const http = new RunnerHttp(access);
  try {
    const version = await versionOf(http, signal);
    const { user, scopes } = await http.json({ method: 'GET', path: paths.me, signal }, Me);
    return { url: access.url.href, version, user, scopes };
  } finally {
    http.dispose();
  }
}

async function versionOf(http: RunnerHttp, signal: AbortSignal | undefined): Promise<ServerVersion> {
  const version = await http
    .json({ method: 'GET', path: paths.version, signal }, ServerVersion)
    .catch((thrown: unknown) => {
      const { code } = asSallyportError(thrown);
      if (code !== 'not_found' && code !== 'runner_version') throw thrown;
      throw new SallyportError(
        'runner_unreachable',
        'What answers at that address is no runner of Sallyport.',
        'Give the address that the start-up report of the runner names.',
        { cause: thrown },
      );
    });
  const misfit = misfitOf(version);
  if (misfit !== undefined) throw misfit.error;
  return version;
}

async function examine(
  runner: RemoteRunner,
  access: RunnerAccess,
  { signal }: { signal?: AbortSignal } = {},
): Promise<DoctorCheck[]> {
  const http = new RunnerHttp(access);
  const check = async (name: string, look: () => Promise<string>): Promise<DoctorCheck> => {
    try {
      return { name, ok: true, detail: await look() };
    } catch (thrown) {
      const { message, mend } = asSallyportError(thrown);
      return { name, ok: false, detail: message, mend };
    }
  };
  try {
    return [
      await check('Runner', async () => {
        const { version } = await versionOf(http, signal);
        return `${access.url.host} has version ${version}.`;
      }),
      await check('Sign-in', async () => {
        const {
          user: { name, role },
        } = await http.json({ method: 'GET', path: paths.me, signal }, Me);
        return `Signed in as ${name} (${role}).`;
      }),
      await check('Live connection', () => {
        const { status } = runner;
        if (status.kind === 'online') return Promise.resolve('Events come as they happen.');
        if (status.kind === 'connecting') return Promise.resolve('It is being opened.');
        return Promise.reject(status.error);
      }),
    ];
  } finally {
    http.dispose();
  }
}
