import assert from 'node:assert/strict';
import * as vscode from 'vscode';
import { SallyportError } from '../../src/base/errors.ts';
import type { AgentQuestion } from '../../src/protocol/question.ts';
import { newTaskId } from '../../src/protocol/task.ts';
import type { TaskService } from '../../src/runner/taskService.ts';
import type { TestSeam } from '../../src/vscode/extension.ts';
import { SecretsFound } from '../../src/runner/secretsFound.ts';
import { ledgerText } from '../../src/vscode/ledgerExport.ts';
import { aSource, FakeModels } from '../support/fakeModels.ts';
import { aChange, FakeTaskService } from '../support/fakeTaskService.ts';
import { aCommit, aSpec, shaOf } from '../support/specs.ts';
import { until } from './until.ts';

interface Manifest {
  contributes: {
    commands: { command: string }[];
    configuration: { properties: Record<string, { default: unknown; scope?: string }> }[];
    menus: Record<string, { command: string }[]>;
  };
  enabledApiProposals?: unknown;
  activationEvents: string[];
  capabilities: { untrustedWorkspaces: { restrictedConfigurations: string[] } };
}

const commit = aCommit('one');

function extension(): vscode.Extension<TestSeam> {
  const found = vscode.extensions.getExtension<TestSeam>('sallyport.sallyport');
  assert.ok(found);
  return found;
}

describe('the extension', () => {
  const service = new FakeTaskService();
  const models = new FakeModels();
  models.sources = [aSource({ id: 'demonstration', label: 'demonstration model' })];
  let seam: TestSeam;
  let made = 0;
  const manifest = (): Manifest => extension().packageJSON as Manifest;

  before(async () => {
    seam = await extension().activate();
  });

  // First of all: what follows asks for the service.
  it('does nothing but register when it is activated', () => {
    assert.equal(seam.tasks.isWanted, false);
    seam.useService(() => {
      made += 1;
      return Promise.resolve(service as TaskService);
    });
    seam.useModels(() => Promise.resolve(models));
  });

  it('registers every command of its manifest, and no menu names another', async () => {
    const { commands, menus } = manifest().contributes;
    const registered = new Set(await vscode.commands.getCommands(true));
    const declared = commands.map(({ command }) => command);
    assert.deepEqual(
      declared.filter((command) => !registered.has(command)),
      [],
    );
    const used = Object.values(menus).flatMap((items) => items.map(({ command }) => command));
    assert.deepEqual(
      used.filter((command) => !declared.includes(command)),
      [],
    );
  });

  it('uses no proposed API', () => {
    assert.equal(manifest().enabledApiProposals, undefined);
  });

  it('has settings with the defaults of the manifest, and restricts all of them', () => {
    const properties = Object.fromEntries(
      manifest().contributes.configuration.flatMap((group) => Object.entries(group.properties)),
    );
    const configuration = vscode.workspace.getConfiguration();
    for (const [key, { default: value }] of Object.entries(properties)) {
      assert.deepEqual(configuration.get(key), value, key);
    }
    assert.deepEqual(
      manifest().capabilities.untrustedWorkspaces.restrictedConfigurations.toSorted(),
      Object.keys(properties).toSorted(),
    );
    // What weakens a wall, or says where something is reached, is no workspace's business.
    const walls =
      /^sallyport\.(engine|dataFolder|model\.source|egress|network|budget|sandbox|credentials|bedrock|vertex|task\.diskGiB)/;
    for (const [key, { scope }] of Object.entries(properties)) {
      if (walls.test(key)) assert.equal(scope, 'machine', key);
    }
  });

  describe('with a task', () => {
    let id: string;

    before(async () => {
      const folder = vscode.workspace.workspaceFolders?.[0]?.uri.fsPath;
      assert.ok(folder);
      id = await vscode.commands.executeCommand<string>('sallyport.newTask', {
        prompt: 'Fix the median',
        snapshot: 'head',
      });
      assert.ok(id);
      assert.equal(service.submitted[0]?.repositoryPath, folder);
    });

    it('made the service once, and opened it', () => {
      assert.equal(made, 1);
      assert.equal(service.opened, 1);
    });

    it('hands on what is set, and nothing else', () => {
      const [request] = service.submitted;
      assert.deepEqual(request?.limits, {
        timeMs: 3_600_000,
        memoryBytes: 4 * 2 ** 30,
        cpus: 2,
        pids: 1024,
        diskBytes: 20 * 2 ** 30,
      });
      assert.equal(request.snapshot, 'head');
      assert.equal(request.secrets, 'ask');
      for (const key of ['model', 'egress', 'budgetUsd']) assert.equal(key in request, false, key);
    });

    it('shows a request that waits in the tree, and hands the answer on', async () => {
      const [node] = await seam.tree.getChildren();
      assert.ok(node);
      const target = { id: 1, kind: 'tunnel', host: 'example.com', port: 443 } as const;
      service.say(id, { type: 'request_waiting', ...target, until: Date.now() + 60_000 });
      const item = seam.tree.getTreeItem(node);
      assert.equal(item.contextValue, 'task active waiting');
      assert.match(String(item.description), /^waits for you/);
      await until('the badge', () => seam.tree.waiting === 1 || undefined);
      await service.answerEgress(id, { allow: 'task', rule: 'example.com' });
      service.say(id, {
        type: 'request',
        ...target,
        verdict: 'allowed',
        bytesOut: 1,
        bytesIn: 2,
        started: Date.now(),
      });
      assert.equal(seam.tree.getTreeItem(node).contextValue, 'task active');
      await until('the badge to go', () => seam.tree.waiting === 0 || undefined);
    });

    it('exports the requests of the whole log', async () => {
      const filter = { show: 'all', withoutModel: false, words: '' } as const;
      const { text, count } = await ledgerText(seam.tasks, id, filter, 'csv');
      assert.equal(count, 1);
      assert.match(text, /allowed,tunnel,,example\.com,443/);
      const none = await ledgerText(seam.tasks, id, { ...filter, words: 'nothing' }, 'json');
      assert.equal(none.text, '[]\n');
    });

    it('starts no task without a prompt', async () => {
      await vscode.commands.executeCommand('sallyport.newTask', { prompt: '  ', snapshot: 'head' });
      await vscode.commands.executeCommand('sallyport.newTask', {
        prompt: 'x'.repeat(100_001),
        snapshot: 'head',
      });
      assert.equal(service.submitted.length, 1);
      await vscode.commands.executeCommand('notifications.clearAll');
    });

    it('shows the task in the tree, and its commits below it', async () => {
      const [node] = await seam.tree.getChildren();
      assert.ok(node);
      const item = seam.tree.getTreeItem(node);
      assert.equal(item.label, 'Fix the median');
      assert.equal(item.contextValue, 'task active');
      assert.equal(item.collapsibleState, vscode.TreeItemCollapsibleState.None);
      service.say(id, { type: 'commit', commit }, { type: 'imported', tips: [commit.sha] });
      const again = seam.tree.getTreeItem(node);
      assert.equal(again.contextValue, 'task active result');
      assert.equal(again.collapsibleState, vscode.TreeItemCollapsibleState.Collapsed);
      const [child] = await seam.tree.getChildren(node);
      assert.ok(child);
      assert.equal(seam.tree.getTreeItem(child).label, 'Change one');
      assert.equal(seam.tree.getParent(child), node);
    });

    it('tells the tree of a change, soon and of the task only', async () => {
      const [node] = await seam.tree.getChildren();
      // What earlier tests changed has to be through first.
      await new Promise((resolve) => setTimeout(resolve, 300));
      const told = new Promise<unknown>((resolve) => {
        const listening = seam.tree.onDidChangeTreeData((what) => {
          listening.dispose();
          resolve(what);
        });
      });
      service.say(id, { type: 'progress', stage: 'sandbox', text: 'Starting' });
      assert.deepEqual(await told, [node]);
    });

    it('opens a panel for it, which asks for its log and gets it', async () => {
      await vscode.commands.executeCommand('sallyport.open', id);
      const tab = await until('the tab of the panel', () =>
        vscode.window.tabGroups.all
          .flatMap(({ tabs }) => tabs)
          .find(
            ({ input }) =>
              input instanceof vscode.TabInputWebview && input.viewType.includes('sallyport.task'),
          ),
      );
      assert.equal(tab.label, 'Fix the median');
      // The page was loaded, its script ran under its policy, and it said that it is ready: only then is the log read.
      await until('the panel to read the log', () => service.readers > 0 || undefined);
      await vscode.commands.executeCommand('sallyport.open', id);
      assert.equal(service.readers, 1, 'a second look shows the same panel');
    });

    it('reads no log for a panel that is not seen', async () => {
      const document = await vscode.workspace.openTextDocument({ content: 'in front' });
      await vscode.window.showTextDocument(document);
      await until('the reading to end', () => service.readers === 0 || undefined);
      await vscode.commands.executeCommand('sallyport.open', id);
      await until('the reading to begin again', () => service.readers === 1 || undefined);
    });

    it('shows files of the quarantine read-only, also binary ones', async () => {
      const bytes = new Uint8Array([0, 255, 1, 254]);
      service.blobs.set(shaOf('image'), bytes);
      const uri = vscode.Uri.from({
        scheme: 'sallyport-blob',
        authority: id,
        path: '/a.png',
        query: `blob=${shaOf('image')}`,
      });
      assert.deepEqual([...(await vscode.workspace.fs.readFile(uri))], [...bytes]);
      assert.equal((await vscode.workspace.fs.stat(uri)).size, 4);
      assert.equal((await vscode.workspace.fs.stat(uri)).permissions, vscode.FilePermission.Readonly);
      await assert.rejects(Promise.resolve(vscode.workspace.fs.writeFile(uri, bytes)));
      await assert.rejects(Promise.resolve(vscode.workspace.fs.delete(uri)));
      const foreign = uri.with({ query: 'blob=../../etc/passwd' });
      await assert.rejects(Promise.resolve(vscode.workspace.fs.readFile(foreign)));
    });

    it('opens the diff of all files in the editor, with their languages', async () => {
      service.blobs.set(shaOf('before'), new TextEncoder().encode('const a = 1;\n'));
      service.blobs.set(shaOf('after'), new TextEncoder().encode('const a = 2;\n'));
      service.detailed = [
        aChange('src/a.ts', 'before', 'after'),
        aChange('new.js', undefined, 'after'),
        aChange('old.py', 'before', undefined),
      ];
      await vscode.commands.executeCommand('sallyport.showDiff', id);
      const document = await until('the document of the new side', () =>
        vscode.workspace.textDocuments.find(
          ({ uri }) =>
            uri.scheme === 'sallyport-blob' &&
            uri.query === `blob=${shaOf('after')}` &&
            uri.path === '/src/a.ts',
        ),
      );
      assert.equal(document.getText(), 'const a = 2;\n');
      assert.equal(document.languageId, 'typescript');
    });

    it('opens a terminal in its sandbox: what is typed gets there, and closing it leaves the shell', async () => {
      let typed = '';
      let left = 0;
      const leaving = Promise.withResolvers<undefined>();
      service.shell = {
        output: (async function* () {
          yield Buffer.from('agent@sandbox $ ');
          await leaving.promise;
        })(),
        write: (data) => {
          typed += Buffer.from(data).toString();
          return Promise.resolve();
        },
        resize: () => undefined,
        ended: leaving.promise.then(() => ({ reason: 'left' })),
        dispose: () => {
          left += 1;
          leaving.resolve(undefined);
        },
      };
      await vscode.commands.executeCommand('sallyport.openTerminal', id);
      const terminal = await until('the terminal', () =>
        vscode.window.terminals.find(({ name }) => name === 'Sandbox: Fix the median'),
      );
      await until('the typing', () => {
        terminal.sendText('ls', false);
        return typed.includes('ls') || undefined;
      });
      terminal.dispose();
      await until('the leaving', () => left > 0 || undefined);
      service.shell = undefined;
    });

    it('stops it by its command', async () => {
      await vscode.commands.executeCommand('sallyport.stop', id);
      assert.deepEqual(service.stopped, [id]);
    });

    it('closes its panel when it is removed', async () => {
      service.say(id, { type: 'ended', outcome: 'stopped', message: 'It was stopped.' });
      await service.remove(id);
      await until(
        'the panel to close',
        () =>
          vscode.window.tabGroups.all
            .flatMap(({ tabs }) => tabs)
            .every(({ input }) => !(input instanceof vscode.TabInputWebview)) || undefined,
      );
      assert.deepEqual(await seam.tree.getChildren(), []);
    });
  });

  it('keeps a credential in the secret storage, and takes it out again', async () => {
    const value = 'sk-ant-api03-abcdefghijklmnopqrstuvwxyz';
    await seam.credentials.set({ kind: 'api_key', value });
    const found = await seam.credentials.get();
    assert.equal(found?.credential.value, value);
    assert.equal(found.label, 'Anthropic API key from the secret storage');
    assert.equal(JSON.stringify(vscode.workspace.getConfiguration('sallyport')).includes(value), false);
    assert.equal(await vscode.commands.executeCommand('sallyport.removeCredential'), true);
    assert.equal(await seam.credentials.get(), undefined);
    assert.equal(await vscode.commands.executeCommand('sallyport.removeCredential'), false);
  });

  describe('before a task starts', () => {
    const start = (more: object = {}): Thenable<string | undefined> =>
      vscode.commands.executeCommand('sallyport.newTask', { prompt: 'x', snapshot: 'head', ...more });

    afterEach(async () => {
      service.refusal = models.refusal = undefined;
      service.settings = { egressRules: [], acceptedSecrets: [] };
      models.sources = [aSource({ id: 'demonstration', label: 'demonstration model' })];
      await vscode.commands.executeCommand('notifications.clearAll');
    });

    it('checks the credential that was chosen for the workspace, and starts none when it is refused', async () => {
      models.sources = [aSource({ id: 'login', label: 'Claude login' }), aSource()];
      service.settings = { egressRules: [], acceptedSecrets: [], credential: 'env:ANTHROPIC_API_KEY' };
      models.refusal = new SallyportError('auth_refused', 'The key was refused.', 'Set another.');
      const before = service.submitted.length;
      models.chosen = [];
      models.checks = [];
      assert.equal(await start(), undefined);
      assert.deepEqual(models.chosen, ['env:ANTHROPIC_API_KEY']);
      assert.deepEqual(models.checks, [{ model: aSource().label, deep: false }]);
      assert.equal(service.submitted.length, before, 'no container starts');
      models.refusal = undefined;
      assert.ok(await start());
    });

    it('hands on the network and the budget of one task, and refuses what does not fit', async () => {
      const egress = { mode: 'closed', rules: ['example.com'] };
      assert.ok(await start({ egress, budgetUsd: 2 }));
      assert.deepEqual(service.submitted.at(-1)?.egress, egress);
      assert.equal(service.submitted.at(-1)?.budgetUsd, 2);
      const before = service.submitted.length;
      assert.equal(await start({ egress: { rules: ['https://example.com'] } }), undefined);
      assert.equal(await start({ budgetUsd: -1 }), undefined);
      assert.equal(service.submitted.length, before);
    });

    it('starts nothing while a setting of the network cannot be right', async () => {
      const egress = vscode.workspace.getConfiguration('sallyport.egress');
      await egress.update('rules', ['https://example.com'], vscode.ConfigurationTarget.Global);
      const before = service.submitted.length;
      assert.equal(await start(), undefined);
      assert.equal(service.submitted.length, before);
      await egress.update('rules', undefined, vscode.ConfigurationTarget.Global);
      assert.ok(await start());
    });

    it('looks at the budget of the day again when its setting changes', async () => {
      const before = service.budgetLooks;
      const budget = vscode.workspace.getConfiguration('sallyport.budget');
      await budget.update('perDay', 7, vscode.ConfigurationTarget.Global);
      await until('the look', () => service.budgetLooks > before || undefined);
      await budget.update('perDay', undefined, vscode.ConfigurationTarget.Global);
    });

    it('asks about likely keys, and sends nothing when nobody answers yes', async () => {
      const finding = {
        path: 'src/stats.js',
        line: 1,
        kind: 'AWS access key',
        hint: 'AKIA…XY',
        fingerprint: 'f',
        tracked: true,
      };
      service.refusal = new SecretsFound([finding], 0);
      const before = service.submitted.length;
      let over = false;
      const cancelled = Promise.resolve(start()).finally(() => (over = true));
      // The list is open when accepting its first line ends the question.
      await until('the question to be answered', async () => {
        await vscode.commands.executeCommand('workbench.action.acceptSelectedQuickOpenItem');
        return over || undefined;
      });
      assert.equal(await cancelled, undefined);
      assert.equal(service.submitted.length, before);
    });
  });

  describe('with an agent that asks', () => {
    const answers = (id: string): unknown[] =>
      service.logs.get(id)!.flatMap((event) => (event.type === 'answered' ? [event.answer] : []));

    function asking(question: Omit<AgentQuestion, 'id'>): string {
      const spec = aSpec({ id: newTaskId(Date.now()), conversation: true });
      service.add(spec);
      service.say(
        spec.id,
        { type: 'started', spec, supervisor: 'test' },
        { type: 'turn_began', number: 1 },
        { type: 'asked', question: { id: 'q1', ...question } },
      );
      return spec.id;
    }

    async function answerFirst(id: string, moves: readonly string[]): Promise<void> {
      let over = false;
      const done = Promise.resolve(vscode.commands.executeCommand('sallyport.answerAgent', id)).finally(
        () => (over = true),
      );
      await until('the answer', async () => {
        for (const move of moves) await vscode.commands.executeCommand(move);
        return over || undefined;
      });
      await done;
    }

    it('puts its options to the user, and hands over the one that was chosen', async () => {
      const id = asking({
        what: 'choice',
        tool: 'AskUserQuestion',
        choices: [
          {
            question: 'Which word?',
            header: 'Word',
            multiple: false,
            options: [
              { label: 'alpha', description: '' },
              { label: 'beta', description: '' },
            ],
          },
        ],
      });
      assert.ok(seam.tree.getTreeItem(seam.tree.taskNode(id)).contextValue?.includes('asks'));
      await answerFirst(id, ['workbench.action.acceptSelectedQuickOpenItem']);
      assert.deepEqual(answers(id), [{ kind: 'choose', answers: [['alpha']] }]);
      assert.equal(service.task(id)?.phase, 'running');
    });

    it('allows a tool once, and leaves a question open that the user turns away from', async () => {
      const id = asking({ what: 'permission', tool: 'Bash', text: '{"command":"ls"}' });
      await answerFirst(id, ['workbench.action.closeQuickOpen']);
      assert.deepEqual(answers(id), []);
      assert.equal(service.task(id)?.phase, 'waiting');
      await answerFirst(id, ['workbench.action.acceptSelectedQuickOpenItem']);
      assert.deepEqual(answers(id), [{ kind: 'allow' }]);
    });

    it('can be interrupted', async () => {
      const id = asking({ what: 'plan', tool: 'ExitPlanMode', text: '1. Think.' });
      await vscode.commands.executeCommand('sallyport.interrupt', id);
      assert.ok(service.logs.get(id)!.some(({ type }) => type === 'interrupting'));
    });
  });

  it('tells of a credential that was set or removed, also from elsewhere', async () => {
    let told = 0;
    const listening = seam.credentials.onDidChange(() => (told += 1));
    await seam.credentials.set({ kind: 'api_key', value: 'sk-ant-api03-abcdefghijklmnopqrstuvwxyz' });
    await until('the change', () => told > 0 || undefined);
    await seam.credentials.remove();
    await until('the removal', () => told > 1 || undefined);
    listening.dispose();
  });

  it('does not break when a task cannot be started', async () => {
    service.refusal = new SallyportError('no_credentials', 'There is no credential.', 'Set one.');
    const id = await vscode.commands.executeCommand('sallyport.newTask', { prompt: 'x', snapshot: 'head' });
    assert.equal(id, undefined);
    service.refusal = undefined;
    await vscode.commands.executeCommand('notifications.clearAll');
  });

  it('shows the findings of the doctor as a document that needs no saving', async () => {
    await vscode.commands.executeCommand('sallyport.doctor', { callModel: false });
    assert.equal(service.calledModel, false);
    const document = vscode.window.activeTextEditor?.document;
    assert.match(document?.getText() ?? '', /1 of 1 checks failed/);
    assert.equal(document?.isUntitled, false);
    assert.equal(document.isDirty, false);
  });
});
