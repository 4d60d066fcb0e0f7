// What `npm start` does once the Node packages are there.
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline/promises';
import { defaultDataRoot } from '../../src/runner/dataFolder.ts';
import { createModelSources } from '../../src/runner/modelSources.ts';
import { root, userEnvironment } from './bootstrap.mjs';
import { ensureBuilt, ensurePackaged, vsix } from './build.mjs';
import { ensureCodeServer, freePort, installExtension, startCodeServer } from './codeServer.mjs';
import { createDemoRepository } from './demoRepository.mjs';
import { desktopCode, openDesktop } from './desktop.mjs';
import { ensureDocker, ensurePackages } from './engine.mjs';
import { ensureImage } from './image.mjs';
import { capture, run } from './processes.mjs';
import { bold, headline, Refusal, say } from './say.mjs';

const preferredPort = 8931;

/** Resolves to the exit code. */
export async function start(options) {
  const ask = process.stdin.isTTY && process.stdout.isTTY && !options.yes ? askOnTerminal : undefined;
  headline('Repository');
  await prepareRepository(options.repo, ask);
  headline('Container engine');
  const engine = await ensureDocker({ ask, log: say });
  say(`${engine.kind === 'podman' ? 'Podman' : 'Docker'} answers at ${engine.address}.`);
  headline('Build');
  await ensureBuilt();
  headline('Sandbox image');
  await ensureImage();
  const env = await modelEnvironment(options.demo);
  if (options.task !== undefined) return await runTask(options, env);
  headline('Extension');
  await ensurePackaged();
  headline('VS Code');
  const code = options.browser ? undefined : await desktopCode();
  const home = join(defaultDataRoot(), code === undefined ? 'code-server' : 'desktop');
  mkdirSync(home, { recursive: true, mode: 0o700 });
  if (code !== undefined) return await openDesktop({ code, home, vsix, repo: options.repo, env });
  return await openInBrowser({ home, options, ask, env });
}

async function prepareRepository(repo, ask) {
  await ensurePackagesForGit(ask);
  if (repo.demonstration) {
    const how = await createDemoRepository(repo.path);
    return say(
      `The demonstration repository ${repo.path} ${how === 'created' ? 'was made' : 'is there and is used as it is'}.`,
    );
  }
  const inside = await capture(['git', 'rev-parse', '--is-inside-work-tree'], { cwd: repo.path }).catch(
    () => '',
  );
  if (inside.trim() !== 'true') {
    throw new Refusal(
      `${repo.path} is in no git repository.`,
      'Name one with --repo, or make one there: git init.',
      2,
    );
  }
  say(`${repo.path}`);
}

async function ensurePackagesForGit(ask) {
  if (await capture(['git', '--version']).catch(() => undefined)) return;
  await ensurePackages(['git'], { why: 'Tasks start from a git repository', ask, log: say });
}

/** The environment in which the extension and the headless runner look for their model. */
async function modelEnvironment(demonstration) {
  headline('Model');
  if (demonstration || process.env.SALLYPORT_DEMONSTRATION === '1') {
    say('The demonstration model answers: a script, no language model.');
    return { ...userEnvironment(), SALLYPORT_DEMONSTRATION: '1' };
  }
  const sources = createModelSources({
    env: process.env,
    homeFolder: homedir(),
    stored: () => Promise.resolve(undefined),
    settings: () => ({ modelSource: 'auto' }),
  });
  try {
    const { label } = await sources.choose(undefined);
    say(`${label} is used. It stays on this side of the sandbox.`);
    return userEnvironment();
  } catch (thrown) {
    if (thrown?.code !== 'no_credentials') {
      say(`${thrown.message} ${thrown.mend ?? ''}`);
      return userEnvironment();
    }
  }
  say('There is no credential for a model: the demonstration model answers, a script, no language model.');
  return { ...userEnvironment(), SALLYPORT_DEMONSTRATION: '1' };
}

async function runTask({ task, repo, snapshot, egress, allow, budget, allowSecrets }, env) {
  headline('Task');
  const demonstration = env.SALLYPORT_DEMONSTRATION === '1' ? ['--demo'] : [];
  const argv = [
    process.execPath,
    join(root, 'dist', 'runner.js'),
    'headless',
    '--repo',
    repo.path,
    '--snapshot',
    snapshot,
    `--egress=${egress}`,
    ...allow.map((rule) => `--allow=${rule}`),
    ...(budget === undefined ? [] : [`--budget=${budget}`]),
    ...(allowSecrets ? ['--allow-secrets'] : []),
  ];
  // The prompt with its option, so that one that begins with a dash is still a prompt.
  return await run([...argv, ...demonstration, `--task=${task}`], { env, cwd: root });
}

async function openInBrowser({ home, options, ask, env }) {
  await ensureCodeServer({ ask });
  await installExtension(home, vsix);
  const port = await freePort(options.port ?? preferredPort);
  if (options.port !== undefined && port !== options.port) {
    throw new Refusal(`Port ${options.port} is in use.`, 'Choose another with --port, or leave it out.');
  }
  const password = options.password ? readPassword(home) : undefined;
  const server = await startCodeServer({
    home,
    folder: options.repo.path,
    port,
    password,
    trustAll: options.repo.demonstration,
    env,
  });
  const stopped = new Promise((done) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(signal, () => done(true));
    server.child.once('exit', () => done(false));
  });
  console.log(`\n  ${bold('VS Code is ready:')} ${bold(server.url)}`);
  if (password !== undefined) console.log(`  ${bold('Password:')}         ${password}`);
  console.log(
    '\n  Open the command palette (F1) and run "Sallyport: New Task". Ctrl+C here ends VS Code; tasks go on.\n',
  );
  if (options.open) openBrowser(server.url);
  const asked = await stopped;
  await server.stop();
  if (asked) {
    console.log('\n  VS Code has ended.');
    return 0;
  }
  throw new Refusal('code-server has ended by itself.', `Its log is ${join(home, 'code-server.log')}.`);
}

/** The same at every start, so that a browser stays logged in; readable for the user only. */
function readPassword(home) {
  const path = join(home, 'password');
  if (!existsSync(path)) writeFileSync(path, randomBytes(12).toString('base64url'), { mode: 0o600 });
  return readFileSync(path, 'utf8').trim();
}

/** Where there is a screen; that it fails does not matter, because the address is on the terminal. */
function openBrowser(url) {
  const opener =
    process.platform === 'darwin'
      ? 'open'
      : process.platform === 'linux' && (process.env.DISPLAY || process.env.WAYLAND_DISPLAY)
        ? 'xdg-open'
        : undefined;
  if (opener !== undefined) void run([opener, url], { log: '/dev/null', quiet: true }).catch(() => undefined);
}

async function askOnTerminal(question) {
  const terminal = createInterface({ input: process.stdin, output: process.stdout });
  try {
    const answer = await terminal.question(`  ${question} [Y/n] `);
    return /^(y|yes|)$/i.test(answer.trim());
  } finally {
    terminal.close();
  }
}
