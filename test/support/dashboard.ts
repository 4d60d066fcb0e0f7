import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { Browser, BrowserContext, Page } from 'playwright-core';

const screenshots = resolve(import.meta.dirname, '..', '..', 'out', 'screenshots');

export const sizes = {
  desktop: { width: 1280, height: 800 },
  phone: { width: 390, height: 844 },
} as const;

/** The dashboard in a browser, with everything that it asks for and everything that its content policy refuses. */
export class DashboardPage {
  readonly page: Page;
  readonly origin: string;
  /** Requests to any other place than the server. */
  readonly foreign: string[] = [];
  /** What the page's console said, and errors that nobody caught. */
  readonly console: string[] = [];
  readonly violations: string[] = [];
  private readonly context: BrowserContext;

  private constructor(context: BrowserContext, page: Page, origin: string) {
    this.context = context;
    this.page = page;
    this.origin = origin;
  }

  static async open(
    browser: Browser,
    origin: string,
    options: { size?: keyof typeof sizes; light?: boolean } = {},
  ): Promise<DashboardPage> {
    const { size = 'desktop', light = false } = options;
    const context = await browser.newContext({
      viewport: sizes[size],
      colorScheme: light ? 'light' : 'dark',
      ...(size === 'phone' ? { hasTouch: true, isMobile: true } : {}),
      permissions: ['clipboard-read', 'clipboard-write'],
    });
    // Matters only in failure: a busy machine is slow.
    context.setDefaultTimeout(90_000);
    const dashboard = new DashboardPage(context, await context.newPage(), origin);
    const { page } = dashboard;
    context.on('request', (request) => {
      const { protocol, origin: from } = new URL(request.url());
      if (from !== origin && protocol !== 'blob:' && protocol !== 'data:')
        dashboard.foreign.push(request.url());
    });
    page.on('websocket', (socket) => {
      if (new URL(socket.url()).host !== new URL(origin).host) dashboard.foreign.push(socket.url());
    });
    page.on('console', (message) => {
      dashboard.console.push(`[${message.type()}] ${message.text()}`);
      if (/Content Security Policy|Trusted/i.test(message.text())) dashboard.violations.push(message.text());
    });
    page.on('pageerror', (error) => dashboard.console.push(`[page error] ${error.message}`));
    await page.exposeFunction('reportViolation', (text: string) => void dashboard.violations.push(text));
    await page.addInitScript(`document.addEventListener('securitypolicyviolation', (event) =>
      reportViolation(event.violatedDirective + ' ' + event.blockedURI + ' ' + event.sample + ' ' + event.sourceFile));`);
    return dashboard;
  }

  /** With the link from the server's log. */
  async setUp(link: string, login: string, name: string, password: string): Promise<void> {
    const { page } = this;
    await page.goto(link);
    await page.getByLabel('Login').fill(login);
    await page.getByLabel('Name, as others see it').fill(name);
    await page.locator('input[name=password]').fill(password);
    await page.locator('input[name=again]').fill(password);
    await page.getByRole('button', { name: 'Create administrator' }).click();
    await page.getByRole('navigation', { name: 'Pages' }).waitFor();
  }

  async signIn(login: string, password: string): Promise<void> {
    const { page } = this;
    await page.getByLabel('Login').fill(login);
    await page.getByLabel('Password').fill(password);
    await page.getByRole('button', { name: 'Sign in', exact: true }).click();
    await page.getByRole('navigation', { name: 'Pages' }).waitFor();
  }

  async show(path: string): Promise<void> {
    await this.page.goto(`${this.origin}${path}`);
  }

  async tab(name: string): Promise<void> {
    await this.page.getByRole('tab', { name: new RegExp(`^${name}`) }).click();
  }

  /** Nothing was asked of another host, the policy had nothing to refuse, and no error went by unseen. */
  assertClean(expected: RegExp = /(?!)/): void {
    assert.deepEqual(this.foreign, []);
    assert.deepEqual(this.violations, []);
    const errors = this.console.filter(
      (line) => /^\[(error|page error)\]/.test(line) && !expected.test(line),
    );
    assert.deepEqual(errors, []);
  }

  /** How much wider than the screen the page is, in pixels. */
  async overflow(): Promise<number> {
    return await this.page.evaluate<number>(
      'document.documentElement.scrollWidth - document.documentElement.clientWidth',
    );
  }

  /** Writes what is on the screen to out/screenshots/NAME.png. */
  async screenshot(name: string): Promise<void> {
    await mkdir(screenshots, { recursive: true });
    await this.page.screenshot({ path: join(screenshots, `${name}.png`) });
  }

  async close(): Promise<void> {
    await this.context.close();
  }
}
