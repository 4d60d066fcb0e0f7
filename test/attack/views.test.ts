import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { type Browser, chromium, type Page } from 'playwright-core';
import { chromiumArguments, ensureChromium } from '../../scripts/lib/chromium.mjs';
import { lineOf, runHeadless } from '../../src/runner/headless.ts';
import type { TaskEvent } from '../../src/protocol/taskEvent.ts';
import type { ReviewMessage } from '../../src/protocol/reviewMessages.ts';
import { egressQuestions } from '../../src/protocol/egressQuestions.ts';
import { egressNotice } from '../../src/vscode/view/egressNotice.ts';
import { commitsNotice, endNotice, questionNotice, replyNotice } from '../../src/vscode/view/notices.ts';
import { panelHtml } from '../../src/vscode/view/panelHtml.ts';
import { statusView } from '../../src/vscode/view/statusView.ts';
import { commitView, leftoversView, taskView } from '../../src/vscode/view/taskView.ts';
import { evilEvents, evilPatch, evilStates, payloads } from '../support/evilViews.ts';
import { FakeTaskService } from '../support/fakeTaskService.ts';
import { answerReview, postScript } from '../support/evilReview.ts';
import { type Look, lookAround, openAll } from '../support/lookAround.ts';
import { shaOf } from '../support/specs.ts';

const dist = resolve(import.meta.dirname, '..', '..', 'dist', 'webview');
const origin = 'http://panel.example.com';
/** Anything that a terminal or a reader's eyes would obey. */
const obeyed = /[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u202a-\u202e\u2066-\u2069]/;
/** What VS Code makes a link of in the text of a notification. */
const notificationLink = /\[[^\]]+\]\((?:https?:\/\/|command:|file:)[^)\s]+/i;

describe('promise 6: text of an agent is text', function () {
  this.timeout('3m');

  describe('in the panel', () => {
    let browser: Browser;

    before(async () => {
      browser = await chromium.launch({
        executablePath: await ensureChromium(),
        args: [...chromiumArguments],
      });
    });
    after(() => browser.close());

    /** A page, and every request that it makes besides those for its own files. */
    async function page(html: string): Promise<{ page: Page; asked: string[] }> {
      const opened = await browser.newPage({ viewport: { width: 1400, height: 9000 } });
      const asked: string[] = [];
      await opened.route('**/*', async (route) => {
        const url = new URL(route.request().url());
        if (url.origin !== origin) {
          asked.push(url.href);
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
      await opened.addInitScript(`
        globalThis.sent = [];
        globalThis.acquireVsCodeApi = () => ({
          postMessage: (message) => sent.push(message),
          getState: () => undefined,
          setState: () => undefined,
        });
      `);
      await opened.goto(`${origin}/`);
      return { page: opened, asked };
    }

    /** The bundle that is shipped, in its own page, fed as the extension feeds it. */
    async function panel(text: string): Promise<{ page: Page; asked: string[]; feed: () => Promise<void> }> {
      const html = panelHtml({
        nonce: 'bm9uY2U',
        cspSource: origin,
        script: `${origin}/task.js`,
        style: `${origin}/task.css`,
        id: 'abcdefghijklmno',
      });
      const shown = await page(html);
      const sent = (): Promise<{ type: string; request?: number }[]> =>
        shown.page.evaluate<{ type: string; request?: number }[]>('sent');
      await shown.page.waitForFunction('globalThis.sent?.some((each) => each.type === "ready")');
      const [state] = evilStates(text);
      const lines = evilEvents(text)
        .slice(0, -1)
        .map((event) => `${JSON.stringify(event)}\n`)
        .join('');
      const ranges = { from: shaOf('base'), to: shaOf(text) };
      const post = (message: unknown): Promise<unknown> =>
        shown.page.evaluate(`window.postMessage(${JSON.stringify(message)}, '*')`);
      const postBytes = (message: ReviewMessage): Promise<unknown> =>
        shown.page.evaluate(postScript(message));
      const feed = async (): Promise<void> => {
        await post({ type: 'state', state, result: ranges, leftovers: ranges, now: 5000 });
        await shown.page.evaluate(`{
          const data = new TextEncoder().encode(${JSON.stringify(lines)});
          window.postMessage({ type: 'events', batch: 1, data, first: true, live: true }, '*');
        }`);
        for (const tab of ['raw', 'network', 'commits', 'review', 'log']) {
          await post({ type: 'show', tab });
          await shown.page.waitForTimeout(120);
          if (tab === 'review') {
            await answerReview(text, sent, postBytes);
            await shown.page.locator('.rv-line ins').first().waitFor();
            await shown.page.waitForTimeout(300);
          }
          await shown.page.evaluate(openAll);
          await shown.page.waitForTimeout(60);
          const { found, text: seen, ran } = await shown.page.evaluate<Look>(lookAround);
          assert.deepEqual(found, [], `${tab} has elements of the attacker’s`);
          assert.equal(ran, undefined, `${tab} ran a script`);
          assert.doesNotMatch(seen.replaceAll(/[\t\n]/g, ''), obeyed, `${tab} holds what is obeyed`);
          seenIn.set(tab, (seenIn.get(tab) ?? '') + seen);
        }
      };
      return { ...shown, feed };
    }

    /** Everything that was shown, by view: to see that the attacks were shown at all. */
    const seenIn = new Map<string, string>();

    it('where text is made markup, each of these runs, asks or leads away', async () => {
      for (const text of payloads.slice(0, 7)) {
        const { page: weak, asked } = await page('<!DOCTYPE html><body></body>');
        const script = /<script[^>]*>(.*)<\/script>/.exec(text)?.[1];
        // Both places that text gets into: between tags, and into an attribute.
        const markup = `<p>${text}</p><p title='${text.startsWith("'") ? text : ''}'>x</p>`;
        await weak.evaluate(`{
          document.body.innerHTML = ${JSON.stringify(markup)};
          const text = ${JSON.stringify(script ?? '')};
          document.body.append(Object.assign(document.createElement('script'), { text }));
        }`);
        await weak.waitForTimeout(100);
        const look = await weak.evaluate<Look>(lookAround);
        assert.ok(look.found.length > 0 || look.ran === 1 || asked.length > 0, text);
        await weak.close();
      }
    });

    for (const [n, text] of payloads.entries()) {
      it(`shows text ${n + 1} of ${payloads.length} in every view, and obeys none of it`, async () => {
        const { page: shown, asked, feed } = await panel(text);
        const errors: string[] = [];
        shown.on('pageerror', (error) => errors.push(error.message));
        await feed();
        assert.deepEqual(asked, [], 'something was asked for');
        assert.deepEqual(errors, []);
        await shown.close();
      });
    }

    it('has shown them: they stand as text in every view', () => {
      for (const tab of ['log', 'raw', 'network', 'commits', 'review'])
        assert.match(seenIn.get(tab) ?? '', /data-evil/, tab);
    });

    it('its policy stops what would get past the first wall', async () => {
      const { page: shown, asked } = await panel('x');
      const markup =
        '<img src="https://evil.example.com/x.png" onerror="globalThis.evil=1"><iframe src="https://evil.example.com/"></iframe><form action="https://evil.example.com/"></form>';
      await shown.evaluate(`{
        const place = document.createElement('div');
        place.innerHTML = ${JSON.stringify(markup)};
        document.body.append(place);
        document.body.append(Object.assign(document.createElement('script'), { text: 'globalThis.evil=1' }));
        place.querySelector('form').submit();
        fetch('https://evil.example.com/').catch(() => undefined);
      }`);
      await shown.waitForTimeout(300);
      assert.deepEqual(asked, []);
      assert.equal(await shown.evaluate('globalThis.evil'), undefined);
      await shown.close();
    });
  });

  for (const [n, text] of payloads.entries()) {
    it(`tree, status bar and notifications show text ${n + 1} harmless`, () => {
      for (const state of evilStates(text)) {
        const [commit] = state.commits;
        assert.ok(commit);
        const items = [taskView(state, 9000, true), commitView(commit, 'imported'), leftoversView(state)];
        const status = statusView([state]);
        const notices = [
          commitsNotice(state, state.commits),
          questionNotice(state),
          replyNotice(state),
          endNotice(state),
          egressNotice(state, egressQuestions(state)),
        ];
        const shown = [
          ...items.flatMap((item) =>
            item === undefined ? [] : [item.label, item.description, item.tooltip, item.accessibility],
          ),
          ...(status === undefined ? [] : [status.text, status.tooltip]),
          ...notices.flatMap((notice) => notice?.text ?? []),
        ];
        for (const each of shown) assert.doesNotMatch(each, obeyed, JSON.stringify(each));
        for (const notice of notices) assert.doesNotMatch(notice?.text ?? '', notificationLink);
      }
    });

    it(`the terminal shows text ${n + 1} without what it would obey`, async () => {
      const events = evilEvents(text);
      const raw = events.flatMap((event: TaskEvent) => lineOf(event) ?? []).join('\n');
      if (obeyed.test(text)) assert.match(raw, obeyed, 'it would reach the terminal without the last step');
      const service = new FakeTaskService();
      const printed: string[] = [];
      const [, ended] = evilStates(text);
      assert.ok(ended);
      Object.assign(service, {
        submit: () => Promise.resolve(ended),
        task: () => ended,
        events: async function* () {
          await Promise.resolve();
          yield events;
        },
        patch: () => Promise.resolve({ text: evilPatch(text), truncated: false }),
        result: () => ({ from: shaOf('base'), to: shaOf('x') }),
      });
      const options = { prompt: text, repository: '/tmp/x', snapshot: 'head' } as const;
      const never = (async function* () {
        await new Promise(() => undefined);
        yield undefined;
      })();
      await runHeadless(service, options, (line) => printed.push(line), never);
      assert.ok(printed.length > 10);
      assert.doesNotMatch(printed.join('').replaceAll(/[\t\n]/g, ''), obeyed);
    });
  }
});
