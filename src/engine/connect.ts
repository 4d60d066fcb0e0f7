import { accessSync, constants, existsSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';
import type { SallyportError } from '../base/errors.ts';
import type { Candidate } from './discovery.ts';
import { candidates } from './discovery.ts';
import type { Engine, EngineInfo } from './engine.ts';
import { codeOf, messageOf, statusOf } from './failures.ts';
import { absent, failureOf, notRunning, unsupported } from './connectFailures.ts';
import { abilities } from './abilities.ts';
import { accept, Info, Version } from './schemas.ts';

export interface ConnectOptions {
  /** Socket path or URL of the user's choice. */
  setting?: string | undefined;
  env?: Readonly<Record<string, string | undefined>>;
  home?: string;
  platform?: NodeJS.Platform;
}

/** The oldest API that has what is used; Docker 19.03. */
const oldestApi = '1.40';
/** The newest API that this was written for; a newer engine is asked to speak it. */
const newestApi = '1.47';
/** How long an engine may take for its first answer, in milliseconds. */
const probeTimeout = 10_000;

/**
 * Finds an engine and connects to it. A choice of the user's (setting, DOCKER_HOST, Docker context) is tried alone.
 * Errors: engine_absent, engine_not_running, engine_forbidden, engine_unsupported, invalid_input.
 */
export async function connectEngine(options: ConnectOptions = {}): Promise<Engine> {
  const around = surroundings(options);
  let worst: SallyportError | undefined;
  for (const candidate of candidates(around)) {
    if (!candidate.explicit && !maybeThere(candidate)) continue;
    try {
      const info = await probe(candidate, around.env);
      // Loaded here, because dockerode is large and most sessions of the editor start no task.
      const { DockerEngine } = await import('./client.ts');
      return new DockerEngine(candidate.endpoint, around.env, info);
    } catch (thrown) {
      const failure = failureOf(thrown, candidate, around.platform);
      if (candidate.explicit) throw failure;
      if (worst === undefined || rank(failure) > rank(worst)) worst = failure;
    }
  }
  throw worst ?? missing(around.env, around.platform);
}

/** What the doctor shows: every place that is looked at, and what is there. */
export async function describeCandidates(
  options: ConnectOptions = {},
): Promise<{ address: string; source: string; result: EngineInfo | SallyportError | 'nothing there' }[]> {
  const around = surroundings(options);
  return Promise.all(
    candidates(around).map(async (candidate) => {
      const { address, source } = candidate;
      if (!candidate.explicit && !maybeThere(candidate))
        return { address, source, result: 'nothing there' as const };
      try {
        return { address, source, result: await probe(candidate, around.env) };
      } catch (thrown) {
        return { address, source, result: failureOf(thrown, candidate, around.platform) };
      }
    }),
  );
}

function surroundings({
  setting,
  env = process.env,
  home = homedir(),
  platform = process.platform,
}: ConnectOptions) {
  const read = (path: string): string | undefined => {
    try {
      return readFileSync(path, 'utf8');
    } catch {
      return undefined;
    }
  };
  return { setting, env, home, platform, read };
}

async function probe(
  candidate: Candidate,
  env: Readonly<Record<string, string | undefined>>,
): Promise<EngineInfo> {
  const { ask, dial } = await import('./dial.ts');
  const docker = dial(candidate.endpoint, env);
  const signal = AbortSignal.timeout(probeTimeout);
  let version;
  try {
    version = accept(Version, await ask(docker, 'GET', '/version', { signal }), 'version');
  } catch (thrown) {
    if (statusOf(thrown) === undefined) throw thrown;
    throw unsupported(`What answers at ${candidate.address} is not a container engine: ${messageOf(thrown)}`);
  }
  const podman = version.Components?.some((part) => /podman/i.test(part.Name)) ?? false;
  const name = `${podman ? 'Podman' : 'Docker'} ${version.Version}`;
  if (compareVersions(version.ApiVersion, oldestApi) < 0) {
    throw unsupported(`${name} at ${candidate.address} is too old: its API is ${version.ApiVersion}.`);
  }
  const info = accept(Info, await ask(docker, 'GET', '/info', { signal }), 'info');
  if (info.OSType === 'windows') {
    throw unsupported(
      `${name} at ${candidate.address} runs Windows containers.`,
      'Switch Docker Desktop to Linux containers.',
    );
  }
  return {
    kind: podman ? 'podman' : 'docker',
    version: version.Version,
    apiVersion: compareVersions(version.ApiVersion, newestApi) > 0 ? newestApi : version.ApiVersion,
    platform: `${version.Os ?? 'linux'}/${version.Arch ?? 'amd64'}`,
    address: candidate.address,
    source: candidate.source,
    ...abilities(info, podman),
  };
}

/** Compares "1.41" and "1.5" by their numbers. */
export function compareVersions(a: string, b: string): number {
  const [x, y] = [a, b].map((text) => text.split('.').map(Number));
  return (x?.[0] ?? 0) - (y?.[0] ?? 0) || (x?.[1] ?? 0) - (y?.[1] ?? 0);
}

/** Which failure of several says most about what the user can do. */
function rank(failure: SallyportError): number {
  return ['engine_absent', 'engine_not_running', 'engine_unsupported', 'engine_forbidden'].indexOf(
    failure.code,
  );
}

/** A folder that may not be searched hides its sockets: such a candidate is tried, and says so. */
function maybeThere({ endpoint }: Candidate): boolean {
  if (endpoint.type !== 'socket') return true;
  if (existsSync(endpoint.path)) return true;
  try {
    accessSync(endpoint.path, constants.F_OK);
    return true;
  } catch (thrown) {
    return codeOf(thrown) === 'EACCES' && !endpoint.path.startsWith('/run/podman/');
  }
}

function missing(
  env: Readonly<Record<string, string | undefined>>,
  platform: NodeJS.Platform,
): SallyportError {
  const folders = (env['PATH'] ?? '').split(delimiter).filter((folder) => folder !== '');
  const system = platform === 'win32' ? [] : ['/usr/sbin', '/usr/local/bin', '/opt/homebrew/bin'];
  const installed = ['docker', 'dockerd', 'podman'].filter((program) =>
    [...folders, ...system].some((folder) =>
      ['', ...(platform === 'win32' ? ['.exe'] : [])].some((end) => existsSync(join(folder, program + end))),
    ),
  );
  // The docker command alone is only a client.
  const engine = platform === 'linux' ? installed.find((program) => program !== 'docker') : installed[0];
  return engine === undefined
    ? absent(platform)
    : notRunning(engine === 'podman' ? 'Podman' : 'Docker', platform);
}
