import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type Docker from 'dockerode';
import { SallyportError } from '../base/errors.ts';
import type { ContainerSpec, EngineInfo } from './engine.ts';
import { engineFailure, messageOf, statusOf } from './failures.ts';
import { createOptions } from './hardening.ts';
import { checkRuntime } from './runtimes.ts';
import { seccompProfile } from './seccomp.ts';

const doing = 'creating a container';

/** Creates containers on one engine, and remembers what it found out about it. */
export class Creator {
  private readonly docker: Docker;
  private readonly info: EngineInfo;
  /** Whether the storage limits a layer: known by trying. */
  private quota: boolean;

  constructor(docker: Docker, info: EngineInfo) {
    this.docker = docker;
    this.info = info;
    this.quota = maybeQuota(info);
  }

  /** Resolves to the id. Errors: `invalid_input` for a runtime that is not there, `sandbox_failed`, those of the engine. */
  async create(spec: ContainerSpec): Promise<string> {
    checkRuntime(this.info, spec.runtime);
    const profile = seccompProfile(spec.syscalls);
    if (!this.info.seccomp) return this.ask(spec, undefined);
    if (this.info.kind === 'docker') return this.ask(spec, profile);
    try {
      return await withFile(profile, (path) => this.ask(spec, pathForEngine(path, process.platform)));
    } catch (thrown) {
      if (!isProfileUnread(thrown)) throw thrown;
      // An engine on another machine. This version may take the text, as Docker does.
      return await this.ask(spec, profile).catch((second: unknown) => {
        throw isProfileUnread(second) ? profileUnread(thrown) : second;
      });
    }
  }

  private async ask(spec: ContainerSpec, seccomp: string | undefined): Promise<string> {
    const { kind } = this.info;
    const { quota } = this;
    try {
      const container = await this.docker.createContainer(createOptions(spec, { kind, seccomp, quota }));
      return container.id;
    } catch (thrown) {
      if (quota && /storage-opt|pquota|quota/i.test(messageOf(thrown))) {
        this.quota = false;
        return await this.ask(spec, seccomp);
      }
      if (isProfileUnread(thrown)) throw thrown;
      throw engineFailure(thrown, doing);
    }
  }
}

/** Only xfs below overlay has quotas for a layer that count what a container itself wrote and nothing else. */
function maybeQuota({ storageDriver, backingFilesystem }: EngineInfo): boolean {
  return storageDriver.startsWith('overlay') && backingFilesystem === 'xfs';
}

/** Podman reads the profile from a file while it creates a container, and not later. */
async function withFile<T>(content: string, use: (path: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'sallyport-seccomp-'));
  try {
    const path = join(folder, 'seccomp.json');
    await writeFile(path, content);
    // Nothing secret, and the engine may run as another user. Only we can write there.
    await chmod(folder, 0o755);
    await chmod(path, 0o644);
    return await use(path);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Podman on Windows runs in a virtual machine that has the drives below /mnt. */
export function pathForEngine(path: string, platform: NodeJS.Platform): string {
  const drive = platform === 'win32' ? /^([A-Za-z]):[\\/](.*)$/.exec(path) : null;
  if (drive === null) return path;
  return `/mnt/${drive[1]?.toLowerCase() ?? ''}/${drive[2]?.replaceAll('\\', '/') ?? ''}`;
}

function isProfileUnread(thrown: unknown): boolean {
  return statusOf(thrown) !== undefined && /opening seccomp profile failed/i.test(messageOf(thrown));
}

function profileUnread(cause: unknown): SallyportError {
  return new SallyportError(
    'sandbox_failed',
    "Podman cannot read Sallyport's seccomp profile: it takes a file, and does not see this machine's files.",
    'Use an engine on this machine, or Docker, which takes the profile over its connection.',
    { cause },
  );
}
