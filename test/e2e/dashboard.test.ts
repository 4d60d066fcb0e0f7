import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Browser } from 'playwright-core';
import { defaultPolicy } from '../../src/runner/userPolicy.ts';
import { DashboardPage, sizes } from '../support/dashboard.ts';
import { engines } from '../support/engines.ts';
import { evilEvents, evilPatch, evilStates, payloads } from '../support/evilViews.ts';
import { GitServer } from '../support/gitServer.ts';
import { type Look, lookAround, openAll } from '../support/lookAround.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { bash } from '../support/tasks.ts';
import { launchBrowser, until } from '../support/workbench.ts';

const password = 'correct horse battery';
/** A first task may have to wait for its image; milliseconds. */
const longest = 8 * 60_000;

describe('the dashboard', function () {
  let browser: Browser;
  let git: GitServer;
  let server: TestServer;
  let dashboard: DashboardPage;
  /** Path of the page of the task that the first journey made. */
  let taskPath = '';

  before(async () => {
    browser = await launchBrowser();
    git = await GitServer.open();
    git.filled('team/project', { 'README.md': '# Project\n', 'src/a.ts': 'export const a = 1;\n' });
    server = await startTestServer({
      engine: (await engines()).docker,
      env: { SALLYPORT_PRIVATE_FORGES: git.host },
      policy: { ...defaultPolicy, egress: { mode: 'list', rules: [] }, holdMs: 300_000 },
    });
  });
  after(async () => {
    const token = await server.token(await server.session('ada'), ['tasks:read', 'tasks:write']);
    await server.removeTasks(token);
    await server.close();
    await git.close();
    await browser.close();
  });
  afterEach(async function () {
    if (this.currentTest?.state === 'failed') {
      const title = (this.currentTest.title.match(/\w+/g) ?? []).slice(0, 8).join('-');
      await dashboard.screenshot(`failed-dashboard-${title}`).catch(() => undefined);
      console.log(dashboard.console.slice(-20).join('\n'));
      console.log(server.log.slice(-20).join('\n'));
    }
    await dashboard.close();
  });

  it('goes from the set-up link over a task with its live log, network and diff to a token and out again', async () => {
    server.turns = [
      {
        text: 'I look at the project first.',
        ...bash('printf "\\033[38;5;208morange\\033[0m and \\033[31mred\\033[0m\\n"'),
      },
      bash('echo "export const b = 2;" >> src/a.ts; git commit -qam "Add b"'),
      bash('curl -sS http://one.example.com/data; echo "the answer came"'),
      { text: 'All is done: b is there.' },
    ];
    dashboard = await DashboardPage.open(browser, server.url);
    const { page } = dashboard;

    // Nobody is there yet: every way leads to the set-up, and its secret does not stay in the address.
    await dashboard.show('/');
    await page.getByText('Set-up secret, from the log of the server').waitFor();
    const link = server.running.context.auth.setUpLink();
    assert.ok(link !== undefined);
    await page.goto('about:blank');
    await page.goto(link);
    await page.getByLabel('Login').fill('ada');
    assert.equal(page.url(), `${server.url}/setup`);
    await page.locator('input[name=password]').fill(password);
    await page.locator('input[name=again]').fill('another one');
    await page.getByRole('button', { name: 'Create administrator' }).click();
    await page.getByText('The two passwords differ.').waitFor();
    await page.goto('about:blank');
    await dashboard.setUp(link, 'ada', 'Ada', password);

    // An empty state says what to do, and the form what is not right.
    await page.getByText('No task yet').waitFor();
    await page.getByRole('link', { name: 'Start a task' }).click();
    await page.getByRole('button', { name: 'Start task' }).click();
    await page.getByText('Say what is to be done.').waitFor();
    await page.getByText('Enter the address of the repository.').waitFor();
    await page.getByText('My work tree').click();
    await page.getByText('A work tree is uploaded by the editor.').waitFor();
    assert.ok(await page.getByRole('button', { name: 'Start task' }).isDisabled());
    await page.getByText('By its address').click();
    await page.getByLabel('What is to be done').fill('Add the constant b\n\nand say so.');
    await page.getByRole('textbox', { name: /^Address/ }).fill(git.url('team/project.git'));
    await page.getByRole('button', { name: 'Start task' }).click();

    // The log streams while the task runs: a request waits for the answer.
    await page.locator('sallyport-task').waitFor({ timeout: 90_000 });
    taskPath = new URL(page.url()).pathname;
    const banner = page.locator('.banner', { hasText: 'one.example.com' });
    await banner.waitFor({ timeout: longest });
    await page.getByText('I look at the project first.').waitFor();
    await page.locator('.commit .card', { hasText: 'Add b' }).waitFor();
    assert.equal(await page.getByText('All is done: b is there.').count(), 0);
    await dashboard.screenshot('dashboard-task');

    // A colour of the agent's output is one, also under the content policy.
    await page.locator('.result-text span', { hasText: 'orange' }).waitFor();
    assert.equal(await page.evaluate<string>(colorOfOrange), 'rgb(255, 135, 0)');

    // The page survives a reload, and the list says that it waits.
    await page.reload();
    await banner.waitFor();
    await page.getByRole('link', { name: 'Tasks', exact: true }).first().click();
    await page.locator('.d-tasks .d-status.waiting').waitFor();
    await page.getByRole('button', { name: /Waiting/ }).click();
    await page.getByRole('link', { name: 'Add the constant b' }).click();

    // A shell in the sandbox.
    await page.getByRole('button', { name: 'Terminal' }).click();
    await page.locator('.xterm').waitFor();
    await page.getByText('A shell in the sandbox').waitFor();
    await until('the shell', 90_000, async () =>
      (await page.locator('.xterm-rows').innerText()).includes('$'),
    );
    await page.keyboard.type('printf "\\033[38;2;255;100;0m%s\\033[0m\\n" in$((6*7))side\n');
    await page.locator('.xterm-rows').getByText('in42side').waitFor();
    await page.getByRole('button', { name: 'Close' }).click();

    await banner.getByText("Don't Allow").click();
    await page.getByText('All is done: b is there.').waitFor({ timeout: 90_000 });
    await page.locator('.phase.succeeded').waitFor();
    await dashboard.tab('Network');
    await page.locator('.request.blocked', { hasText: 'one.example.com' }).waitFor();
    await dashboard.tab('Raw');
    await page.locator('.raw-row', { hasText: 'egress_refused' }).waitFor();
    await dashboard.tab('Commits');
    await page.locator('.commit-item', { hasText: 'Add b' }).getByText('src/a.ts').click();
    await page.locator('.rv-total').getByText('1 file', { exact: true }).waitFor();
    await until('the diff', 90_000, async () =>
      (await page.evaluate<string>(shownText)).includes('export const b = 2;'),
    );
    // Its styles are rules of sheets, because the policy takes no style attribute.
    await until('the colour of the added line', 90_000, async () => {
      const color = await page.evaluate<string>(colorOfAdded);
      return color !== '' && color !== 'rgba(0, 0, 0, 0)';
    });
    await dashboard.screenshot('dashboard-diff');
    // What only an editor can do is not there.
    for (const name of ['Open in Editor', 'Accept as Branch…', 'Show Diff in Editor'])
      assert.equal(await page.getByText(name).count(), 0);

    // A token is shown once, works, and is refused when it is revoked.
    await page.getByRole('link', { name: 'Tokens' }).click();
    await page.getByLabel('Name').fill('build server');
    await page.getByRole('button', { name: 'Create token' }).click();
    const token = await page.locator('.d-secret code').innerText();
    await page.locator('.d-secret').getByRole('button', { name: 'Copy' }).click();
    assert.equal(await page.evaluate<string>('navigator.clipboard.readText()'), token);
    assert.equal((await server.fetch('/api/v1/tasks', { token })).status, 200);
    await page.reload();
    await page.getByText('build server').waitFor();
    assert.ok(!(await page.content()).includes(token));
    await page.getByRole('button', { name: 'Revoke build server' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Revoke' }).click();
    await page.getByText('No token', { exact: true }).waitFor();
    assert.equal((await server.fetch('/api/v1/tasks', { token })).status, 401);

    // Out, and back to the page that was asked for.
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.getByRole('heading', { name: 'Sign in' }).waitFor();
    await dashboard.show(taskPath);
    await page.getByLabel('Login').fill('ada');
    await page.getByLabel('Password').fill('a wrong password');
    await page.getByRole('button', { name: 'Sign in', exact: true }).click();
    await page.getByRole('alert').waitFor();
    await dashboard.signIn('ada', password);
    await page.getByText('All is done: b is there.').waitFor();
    assert.equal(new URL(page.url()).pathname, taskPath);
    // The answers to the one who is not signed in are errors to the console too.
    dashboard.assertClean(/status of 40[01]/);
  }).timeout('10m');

  it('is usable on a phone, in the light, and by somebody who may only look', async () => {
    const admin = await server.session('ada');
    await server.ask('/api/v1/users', {
      method: 'POST',
      headers: { cookie: admin, origin: server.url },
      json: { login: 'grace', name: 'Grace', role: 'viewer', password },
    });
    await server.ask(`/api/v1/tasks/${taskPath.split('/').at(-1) ?? ''}`, {
      method: 'PATCH',
      headers: { cookie: admin, origin: server.url },
      json: { shared: true },
    });

    dashboard = await DashboardPage.open(browser, server.url, { size: 'phone', light: true });
    const { page } = dashboard;
    await dashboard.show('/dashboard');
    await dashboard.signIn('grace', password);
    // Rows are cards: what stands side by side on a desk stands below each other.
    const card = page.locator('.d-tasks tbody tr');
    await card.waitFor();
    const box = await card.boundingBox();
    assert.ok(box !== null && box.width <= sizes.phone.width && box.height > 80);
    await dashboard.screenshot('dashboard-phone');
    assert.equal(await page.getByRole('link', { name: 'New task' }).count(), 0);
    await card.getByRole('link').tap();
    await page.getByText('All is done: b is there.').waitFor();
    for (const name of ['Stop', 'Retry', 'Remove…', 'Share', 'Terminal', 'Send'])
      assert.equal(await page.getByRole('button', { name, exact: true }).count(), 0, name);
    await dashboard.screenshot('dashboard-phone-log');
    for (const tab of ['Raw', 'Network', 'Commits', 'Review', 'Log']) {
      await dashboard.tab(tab);
      assert.equal(await dashboard.overflow(), 0, tab);
    }
    for (const path of ['', '/new', '/tokens', '/account']) {
      await dashboard.show(`/dashboard${path}`);
      await page.getByRole('navigation', { name: 'Pages' }).waitFor();
      await page.waitForLoadState('networkidle');
      assert.equal(await dashboard.overflow(), 0, path);
      const small = await page.evaluate<string[]>(smallTargets);
      assert.deepEqual(small, [], `what is too small for a finger on ${path}`);
    }
    dashboard.assertClean(/status of 401/);
  }).timeout('3m');

  it('says that the connection is lost, and goes on when the server is there again', async () => {
    dashboard = await DashboardPage.open(browser, server.url);
    const { page } = dashboard;
    await dashboard.show('/dashboard');
    await dashboard.signIn('ada', password);
    await page.locator('.d-tasks').waitFor();
    await server.restart();
    // Somebody else's change arrives over the new connection.
    const admin = await server.session('ada');
    await until('the stream', 90_000, async () => {
      await page
        .getByRole('button', { name: 'Try now' })
        .click({ timeout: 200 })
        .catch(() => undefined);
      return (await page.locator('.d-lost').count()) === 0;
    });
    await server.ask(`/api/v1/tasks/${taskPath.split('/').at(-1) ?? ''}`, {
      method: 'PATCH',
      headers: { cookie: admin, origin: server.url },
      json: { title: 'Another title' },
    });
    await page.getByRole('link', { name: 'Another title' }).waitFor();

    await page.evaluate('navigator.serviceWorker.ready.then(() => undefined)');
    // While the server is away, the page says so, and what to do.
    await server.running.close();
    await page.getByText('The connection to the runner is lost.').waitFor();
    await dashboard.screenshot('dashboard-lost');
    // Opened anew, it comes from the browser's own store.
    await page.reload();
    await page.getByText('The server does not answer.').waitFor();
    await server.restart();
    await page.getByRole('button', { name: 'Try again' }).click();
    await page.getByRole('link', { name: 'Another title' }).waitFor();
    assert.deepEqual(dashboard.violations, []);
  }).timeout('2m');

  it('lets a program in only after a yes, and only where it listens itself', async () => {
    const got: URLSearchParams[] = [];
    const program = createServer((request, response) => {
      got.push(new URL(request.url ?? '', 'http://127.0.0.1').searchParams);
      response.end('ok');
    });
    program.listen(0, '127.0.0.1');
    await once(program, 'listening');
    const callback = `http://127.0.0.1:${(program.address() as AddressInfo).port}/callback`;
    const verifier = randomBytes(32).toString('base64url');
    const challenge = createHash('sha256').update(verifier).digest('base64url');
    const query = (to: string): string =>
      `/connect?${new URLSearchParams({ callback: to, challenge, state: 'its own state', name: 'The editor' }).toString()}`;
    dashboard = await DashboardPage.open(browser, server.url);
    const { page } = dashboard;
    try {
      // Who is not signed in does that first, and comes back.
      await dashboard.show(query(callback));
      await page.getByLabel('Login').fill('ada');
      await page.getByLabel('Password').fill(password);
      await page.getByRole('button', { name: 'Sign in', exact: true }).click();
      await page.getByText('The editor').waitFor();
      const elsewhere = [
        'https://evil.example.com/',
        'javascript:alert(1)',
        'http://127.0.0.1.example.com:1/',
      ];
      for (const evil of elsewhere) {
        await dashboard.show(query(evil));
        await page.getByText('This link is not complete').waitFor();
        assert.equal(await page.getByRole('button', { name: 'Connect' }).count(), 0);
      }
      await dashboard.show(query(callback));
      await page.getByText('The editor').waitFor();
      await page.getByText('Ada', { exact: true }).waitFor();
      await dashboard.screenshot('dashboard-connect');
      assert.equal(got.length, 0);
      await page.getByRole('button', { name: 'Connect' }).click();
      const answer = await until('the callback', 10_000, () => got.at(0));
      assert.equal(answer.get('state'), 'its own state');
      const { token } = await server.ask<{ token: string }>('/auth/exchange', {
        method: 'POST',
        json: { code: answer.get('code'), verifier },
      });
      assert.equal((await server.fetch('/api/v1/tasks', { token })).status, 200);
      assert.deepEqual(dashboard.violations, []);
    } finally {
      program.close();
    }
  }).timeout('2m');

  it('shows whatever an agent, a user or a repository says as text', async () => {
    dashboard = await DashboardPage.open(browser, server.url);
    const { page } = dashboard;
    await dashboard.show('/dashboard');
    await dashboard.signIn('ada', password);
    for (const text of payloads) {
      const [running] = evilStates(text);
      assert.ok(running !== undefined);
      const { id } = running.spec;
      const view = {
        id,
        title: text,
        prompt: text,
        source: { kind: 'url', url: text },
        owner: { id: text, name: text },
        shared: true,
        priority: 0,
        switches: { commitEach: false, autoPush: false, draftEarly: false, autoPullRequest: false },
        createdAt: Date.now(),
        stage: 'task',
        problem: { code: text, message: text, mend: text },
        pushedBranch: text,
        pullRequest: { url: `javascript:globalThis.evil=1//${text}`, number: 1, state: 'open' },
        summary: {
          phase: 'preparing',
          progress: text,
          branch: text,
          startedAt: 1,
          commits: 1,
          costUsd: 1,
          waiting: 0,
          lastEvent: 1,
        },
      };
      const found = {
        ...view,
        id: `${id}0`,
        stage: 'confirming',
        summary: undefined,
        source: { kind: 'find', confirm: true },
        finding: { found: { repository: 'a/b', branch: 'main', reason: text, prompt: text } },
      };
      const events = evilEvents(text).slice(0, -1);
      await page.routeWebSocket(/\/api\/v1\/stream/, (socket) => {
        const say = (message: unknown): void => socket.send(JSON.stringify(message));
        say({ type: 'hello', version: {}, user: { id: 'u', name: text, role: 'admin' } });
        say({ type: 'tasks', tasks: [view, found] });
        socket.onMessage((message) => {
          if (String(message).includes('"follow"')) say({ type: 'events', task: id, events });
        });
      });
      await page.route(/\/api\/v1\/tasks\/[a-z0-9]+(\/diff)?/, async (route) => {
        const url = route.request().url();
        if (url.includes('/diff')) await route.fulfill({ body: evilPatch(text), contentType: 'text/x-diff' });
        else if (url.endsWith(id)) await route.fulfill({ json: { ...view, state: running } });
        else await route.fulfill({ json: found });
      });
      await dashboard.show('/dashboard');
      await page.locator('.d-tasks tbody tr').first().waitFor();
      await assertOnlyText(page, text);
      await dashboard.show(`/dashboard/tasks/${found.id}`);
      await page.getByText('Is this the repository?').waitFor();
      await page.evaluate(openAll);
      await assertOnlyText(page, text);
      await dashboard.show(`/dashboard/tasks/${id}`);
      await page.locator('sallyport-task .row').first().waitFor();
      for (const tab of ['Raw', 'Network', 'Commits', 'Review', 'Log']) {
        await dashboard.tab(tab);
        if (tab === 'Review')
          await page
            .locator('.rv-line:visible')
            .first()
            .waitFor({ timeout: 5000 })
            .catch(() => undefined);
        await page.evaluate(openAll);
        await page.waitForTimeout(60);
        await assertOnlyText(page, text);
      }
      await page.unrouteAll({ behavior: 'ignoreErrors' });
    }
    assert.deepEqual(dashboard.foreign, []);
    assert.deepEqual(dashboard.violations, []);
  }).timeout('3m');
});

/** Nothing of the attacker's became an element, ran, or leads anywhere. */
async function assertOnlyText(page: DashboardPage['page'], text: string): Promise<void> {
  const look = await page.evaluate<Look>(lookAround);
  assert.deepEqual(look.found, [], text);
  assert.equal(look.ran, undefined, text);
}

/** All text of the page, also that in shadow roots. */
const shownText = `(() => {
  let text = '';
  const visit = (root) => {
    for (const element of root.querySelectorAll('*')) if (element.shadowRoot !== null) visit(element.shadowRoot);
    text += root.textContent ?? root.body?.textContent ?? '';
  };
  visit(document.body);
  return text;
})()`;

/** The colour of a word that the agent's command printed in colour. */
const colorOfOrange = `getComputedStyle([...document.querySelectorAll('.result-text span')].find((span) => span.textContent === 'orange')).color`;

/** The background of an added line in the diff. */
const colorOfAdded = `(() => {
  const line = document.querySelector('.rv-line.added');
  return line === null ? '' : getComputedStyle(line).backgroundColor;
})()`;

/** Buttons and fields that a finger would miss. */
const smallTargets = `[...document.querySelectorAll('button, select, input:not([type=checkbox], [type=radio]), textarea, nav a')]
  .filter((element) => element.checkVisibility() && !element.classList.contains('hidden-label'))
  .map((element) => ({ element, box: element.getBoundingClientRect() }))
  .filter(({ box }) => box.width > 1 && (box.height < 36 || box.width < 36))
  .map(({ element, box }) => element.outerHTML.slice(0, 80) + ' ' + box.width + '×' + box.height)`;
