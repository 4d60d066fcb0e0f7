import { chromiumArguments } from '../../scripts/lib/chromium.mjs';
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream, existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { type Browser, chromium, type FrameLocator, type Locator, type Page } from 'playwright-core';

const run = promisify(execFile);
const root = resolve(import.meta.dirname, '..', '..');
const entry = join(root, 'tools', 'code-server', 'node_modules', 'code-server', 'out', 'node', 'entry.js');
const screenshots = join(root, 'out', 'screenshots');

export const viewport = { width: 1440, height: 900 };

/** A machine's user in a folder: home, VS Code's data, Sallyport's data, a fresh demonstration repository. */
export interface Household {
  root: string;
  repository: string;
  /** Sallyport's data folder. */
  data: string;
  remove(): Promise<void>;
}

/** @param more settings of this user's, also such as only a machine can have */
export async function makeHousehold(more: Readonly<Record<string, unknown>> = {}): Promise<Household> {
  const folder = await mkdtemp(join(tmpdir(), 'sallyport-journey-'));
  const repository = join(folder, 'demo');
  await run(process.execPath, [join(root, 'scripts', 'demoRepository.mjs'), repository]);
  await mkdir(join(folder, 'home'));
  await mkdir(join(folder, 'user-data', 'User'), { recursive: true });
  await writeFile(join(folder, 'config.yaml'), '');
  await mkdir(join(folder, 'user-data', 'Machine'), { recursive: true });
  await writeFile(
    join(folder, 'user-data', 'User', 'settings.json'),
    JSON.stringify({ ...settings, ...more }),
  );
  await writeFile(join(folder, 'user-data', 'Machine', 'settings.json'), JSON.stringify(more));
  return {
    root: folder,
    repository,
    data: join(folder, 'data'),
    remove: () => rm(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 250 }),
  };
}

const settings = {
  'workbench.startupEditor': 'none',
  'workbench.tips.enabled': false,
  'workbench.secondarySideBar.defaultVisibility': 'hidden',
  'chat.disableAIFeatures': true,
  'telemetry.telemetryLevel': 'off',
  'extensions.autoCheckUpdates': false,
  'extensions.autoUpdate': false,
  // VS Code's own git view refreshes the index, and the journeys compare it byte for byte.
  'git.enabled': false,
};

/** VS Code's server with the packaged extension, as a user has it. */
export class CodeServer {
  readonly url: string;
  readonly household: Household;
  private readonly child: ChildProcess;

  private constructor(household: Household, url: string, child: ChildProcess) {
    this.household = household;
    this.url = url;
    this.child = child;
  }

  /** @param env is added to the environment of the extension host; undefined takes a variable out */
  static async start(
    household: Household,
    env: Readonly<Record<string, string | undefined>>,
  ): Promise<CodeServer> {
    const folders = [
      ...['--config', join(household.root, 'config.yaml')],
      ...['--user-data-dir', join(household.root, 'user-data')],
      ...['--extensions-dir', join(household.root, 'extensions')],
    ];
    const environment = {
      ...process.env,
      HOME: join(household.root, 'home'),
      XDG_DATA_HOME: undefined,
      XDG_CONFIG_HOME: undefined,
      SALLYPORT_HOME: household.data,
      DOCKER_HOST: process.env['SALLYPORT_TEST_DOCKER'] ?? process.env['DOCKER_HOST'],
      ...noCredentials,
      ...env,
    };
    if (!existsSync(join(household.root, 'extensions', 'extensions.json'))) {
      const vsix = join(root, 'out', 'sallyport.vsix');
      await run(process.execPath, [entry, ...folders, '--install-extension', vsix], { env: environment });
    }
    const port = await freePort();
    const args = [
      ...folders,
      ...['--auth', 'none', '--bind-addr', `127.0.0.1:${port}`],
      ...['--disable-telemetry', '--disable-update-check', '--disable-workspace-trust'],
      household.repository,
    ];
    const child = spawn(process.execPath, [entry, ...args], {
      env: environment,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const log = createWriteStream(join(household.root, 'code-server.log'), { flags: 'a' });
    child.stdout.pipe(log, { end: false });
    child.stderr.pipe(log, { end: false });
    const origin = `http://127.0.0.1:${port}`;
    await until('code-server answers', 90_000, async () => {
      if (child.exitCode !== null) throw new Error(`code-server ended with exit code ${child.exitCode}`);
      const answer = await fetch(`${origin}/healthz`).catch(() => undefined);
      return answer?.ok === true;
    });
    return new CodeServer(household, `${origin}/?folder=${encodeURIComponent(household.repository)}`, child);
  }

  /** The extension hosts that this server runs. */
  extensionHosts(): number[] {
    return descendants(this.child.pid ?? 0).filter((pid) => commandOf(pid).includes('--type=extensionHost'));
  }

  async stop(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const family = descendants(this.child.pid ?? 0);
    const gone = once(this.child, 'exit');
    this.child.kill('SIGTERM');
    const timer = setTimeout(() => this.child.kill('SIGKILL'), 5000);
    await gone;
    clearTimeout(timer);
    // An extension host waits hours for its window to come back.
    for (const pid of family) {
      if (commandOf(pid).includes('code-server')) kill(pid);
    }
  }
}

const noCredentials = {
  ANTHROPIC_API_KEY: undefined,
  ANTHROPIC_AUTH_TOKEN: undefined,
  CLAUDE_CODE_OAUTH_TOKEN: undefined,
  ANTHROPIC_BASE_URL: undefined,
  SALLYPORT_DEMONSTRATION: undefined,
};

export async function launchBrowser(): Promise<Browser> {
  const places = [process.env['SALLYPORT_CHROMIUM'], '/usr/bin/chromium', '/usr/bin/google-chrome'];
  const executablePath = places.find((path) => path !== undefined && existsSync(path));
  if (executablePath === undefined) throw new Error('No Chromium was found: npm test installs it.');
  return chromium.launch({
    executablePath,
    args: [...chromiumArguments],
  });
}

/** The workbench in a page of a browser, with what a user does in it. */
export class Workbench {
  readonly page: Page;
  /** What the page's console said, for a failure. */
  readonly console: string[] = [];

  private constructor(page: Page) {
    this.page = page;
    page.on('console', (message) => this.console.push(`[${message.type()}] ${message.text()}`));
    page.on('pageerror', (error) => this.console.push(`[page error] ${error.message}`));
  }

  static async open(browser: Browser, url: string): Promise<Workbench> {
    const context = await browser.newContext({
      viewport,
      permissions: ['clipboard-read', 'clipboard-write'],
    });
    // Matters only in failure: a busy machine is slow.
    context.setDefaultTimeout(90_000);
    const workbench = new Workbench(await context.newPage());
    await workbench.page.goto(url);
    await workbench.ready();
    return workbench;
  }

  /** The workbench is drawn, and our view container is in its activity bar: extensions are known. */
  async ready(): Promise<void> {
    await this.page.locator('.monaco-workbench').waitFor({ timeout: 90_000 });
    await this.page.locator('.activitybar [aria-label^="Sallyport"]').first().waitFor({ timeout: 90_000 });
  }

  async reload(): Promise<void> {
    await this.page.reload();
    await this.ready();
  }

  get input(): Locator {
    return this.page
      .locator(
        '.quick-input-widget:visible input[type="text"], .quick-input-widget:visible input:not([type])',
      )
      .first();
  }

  /** Runs a command by its title from the palette. */
  async command(title: string): Promise<void> {
    await this.page.keyboard.press('F1');
    await this.input.waitFor();
    await this.input.fill(`>${title}`);
    await this.choice(title).waitFor();
    await this.page.keyboard.press('Enter');
  }

  /** A chord that begins with Ctrl+K. */
  async chord(second: string): Promise<void> {
    await this.page.keyboard.press('Control+KeyK');
    await this.page.locator('.statusbar').getByText('Waiting for second key').waitFor();
    await this.page.keyboard.press(second);
  }

  /** A line of the quick pick that is open. */
  choice(text: string): Locator {
    return this.page.locator('.quick-input-list .monaco-list-row').filter({ hasText: text }).first();
  }

  /** The input box with this title. */
  async type(title: string, text: string): Promise<void> {
    await this.page.locator('.quick-input-widget .quick-input-title', { hasText: title }).waitFor();
    await this.input.fill(text);
    await this.page.keyboard.press('Enter');
  }

  /** A notification that holds this text. */
  toast(text: string | RegExp): Locator {
    return this.page.locator('.notifications-toasts .notification-toast').filter({ hasText: text }).first();
  }

  /** The button of a question that stands before everything else. */
  dialogButton(label: string): Locator {
    return this.page.locator('.monaco-dialog-box').getByRole('button', { name: label });
  }

  toasts(): Promise<string[]> {
    return this.page.locator('.notifications-toasts .notification-list-item-message').allInnerTexts();
  }

  /** The editor tab with this text in its title. */
  tab(text: string | RegExp): Locator {
    return this.page.locator('.tabs-container .tab').filter({ hasText: text }).first();
  }

  /** The content of the webview that is in front. */
  webview(): FrameLocator {
    return this.page.frameLocator('iframe.webview.ready:visible').frameLocator('#active-frame');
  }

  /** The Sallyport view in the side bar. */
  async showTasks(): Promise<Locator> {
    const tree = this.page.locator('.sidebar').filter({ hasText: 'Sallyport' });
    if (!(await tree.isVisible()))
      await this.page.locator('.activitybar [aria-label^="Sallyport"]').first().click();
    await tree.waitFor();
    return tree;
  }

  /** Writes what is on the screen to out/screenshots/NAME.png. */
  async screenshot(name: string): Promise<void> {
    await mkdir(screenshots, { recursive: true });
    // VS Code fades its parts in.
    await new Promise((done) => setTimeout(done, 400));
    await this.page.screenshot({ path: join(screenshots, `${name}.png`) });
  }

  async close(): Promise<void> {
    await this.page.context().close();
  }
}

/** Shows how the workbench stood when a test failed: a picture, and its last words. */
export async function tellFailure({ title }: { title: string }, workbench: Workbench): Promise<void> {
  await workbench.screenshot(`failed-${(title.match(/\w+/g) ?? []).join('-')}`);
  console.log(workbench.console.slice(-30).join('\n'));
  console.log(`toasts: ${JSON.stringify(await workbench.toasts())}`);
}

/** Asks again until the answer is true or something, or fails after `ms` milliseconds. */
export async function until<T>(what: string, ms: number, ask: () => Promise<T> | T): Promise<NonNullable<T>> {
  for (const end = Date.now() + ms; Date.now() < end;) {
    const answer = await ask();
    if (answer !== undefined && answer !== null && answer !== false) return answer;
    await new Promise((done) => setTimeout(done, 100));
  }
  throw new Error(`Not within ${ms / 1000} s: ${what}`);
}

async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  return port;
}

/** All processes below this one, on Linux. */
function descendants(pid: number): number[] {
  const children = new Map<number, number[]>();
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const parent = parentOf(Number(name));
    if (parent !== undefined) children.set(parent, [...(children.get(parent) ?? []), Number(name)]);
  }
  const below = (parent: number): number[] =>
    (children.get(parent) ?? []).flatMap((one) => [one, ...below(one)]);
  return below(pid);
}

function parentOf(pid: number): number | undefined {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /s, '')
      .split(' ');
    return Number(fields[1]);
  } catch {
    return undefined;
  }
}

function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
  } catch {
    return '';
  }
}

export function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // Gone already.
  }
}
