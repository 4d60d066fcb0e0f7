import { git, type GitResult } from './process.ts';
import type { Repository } from './repository.ts';

/** Of the environment that Sallyport was started in: how the user's git, and its ssh, are set up. */
export type HostEnvironment = Readonly<Record<string, string | undefined>>;

export interface HostGitOptions {
  env?: HostEnvironment;
  /** Further variables of git's own. */
  set?: Record<string, string | undefined>;
  config?: readonly (readonly [key: string, value: string])[];
  signal?: AbortSignal | undefined;
  timeoutMs?: number;
  okCodes?: readonly number[];
  maxBytes?: number;
  onStderr?: (text: string) => void;
}

/** What says how the user's git reaches a server. Nothing that points at a repository, or switches a check off. */
const passedOn = [
  'GIT_CONFIG_GLOBAL',
  'GIT_CONFIG_SYSTEM',
  'GIT_CONFIG_NOSYSTEM',
  'GIT_SSH',
  'GIT_SSH_COMMAND',
  'GIT_SSH_VARIANT',
  'GIT_SSL_CAINFO',
  'GIT_SSL_CAPATH',
  'GIT_SSL_CERT',
  'GIT_SSL_KEY',
  'GIT_PROXY_SSL_CAINFO',
];

/**
 * On the command line's level, which wins over what a repository says: no hook, no other branch or tag than the one that is
 * named, no submodule, no redirect (a password would be asked for by whoever it leads to), no program of a repository's in
 * place of git's own.
 */
const fixedConfig: readonly (readonly [string, string])[] = [
  ['core.hooksPath', '/dev/null'],
  ['push.followTags', 'false'],
  ['push.recurseSubmodules', 'no'],
  ['submodule.recurse', 'false'],
  ['push.autoSetupRemote', 'false'],
  ['http.followRedirects', 'false'],
  ['advice.pushUpdateRejected', 'false'],
  ['color.ui', 'false'],
];

/** Protocols of git's own; a remote helper is none of them. */
const protocols = 'https:http:ssh:file';

/**
 * Runs git in the user's repository with the user's configuration and credentials. Nothing of it asks on a terminal; what asks
 * in a window of its own (a credential manager, VS Code's git) may.
 */
export async function hostGit(
  args: readonly string[],
  repository: Pick<Repository, 'gitDir' | 'workTree'>,
  options: HostGitOptions = {},
): Promise<GitResult> {
  const { env = process.env, set, config = [], signal, timeoutMs, okCodes, maxBytes, onStderr } = options;
  return await git(args, {
    mode: 'user',
    cwd: repository.workTree,
    gitDir: repository.gitDir,
    env: { ...hostVariables(env), ...set },
    config: [...fixedConfig, ...config],
    signal,
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
    ...(okCodes === undefined ? {} : { okCodes }),
    ...(maxBytes === undefined ? {} : { maxBytes }),
    ...(onStderr === undefined ? {} : { onStderr }),
  });
}

/** What git gets of the environment besides what every process of ours does. Pure. */
export function hostVariables(env: HostEnvironment): Record<string, string | undefined> {
  const taken = Object.fromEntries(
    passedOn.flatMap((name) => (env[name] === undefined ? [] : [[name, env[name]]])),
  );
  // VS Code's git extension asks in the window, as long as it listens.
  const asks = env.VSCODE_GIT_ASKPASS_MAIN !== undefined && env.VSCODE_GIT_IPC_HANDLE !== undefined;
  const window = env.SSH_ASKPASS !== undefined && (env.DISPLAY ?? env.WAYLAND_DISPLAY) !== undefined;
  return {
    ...taken,
    ...(asks && env.GIT_ASKPASS !== undefined ? { GIT_ASKPASS: env.GIT_ASKPASS } : {}),
    ...(asks || window ? {} : { SSH_ASKPASS_REQUIRE: 'never' }),
    GIT_ALLOW_PROTOCOL: protocols,
  };
}

/** True where ssh may ask the user in a window. Pure. */
export function sshMayAsk(env: HostEnvironment): boolean {
  return hostVariables(env).SSH_ASKPASS_REQUIRE === undefined;
}

/**
 * The command of the user's ssh, made to fail rather than to ask where nobody would see the question. Undefined for one that
 * is no OpenSSH, or that takes no option: then it is left as it is.
 * @param configured `core.sshCommand`
 */
export function sshCommand(env: HostEnvironment, configured: string | undefined): string | undefined {
  if (env.GIT_SSH_COMMAND === undefined && env.GIT_SSH !== undefined) return undefined;
  const command = env.GIT_SSH_COMMAND ?? configured ?? 'ssh';
  const [program = ''] = command.trim().split(/\s+/, 1);
  if (!/^(?:.*[\\/])?ssh(?:\.exe)?$/.test(program.replace(/^["']|["']$/g, ''))) return undefined;
  return `${command} -o BatchMode=yes -o ConnectTimeout=20`;
}
