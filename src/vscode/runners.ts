import * as vscode from 'vscode';
import { asSallyportError, SallyportError } from '../base/errors.ts';
import type { RemoteTaskService, SubmitProgress } from '../remote/remoteTasks.ts';
import type { JoinedTasks } from '../runner/joinedTasks.ts';
import type { RunnerRecord, RunnerStore } from './runnerStore.ts';
import { type Place, type PlaceStatus, shownStatus, thisMachinePlace } from './view/places.ts';

export interface RunnersOptions {
  store: RunnerStore;
  /** Opens the mirror of a runner; asks it nothing. */
  make: (record: RunnerRecord) => Promise<RemoteTaskService>;
  log: vscode.LogOutputChannel;
  onProblem: (thrown: unknown) => void;
}

interface Open {
  record: RunnerRecord;
  service: RemoteTaskService;
  status: PlaceStatus;
  listening: vscode.Disposable;
}

/** The runners that are connected, and how it stands with each. They are opened together with the tasks, not before. */
export class Runners implements vscode.Disposable {
  private readonly options: RunnersOptions;
  private readonly open = new Map<string, Open>();
  private readonly changed = new vscode.EventEmitter<void>();
  private readonly progressed = new vscode.EventEmitter<SubmitProgress>();
  private readonly watching: vscode.Disposable;
  private joined: JoinedTasks | undefined;
  private syncing: Promise<void> = Promise.resolve();
  /** Runners that could not be opened were told of. */
  private readonly broken = new Set<string>();
  /** The list, or the status of one of them. */
  readonly onDidChange = this.changed.event;
  /** How far submissions are. */
  readonly onProgress = this.progressed.event;

  constructor(options: RunnersOptions) {
    this.options = options;
    this.watching = options.store.onDidChange(() => void this.sync('again'));
  }

  /** This machine first, then the others in the order in which they were connected. */
  places(): Place[] {
    return [
      thisMachinePlace,
      ...this.options.store.list().map(({ id, name, url }): Place => {
        const status = this.open.get(id)?.status ?? { kind: 'idle' };
        return { id, name, url, status };
      }),
    ];
  }

  place(id: string | undefined): Place | undefined {
    return this.places().find((place) => place.id === id);
  }

  get isEmpty(): boolean {
    return this.options.store.list().length === 0;
  }

  /** Opens all of them, as a part of these tasks. It does not wait for any of them to answer. */
  async join(joined: JoinedTasks): Promise<void> {
    this.joined = joined;
    await this.sync();
  }

  /** Tries to reach it now. */
  reconnect(id: string): void {
    this.open.get(id)?.service.reconnect();
  }

  /** False for a task that another user shares: it can only be looked at. */
  mayChange(place: string, task: string): boolean {
    return this.open.get(place)?.service.mayChange(task) ?? true;
  }

  dispose(): void {
    this.joined = undefined;
    this.watching.dispose();
    for (const { listening } of this.open.values()) listening.dispose();
    this.changed.dispose();
    this.progressed.dispose();
  }

  /** Brings what is open in line with the list. With `again` those that were not let in try it once more. */
  private sync(again?: 'again'): Promise<void> {
    this.syncing = this.syncing.then(async () => {
      const records = this.options.store.list();
      for (const [id, { record, listening }] of [...this.open]) {
        if (records.some((one) => one.id === id && one.url === record.url)) continue;
        listening.dispose();
        this.open.delete(id);
        this.joined?.drop(id);
      }
      for (const record of records) {
        const open = this.open.get(record.id);
        if (open === undefined) await this.openOne(record);
        else {
          open.record = record;
          if (again !== undefined && open.status.kind !== 'online') open.service.reconnect();
        }
      }
      this.changed.fire();
    });
    return this.syncing;
  }

  private async openOne(record: RunnerRecord): Promise<void> {
    const { joined } = this;
    if (joined === undefined) return;
    const { id, name } = record;
    try {
      const service = await this.options.make(record);
      const one: Open = {
        record,
        service,
        status: service.connectionStatus(),
        listening: vscode.Disposable.from(
          service.onDidChangeStatus((status) => {
            one.status = shownStatus(one.status, status);
            this.changed.fire();
          }),
          service.onProgress((progress) => this.progressed.fire(progress)),
        ),
      };
      this.open.set(id, one);
      await joined.add({ id, name: () => one.record.name, service });
    } catch (thrown) {
      const error = asSallyportError(thrown);
      this.options.log.error(`The runner ${name} could not be opened: ${error.message}`);
      if (this.broken.has(id)) return;
      this.broken.add(id);
      this.options.onProblem(
        new SallyportError(
          error.code,
          `The runner ${name} could not be opened: ${error.message}`,
          error.mend,
        ),
      );
    }
  }
}
