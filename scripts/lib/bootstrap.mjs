// Brings a script up on a machine that has nothing but some Node.js: installs the Node packages when they are missing
// or differ from package-lock.json, then runs the calling script again under the Node.js of the project.
// Imports nothing but Node's own modules, and nothing that Node 18 does not have.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, realpathSync } from 'node:fs';
import { delimiter, dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The root of the project. */
export const root = resolve(fileURLToPath(import.meta.url), '..', '..', '..');

const bin = join(root, 'node_modules', '.bin');
const ownNode = join(root, 'node_modules', 'node', 'bin', process.platform === 'win32' ? 'node.exe' : 'node');

/** A Node.js and an npm that are fetched where the machine's are old. */
const toolchainFolder = join(root, '.cache', 'toolchain');
const toolchain = [
  join(toolchainFolder, 'node_modules', 'node', 'bin', process.platform === 'win32' ? 'node.exe' : 'node'),
  join(toolchainFolder, 'node_modules', 'npm', 'bin', 'npm-cli.js'),
];

/** Resolves only in a process that runs under the project's Node.js, with its packages in place. */
export async function bootstrap() {
  // Where the user stands, also when no npm says so.
  process.env.INIT_CWD ??= process.cwd();
  process.chdir(root);
  const runsOwnNode = () => existsSync(ownNode) && realpathSync(process.execPath) === realpathSync(ownNode);
  if (runsOwnNode() && process.env.SALLYPORT_BOOTSTRAPPED === '1') {
    delete process.env.SALLYPORT_BOOTSTRAPPED;
    return;
  }
  const why = whatDiffers();
  if (why !== undefined) installPackages(why);
  if (!existsSync(ownNode)) {
    stop(
      `The package "node", which brings Node.js 24, has not unpacked itself: ${ownNode} is missing.`,
      'Allow install scripts (npm config set ignore-scripts false), delete node_modules, and start again.',
    );
  }
  await runAgain();
}

/** Says how node_modules differs from package-lock.json, or nothing when it does not. */
function whatDiffers() {
  const wanted = packagesOf(join(root, 'package-lock.json'));
  if (wanted === undefined) stop('package-lock.json cannot be read.', 'Check out the repository again.');
  const present = packagesOf(join(root, 'node_modules', '.package-lock.json'));
  if (present === undefined) return 'they are not installed';
  for (const [path, entry] of Object.entries(wanted)) {
    if (path === '') continue;
    const installed = present[path];
    // What is optional can be meant for another platform.
    if (installed === undefined ? entry.optional !== true : installed.version !== entry.version) {
      return `${path.replace(/^.*node_modules\//, '')} is not what package-lock.json names`;
    }
  }
  return undefined;
}

function packagesOf(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8')).packages;
  } catch {
    return undefined;
  }
}

function installPackages(why) {
  console.log(`Installing the Node.js packages (npm ci), because ${why}.`);
  npm(isOldNode() ? newerNpm() : npmCommand(), ['ci']);
}

/** npm leaves out optional packages that ask for a newer Node.js than the one it runs on itself, without a word. */
function isOldNode() {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  return major < 22 || (major === 22 && minor < 13);
}

/** A newer Node.js with its npm, brought by the old one. */
function newerNpm() {
  const { devDependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const folder = join(root, '.cache', 'toolchain');
  const newNode = join(
    folder,
    'node_modules',
    'node',
    'bin',
    process.platform === 'win32' ? 'node.exe' : 'node',
  );
  const newNpm = join(folder, 'node_modules', 'npm', 'bin', 'npm-cli.js');
  if (!existsSync(newNode) || !existsSync(newNpm)) {
    console.log(
      `Fetching Node.js ${devDependencies.node} first: this one, ${process.versions.node}, is old.`,
    );
    mkdirSync(folder, { recursive: true });
    npm(npmCommand(), ['install', '--prefix', folder, '--no-save', `node@${devDependencies.node}`, 'npm@11']);
  }
  return [newNode, newNpm];
}

/** Runs an npm in the root of the project, with its own Node.js for the scripts of packages. */
function npm([command, ...first], args) {
  const own = npmEnvironment();
  const path = first.length > 0 ? [dirname(command), own.PATH].join(delimiter) : own.PATH;
  const run = spawnSync(command, [...first, ...args, '--no-audit', '--no-fund', '--loglevel=error'], {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
    env: { ...own, PATH: path, NODE_ENV: '' },
    shell: command === 'npm.cmd',
  });
  if (run.error?.code === 'ENOENT')
    stop('npm was not found.', 'Install npm (on Debian: apt-get install npm), and start again.');
  if (run.status !== 0) {
    stop(
      `npm ${args[0]} failed${run.status === null ? '' : ` with exit code ${run.status}`}; its own message is above.`,
      'Check that the npm registry can be reached (npm ping), and start again.',
    );
  }
}

/**
 * How npm is started: ours where the machine's is old, else the one that runs us, else the one on the PATH. Debian's own
 * npm would link native modules against Debian's Node.js, and they would crash in another one.
 */
export function npmCommand() {
  if (toolchain.every((path) => existsSync(path))) return toolchain;
  const running = process.env.npm_execpath;
  if (running !== undefined && /npm-cli\.[cm]?js$/.test(running) && existsSync(running))
    return [process.execPath, running];
  return [process.platform === 'win32' ? 'npm.cmd' : 'npm'];
}

/** What npm tells a script about itself, which would be wrong for another npm. The user's own settings stay. */
const ofRunningNpm =
  /^(npm_(package|lifecycle)_.*|npm_(command|execpath|node_execpath)|npm_config_(user_agent|local_prefix|global_prefix|node_gyp|prefix))$/;

/** An environment without what the npm that runs us has put in: for an npm of ours. */
export function npmEnvironment(env = process.env) {
  const own = Object.fromEntries(Object.entries(env).filter(([name]) => !ofRunningNpm.test(name)));
  // Install scripts of packages call the npm on the PATH themselves.
  const bins = join(toolchainFolder, 'node_modules', '.bin');
  return existsSync(bins) ? { ...own, PATH: [bins, own.PATH].join(delimiter) } : own;
}

/** The environment as the user has it: without what npm and the bootstrap have put in. */
export function userEnvironment() {
  const { INIT_CWD: _, ...own } = npmEnvironment();
  const path = (process.env.PATH ?? '').split(delimiter).filter((folder) => folder !== bin);
  return { ...own, PATH: path.join(delimiter) };
}

/** Runs the calling script under the project's Node.js, and ends as it ends. */
async function runAgain() {
  const env = {
    ...process.env,
    SALLYPORT_BOOTSTRAPPED: '1',
    PATH: [bin, process.env.PATH].join(delimiter),
  };
  const child = spawn(ownNode, [...process.execArgv, ...process.argv.slice(1)], { stdio: 'inherit', env });
  // A terminal sends these to the child itself; all that is left to do here is to outlive it.
  for (const signal of ['SIGINT', 'SIGHUP']) process.on(signal, () => undefined);
  process.on('SIGTERM', () => child.kill('SIGTERM'));
  const code = await new Promise((done) => {
    child.on('error', (error) =>
      stop(`Node.js could not be started: ${error.message}`, 'Delete node_modules, and start again.'),
    );
    child.on('exit', (status, signal) => done(signal === null ? status : 128));
  });
  process.exit(code ?? 1);
}

/** Ends with a sentence on what happened and one on what to do. */
function stop(message, mend) {
  console.error(`${message}\n${mend}`);
  process.exit(1);
}
