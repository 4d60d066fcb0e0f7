import { mkdir } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { SallyportError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import { connectEngine } from '../engine/connect.ts';
import { Admission } from '../runner/admission.ts';
import { createTaskService } from '../runner/localTasks.ts';
import type { ModelSources } from '../runner/modelSources.ts';
import { claim } from '../runner/ownership.ts';
import type { ResolvedModel } from '../runner/taskService.ts';
import { defaultPolicy, type UserPolicy } from '../runner/userPolicy.ts';
import { createAudit } from './auth/audit.ts';
import { createAuth } from './auth/auth.ts';
import type { ServerConfig } from './config.ts';
import type { ServerContext } from './context.ts';
import { createApp } from './http/app.ts';
import { healthRoutes } from './http/health.ts';
import { type Metric, metricsRoute } from './http/metrics.ts';
import { openapiRoute } from './http/openapi.ts';
import { Router, type RouteDescription } from './http/router.ts';
import { addRoutes } from './routes.ts';
import { openStore } from './store.ts';
import { streamsOf } from './streams/hub.ts';
import { streamMetrics } from './streams/metrics.ts';
import { createServerTasks } from './tasks/tasks.ts';

export interface ServerOptions {
  config: ServerConfig;
  version: string;
  log: Logger;
  /** Where the answers of the tasks' models come from. Throws `no_credentials`. */
  credentials: () => Promise<ResolvedModel>;
  modelSources?: Pick<ModelSources, 'list' | 'check'>;
  /** For every task: network, money, isolation. */
  policy?: () => UserPolicy;
  /** Longest log of a task, in bytes; a gibibyte when it is not said. */
  logBytes?: number;
  now?: () => number;
}

export interface RunningServer {
  /** Where it listens. */
  url: string;
  context: ServerContext;
  /** Every route, for tests that go through all of them. */
  routes: readonly RouteDescription[];
  /** Names the container engine that answers. Rejects when there is none. */
  engine(): Promise<string>;
  /** How many there are. */
  users(): number;
  /** Nothing new is taken in; what is being written is written; sandboxes go on. Twice is harmless. */
  close(): Promise<void>;
}

/** Composes the server and lets it listen. One server at a time has a data folder: `conflict` otherwise. */
export async function startServer(options: ServerOptions): Promise<RunningServer> {
  const { config, log, version } = options;
  const now = options.now ?? Date.now;
  await mkdir(config.dataFolder, { recursive: true, mode: 0o700 });
  const release = await claim(join(config.dataFolder, 'server'));
  if (release === undefined) {
    throw new SallyportError(
      'conflict',
      `Another server has the data folder ${config.dataFolder}.`,
      'End it first, or set SALLYPORT_HOME to another folder.',
    );
  }
  const undo: (() => unknown)[] = [release];
  const unwind = async (): Promise<void> => {
    for (let step; (step = undo.pop()) !== undefined;) await step();
  };
  try {
    const store = openStore(join(config.dataFolder, 'runner.sqlite'));
    undo.push(() => store.close());
    const audit = createAudit(store, now);
    const auth = createAuth({ config, store, audit, log, now });
    const admission = new Admission(config.queue);
    const service = await createTaskService({
      dataFolder: config.dataFolder,
      distFolder: config.distFolder,
      containerFolder: config.containerFolder,
      engineSetting: () => config.engine,
      credentials: options.credentials,
      ...(options.modelSources === undefined ? {} : { modelSources: options.modelSources }),
      policy:
        options.policy ??
        (() => (config.keep === undefined ? defaultPolicy : { ...defaultPolicy, keep: config.keep })),
      forge: config.forge,
      admission,
      ...(options.logBytes === undefined ? {} : { logBytes: options.logBytes }),
      log,
    });
    undo.push(() => service.dispose());
    const tasks = await createServerTasks({ config, store, service, admission, audit, log, now });
    undo.push(() => tasks.close());
    const context: ServerContext = { config, store, auth, audit, tasks, log, version, now };
    const app = await createApp(config, log);
    undo.push(() => app.close());
    // Who reads a stream is told that it ends, before its connection is closed.
    undo.push(() => streamsOf(context).dispose());
    const router = new Router(app, auth);
    addRoutes(router, context);
    const engine = engineProbe(config);
    healthRoutes(router, {
      version,
      hasCredential: () =>
        options.credentials().then(
          () => true,
          () => false,
        ),
      engineAnswers: () =>
        engine().then(
          () => true,
          () => false,
        ),
      counts: () => tasks.counts(),
      now,
    });
    metricsRoute(router, [...metricsOf(context), ...streamMetrics(streamsOf(context))]);
    openapiRoute(router, version);
    await app.listen({ host: config.host, port: config.port });
    const { port } = app.server.address() as AddressInfo;
    const scheme = config.tls === undefined ? 'http' : 'https';
    const host = config.host.includes(':') ? `[${config.host}]` : config.host;
    let closing: Promise<void> | undefined;
    return {
      url: `${scheme}://${host}:${port}`,
      context,
      routes: router.routes,
      engine,
      users: () => Number(store.prepare('SELECT count(*) AS n FROM users').get()?.['n']),
      close: () => (closing ??= unwind()),
    };
  } catch (thrown) {
    await unwind();
    throw thrown;
  }
}

/** Names the engine that answers; throws what `connectEngine` throws. */
function engineProbe({ engine: setting }: ServerConfig): () => Promise<string> {
  return async () => {
    const engine = await connectEngine({ env: process.env, ...(setting === undefined ? {} : { setting }) });
    const { kind, version, address } = engine.info;
    engine.dispose();
    return `${kind === 'podman' ? 'Podman' : 'Docker'} ${version} at ${address}`;
  };
}

function metricsOf({ tasks }: ServerContext): Metric[] {
  const gauge = (name: Metric['name'], help: string, read: Metric['read']): Metric => ({
    name,
    help,
    type: 'gauge',
    read,
  });
  return [
    gauge('sallyport_tasks', 'Tasks by state', () => {
      const { queued, running, all } = tasks.counts();
      return [
        { labels: { state: 'queued' }, value: queued },
        { labels: { state: 'running' }, value: running },
        { labels: { state: 'over' }, value: all - queued - running },
      ];
    }),
    gauge('sallyport_spent_today_usd', 'What all tasks cost today (UTC), in US dollars', () =>
      tasks.spentToday(),
    ),
    gauge('sallyport_memory_bytes', 'Resident memory of the server', () => process.memoryUsage.rss()),
    {
      name: 'sallyport_cpu_seconds_total',
      help: 'Time of the processor that the server used',
      type: 'counter',
      read: () => {
        const { user, system } = process.cpuUsage();
        return (user + system) / 1e6;
      },
    },
  ];
}
