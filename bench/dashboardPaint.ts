import { type BrowserContext, chromium, type Page } from 'playwright-core';
import { ensureBuilt } from '../scripts/lib/build.mjs';
import { chromiumArguments, ensureChromium } from '../scripts/lib/chromium.mjs';
import { freePort, startTestServer, type TestServer } from '../test/support/server.ts';
import type { Section, Tools } from './lib/measure.ts';
import { median, ms, p95, thousands } from './lib/numbers.ts';

const goalMs = 500;
const taskCount = 200;

interface Visit {
  /** First contentful paint, by the browser's own clock; milliseconds since the navigation began. */
  paint: number;
  /** The rows of the table are in the page. */
  table: number;
  requests: number;
  /** Over the wire, with headers. */
  bytes: number;
}

const tableDrawn = `new Promise((resolve) => {
  const look = () => performance.getEntriesByName('table').length > 0 ? resolve() : setTimeout(look, 20);
  look();
})`;

/** Notes when the first row of the table is drawn. */
const watchTable = `new MutationObserver((_, observer) => {
  if (document.querySelector('.d-tasks tbody tr') === null) return;
  observer.disconnect();
  requestAnimationFrame(() => setTimeout(() => performance.mark('table')));
}).observe(document, { childList: true, subtree: true });`;

const timings = `({
  paint: performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? NaN,
  table: performance.getEntriesByName('table')[0]?.startTime ?? NaN,
  requests: performance.getEntriesByType('resource').length + 1,
  bytes: [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]
    .reduce((sum, { transferSize }) => sum + transferSize, 0),
})`;

/** How soon somebody who opens the dashboard sees it. */
export async function dashboardPaint(tools: Tools): Promise<Section> {
  const rounds = tools.quick ? 2 : 15;
  await ensureBuilt();
  const nobody = await freePort();
  const server = await startTestServer({ env: { SALLYPORT_PRIVATE_FORGES: `localhost:${nobody}` } });
  const browser = await chromium.launch({
    executablePath: await ensureChromium(),
    args: [...chromiumArguments],
  });
  try {
    const cookie = await fill(server, `http://localhost:${nobody}/team/project.git`);
    const cold: Visit[] = [];
    const warm: Visit[] = [];
    for (let round = 0; round < rounds; round++) {
      tools.say(`Dashboard, round ${round + 1} of ${rounds}`);
      const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
      const page = await open(context, server, cookie);
      cold.push(await visit(page, server));
      await page.evaluate('navigator.serviceWorker.ready.then(() => undefined)');
      warm.push(await visit(page, server));
      await context.close();
    }
    const row = (name: string, visits: readonly Visit[]): string[] => [
      name,
      ms(median(visits.map(({ paint }) => paint))),
      ms(p95(visits.map(({ paint }) => paint))),
      ms(median(visits.map(({ table }) => table))),
      ms(p95(visits.map(({ table }) => table))),
      thousands(median(visits.map(({ requests }) => requests))),
      thousands(median(visits.map(({ bytes }) => bytes))),
    ];
    const first = median(cold.map(({ table }) => table));
    return {
      title: 'First paint of the dashboard',
      how: [
        `Chromium without a screen opens the list of ${taskCount} tasks, of a server on the same machine, ${rounds} times with an empty cache and ${rounds} times once more. The browser's own clock, from the beginning of the navigation; the table is there when its rows have been drawn with what came over the WebSocket.`,
      ],
      tables: [
        {
          head: ['Visit', 'first paint, median', 'p95', 'table, median', 'p95', 'requests', 'bytes'],
          rows: [row('the first', cold), row('again', warm)],
        },
      ],
      targets: [
        {
          what: 'Table of the dashboard on the first visit (median)',
          target: `< ${goalMs} ms`,
          measured: ms(first),
          met: first < goalMs,
        },
      ],
    };
  } finally {
    await browser.close();
    await server.close();
  }
}

/** Tasks that end at once, because nobody has their repository. */
async function fill(server: TestServer, url: string): Promise<string> {
  const cookie = await server.session();
  for (let n = 0; n < taskCount; n++) {
    await server.ask('/api/v1/tasks', {
      method: 'POST',
      headers: { cookie, origin: server.url },
      json: {
        prompt: `Task ${n}: document the public functions of the parser`,
        source: { kind: 'url', url },
      },
    });
  }
  return cookie;
}

async function open(context: BrowserContext, server: TestServer, cookie: string): Promise<Page> {
  await context.addCookies(
    cookie.split('; ').map((one) => {
      const at = one.indexOf('=');
      return { name: one.slice(0, at), value: one.slice(at + 1), url: server.url };
    }),
  );
  const page = await context.newPage();
  await page.addInitScript(watchTable);
  return page;
}

async function visit(page: Page, server: TestServer): Promise<Visit> {
  await page.goto('about:blank');
  await page.goto(`${server.url}/dashboard`);
  await page.evaluate(tableDrawn);
  return await page.evaluate<Visit>(timings);
}
