import assert from 'node:assert/strict';
import * as vscode from 'vscode';
import { SallyportError } from '../../src/base/errors.ts';
import type { TaskService } from '../../src/runner/taskService.ts';
import type { TestSeam } from '../../src/vscode/extension.ts';
import { aChange, FakeTaskService } from '../support/fakeTaskService.ts';
import { aCommit, shaOf } from '../support/specs.ts';

interface Manifest {
  contributes: {
    commands: { command: string }[];
    configuration: { properties: Record<string, { default: unknown; scope?: string }> };
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

async function until<T>(what: string, ask: () => T | undefined | Promise<T | undefined>): Promise<T> {
  for (let tries = 0; tries < 200; tries++) {
    const answer = await ask();
    if (answer !== undefined && answer !== false) return answer;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`Not within 10 s: ${what}`);
}

describe('the extension', () => {
  const service = new FakeTaskService();
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
    const { properties } = manifest().contributes.configuration;
    const configuration = vscode.workspace.getConfiguration();
    for (const [key, { default: value }] of Object.entries(properties)) {
      assert.deepEqual(configuration.get(key), value, key);
    }
    assert.deepEqual(
      manifest().capabilities.untrustedWorkspaces.restrictedConfigurations.toSorted(),
      Object.keys(properties).toSorted(),
    );
    for (const key of ['sallyport.engine.socket', 'sallyport.dataFolder', 'sallyport.model.source']) {
      assert.equal(properties[key]?.scope, 'machine', key);
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
      assert.deepEqual(request?.limits, { timeMs: 3_600_000, memoryBytes: 4 * 2 ** 30, cpus: 2, pids: 1024 });
      assert.equal(request.snapshot, 'head');
      assert.equal('model' in request, false);
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

  it('does not break when a task cannot be started', async () => {
    service.refusal = new SallyportError('no_credentials', 'There is no credential.', 'Set one.');
    const id = await vscode.commands.executeCommand('sallyport.newTask', { prompt: 'x', snapshot: 'head' });
    assert.equal(id, undefined);
    service.refusal = undefined;
    await vscode.commands.executeCommand('notifications.clearAll');
  });

  it('shows the findings of the doctor as a document that needs no saving', async () => {
    await vscode.commands.executeCommand('sallyport.doctor');
    const document = vscode.window.activeTextEditor?.document;
    assert.match(document?.getText() ?? '', /1 of 1 checks failed/);
    assert.equal(document?.isUntitled, false);
    assert.equal(document.isDirty, false);
  });
});
