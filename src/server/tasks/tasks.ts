import { join } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import type { Logger } from '../../base/logger.ts';
import type { TaskId } from '../../protocol/grammar.ts';
import type { Admission } from '../../runner/admission.ts';
import type { ServedTasks } from '../../runner/servedTasks.ts';
import type { ServerConfig } from '../config.ts';
import type { Audit } from '../context.ts';
import type { User } from '../principal.ts';
import { Changes } from './changes.ts';
import { createForgeParts, type ForgeParts } from './forgeParts.ts';
import { Housekeeping } from './housekeeping.ts';
import { IdempotencyKeys } from './idempotency.ts';
import { Intake } from './intake.ts';
import { Listing } from './listing.ts';
import { Orders } from './orders.ts';
import { Owners } from './owners.ts';
import { Pipeline, repositoryOf } from './pipeline.ts';
import { Publishing } from './publishing.ts';
import { Recovery } from './recovery.ts';
import { Removals } from './removals.ts';
import type { ServerTasks } from './serverTasks.ts';
import { repositoryId } from './submissions.ts';
import { checkWriter, TaskAccess } from './taskAccess.ts';
import { TaskContents } from './taskContents.ts';
import { newRow, type TaskRow, TaskRows } from './taskRows.ts';
import type { UploadLimits } from './uploadLimits.ts';
import { Uploads } from './uploads.ts';

export interface ServerTaskOptions {
  config: Pick<
    ServerConfig,
    'dataFolder' | 'queue' | 'limits' | 'retentionMs' | 'privateForges' | 'forge' | 'otherForges'
  >;
  store: DatabaseSync;
  /** Of the server's own data folder, with `admission` as its queue. */
  service: ServedTasks;
  admission: Admission;
  audit: Audit;
  log: Logger;
  now: () => number;
  /** What fetches, finds and pushes; made from the configuration when it is not given. */
  forge?: ForgeParts;
  uploadLimits?: Partial<UploadLimits>;
}

/**
 * The tasks of a server. Resolves when what an earlier server has left is consistent again, and goes on with what it had
 * begun.
 */
export async function createServerTasks(options: ServerTaskOptions): Promise<ServerTasks> {
  const { service, store, config, log, now, admission, audit } = options;
  await service.open();
  const forge = options.forge ?? createForgeParts(options);
  const leaving = new AbortController();
  const rows = new TaskRows(store);
  const owners = new Owners(store);
  const keys = new IdempotencyKeys(store, now);
  const access = new TaskAccess(rows, (id) => service.task(id));
  const listing = new Listing(rows, access, owners);
  const publishing = new Publishing(rows, service, (id) => owners.get(id));
  const changes = new Changes({
    rows,
    view: (row) => listing.viewOf(row),
    tell: (row) => publishing.tell(row),
    log,
  });
  const moved = (id: TaskId): void => changes.moved(id);
  const contents = new TaskContents(service, rows, access, changes.watch);
  const uploads = new Uploads({
    store,
    folder: join(config.dataFolder, 'uploads'),
    quarantine: (user, repository) => service.quarantine(repositoryId(user, 'snapshot', repository)),
    log,
    now,
    limits: options.uploadLimits,
  });
  const pipeline = new Pipeline({
    rows,
    service,
    config,
    user: (id) => owners.get(id),
    fetchCommit: forge.fetchCommit,
    finder: forge.finder,
    changed: moved,
    reported: (parent, task) => addFinding(rows, parent, task, now()),
    log,
  });
  const unpruned = async (id: TaskId): Promise<void> => {
    const row = rows.get(id);
    if (row !== undefined) await housekeeping.unpruned(repositoryOf(row).id);
  };
  const intake = new Intake({
    config,
    rows,
    keys,
    access,
    pipeline,
    service,
    admission,
    finds: forge.finder !== undefined,
    unpruned,
    moved,
    leaving: leaving.signal,
    now,
  });
  const removals = new Removals({
    rows,
    keys,
    pipeline,
    service,
    submitted: (id) => intake.settled(id),
    freed: (repository) => housekeeping.freed(repository),
    gone: (id) => changes.gone(id),
  });
  const housekeeping = new Housekeeping({
    rows,
    service,
    keys,
    uploads,
    retentionMs: config.retentionMs,
    remove: (id) => removals.remove(id, false),
    audit,
    log,
    now,
  });
  const orders = new Orders({
    rows,
    access,
    service,
    admission,
    pipeline,
    intake,
    removals,
    changes,
    unpruned,
    leaving: leaving.signal,
  });
  const recovery = new Recovery({
    rows,
    owners,
    service,
    remove: (id, force) => removals.remove(id, force),
    isRemoved: (id) => removals.has(id),
    moved,
    log,
  });

  admission.rankBy((id) => rows.get(id)?.priority ?? 0);
  const listening = service.onDidChange((state) => {
    recovery.heard(state);
    changes.heard(state.spec.id);
  });
  for (const id of await recovery.begin()) void pipeline.run(id);
  forge.publisher.attach(publishing.tasks(moved));
  void housekeeping.sweep();

  let closing: Promise<void> | undefined;
  const end = async (): Promise<void> => {
    leaving.abort();
    await Promise.all([pipeline.close(), uploads.close(), intake.settled(), removals.settled()]);
    await housekeeping.close();
    forge.publisher.dispose();
    listening.dispose();
    changes.close();
  };
  const close = (): Promise<void> => (closing ??= end());
  /** Whose uploads they are. */
  const uploader = (user: User): string => {
    checkWriter(user);
    return user.id;
  };

  return {
    onDidChange: changes.onDidChange,
    onDidRemove: changes.onDidRemove,
    mayRead: (user, view) => access.mayRead(user, view),
    list: (user, query) => listing.list(user, query),
    all: (user) => listing.all(user),
    get: (user, id) => listing.get(user, id),
    counts: () => listing.counts(),
    state: (user, id) => access.state(user, id),
    submit: async (user, submission, key) =>
      listing.get(user, await intake.take(user, { owner: user, submission, key })),
    change: (user, id, change) => {
      orders.change(user, id, change);
      return listing.get(user, id);
    },
    cancel: async (user, id) => {
      await orders.cancel(user, id);
      return listing.get(user, id);
    },
    retry: async (user, id) => listing.get(user, await orders.retry(user, id)),
    confirm: async (user, id, choice) => {
      await orders.confirm(user, id, choice);
      return listing.get(user, id);
    },
    remove: (user, id, force) => orders.remove(user, id, force),
    send: async (user, id, text, options) => {
      await orders.send(user, id, text, options);
      return listing.get(user, id);
    },
    commitLeftovers: async (user, id, message) => {
      await orders.commitLeftovers(user, id, message);
      return listing.get(user, id);
    },
    answerQuestion: (user, id, question, answer) => orders.answerQuestion(user, id, question, answer),
    interrupt: (user, id) => orders.interrupt(user, id),
    terminal: (user, id, size, signal) => orders.terminal(user, id, size, signal),
    answerEgress: (user, id, answer) => orders.answerEgress(user, id, answer),
    setBudget: (user, id, usd) => orders.setBudget(user, id, usd),
    spentToday: () => service.spentToday(),
    events: (user, id, after, signal) => contents.events(user, id, after, signal),
    bundle: (user, id, have) => contents.bundle(user, id, have),
    result: (user, id) => contents.result(user, id),
    changes: (user, id, range) => contents.changes(user, id, range),
    patch: (user, id, range) => contents.patch(user, id, range),
    blob: (user, id, oid) => contents.blob(user, id, oid),
    knownCommits: async (user, repository, commits) =>
      await uploads.known(uploader(user), repository, commits),
    beginUpload: async (user, request) => await uploads.begin(uploader(user), request),
    uploadState: async (user, id) => await uploads.state(uploader(user), id),
    continueUpload: async (user, id, offset, data) =>
      await uploads.continue(uploader(user), id, offset, data),
    close,
    dispose: () => void close(),
  };
}

/** The row of the orchestrator's task. */
function addFinding(rows: TaskRows, parent: Readonly<TaskRow>, task: TaskId, now: number): void {
  if (rows.get(task) !== undefined) return;
  const { id: finds, owner, priority, submission } = parent;
  rows.insert(newRow({ id: task, owner, priority, stage: 'task', submission, finds, createdAt: now }));
}
