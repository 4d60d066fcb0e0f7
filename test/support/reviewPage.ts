import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { Emitter } from '../../src/base/event.ts';
import { type PanelMessage, PanelRequest } from '../../src/protocol/panelMessages.ts';
import type { ReviewScope } from '../../src/protocol/review.ts';
import type { ReviewRequest } from '../../src/protocol/reviewMessages.ts';
import type { TaskState } from '../../src/protocol/taskState.ts';
import { ReviewPanel } from '../../src/vscode/reviewPanel.ts';
import { panelHtml } from '../../src/vscode/view/panelHtml.ts';
import { FakeTaskReview } from './fakeTaskReview.ts';
import type { FixtureFile } from './reviewFixture.ts';

const root = resolve(import.meta.dirname, '..', '..');
const dist = join(root, 'dist', 'webview');
const origin = 'http://panel.example.com';

interface Options {
  browser: Browser;
  files: readonly FixtureFile[];
  state: TaskState;
  viewport?: { width: number; height: number };
  /** Classes of the body, such as `vscode-dark`. */
  look?: string;
}

/**
 * The shipped page of a task in a browser, with the real answers of its host to what it asks about the review, of a task
 * review in memory. Requests for anything but its own files are noted, and refused.
 */
export class ReviewPage {
  readonly page: Page;
  readonly review = new FakeTaskReview();
  /** What the panel said, oldest first. */
  readonly said: PanelRequest[] = [];
  readonly asked: string[] = [];
  readonly errors: string[] = [];
  readonly problems: unknown[] = [];
  /** What was opened in an editor. */
  readonly opened: string[] = [];
  readonly done: string[] = [];
  /** While it is set, the host does not hear what parts are asked for; then all of it, in its order. */
  private held: ReviewRequest[] | undefined;
  private readonly host: ReviewPanel;
  private readonly state: TaskState;
  private readonly changed = new Emitter<{ id: string; state: never; content: boolean }>();
  private readonly blobs = new Map<string, Uint8Array>();
  private posted: Promise<unknown> = Promise.resolve();

  private constructor(page: Page, options: Options) {
    this.page = page;
    this.state = options.state;
    const { id } = options.state.spec;
    this.show(options.files);
    this.review.onDidChange(() => this.changed.fire({ id, state: undefined as never, content: false }));
    this.host = new ReviewPanel({
      id,
      reviews: {
        onDidChange: this.changed.event,
        of: () => Promise.resolve(this.review),
        state: () => this.review.state(),
        load: async (_id, scope) => {
          const diff = await this.review.diff(scope);
          const returned = new Set(await this.review.returned(diff));
          return { diff, returned, state: await this.review.state() };
        },
        blob: (_id, oid) => {
          const content = this.blobs.get(oid);
          return content === undefined
            ? Promise.reject(new Error(`no blob ${oid}`))
            : Promise.resolve(content);
        },
      },
      post: (message) => this.post(message),
      open: (_scope, file) => Promise.resolve(this.opened.push(file.path)),
      merge: (_scope, file) => Promise.resolve(this.done.push(`merge ${file.path}`)),
      act: (what) => Promise.resolve(this.done.push(what)),
      onProblem: (thrown) => this.problems.push(thrown),
    });
  }

  static async open(options: Options): Promise<ReviewPage> {
    const page = await options.browser.newPage({
      viewport: options.viewport ?? { width: 1280, height: 800 },
    });
    const shown = new ReviewPage(page, options);
    await shown.begin(options.look ?? 'vscode-dark');
    return shown;
  }

  /** Other files than before; the page hears of them. */
  show(files: readonly FixtureFile[], scope?: ReviewScope): void {
    for (const { blobs } of files) for (const [name, content] of blobs) this.blobs.set(name, content);
    this.review.show(
      files.map(({ file }) => file),
      scope,
    );
  }

  holdParts(): void {
    this.held = [];
  }

  releaseParts(): void {
    const { held = [] } = this;
    this.held = undefined;
    for (const request of held) this.host.receive(request);
  }

  /** A later turn has changed something. */
  contentChanged(): void {
    this.changed.fire({ id: this.state.spec.id, state: undefined as never, content: true });
  }

  /** Bytes go over as what they are. */
  async post(message: PanelMessage): Promise<void> {
    const json = JSON.stringify(message, (_key, value: unknown) =>
      value instanceof Uint8Array ? { $bytes: Buffer.from(value).toString('base64') } : value,
    );
    // In their order, as VS Code keeps it.
    this.posted = this.posted.then(() =>
      this.page.evaluate(`window.postMessage(JSON.parse(${JSON.stringify(json)}, (key, value) =>
        value !== null && typeof value === 'object' && typeof value.$bytes === 'string'
          ? Uint8Array.from(atob(value.$bytes), (c) => c.charCodeAt(0)) : value), '*')`),
    );
    await this.posted;
  }

  async close(): Promise<void> {
    this.host.dispose();
    this.changed.dispose();
    await this.page.close();
  }

  private async begin(look: string): Promise<void> {
    const html = panelHtml({
      nonce: 'bm9uY2U',
      cspSource: origin,
      script: `${origin}/task.js`,
      style: `${origin}/task.css`,
      id: this.state.spec.id,
    }).replace('<body>', `<body class="${look}">`);
    this.page.on('pageerror', (error) => this.errors.push(error.message));
    await this.page.route('**/*', async (route) => {
      const url = new URL(route.request().url());
      if (url.protocol === 'blob:') await route.continue();
      else if (url.origin !== origin) {
        this.asked.push(url.href);
        await route.abort();
      } else if (url.pathname === '/') await route.fulfill({ body: html, contentType: 'text/html' });
      else {
        const type = url.pathname.endsWith('.css') ? 'text/css' : 'text/javascript';
        const body = await readFile(join(dist, url.pathname.slice(1))).catch(() => undefined);
        await (body === undefined
          ? route.fulfill({ status: 404 })
          : route.fulfill({ body, contentType: type }));
      }
    });
    await this.page.exposeFunction('hostReceive', (message: unknown) => this.receive(message));
    await this.page.addInitScript(`
      let saved;
      globalThis.acquireVsCodeApi = () => ({
        postMessage: (message) => void hostReceive(message),
        getState: () => saved,
        setState: (state) => { saved = state; },
      });
    `);
    await this.page.goto(`${origin}/`);
  }

  private async receive(message: unknown): Promise<void> {
    const request = PanelRequest.parse(message);
    this.said.push(request);
    switch (request.type) {
      case 'ready':
        await this.post({ type: 'state', state: this.state, now: Date.now() });
        this.host.begin();
        return;
      case 'reviewParts':
        if (this.held === undefined) this.host.receive(request);
        else this.held.push(request);
        return;
      case 'review':
      case 'reviewText':
      case 'reviewImages':
      case 'decide':
      case 'reviewed':
      case 'remark':
      case 'remarkChange':
      case 'remarkRemove':
      case 'remarkResolve':
      case 'reviewMerge':
      case 'reviewOpen':
      case 'reviewDo':
        this.host.receive(request);
        return;
      default:
    }
  }
}
