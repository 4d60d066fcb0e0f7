// Installs and starts container engines. Plain Node 18, no dependencies: it runs before anything is installed.
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';

/** How long a started engine may take until it answers, in milliseconds. */
const startTimeout = 60_000;

/** @typedef {{ address: string, kind: 'docker' | 'podman', started: boolean }} FoundEngine */

/**
 * Resolves to an engine that answers. Installs and starts Docker where there is none and that is possible.
 * @param {object} options
 * @param {(question: string) => Promise<boolean>} [options.ask] asks the user on a terminal; without it the log says what is done
 * @param {(line: string) => void} [options.log]
 * @param {boolean} [options.onlyDocker] a Podman that answers does not count
 * @returns {Promise<FoundEngine>}
 */
export async function ensureDocker({ ask, log = () => {}, onlyDocker = false } = {}) {
  const before = await findEngine(onlyDocker);
  if (before.engine) return { ...before.engine, started: false };
  const explicit = process.env.DOCKER_HOST;
  if (explicit && !onlyDocker) {
    throw new Error(`No engine answers at DOCKER_HOST=${explicit}. Start it, or unset DOCKER_HOST.`);
  }
  if (before.forbidden) throw new Error(forbidden(before.forbidden));
  if (!has('dockerd')) {
    if (!isDebianLike()) throw new Error(installHint());
    await ensurePackages(['docker.io', 'iptables'], { why: 'Sandboxes run in a container engine', ask, log });
  } else if (!has('iptables')) {
    await ensurePackages(['iptables'], { why: 'Docker needs it for networks', ask, log });
  }
  const logFile = join(cacheFolder(), 'dockerd.log');
  if (existsSync('/run/systemd/system')) {
    log('Starting Docker.');
    asRoot('systemctl', ['start', 'docker']);
  } else if (privileged()) {
    log(`Starting dockerd in the background; its log is ${logFile}.`);
    forgetDeadDockerd('/var/run/docker.pid');
    const group = process.getgid?.() ? ['--group', String(process.getgid())] : [];
    background([...sudo(), 'dockerd', ...group], logFile, process.env);
  } else {
    throw new Error(
      'Docker is installed but does not run. Start it (as root: dockerd &), then run this again.',
    );
  }
  const engine = await until(async () => (await findEngine(onlyDocker)).engine);
  if (engine) return { ...engine, started: true };
  const { forbidden: path } = await findEngine(onlyDocker);
  throw new Error(
    path ? forbidden(path) : `dockerd does not answer. The end of ${logFile}:\n${tail(logFile)}`,
  );
}

/**
 * Resolves to a Podman service of our own, which speaks the Docker API. For tests and measurements.
 * @param {object} options
 * @param {(line: string) => void} [options.log]
 * @param {string} [options.folder] where socket, settings and log go
 * @returns {Promise<{ address: string, kind: 'podman', started: boolean, pid?: number }>}
 */
export async function ensurePodmanService({ log = () => {}, folder = join(cacheFolder(), 'podman') } = {}) {
  const socket = join(folder, 'podman.sock');
  if (await answers(socket)) return { address: `unix://${socket}`, kind: 'podman', started: false };
  const names = ['podman', 'runc', 'netavark', 'aardvark-dns', 'iptables', 'iproute2'];
  await ensurePackages(names, { why: 'The tests run on Podman too', log });
  mkdirSync(folder, { recursive: true });
  const settings = join(folder, 'containers.conf');
  writeFileSync(settings, podmanSettings());
  const logFile = join(folder, 'podman.log');
  log(`Starting a Podman service in the background; its log is ${logFile}.`);
  const argv = ['podman', 'system', 'service', '--time=0', `unix://${socket}`];
  const pid = background(argv, logFile, { ...process.env, CONTAINERS_CONF: settings });
  if (await until(() => answers(socket)))
    return { address: `unix://${socket}`, kind: 'podman', started: true, pid };
  throw new Error(`Podman does not answer. The end of ${logFile}:\n${tail(logFile)}`);
}

/**
 * Starts a dockerd of its own under `folder`, apart from the machine's. For tests that end an engine.
 * @param {{ folder: string, args?: string[] }} options `args` are further options of dockerd
 * @returns {Promise<{ address: string, kind: 'docker', started: true, pid: number }>}
 */
export async function startPrivateDocker({ folder, args = [] }) {
  mkdirSync(folder, { recursive: true });
  const socket = join(folder, 'docker.sock');
  // After a dockerd that was killed its containerd takes a moment to end, and where nobody collects it dockerd takes it for
  // alive forever.
  const containerd = join(folder, 'exec', 'containerd', 'containerd.pid');
  await until(() => !processRuns(containerd));
  rmSync(containerd, { force: true });
  const logFile = join(folder, 'dockerd.log');
  const roots = ['--data-root', join(folder, 'data'), '--exec-root', join(folder, 'exec')];
  const apart = ['--pidfile', join(folder, 'pid'), '--bridge', 'none', '--iptables=false'];
  // In a network namespace of its own: a dockerd without a bridge removes the bridge of the machine's.
  const argv = ['unshare', '--net', 'dockerd', ...roots, ...apart, ...args, '-H', `unix://${socket}`];
  const pid = background(argv, logFile, process.env);
  if (await until(() => answers(socket)))
    return { address: `unix://${socket}`, kind: 'docker', started: true, pid };
  throw new Error(`dockerd does not answer. The end of ${logFile}:\n${tail(logFile)}`);
}

/**
 * Installs Debian packages that are missing.
 * @param {string[]} names
 * @param {{ why: string, ask?: (question: string) => Promise<boolean>, log?: (line: string) => void }} options
 */
export async function ensurePackages(names, { why, ask, log = () => {} }) {
  const missing = names.filter((name) => !isInstalled(name));
  if (missing.length === 0) return;
  const list = missing.join(' ');
  if (!isDebianLike()) throw new Error(`${why}. Install these, then run this again: ${list}.`);
  if (!privileged()) throw new Error(`${why}. Run this as root, then try again: apt-get install ${list}`);
  if (ask) {
    if (!(await ask(`${why}. Install ${list} with apt-get?`)))
      throw new Error(`${why}. Install ${list} first.`);
  } else {
    log(`${why}. Installing ${list} with apt-get.`);
  }
  const install = ['install', '-y', '--no-install-recommends', '-o', 'DPkg::Lock::Timeout=300', ...missing];
  if (apt(install).status === 0) return;
  apt(['update', '-o', 'DPkg::Lock::Timeout=300']);
  const second = apt(install);
  if (second.status !== 0) throw new Error(`apt-get install ${list} failed:\n${lastLines(second.stderr)}`);
}

function podmanSettings() {
  // Raising limits is not permitted inside another container, and crun refuses hybrid cgroups; the rest is default.
  const cgroupV2 = existsSync('/sys/fs/cgroup/cgroup.controllers');
  const systemd = existsSync('/run/systemd/system');
  return [
    '[containers]',
    'default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]',
    '[network]',
    'network_backend = "netavark"',
    '[engine]',
    ...(cgroupV2 && systemd ? [] : ['runtime = "runc"', 'cgroup_manager = "cgroupfs"']),
    'events_logger = "file"',
    '',
  ].join('\n');
}

/** What answers on the places where an engine listens by custom, and the socket that may not be opened, if any. */
async function findEngine(onlyDocker) {
  let denied;
  for (const address of addresses()) {
    const path = address.replace(/^unix:\/\//, '');
    if (path.startsWith('/') && !existsSync(path)) continue;
    const answer = await ask(path);
    if (answer === 'EACCES') denied ??= path;
    const kind = kindOf(answer);
    if (kind && !(onlyDocker && kind === 'podman')) return { engine: { address, kind } };
  }
  return { forbidden: denied };
}

function addresses() {
  const home = homedir();
  const runtime = process.env.XDG_RUNTIME_DIR;
  const sockets = [
    '/var/run/docker.sock',
    ...(runtime ? [`${runtime}/docker.sock`] : []),
    `${home}/.docker/run/docker.sock`,
    `${home}/.docker/desktop/docker.sock`,
    `${home}/.colima/default/docker.sock`,
    `${home}/.rd/docker.sock`,
    `${home}/.orbstack/run/docker.sock`,
    ...(runtime ? [`${runtime}/podman/podman.sock`] : []),
    '/run/podman/podman.sock',
  ].map((path) => `unix://${path}`);
  if (process.env.DOCKER_HOST) return [process.env.DOCKER_HOST, ...sockets];
  const context = contextAddress();
  return context ? [context, ...sockets] : sockets;
}

/** Where the current Docker context listens, if it is not the default one. */
function contextAddress() {
  try {
    const folder = process.env.DOCKER_CONFIG ?? join(homedir(), '.docker');
    const name =
      process.env.DOCKER_CONTEXT ??
      JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8')).currentContext;
    if (!name || name === 'default') return undefined;
    const id = createHash('sha256').update(name).digest('hex');
    const meta = JSON.parse(readFileSync(join(folder, 'contexts/meta', id, 'meta.json'), 'utf8'));
    return meta.Endpoints?.docker?.Host;
  } catch {
    return undefined;
  }
}

/** Resolves to the text of `GET /version`, or to the code of the error. */
function ask(address) {
  return new Promise((resolve) => {
    const url = /^(tcp|https?):/.test(address) ? new URL(address.replace(/^tcp:/, 'http:')) : undefined;
    if (!url && !address.startsWith('/')) return resolve('unsupported');
    const target = url ? { host: url.hostname, port: url.port } : { socketPath: address };
    const req = request({ ...target, path: '/version', timeout: 5_000 }, (res) => {
      let text = '';
      res.on('data', (chunk) => (text += chunk));
      res.on('end', () => resolve(text));
      res.on('error', () => resolve('error'));
    });
    req.on('timeout', () => req.destroy(new Error('timeout')));
    req.on('error', (error) => resolve(error.code ?? 'error'));
    req.end();
  });
}

function kindOf(answer) {
  try {
    const version = JSON.parse(answer);
    if (!version.ApiVersion) return undefined;
    return (version.Components ?? []).some((part) => /podman/i.test(part.Name)) ? 'podman' : 'docker';
  } catch {
    return undefined;
  }
}

const answers = async (socket) => kindOf(await ask(socket)) !== undefined;

/** Starts a program that outlives this one; its output goes to a file. */
function background([program, ...args], logFile, env) {
  mkdirSync(dirname(logFile), { recursive: true });
  const fd = openSync(logFile, 'w');
  try {
    // An engine leaves files where it runs, and holds on to the folder: Podman's monitor writes one named `oom`.
    const cwd = dirname(logFile);
    const child = spawn(program, args, { cwd, detached: true, stdio: ['ignore', fd, fd], env });
    child.on('error', () => undefined); // Seen as an engine that does not answer.
    child.unref();
    return child.pid;
  } finally {
    closeSync(fd);
  }
}

/** A dockerd that was killed leaves its number, which by now can be another program's; dockerd then refuses to start. */
function forgetDeadDockerd(pidFile) {
  try {
    const pid = readFileSync(pidFile, 'utf8').trim();
    if (existsSync(`/proc/${pid}/comm`) && readFileSync(`/proc/${pid}/comm`, 'utf8').trim() === 'dockerd')
      return;
    rmSync(pidFile);
  } catch {
    // There is none, or it is not ours to remove: dockerd says so itself.
  }
}

function processRuns(pidFile) {
  try {
    const pid = readFileSync(pidFile, 'utf8').trim();
    return !/^\d+ \(.*\) [ZX]/s.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}

/** Tries until there is a value or the time is over. */
async function until(attempt) {
  for (const end = Date.now() + startTimeout; Date.now() < end;) {
    const value = await attempt();
    if (value) return value;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return undefined;
}

function forbidden(path) {
  return (
    `A container engine listens on ${path}, but you may not open that socket. ` +
    'Run: sudo usermod -aG docker "$USER", log out and in again, then run this again.'
  );
}

function installHint() {
  if (process.platform === 'darwin') {
    return 'No container engine is installed. Install Docker Desktop, OrbStack, Colima or Podman Desktop, start it, then run this again.';
  }
  if (process.platform === 'win32') {
    return 'No container engine is installed. Install Docker Desktop (with WSL 2) or Podman Desktop, start it, then run this again.';
  }
  return 'No container engine is installed. Install Docker or Podman with the package manager of your system, start it, then run this again.';
}

function has(program) {
  return [...(process.env.PATH ?? '').split(':'), '/usr/sbin', '/sbin'].some((folder) =>
    existsSync(join(folder, program)),
  );
}

function isInstalled(name) {
  const { stdout } = spawnSync('dpkg-query', ['-W', '-f=${db:Status-Status}', name], { encoding: 'utf8' });
  return stdout === 'installed';
}

const isDebianLike = () =>
  process.platform === 'linux' && existsSync('/etc/debian_version') && has('apt-get');
const isRoot = () => process.getuid?.() === 0;

/** True as root, and where sudo works: asking for the password on a terminal is fine, hanging on it elsewhere is not. */
function privileged() {
  if (isRoot()) return true;
  if (!has('sudo')) return false;
  return process.stdin.isTTY
    ? spawnSync('sudo', ['-v'], { stdio: 'inherit' }).status === 0
    : spawnSync('sudo', ['-n', 'true']).status === 0;
}

const sudo = () => (isRoot() ? [] : ['sudo', '-n']);

function asRoot(program, args, options = {}) {
  const [first, ...rest] = [...sudo(), program, ...args];
  return spawnSync(first, rest, { encoding: 'utf8', ...options });
}

function apt(args) {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  return asRoot('apt-get', ['-q', ...args], { env, maxBuffer: 64 << 20 });
}

function tail(file) {
  try {
    return lastLines(readFileSync(file, 'utf8'));
  } catch {
    return '(nothing)';
  }
}

const lastLines = (text) => text.trimEnd().split('\n').slice(-15).join('\n');

function cacheFolder() {
  return join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'sallyport');
}
