import type { Readable } from 'node:stream';
import { finished } from 'node:stream/promises';
import type Docker from 'dockerode';
import { SallyportError } from '../base/errors.ts';
import type { ByteStream } from '../protocol/runner.ts';
import { ask, dial } from './dial.ts';
import type { Endpoint } from './discovery.ts';
import type {
  ContainerSpec,
  ContainerState,
  Engine,
  EngineInfo,
  EngineTerminal,
  Exec,
  ImageFacts,
  ImageRecipe,
} from './engine.ts';
import { runExec } from './exec.ts';
import { engineFailure, isRemoved, messageOf, statusOf } from './failures.ts';
import { Creator } from './create.ts';
import { buildImage, describeImage, hasImage, imageFacts, pullImage } from './image.ts';
import { openLog } from './logs.ts';
import { accept, ContainerList, Inspection, VolumeList } from './schemas.ts';
import { openTerminal } from './terminal.ts';
import { changedFiles, writtenBytes } from './written.ts';

/** What both engines take for a container's or a volume's name. */
const nameGrammar = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$/;
/** How long a removal that somebody else has begun may take, in milliseconds. */
const removalTimeout = 30_000;

export class DockerEngine implements Engine {
  readonly info: EngineInfo;
  private readonly docker: Docker;
  private readonly creator: Creator;
  /** Ended by `dispose`, and with it every stream. */
  private readonly life = new AbortController();
  /** Log readers that are just coming, by container: its start waits for them. */
  private readonly opening = new Map<string, Set<Promise<unknown>>>();
  private readonly building = new Map<string, Promise<void>>();

  constructor(endpoint: Endpoint, env: Readonly<Record<string, string | undefined>>, info: EngineInfo) {
    this.info = info;
    this.docker = dial(endpoint, env, info.apiVersion);
    this.creator = new Creator(this.docker, info);
  }

  hasImage(tag: string): Promise<boolean> {
    return hasImage(this.docker, tag);
  }

  image(tag: string): Promise<{ createdAt: number; bytes: number } | undefined> {
    return describeImage(this.docker, tag);
  }

  imageFacts(reference: string): Promise<ImageFacts | undefined> {
    return imageFacts(this.docker, reference);
  }

  pull(reference: string, onProgress: (line: string) => void, signal?: AbortSignal): Promise<void> {
    return pullImage(this.docker, reference, onProgress, this.live(signal));
  }

  async ensureImage(
    recipe: ImageRecipe,
    onProgress: (line: string) => void,
    signal?: AbortSignal,
  ): Promise<void> {
    for (let other; (other = this.building.get(recipe.tag)) !== undefined;) {
      onProgress('Waiting for a build of the same image');
      await abortable(other, signal);
    }
    signal?.throwIfAborted();
    if (this.building.has(recipe.tag)) return this.ensureImage(recipe, onProgress, signal);
    const work = (async () => {
      if (!(await this.hasImage(recipe.tag)))
        await buildImage(this.docker, recipe, onProgress, this.live(signal));
    })();
    const settled = work.catch(() => undefined);
    this.building.set(recipe.tag, settled);
    try {
      await work;
    } finally {
      this.building.delete(recipe.tag);
    }
  }

  async createVolume(name: string, labels: Record<string, string>): Promise<void> {
    checkName(name);
    await this.call('creating a volume', () => this.docker.createVolume({ Name: name, Labels: labels }));
  }

  async removeVolume(name: string): Promise<void> {
    checkName(name);
    await this.call('removing a volume', () => this.docker.getVolume(name).remove(), [404]);
  }

  async listVolumes(
    labels: Record<string, string>,
  ): Promise<{ name: string; labels: Record<string, string> }[]> {
    const filters = labelFilter(labels);
    const answer = await this.call('listing volumes', () => this.docker.listVolumes({ filters }));
    const { Volumes } = accept(VolumeList, answer, 'list volumes');
    // Podman takes several labels for alternatives, and would give another task's volumes.
    return (Volumes ?? [])
      .map(({ Name, Labels }) => ({ name: Name, labels: Labels ?? {} }))
      .filter((volume) => Object.entries(labels).every(([name, value]) => volume.labels[name] === value));
  }

  async create(spec: ContainerSpec): Promise<string> {
    checkName(spec.name);
    for (const { name } of spec.volumes) checkName(name);
    return await this.creator.create(spec);
  }

  async start(id: string): Promise<void> {
    await Promise.all([...(this.opening.get(checkName(id)) ?? [])]);
    await this.call('starting a container', () => this.docker.getContainer(id).start(), [304]);
  }

  async pause(id: string): Promise<void> {
    await this.call('pausing a container', async () => {
      try {
        await this.docker.getContainer(checkName(id)).pause();
      } catch (thrown) {
        // It is paused already or has ended, which each engine says in its own words.
        const state = await this.inspect(id);
        if (state?.status === 'running' && state.paused === undefined) throw thrown;
      }
    });
  }

  async unpause(id: string): Promise<void> {
    await this.call('letting a container go on', async () => {
      try {
        await this.docker.getContainer(checkName(id)).unpause();
      } catch (thrown) {
        if ((await this.inspect(id))?.paused === true) throw thrown;
      }
    });
  }

  async stop(id: string, graceSeconds: number): Promise<void> {
    // An engine refuses to stop what never ran, each in its own words.
    const state = await this.inspect(id);
    if (state?.status !== 'running') return;
    const t = Math.max(0, Math.round(graceSeconds));
    if (state.paused === true) {
      // Podman stops nothing that is paused. What is killed first does nothing more when it goes on.
      if (t === 0) await this.kill('stopping a container', id);
      await this.unpause(id);
    }
    await this.call(
      'stopping a container',
      () =>
        this.docker
          .getContainer(id)
          .stop({ t })
          .catch((thrown: unknown) => {
            // Podman's way of saying that somebody started the container again right after it had stopped.
            if (!/refusing to clean up/.test(messageOf(thrown))) throw thrown;
          }),
      [304, 404],
    );
  }

  async remove(id: string): Promise<void> {
    const container = this.docker.getContainer(checkName(id));
    // Podman's forced removal first waits for the container to heed SIGTERM.
    if (this.info.kind === 'podman') {
      await this.kill('removing a container', id);
    }
    await this.call('removing a container', () => container.remove({ force: true, v: true }), [404, 409]);
    for (const end = Date.now() + removalTimeout; await this.isThere(id);) {
      if (Date.now() > end) {
        throw new SallyportError(
          'internal',
          `The container ${id} cannot be removed.`,
          'Look into the log of the engine.',
        );
      }
      await new Promise((resolve) => setTimeout(resolve, 100));
      await this.call('removing a container', () => container.remove({ force: true, v: true }), [404, 409]);
    }
  }

  /** Kills it where it runs. */
  private async kill(doing: string, id: string): Promise<void> {
    const container = this.docker.getContainer(checkName(id));
    await this.call(doing, () => container.kill({ signal: 'SIGKILL' }), [404, 409, 500]);
  }

  /** True until the name is free, which is later than the end of a container that is being removed. */
  private async isThere(id: string): Promise<boolean> {
    try {
      await this.docker.getContainer(id).inspect();
      return true;
    } catch (thrown) {
      if (statusOf(thrown) === 404) return false;
      if (isRemoved(thrown)) return true;
      throw engineFailure(thrown, 'removing a container');
    }
  }

  async inspect(id: string): Promise<ContainerState | undefined> {
    checkName(id);
    const answer: unknown = await this.call(
      'inspecting a container',
      () => this.docker.getContainer(id).inspect(),
      [404],
    );
    return answer === undefined ? undefined : stateOf(accept(Inspection, answer, 'inspect'));
  }

  async written(id: string, signal?: AbortSignal): Promise<number | undefined> {
    checkName(id);
    const live = this.live(signal);
    return await this.call(
      'measuring a container',
      () => writtenBytes(this.docker, this.info, id, live),
      [404],
    );
  }

  async changedFiles(id: string, signal?: AbortSignal): Promise<number | undefined> {
    checkName(id);
    const live = this.live(signal);
    return await this.call("counting a container's files", () => changedFiles(this.docker, id, live), [404]);
  }

  async list(labels: Record<string, string>): Promise<ContainerState[]> {
    const options = { all: true, filters: labelFilter(labels) };
    const answer = await this.call('listing containers', () => this.docker.listContainers(options));
    const found = accept(ContainerList, answer, 'list containers');
    const states = await Promise.all(found.map(({ Id }) => this.inspect(Id)));
    return states.filter((state) => state !== undefined);
  }

  async wait(id: string, signal?: AbortSignal): Promise<void> {
    const live = this.live(signal);
    // Read as a stream, because an engine that is killed ends its answer early, and only a stream shows that.
    while ((await this.inspect(id))?.status === 'running') {
      const path = `/containers/${id}/wait`;
      const answer = await this.call(
        'waiting for a container',
        () => ask(this.docker, 'POST', path, { isStream: true, signal: live }),
        [404],
      );
      if (answer === undefined) return;
      const stream = answer as Readable;
      await finished(stream.resume(), { signal: live }).catch(() => undefined);
      live.throwIfAborted();
    }
  }

  logs(id: string, signal: AbortSignal): ByteStream {
    checkName(id);
    const source = { docker: this.docker, kind: this.info.kind, id, inspect: () => this.inspect(id) };
    const opened = openLog(source, this.live(signal));
    // Whoever reads hears of a failure.
    const settled = opened.catch(() => undefined);
    const openingHere = this.opening.get(id) ?? new Set();
    this.opening.set(id, openingHere.add(settled));
    void settled.then(() => {
      openingHere.delete(settled);
      if (openingHere.size === 0) this.opening.delete(id);
    });
    return (async function* () {
      let log;
      try {
        log = await opened;
      } catch (thrown) {
        if (signal.aborted) return;
        throw engineFailure(thrown, 'reading a log');
      }
      yield* log;
    })();
  }

  exec(id: string, argv: string[], options: Parameters<Engine['exec']>[2] = {}): Promise<Exec> {
    checkName(id);
    const inspect = (): Promise<ContainerState | undefined> => this.inspect(id);
    return runExec(this.docker, id, argv, { ...options, inspect, signal: this.live(options.signal) });
  }

  terminal(id: string, argv: string[], options: Parameters<Engine['terminal']>[2]): Promise<EngineTerminal> {
    checkName(id);
    const inspect = (): Promise<ContainerState | undefined> => this.inspect(id);
    return openTerminal(this.docker, id, argv, { ...options, inspect, signal: this.live(options.signal) });
  }

  dispose(): void {
    this.life.abort();
  }

  private live(signal: AbortSignal | undefined): AbortSignal {
    return signal === undefined ? this.life.signal : AbortSignal.any([this.life.signal, signal]);
  }

  /**
   * Calls the engine; the answers with one of the harmless statuses are no failures, and no values. Where a container may be
   * missing, it may be on its way out as well.
   */
  private async call<T>(
    doing: string,
    action: () => Promise<T>,
    harmless: readonly number[] = [],
  ): Promise<T | undefined> {
    try {
      return await action();
    } catch (thrown) {
      const status = statusOf(thrown);
      if (status !== undefined && harmless.includes(status)) return undefined;
      if (harmless.includes(404) && isRemoved(thrown)) return undefined;
      throw engineFailure(thrown, doing);
    }
  }
}

function checkName(name: string): string {
  if (nameGrammar.test(name)) return name;
  throw new SallyportError(
    'invalid_input',
    `${JSON.stringify(name)} is not a name of a container or a volume.`,
    'Report this; such names are made by Sallyport itself.',
  );
}

function labelFilter(labels: Record<string, string>): { label: string[] } {
  return { label: Object.entries(labels).map(([name, value]) => `${name}=${value}`) };
}

/** The engines' many states are three for us: not yet, now, no more. */
function stateOf({ Id, Name, Config, State }: Inspection): ContainerState {
  const before = /^(created|configured|initialized)$/.test(State.Status);
  const now = State.Running || /^(running|paused|restarting|stopping)$/.test(State.Status);
  const status = now ? 'running' : before ? 'created' : 'exited';
  return {
    id: Id,
    name: Name.replace(/^\//, ''),
    labels: Config.Labels ?? {},
    status,
    ...(State.Status === 'paused' ? { paused: true } : {}),
    ...(status === 'exited' ? { exitCode: State.ExitCode } : {}),
    oomKilled: State.OOMKilled ?? false,
  };
}

/** Waits, but no longer than the signal. */
async function abortable(work: Promise<unknown>, signal: AbortSignal | undefined): Promise<void> {
  if (signal === undefined) {
    await work;
    return;
  }
  signal.throwIfAborted();
  let onAbort: (() => void) | undefined;
  const aborted = new Promise<void>((resolve) => {
    onAbort = () => resolve();
    signal.addEventListener('abort', onAbort, { once: true });
  });
  await Promise.race([work, aborted]);
  if (onAbort !== undefined) signal.removeEventListener('abort', onAbort);
  signal.throwIfAborted();
}
