// Runs the host suite: VS Code's own server out of code-server, which starts a real extension host, and a browser that
// opens the workbench and, with it, the tests. The suite has the contract of @vscode/test-electron.
import { spawn } from 'node:child_process';
import { createWriteStream, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { format } from 'node:util';
import { chromium } from 'playwright-core';
import { root } from './bootstrap.mjs';
import { buildHostSuite, hostSuite } from './build.mjs';
import { chromiumArguments, ensureChromium } from './chromium.mjs';
import { codeServerFolder, ensureCodeServer, freePort, presetUserData } from './codeServer.mjs';
import { createDemoRepository } from './demoRepository.mjs';
import { bind, end } from './processes.mjs';
import { dim, Refusal, say } from './say.mjs';

/** The suite says this first (test/host/index.ts); what the page says before is no concern of it. */
const firstLine = 'Running in VS Code';

const log = join(root, 'out', 'host-tests.log');

/**
 * Resolves to the exit code of the suite. The repository that is open is a fresh demonstration repository.
 * @param {{ counts?: string, limitMs?: number }} options
 */
export async function runHostTests({ counts, limitMs = 12 * 60_000 }) {
  await buildHostSuite();
  const env = counts === undefined ? {} : { SALLYPORT_TEST_COUNTS: counts };
  return await inExtensionHost({ suite: hostSuite, env, limitMs });
}

/**
 * Runs a suite, a CommonJS file that exports `run`, and resolves to its exit code. Everything of it is fresh and its own.
 * @param {{ suite: string, env?: Record<string, string>, limitMs: number,
 *   onPage?: (page: import('playwright-core').Page) => void }} options `onPage` gets the workbench before it is opened
 */
export async function inExtensionHost({ suite, env = {}, limitMs, onPage }) {
  await ensureCodeServer();
  const executablePath = await ensureChromium();
  const home = mkdtempSync(join(tmpdir(), 'sallyport-host-'));
  const folder = join(home, 'demo');
  await createDemoRepository(folder);
  const port = await freePort();
  const server = await startServer({ home, port, env });
  let browser;
  try {
    await answering(port, server);
    browser = await chromium.launch({ executablePath, args: chromiumArguments });
    return await watch(browser, address(port, folder, suite), limitMs, onPage);
  } catch (thrown) {
    throw new Refusal(
      `The suite in the extension host could not be run: ${thrown.message}`,
      `The log of the server and the page is ${log}.`,
    );
  } finally {
    await browser?.close();
    await end(server);
    rmSync(home, { recursive: true, force: true, maxRetries: 10, retryDelay: 200 });
  }
}

async function startServer({ home, port, env }) {
  const userData = join(home, 'user-data');
  // A save is one that a test makes.
  presetUserData(userData, { 'files.autoSave': 'off' });
  mkdirSync(join(root, 'out'), { recursive: true });
  const child = spawn(
    process.execPath,
    [
      join(codeServerFolder, 'lib', 'vscode', 'out', 'server-main.js'),
      ...['--host', '127.0.0.1', '--port', String(port)],
      '--without-connection-token',
      '--accept-server-license-terms',
      // Without it the page leaves the tests out, and says nothing.
      '--enable-smoke-test-driver',
      ...['--telemetry-level', 'off'],
      '--disable-workspace-trust',
      ...['--user-data-dir', userData],
      ...['--server-data-dir', join(home, 'server-data')],
      ...['--extensions-dir', join(home, 'extensions')],
    ],
    {
      cwd: home,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        ...process.env,
        // The tests, and the extension under test, keep their data here.
        SALLYPORT_HOME: join(home, 'sallyport'),
        FORCE_COLOR: process.stdout.isTTY ? '1' : '0',
        ...env,
      },
    },
  );
  bind(child);
  const file = createWriteStream(log);
  for (const stream of [child.stdout, child.stderr]) stream.pipe(file, { end: false });
  return child;
}

async function answering(port, server) {
  for (let tries = 0; tries < 240; tries++) {
    if (server.exitCode !== null) throw new Error(`the server ended with exit code ${server.exitCode}`);
    if (await fetch(`http://127.0.0.1:${port}/version`).catch(() => undefined)) return;
    await new Promise((done) => setTimeout(done, 250));
  }
  throw new Error('the server did not answer within a minute');
}

function address(port, folder, suite) {
  const remote = (path) => `vscode-remote://127.0.0.1:${port}${path}`;
  const payload = [
    ['extensionDevelopmentPath', remote(root)],
    ['extensionTestsPath', remote(suite)],
    ['skipWelcome', 'true'],
  ];
  const query = new URLSearchParams({ folder, payload: JSON.stringify(payload) });
  return `http://127.0.0.1:${port}/?${query}`;
}

/** Opens the workbench, hands on what the suite prints, and resolves to its exit code. */
async function watch(browser, url, limitMs, onPage) {
  const page = await browser.newPage({ viewport: { width: 1440, height: 900 } });
  onPage?.(page);
  const console_ = [];
  page.on('console', (message) => console_.push(`[${message.type()}] ${message.text()}`));
  page.on('pageerror', (error) => console_.push(`[page error] ${error.message}`));
  let timer;
  try {
    const exit = new Promise((done) => void page.exposeFunction('codeAutomationExit', done));
    await page.exposeFunction('codeAutomationLog', printer());
    const late = new Promise((done) => (timer = setTimeout(() => done('late'), limitMs)));
    await page.goto(url);
    const code = await Promise.race([exit, late]);
    if (code === 0) return 0;
    await keepTrace(page, console_);
    if (code === 'late') throw new Error(`no end within ${Math.round(limitMs / 60_000)} minutes`);
    return typeof code === 'number' ? code : 1;
  } finally {
    clearTimeout(timer);
  }
}

/** Hands on what console.log got in the extension host, from the line on with which the suite begins. */
function printer() {
  let begun = false;
  return (type, args) => {
    const text = format(...args);
    begun ||= text.startsWith(firstLine);
    if (begun) (type === 'error' ? process.stderr : process.stdout).write(`${text}\n`);
  };
}

/** For whoever looks at a failure: a picture of the workbench and what its console said. */
async function keepTrace(page, lines) {
  const picture = join(root, 'out', 'host-tests.png');
  await page.screenshot({ path: picture }).catch(() => undefined);
  createWriteStream(log, { flags: 'a' }).end(`\n--- console of the page ---\n${lines.join('\n')}\n`);
  say(dim(`A picture of the workbench is ${picture}, the logs are in ${log}.`));
}
