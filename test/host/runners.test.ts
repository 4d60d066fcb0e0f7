import assert from 'node:assert/strict';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import * as vscode from 'vscode';
import { titleOf } from '../../src/protocol/task.ts';
import type { TestSeam } from '../../src/vscode/extension.ts';
import { runnerId } from '../../src/vscode/runnerStore.ts';
import { FakeRunner } from '../support/fakeRunner.ts';
import { aSpec } from '../support/specs.ts';
import { until } from './until.ts';

/** The way from the editor to a runner, which can be cut and mended. */
class Cable {
  private readonly target: number;
  private server: Server | undefined;
  private readonly sockets = new Set<Socket>();
  port = 0;

  constructor(target: number) {
    this.target = target;
  }

  async mend(): Promise<void> {
    this.server = createServer((near) => {
      const far = connect(this.target, '127.0.0.1');
      for (const [from, to] of [
        [near, far],
        [far, near],
      ] as const) {
        this.sockets.add(from);
        from.on('error', () => to.destroy());
        from.on('close', () => to.destroy());
        from.pipe(to);
      }
    });
    const { server } = this;
    await new Promise<void>((listening) => server.listen(this.port, '127.0.0.1', listening));
    this.port = (server.address() as AddressInfo).port;
  }

  async cut(): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    this.sockets.clear();
    await new Promise((closed) => this.server?.close(closed) ?? closed(undefined));
  }
}

describe('remote runners in the extension', () => {
  let seam: TestSeam;
  let fake: FakeRunner;
  let cable: Cable;
  let url: string;
  let id: string;
  const old = aSpec({ title: titleOf('An old task'), prompt: 'An old task' });

  const run = <T = unknown>(command: string, argument?: unknown): Thenable<T> =>
    vscode.commands.executeCommand<T>(`sallyport.${command}`, argument);
  const status = (): string | undefined => seam.tasks.runners.place(id)?.status.kind;
  const becomes = (kind: string): Promise<true> =>
    until(`the runner to be ${kind}, not ${status() ?? 'gone'}`, () => status() === kind || undefined);
  /** The runner in the tree, as its line says. */
  const line = async (): Promise<string> => {
    const nodes = await seam.tree.getChildren();
    const node = nodes.find((one) => one.kind === 'runner' && one.id === id);
    if (node === undefined) return '';
    const item = seam.tree.getTreeItem(node);
    const { label, description, contextValue } = item;
    return `${JSON.stringify(label)}: ${description === true ? '' : (description ?? '')} (${contextValue ?? ''})`;
  };

  before(async () => {
    const extension = vscode.extensions.getExtension<TestSeam>('sallyport.sallyport');
    assert.ok(extension);
    seam = await extension.activate();
    fake = await FakeRunner.start();
    cable = new Cable(fake.port);
    await cable.mend();
    url = `http://127.0.0.1:${cable.port}/`;
    id = runnerId(new URL(url));
    fake.add(old);
    fake.say(old.id, { type: 'text', t: 2, s: 1, text: 'What it said long ago' });
    fake.finish(old.id);
  });

  after(async () => {
    await seam.runners.remove(id);
    await cable.cut();
    await fake.close();
    await vscode.commands.executeCommand('notifications.clearAll');
  });

  it('are not connected under an address that is none, or that everybody on the way could read', async () => {
    const asked = fake.requests.length;
    for (const wrong of [
      'runner.example.com',
      'ftp://runner.example.com',
      'http://runner.example.com',
      url.replace('//', '//user:secret@'),
      `${url}?token=x`,
    ])
      assert.equal(await run('connectRunner', { url: wrong, token: 'slp_good' }), undefined, wrong);
    assert.equal(fake.requests.length, asked);
    assert.deepEqual(seam.runners.list(), []);
  });

  it('are not connected when the versions do not fit, and get no token then', async () => {
    const { version } = fake;
    const asked = fake.requests.length;
    fake.version = { ...version, api: 99, oldestApi: 99 };
    assert.equal(await run('connectRunner', { url, token: 'slp_good' }), undefined);
    fake.version = { ...version, api: 0, oldestApi: 0 };
    assert.equal(await run('connectRunner', { url, token: 'slp_good' }), undefined);
    fake.version = { hello: 'I am a printer' };
    assert.equal(await run('connectRunner', { url, token: 'slp_good' }), undefined);
    fake.version = version;
    assert.deepEqual(new Set(fake.requests.slice(asked)), new Set(['GET /api/v1/version']));
    assert.deepEqual(seam.runners.list(), []);
  });

  it('are not connected with a token that is refused', async () => {
    assert.equal(await run('connectRunner', { url, token: 'slp_bad_token' }), undefined);
    assert.deepEqual(seam.runners.list(), []);
    await vscode.commands.executeCommand('notifications.clearAll');
  });

  it('are connected with a token, which only the secret storage keeps', async () => {
    assert.equal(await run('connectRunner', { url, token: 'slp_good', name: 'Build' }), 'Build');
    const [record, ...more] = seam.runners.list();
    assert.deepEqual(record, { id, url, name: 'Build' });
    assert.deepEqual(more, []);
    assert.equal(await seam.runners.token(record), 'slp_good');
    const elsewhere = { ...record, url: 'https://evil.example.com/' };
    await assert.rejects(seam.runners.token(elsewhere), { code: 'unauthorized' });
    await becomes('online');
    assert.match(await line(), /^"Build": .*\(runner online\)$/);
  });

  it('show their tasks in the tree, in a group of their own, and their logs in a panel', async () => {
    const state = await until('the old task', () =>
      seam.tasks.get(old.id)?.phase === 'succeeded' ? seam.tasks.get(old.id) : undefined,
    );
    assert.equal(seam.tasks.placeOf(old.id)?.name, 'Build');
    const node = seam.tree.taskNode(old.id);
    const elsewhere = seam.tree.getParent(node);
    assert.equal(elsewhere?.kind, 'elsewhere', 'it is of no repository that is open here');
    assert.equal(seam.tree.getParent(elsewhere)?.kind, 'runner');
    assert.deepEqual(
      (await seam.tree.getChildren(elsewhere)).map((one) => ('id' in one ? one.id : '')),
      [old.id],
    );
    const { tooltip } = seam.tree.getTreeItem(node);
    assert.match(typeof tooltip === 'string' ? tooltip : '', /^Runner: Build$/m);
    await run('open', old.id);
    await until('the panel', () =>
      vscode.window.tabGroups.all
        .flatMap(({ tabs }) => tabs)
        .find(({ label }) => label === state.spec.title) === undefined
        ? undefined
        : true,
    );
    await vscode.commands.executeCommand('workbench.action.closeAllEditors');
  });

  it('get a task from this workspace, with no credential of this machine, when they are chosen', async () => {
    const sent = fake.submissions.length;
    const task = await run<string>('newTask', {
      prompt: 'Fix the median there',
      snapshot: 'head',
      runner: 'Build',
      switches: { commitEach: true },
    });
    assert.equal(fake.submissions.length, sent + 1);
    const submission = fake.submissions.at(-1);
    assert.equal(submission?.id, task);
    assert.equal(submission.prompt, 'Fix the median there');
    assert.equal(submission.source.kind, 'snapshot');
    assert.equal(submission.switches?.commitEach, true);
    assert.equal(submission.switches.autoPush ?? false, false);
    assert.equal(seam.tasks.placeOf(task)?.id, id);
    const folder = vscode.workspace.workspaceFolders?.[0]?.uri.fsPath;
    assert.equal(seam.tasks.get(task)?.spec.repository.path, folder, 'it can be accepted here');
    const [parent] = [seam.tree.getParent(seam.tree.taskNode(task))];
    assert.deepEqual(parent, { kind: 'runner', id });
    fake.say(task, { type: 'text', t: 3, s: 1, text: 'At work' });
    await until('what it says', () => (seam.tasks.get(task)?.lastEvent ?? 0) >= 2 || undefined);
    await run('stop', task);
    await until('the stop', () => seam.tasks.get(task)?.phase === 'stopped' || undefined);
  });

  it('are not asked to push what has no forge', async () => {
    const sent = fake.submissions.length;
    const start = { prompt: 'x', snapshot: 'head', runner: 'Build' };
    assert.equal(await run('newTask', { ...start, switches: { autoPush: true } }), undefined);
    assert.equal(fake.submissions.length, sent);
  });

  it('get a task when the settings say so, and none when nobody knows the runner', async () => {
    const sent = fake.submissions.length;
    const start = { prompt: 'By default', snapshot: 'head' };
    assert.equal(await run('newTask', { ...start, runner: 'Nobody' }), undefined);
    const setting = vscode.workspace.getConfiguration('sallyport.runner');
    await setting.update('default', url, vscode.ConfigurationTarget.Global);
    assert.ok(await run('newTask', start));
    assert.equal(fake.submissions.length, sent + 1);
    assert.ok(await run('newTask', { ...start, runner: 'This Machine' }));
    await setting.update('default', undefined, vscode.ConfigurationTarget.Global);
    assert.ok(await run('newTask', start));
    assert.equal(fake.submissions.length, sent + 1);
    assert.ok(await run('newTask', { ...start, switches: { autoPush: true } }), 'this machine can push');
    await vscode.commands.executeCommand('notifications.clearAll');
  });

  it('can be read while they are away, and come back by themselves', async () => {
    await cable.cut();
    await becomes('offline');
    assert.match(await line(), /^"Build": offline since \d\d:\d\d \(runner offline\)$/);
    assert.equal(seam.tasks.get(old.id)?.phase, 'succeeded');
    const service = await seam.tasks.open();
    const reading = new AbortController();
    const said: string[] = [];
    for await (const batch of service.events(old.id, 0, reading.signal)) {
      said.push(...batch.flatMap((event) => (event.type === 'text' ? [event.text] : [])));
      if (said.length > 0) reading.abort();
    }
    assert.deepEqual(said, ['What it said long ago']);
    await assert.rejects(service.remove(old.id), { code: 'runner_unreachable' });
    await cable.mend();
    await becomes('online');
  });

  it('want a new sign-in when their token counts no more, and are back with it', async () => {
    fake.token = 'slp_another_one';
    fake.dropStreams();
    await becomes('refused');
    assert.match(await line(), /^"Build": signed out \(runner refused\)$/);
    const [record] = seam.runners.list();
    assert.ok(record);
    await seam.runners.set(record, 'slp_another_one');
    await becomes('online');
    await vscode.commands.executeCommand('notifications.clearAll');
  });

  it('let this editor in through the browser, with a link that only this sign-in can answer', async () => {
    let opened = '';
    const runner = new URL(url);
    const answer = seam.signIn.run(runner, (address) => {
      opened = address;
      return Promise.resolve(true);
    });
    const page = new URL(await until('the page', () => opened || undefined));
    assert.equal(page.origin, runner.origin);
    assert.equal(page.pathname, '/connect');
    const state = page.searchParams.get('state') ?? '';
    assert.ok(URL.canParse(page.searchParams.get('callback') ?? ''));
    const back = (query: Record<string, string>): void =>
      seam.signIn.handleUri(
        vscode.Uri.from({
          scheme: vscode.env.uriScheme,
          authority: 'sallyport.sallyport',
          path: '/connected',
          query: new URLSearchParams(query).toString(),
        }),
      );
    back({ code: 'e'.repeat(43), state: 'f'.repeat(32) });
    back({ code: 'e'.repeat(43) });
    back({ code: 'c'.repeat(43), state });
    back({ code: 'd'.repeat(43), state });
    const got = await answer;
    assert.equal(got?.code, 'c'.repeat(43));
    assert.equal(page.searchParams.get('challenge'), got.handshake.challenge);
    assert.equal(opened.includes(got.handshake.verifier), false);
  });

  it('are forgotten with their token, and their tasks are no longer shown', async () => {
    const [record] = seam.runners.list();
    assert.ok(record);
    await seam.runners.remove(id);
    await until('the tasks to go', () => seam.tasks.get(old.id) === undefined || undefined);
    assert.deepEqual(seam.runners.list(), []);
    await assert.rejects(seam.runners.token(record), { code: 'unauthorized' });
    assert.equal(await line(), '');
    assert.ok(fake.tasks.has(old.id), 'on the runner it stays');
  });
});
