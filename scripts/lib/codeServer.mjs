// VS Code in the browser (code-server), for machines without a desktop and for the tests.
import { spawn } from 'node:child_process';
import { createWriteStream, existsSync, mkdirSync, readFileSync, realpathSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { delimiter, join, resolve } from 'node:path';
import { npmCommand, npmEnvironment, root } from './bootstrap.mjs';
import { ensurePackages } from './engine.mjs';
import { bind, end, run } from './processes.mjs';
import { heartbeat, Refusal, say } from './say.mjs';

const tool = join(root, 'tools', 'code-server');

/** The package folder of code-server, once it is installed. */
export const codeServerFolder = join(tool, 'node_modules', 'code-server');

/**
 * Installs code-server into tools/code-server unless it is there.
 * @param {{ ask?: (question: string) => Promise<boolean> }} [options] asks before Debian packages are installed
 */
export async function ensureCodeServer({ ask } = {}) {
  if (isInstalled()) return;
  const headers = await ensureCompiler(ask);
  say(
    'Installing code-server (VS Code in the browser) into tools/code-server: about 620 MB and two minutes, once.',
  );
  const stop = heartbeat('code-server is being installed and compiled');
  try {
    // No audit or funding talk; the install scripts run, under the Node.js that comes first on the PATH.
    const code = await run(
      [
        ...npmCommand(),
        'ci',
        '--no-audit',
        '--no-fund',
        '--ignore-scripts=false',
        '--foreground-scripts=false',
      ],
      {
        cwd: tool,
        env: { ...npmEnvironment(), ...headers },
        quiet: true,
        log: join(tool, 'install.log'),
      },
    );
    if (code !== 0 || !isInstalled()) {
      throw new Refusal(
        `code-server could not be installed (npm ci in tools/code-server ended with ${code}).`,
        'The log is in tools/code-server/install.log. The compiler needs libkrb5-dev, make, g++ and python3.',
      );
    }
  } finally {
    stop();
  }
}

/**
 * What compiles the native parts of code-server. Resolves to settings for npm that name the headers of a Node.js on this
 * machine: those of another version serve as well, because all of these modules use the stable Node-API, and without
 * them node-gyp asks nodejs.org.
 */
async function ensureCompiler(ask) {
  const headers = () =>
    nodePrefixes().find((prefix) => existsSync(join(prefix, 'include', 'node', 'node_api.h')));
  if (existsSync('/etc/debian_version')) {
    const why = 'code-server compiles native modules while it is installed';
    const names = [
      'libkrb5-dev',
      'make',
      'g++',
      'python3',
      ...(headers() === undefined ? ['libnode-dev'] : []),
    ];
    await ensurePackages(names, { why, ask, log: say });
  } else {
    say(
      'code-server compiles native modules: it needs make, a C++ compiler, Python 3 and the Kerberos headers.',
    );
  }
  const found = process.env.npm_config_nodedir ?? headers();
  return found === undefined ? {} : { npm_config_nodedir: found };
}

/** Where the Node.js that are on the PATH, and the system's, have their files. */
function nodePrefixes() {
  const nodes = (process.env.PATH ?? '').split(delimiter).map((folder) => join(folder, 'node'));
  const found = nodes
    .filter((path) => existsSync(path))
    .map((path) => resolve(realpathSync(path), '..', '..'));
  return [...found, '/usr/local', '/usr'];
}

function isInstalled() {
  try {
    const wanted = JSON.parse(readFileSync(join(tool, 'package.json'), 'utf8')).dependencies['code-server'];
    // npm writes this file last of all.
    const present = JSON.parse(readFileSync(join(tool, 'node_modules', '.package-lock.json'), 'utf8'));
    const vscode = join(codeServerFolder, 'lib', 'vscode', 'node_modules');
    return present.packages['node_modules/code-server']?.version === wanted && existsSync(vscode);
  } catch {
    return false;
  }
}

/** The command line of code-server with folders of its own: nothing of the user's own VS Code is read or written. */
function commandLine(home, args) {
  return [
    process.execPath,
    join(codeServerFolder, 'out', 'node', 'entry.js'),
    ...['--config', join(home, 'config.yaml')],
    ...['--user-data-dir', join(home, 'user-data')],
    ...['--extensions-dir', join(home, 'extensions')],
    ...args,
  ];
}

const presetSettings = {
  'workbench.startupEditor': 'none',
  'workbench.tips.enabled': false,
  'workbench.secondarySideBar.defaultVisibility': 'hidden',
  'chat.disableAIFeatures': true,
  'telemetry.telemetryLevel': 'off',
  'extensions.autoCheckUpdates': false,
  'extensions.autoUpdate': false,
  'extensions.ignoreRecommendations': true,
  'git.autofetch': false,
  'git.openRepositoryInParentFolders': 'never',
};

/** Makes the folders and the first settings; settings that are there are left alone. */
export function presetUserData(userData, more = {}) {
  const path = join(userData, 'User', 'settings.json');
  if (existsSync(path)) return;
  mkdirSync(join(userData, 'User'), { recursive: true, mode: 0o700 });
  writeFileSync(path, `${JSON.stringify({ ...presetSettings, ...more }, undefined, 2)}\n`);
}

/** Installs the packaged extension. */
export async function installExtension(home, vsix) {
  mkdirSync(home, { recursive: true, mode: 0o700 });
  if (!existsSync(join(home, 'config.yaml')))
    writeFileSync(join(home, 'config.yaml'), 'disable-telemetry: true\n');
  presetUserData(join(home, 'user-data'));
  const code = await run(commandLine(home, ['--install-extension', vsix, '--force']), { quiet: true });
  if (code !== 0)
    throw new Refusal(
      'The extension could not be installed into code-server.',
      'What is wrong stands above.',
    );
}

/**
 * Starts code-server on 127.0.0.1 and resolves when it answers.
 * @param {{ home: string, folder: string, port: number, password?: string, trustAll: boolean, env: NodeJS.ProcessEnv }} options
 *   `home` holds its data; without a password whoever reaches the port is let in.
 * @returns {Promise<{ url: string, child: import('node:child_process').ChildProcess, stop: () => Promise<void> }>}
 */
export async function startCodeServer({ home, folder, port, password, trustAll, env }) {
  const log = join(home, 'code-server.log');
  const [command, ...args] = commandLine(home, [
    ...['--auth', password === undefined ? 'none' : 'password'],
    ...['--bind-addr', `127.0.0.1:${port}`],
    '--disable-telemetry',
    '--disable-update-check',
    '--disable-getting-started-override',
    '--disable-proxy',
    ...(trustAll ? ['--disable-workspace-trust'] : []),
    folder,
  ]);
  const child = spawn(command, args, {
    // It takes the password out of its environment as soon as it has read it.
    env: { ...withoutVsCode(env), ...(password === undefined ? {} : { PASSWORD: password }) },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  bind(child);
  const file = createWriteStream(log, { mode: 0o600 });
  child.stdout.pipe(file, { end: false });
  child.stderr.pipe(file, { end: false });
  const origin = `http://127.0.0.1:${port}`;
  for (let tries = 0; ; tries++) {
    if (child.exitCode !== null || tries > 240) {
      await end(child);
      throw new Refusal('code-server did not come up.', `Its log is ${log}.`);
    }
    const answer = await fetch(`${origin}/healthz`).catch(() => undefined);
    if (answer?.ok === true) break;
    await new Promise((done) => setTimeout(done, 250));
  }
  return { url: `${origin}/?folder=${encodeURIComponent(folder)}`, child, stop: () => end(child) };
}

/** Without what a terminal inside VS Code sets: it would make code-server hand the folder to that window. */
function withoutVsCode(env) {
  return Object.fromEntries(
    Object.entries(env).filter(([name]) => !/^(VSCODE_|ELECTRON_|NODE_OPTIONS$)/.test(name)),
  );
}

/** A free port on 127.0.0.1: the preferred one, else any. */
export async function freePort(preferred = 0) {
  const probe = (port) =>
    new Promise((done) => {
      const server = createServer();
      server.once('error', () => done(undefined));
      server.listen(port, '127.0.0.1', () => {
        const { port: found } = server.address();
        server.close(() => done(found));
      });
    });
  return (await probe(preferred)) ?? (await probe(0));
}
