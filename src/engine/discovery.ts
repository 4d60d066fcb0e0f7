import { createHash } from 'node:crypto';
import * as z from 'zod/mini';
import { SallyportError } from '../base/errors.ts';

/** How an engine is reached. Certificates are paths, read when the connection is made. */
export type Endpoint =
  | { type: 'socket'; path: string }
  | { type: 'tcp'; host: string; port: number; tls?: { ca: string; cert: string; key: string } }
  | { type: 'ssh'; host: string; port: number; username?: string };

/** A place where an engine may listen. */
export interface Candidate {
  endpoint: Endpoint;
  /** As people write it. */
  address: string;
  /** Where the address comes from, for people. */
  source: string;
  /** Chosen by the user: when it fails nothing else is tried. */
  explicit: boolean;
}

/** What discovery looks at, so that it stays a function of its arguments. */
export interface Surroundings {
  /** The user's setting: a socket path or a URL. */
  setting?: string | undefined;
  env: Readonly<Record<string, string | undefined>>;
  home: string;
  platform: NodeJS.Platform;
  /** Text of a file, or undefined where it cannot be read. */
  read: (path: string) => string | undefined;
}

/** Where an engine may be, best first. Throws `invalid_input` for a choice of the user's that is no address. */
export function candidates(around: Surroundings): Candidate[] {
  const { setting, env } = around;
  if (setting !== undefined && setting.trim() !== '') {
    return [explicit(setting.trim(), 'setting sallyport.engine', environmentTls(env))];
  }
  const host = env['DOCKER_HOST'];
  if (host !== undefined && host !== '') return [explicit(host, 'DOCKER_HOST', environmentTls(env))];
  const context = currentContext(around);
  return context === undefined ? standard(around) : [context];
}

type Tls = { ca: string; cert: string; key: string } | undefined;

function explicit(text: string, source: string, tls: Tls): Candidate {
  return { endpoint: parseAddress(text, source, tls), address: text, source, explicit: true };
}

/** Reads `/path`, `unix://`, `npipe://`, `tcp://`, `http(s)://`, `ssh://`, and `host:port`. */
export function parseAddress(text: string, source: string, tls?: Tls): Endpoint {
  const socket = /^(?:unix|npipe):\/\/(.+)$/.exec(text)?.[1];
  if (socket !== undefined) return { type: 'socket', path: socket };
  if (text.startsWith('/') || text.startsWith('\\\\')) return { type: 'socket', path: text };
  const withScheme = text.includes('://') ? text : `tcp://${text}`;
  const url = URL.canParse(withScheme.replace(/^tcp:/, 'http:'))
    ? new URL(withScheme.replace(/^tcp:/, 'http:'))
    : undefined;
  if (url === undefined || url.hostname === '') throw notAnAddress(text, source);
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
  if (url.protocol === 'ssh:') {
    const username = url.username === '' ? {} : { username: decodeURIComponent(url.username) };
    return { type: 'ssh', host, port: Number(url.port || 22), ...username };
  }
  if (url.protocol !== 'http:' && url.protocol !== 'https:') throw notAnAddress(text, source);
  const port = Number(url.port || (tls === undefined ? 2375 : 2376));
  return { type: 'tcp', host, port, ...(tls === undefined ? {} : { tls }) };
}

function notAnAddress(text: string, source: string): SallyportError {
  return new SallyportError(
    'invalid_input',
    `${JSON.stringify(text)} (${source}) is not the address of a container engine.`,
    'Give a socket path such as /var/run/docker.sock, or a URL with unix://, npipe://, tcp:// or ssh://.',
  );
}

/** The Docker CLI's rule: certificates are used when DOCKER_TLS_VERIFY is set to anything. */
function environmentTls(env: Surroundings['env']): Tls {
  const folder = env['DOCKER_CERT_PATH'];
  if (!env['DOCKER_TLS_VERIFY'] || folder === undefined || folder === '') return undefined;
  return { ca: `${folder}/ca.pem`, cert: `${folder}/cert.pem`, key: `${folder}/key.pem` };
}

const ConfigFile = z.object({ currentContext: z.optional(z.string()) });
const ContextFile = z.object({
  Endpoints: z.object({ docker: z.object({ Host: z.string() }) }),
});

/** The Docker context in use, when it is not the default one. */
function currentContext({ env, home, read }: Surroundings): Candidate | undefined {
  const folder = env['DOCKER_CONFIG'] ?? `${home}/.docker`;
  const config = parseFile(ConfigFile, read(`${folder}/config.json`));
  const name = env['DOCKER_CONTEXT'] ?? config?.currentContext;
  if (name === undefined || name === '' || name === 'default') return undefined;
  const id = createHash('sha256').update(name).digest('hex');
  const source = `Docker context ${name}`;
  const meta = parseFile(ContextFile, read(`${folder}/contexts/meta/${id}/meta.json`));
  if (meta === undefined) {
    throw new SallyportError(
      'invalid_input',
      `The current Docker context, ${JSON.stringify(name)}, does not exist or cannot be read.`,
      'Choose another one with: docker context use default',
    );
  }
  const keys = `${folder}/contexts/tls/${id}/docker`;
  const hasKeys = read(`${keys}/ca.pem`) !== undefined;
  const tls = hasKeys
    ? { ca: `${keys}/ca.pem`, cert: `${keys}/cert.pem`, key: `${keys}/key.pem` }
    : undefined;
  return explicit(meta.Endpoints.docker.Host, source, tls);
}

function parseFile<T>(schema: z.ZodMiniType<T>, text: string | undefined): T | undefined {
  if (text === undefined) return undefined;
  try {
    const result = schema.safeParse(JSON.parse(text));
    return result.success ? result.data : undefined;
  } catch {
    return undefined;
  }
}

/** Where engines listen by custom. Docker comes first, because its sockets also stand for those that take its place. */
function standard({ env, home, platform }: Surroundings): Candidate[] {
  const paths = platform === 'win32' ? windowsPipes : unixSockets(env, home, platform);
  return [...new Set(paths)].map((path) => ({
    endpoint: { type: 'socket', path },
    address: path,
    source: path,
    explicit: false,
  }));
}

/** Paths of sockets that an engine may listen on: by custom, and where the user says so. */
export function engineSockets(
  setting: string | undefined,
  env: Surroundings['env'],
  home: string,
  platform: NodeJS.Platform = process.platform,
): string[] {
  const said = [setting, env['DOCKER_HOST'], env['CONTAINER_HOST']].flatMap((text) =>
    text === undefined || text.trim() === '' ? [] : [text.trim().replace(/^unix:\/\//, '')],
  );
  const containerd = ['/run/containerd/containerd.sock', '/run/crio/crio.sock'];
  return [...said.filter((path) => path.startsWith('/')), ...containerd, ...unixSockets(env, home, platform)];
}

const windowsPipes = [
  '//./pipe/docker_engine',
  '//./pipe/dockerDesktopLinuxEngine',
  '//./pipe/podman-machine-default',
];

function unixSockets(env: Surroundings['env'], home: string, platform: NodeJS.Platform): string[] {
  const runtime = env['XDG_RUNTIME_DIR'];
  const temporary = env['TMPDIR']?.replace(/\/$/, '');
  const machine = `${home}/.local/share/containers/podman/machine`;
  return [
    '/var/run/docker.sock',
    '/run/docker.sock',
    ...(runtime === undefined ? [] : [`${runtime}/docker.sock`]),
    `${home}/.docker/run/docker.sock`,
    `${home}/.docker/desktop/docker.sock`,
    `${home}/.colima/default/docker.sock`,
    `${home}/.rd/docker.sock`,
    `${home}/.orbstack/run/docker.sock`,
    ...(runtime === undefined ? [] : [`${runtime}/podman/podman.sock`]),
    '/run/podman/podman.sock',
    ...(platform === 'darwin'
      ? [
          `${machine}/podman.sock`,
          `${machine}/qemu/podman.sock`,
          ...(temporary === undefined ? [] : [`${temporary}/podman/podman-machine-default-api.sock`]),
        ]
      : []),
  ];
}
