import assert from 'node:assert/strict';
import * as vscode from 'vscode';
import type { ReviewScope } from '../../src/protocol/review.ts';
import type { MergeConflict } from '../../src/runner/review/taskReview.ts';
import type { TestSeam } from '../../src/vscode/extension.ts';
import { MergeSessions } from '../../src/vscode/review/mergeSession.ts';
import { type MergePurpose, MergeStore } from '../../src/vscode/review/mergeStore.ts';
import type { ReviewNode } from '../../src/vscode/review/tree.ts';
import { FakeTaskReview } from '../support/fakeTaskReview.ts';
import { FakeTaskService } from '../support/fakeTaskService.ts';
import { temporaryFolder } from '../support/gitRepo.ts';
import { ReviewBench } from '../support/reviewBench.ts';
import { BenchService } from '../support/reviewService.ts';
import { until } from './until.ts';

const all: ReviewScope = { kind: 'all' };
const numbered = (count: number): string[] => Array.from({ length: count }, (_, i) => `line ${i + 1}`);
const text = (lines: readonly string[]): string => lines.map((line) => `${line}\n`).join('');

const run = (name: string, ...args: unknown[]): Thenable<unknown> =>
  vscode.commands.executeCommand(`sallyport.${name}`, ...args);

describe('the review in the editor', () => {
  let bench: ReviewBench;
  let service: BenchService;
  let seam: TestSeam;
  const base = numbered(30);
  const changed = base.map((line, at) => (at === 4 || at === 19 ? `${line} changed` : line));

  before(async () => {
    const extension = vscode.extensions.getExtension<TestSeam>('sallyport.sallyport');
    assert.ok(extension);
    seam = await extension.activate();
    if (!seam.tasks.isWanted) seam.useService(() => Promise.resolve(new FakeTaskService()));
    bench = await ReviewBench.open({
      'src/deep/a.ts': text(base),
      'src/deep/b.ts': 'const b = 1;\n',
      'old.txt': 'to go\n',
      'package.json': '{\n  "scripts": {}\n}\n',
    });
    await bench.commit('Work', {
      'src/deep/a.ts': text(changed),
      'src/deep/b.ts': 'const b = 2;\n',
      'src/new.ts': 'export const fresh = "\u202eevil";\n',
      'old.txt': null,
      'picture.png': new Uint8Array([0, 1, 2, 255]),
      'package.json': '{\n  "scripts": { "postinstall": "node x.js" }\n}\n',
    });
    service = new BenchService(bench);
    await (await seam.tasks.open()).add({ id: 'bench', name: () => 'Bench', service });
    await run('reviewChanges', { id: bench.id });
  });

  after(async () => {
    await vscode.commands.executeCommand('workbench.action.closeAllEditors');
    await run('review.close');
    (await seam.tasks.open()).drop('bench');
    bench.dispose();
  });

  const children = (node?: ReviewNode): Promise<ReviewNode[]> => seam.review.tree.getChildren(node);
  const labels = async (node?: ReviewNode): Promise<string[]> =>
    (await children(node)).map((one) => {
      const { label } = seam.review.tree.getTreeItem(one);
      return typeof label === 'string' ? label : '';
    });

  async function nodeOf(path: string): Promise<ReviewNode> {
    await seam.review.session.open();
    const file = seam.review.session.now?.diff.files.find((one) => one.path === path);
    assert.ok(file, path);
    const find = async (nodes: ReviewNode[]): Promise<ReviewNode | undefined> => {
      for (const node of nodes) {
        if (node.kind === 'file' && node.file === file.id) return node;
        const found = node.kind === 'file' ? undefined : await find(await children(node));
        if (found !== undefined) return found;
      }
      return undefined;
    };
    const found = await find(await children());
    assert.ok(found, `no line of the tree for ${path}`);
    return found;
  }

  const fileOf = (path: string) => {
    const file = seam.review.session.now?.diff.files.find((one) => one.path === path);
    assert.ok(file, path);
    return file;
  };
  const uriOf = (path: string): vscode.Uri =>
    vscode.Uri.from({
      scheme: 'sallyport-review',
      authority: bench.id,
      path: `/${path}`,
      query: `scope=all&file=${fileOf(path).id}`,
    });
  const contentOf = async (path: string): Promise<string> =>
    new TextDecoder().decode(await vscode.workspace.fs.readFile(uriOf(path)));
  const verdicts = async (path: string): Promise<(string | undefined)[]> => {
    const { verdicts: of } = await bench.review.state();
    return fileOf(path).parts.map(({ id }) => of[id]);
  };

  it('shows what would run on this machine first, then folders and files with their counts', async () => {
    // A folder that holds only another one is one line with it.
    assert.deepEqual(await labels(), ['Look at These First', 'src/deep', 'old.txt']);
    const [gate, folder] = await children();
    assert.ok(gate && folder);
    assert.deepEqual((await labels(gate)).toSorted(), ['new.ts', 'package.json', 'picture.png']);
    assert.deepEqual(await labels(folder), ['a.ts', 'b.ts']);
    const item = seam.review.tree.getTreeItem(await nodeOf('src/deep/a.ts'));
    assert.equal(item.description, '+2 −2');
    assert.equal(item.contextValue, 'file open unreviewed plain');
    assert.match(seam.review.tree.description, /^0 of 6 files done · 3 to look at first · Everything/);
    assert.equal(seam.review.tree.badge, 6);
    const [reason] = await children(await nodeOf('package.json'));
    assert.equal(reason?.kind, 'reason');
  });

  it('has the hunks of a file below it, and opens them in a diff', async () => {
    const node = await nodeOf('src/deep/a.ts');
    const parts = await children(node);
    assert.equal(parts.length, 2);
    assert.deepEqual(seam.review.tree.getParent(parts[0]!), node);
    await run('review.open', parts[1]);
    const editor = await until('the diff', () => {
      const { activeTextEditor } = vscode.window;
      return activeTextEditor?.document.uri.scheme === 'sallyport-review' ? activeTextEditor : undefined;
    });
    await until('the hunk', () => editor.selection.active.line === 19 || undefined);
    assert.equal(editor.document.getText(), text(changed));
    assert.equal(editor.document.languageId, 'typescript');
  });

  it('rejects the hunk at the cursor, restores it, and shows the file without it', async () => {
    await run('review.rejectHunk');
    assert.deepEqual(await verdicts('src/deep/a.ts'), [undefined, 'rejected']);
    const without = changed.map((line, at) => (at === 19 ? base[19]! : line));
    assert.equal(await contentOf('src/deep/a.ts'), text(without));
    await until(
      'the editor to show it',
      () => vscode.window.activeTextEditor?.document.getText() === text(without) || undefined,
    );
    const lenses = await vscode.commands.executeCommand<vscode.CodeLens[]>(
      'vscode.executeCodeLensProvider',
      uriOf('src/deep/a.ts'),
    );
    assert.deepEqual(
      lenses.map(({ command }) => command?.command.replace('sallyport.review.', '')),
      ['acceptHunk', 'rejectHunk', 'restoreHunk'],
    );
    await run('review.restoreHunk');
    assert.deepEqual(await verdicts('src/deep/a.ts'), [undefined, undefined]);
    assert.equal(await contentOf('src/deep/a.ts'), text(changed));
  });

  it('takes what is saved without a hunk as a rejection, and what is typed as an edit', async () => {
    const document = await vscode.workspace.openTextDocument(uriOf('src/deep/a.ts'));
    const editor = await vscode.window.showTextDocument(document);
    // What VS Code's own arrow in a diff does.
    await editor.edit((edit) => edit.replace(document.lineAt(4).range, base[4]!));
    assert.equal(await document.save(), true);
    assert.deepEqual(await verdicts('src/deep/a.ts'), ['rejected', undefined]);
    await editor.edit((edit) => edit.replace(document.lineAt(19).range, 'mine'));
    assert.equal(await document.save(), true);
    await seam.review.session.refresh();
    const { edits } = await bench.review.state();
    assert.ok(edits[fileOf('src/deep/a.ts').id]);
    assert.equal(document.isDirty, false);
    assert.match(await contentOf('src/deep/a.ts'), /^mine$/m);
    await run('review.discardEdit', await nodeOf('src/deep/a.ts'));
    await seam.review.session.refresh();
    await run('review.restore', await nodeOf('src/deep/a.ts'));
    assert.equal(await contentOf('src/deep/a.ts'), text(changed));
  });

  it('never writes over what is typed and not saved', async () => {
    const document = await vscode.workspace.openTextDocument(uriOf('src/deep/a.ts'));
    const editor = await vscode.window.showTextDocument(document);
    await until('the document of before', () => document.getText() === text(changed) || undefined);
    assert.equal(await editor.edit((edit) => edit.insert(new vscode.Position(0, 0), 'typed\n')), true);
    const [, second] = fileOf('src/deep/a.ts').parts;
    await bench.review.decide(all, { parts: [second!.id] }, 'rejected');
    await new Promise((resolve) => setTimeout(resolve, 500));
    assert.equal(document.getText(), `typed\n${text(changed)}`);
    assert.equal(document.isDirty, true);
    await vscode.commands.executeCommand('workbench.action.files.revert');
    await bench.review.decide(all, { parts: [second!.id] }, null);
  });

  it('accepts a file from the tree, marks it as reviewed by its checkbox, and tells only of what changed', async () => {
    const node = await nodeOf('src/deep/b.ts');
    await new Promise((resolve) => setTimeout(resolve, 300));
    const told: unknown[] = [];
    const listening = seam.review.tree.onDidChangeTreeData((what) => told.push(what));
    await run('review.accept', node);
    assert.deepEqual(await verdicts('src/deep/b.ts'), ['accepted']);
    await run('review.markReviewed', node);
    listening.dispose();
    const nodes = told.flat().filter((one) => one !== undefined) as ReviewNode[];
    assert.equal(nodes.length, told.flat().length, 'the whole tree is not drawn again');
    assert.ok(nodes.every(({ kind }) => kind === 'file' || kind === 'folder'));
    const item = seam.review.tree.getTreeItem(node);
    assert.equal(item.contextValue, 'file accepted reviewed plain');
    assert.equal((item.checkboxState as { state: number }).state, vscode.TreeItemCheckboxState.Checked);
    assert.match(seam.review.announcer.last, /Marked src\/deep\/b\.ts as reviewed/);
  });

  it('leaves files of the hand-off list out when several are accepted at once', async () => {
    const nodes = [await nodeOf('package.json'), await nodeOf('old.txt')];
    await run('review.accept', nodes[0], nodes);
    assert.deepEqual(await verdicts('old.txt'), ['accepted']);
    assert.ok((await verdicts('package.json')).every((verdict) => verdict === undefined));
    assert.match(seam.review.announcer.last, /must be accepted one by one/);
    await vscode.commands.executeCommand('notifications.clearAll');
  });

  it('asks before it accepts one of them, and Enter at once only opens it', async () => {
    let over = false;
    const asked = Promise.resolve(run('review.accept', await nodeOf('package.json'))).finally(
      () => (over = true),
    );
    await until('the question to be answered', async () => {
      await vscode.commands.executeCommand('workbench.action.acceptSelectedQuickOpenItem');
      return over || undefined;
    });
    await asked;
    assert.ok((await verdicts('package.json')).every((verdict) => verdict === undefined));
    await until(
      'its changes',
      () => vscode.window.activeTextEditor?.document.uri.path === '/package.json' || undefined,
    );
  });

  it('moves a cursor over open hunks into the next file that is not done', async () => {
    await run('review.open', await nodeOf('src/deep/a.ts'));
    const at = (): string => {
      const editor = vscode.window.activeTextEditor;
      return `${editor?.document.uri.path ?? ''}:${(editor?.selection.active.line ?? -1) + 1}`;
    };
    await until('the file', () => at().startsWith('/src/deep/a.ts') || undefined);
    vscode.window.activeTextEditor!.selection = new vscode.Selection(0, 0, 0, 0);
    await run('review.nextHunk');
    assert.equal(at(), '/src/deep/a.ts:5');
    await run('review.nextHunk');
    assert.equal(at(), '/src/deep/a.ts:20');
    await run('review.previousHunk');
    assert.equal(at(), '/src/deep/a.ts:5');
    // b.ts is accepted and old.txt too, so nothing comes after it.
    await run('review.nextFile');
    assert.match(seam.review.announcer.last, /No file after this one/);
    await run('review.previousFile');
    await until('a file before it', () => !at().startsWith('/src/deep/a.ts') || undefined);
  });

  it('finds what cannot be seen in its documents', async () => {
    await run('review.open', await nodeOf('src/new.ts'));
    await until(
      'the file',
      () => vscode.window.activeTextEditor?.document.uri.path === '/src/new.ts' || undefined,
    );
    await seam.review.marks.draw();
    const [hidden] = (await import('../../src/vscode/view/reviewHidden.ts')).findHidden(
      vscode.window.activeTextEditor!.document.getText(),
    );
    assert.equal(hidden?.shown, '‹U+202E›');
  });

  it('opens everything in one editor', async () => {
    await run('review.openAll');
    const tab = await until('the tab', () =>
      vscode.window.tabGroups.all
        .flatMap(({ tabs }) => tabs)
        .find(({ label }) => label.startsWith('Everything')),
    );
    assert.ok(tab);
  });

  it('keeps remarks as threads on both sides, sends them, and shows that they went', async () => {
    await vscode.commands.executeCommand('workbench.action.closeAllEditors');
    const thread = (uri: vscode.Uri, line: number): vscode.CommentThread =>
      ({
        uri,
        range: new vscode.Range(line, 0, line, 0),
        dispose: () => undefined,
      }) as unknown as vscode.CommentThread;
    const right = uriOf('src/deep/a.ts');
    const left = right.with({
      scheme: 'sallyport-blob',
      query: `blob=${fileOf('src/deep/a.ts').oldBlob}`,
    });
    await run('review.addRemark', { thread: thread(right, 19), text: 'Why twenty?' });
    await run('review.addRemark', { thread: thread(left, 4), text: 'This was right.' });
    await until('two threads', () => seam.review.remarks.threads.length === 2 || undefined);
    const { remarks } = await bench.review.state();
    assert.deepEqual(
      remarks.map(({ side, line, quote }) => [side, line, quote]),
      [
        ['new', 20, 'line 20 changed'],
        ['old', 5, 'line 5'],
      ],
    );
    const [first] = seam.review.remarks.threads;
    assert.equal(first?.label, 'Draft, not sent yet');
    assert.equal(first.canReply, false);
    assert.equal(first.range?.start.line, 19);
    let over = false;
    const sending = Promise.resolve(run('review.sendToAgent')).finally(() => (over = true));
    await until('the message to be sent', async () => {
      await vscode.commands.executeCommand('workbench.action.acceptSelectedQuickOpenItem');
      return over || undefined;
    });
    await sending;
    assert.match(bench.said.at(-1)?.text ?? '', /Why twenty\?/);
    await until(
      'the threads to say so',
      () => seam.review.remarks.threads.every(({ label }) => label === 'Sent to the agent') || undefined,
    );
    await run('review.resolveRemark', seam.review.remarks.threads[0]);
    await until(
      'it to be resolved',
      () => seam.review.remarks.threads[0]?.state === vscode.CommentThreadState.Resolved || undefined,
    );
    await run('review.deleteRemark', seam.review.remarks.threads[1]);
    await until('one thread', () => seam.review.remarks.threads.length === 1 || undefined);
  });

  it('shows what a later turn brought, and keeps marks of what it did not touch', async () => {
    await bench.commit('More', { 'src/deep/a.ts': text(['first', ...changed]) });
    await until('the new hunk', () => fileOf('src/deep/a.ts').parts.length === 3 || undefined);
    assert.equal(seam.review.session.standing(fileOf('src/deep/b.ts').id)?.reviewed, true);
    const [thread] = seam.review.remarks.threads;
    await until(
      'the remark to move along',
      () => seam.review.remarks.threads[0]?.range?.start.line === 20 || undefined,
    );
    assert.ok(thread);
  });

  it('filters, and shows a list instead of a tree', async () => {
    seam.review.session.setFilter('gate');
    assert.deepEqual(await labels(), ['Look at These First']);
    await run('review.clearFilter');
    await run('review.viewAsList');
    assert.deepEqual(await labels(), ['Look at These First', 'old.txt', 'a.ts', 'b.ts']);
    await run('review.viewAsTree');
  });

  describe('a merge', () => {
    const encode = (words: string): Uint8Array => new TextEncoder().encode(words);

    const purpose = (): MergePurpose => ({
      kind: 'accept',
      subject: { id: bench.id, scope: all },
      request: { scope: all, what: 'rest', target: { kind: 'tree', staged: false } },
    });
    const conflictOf = (path: string): MergeConflict => ({
      path,
      base: encode('one\n'),
      current: encode('mine\n'),
      incoming: encode('theirs\n'),
      marked: encode('<<<<<<< Yours\nmine\n=======\ntheirs\n>>>>>>> Task\n'),
    });
    /**
     * The result of the merge that is under way, once its editor is there and has put what can be merged by itself in place of
     * the conflict markers.
     */
    const resultOf = (path: string): Promise<vscode.TextDocument> =>
      until(`the merge editor of ${path}`, () =>
        vscode.workspace.textDocuments.find(
          (one) =>
            !one.isClosed &&
            one.uri.scheme === 'sallyport-merge' &&
            one.uri.path === `/${path}` &&
            one.uri.query.startsWith(`${seam.review.merges.number}.`) &&
            one.uri.query.endsWith('.result') &&
            !one.getText().includes('<<<<<<<'),
        ),
      );
    /** As the merge editor does it; again where that one has just written itself, which VS Code refuses to mix. */
    const write = async (result: vscode.TextDocument, content: string): Promise<void> => {
      await until('the edit of a result', async () => {
        const edit = new vscode.WorkspaceEdit();
        edit.replace(result.uri, new vscode.Range(0, 0, 100, 0), content);
        await vscode.workspace.applyEdit(edit);
        return result.getText() === content;
      });
    };
    const said = (merged: ReadonlyMap<string, Uint8Array | undefined> | undefined): [string, string][] =>
      [...(merged ?? [])].map(([path, bytes]) => [path, new TextDecoder().decode(bytes)]);
    it('writes nothing before every file is merged, and then everything at once', async () => {
      const finished: ReadonlyMap<string, Uint8Array | undefined>[] = [];
      const { merges } = seam.review;
      const { finisher } = merges;
      merges.finisher = (_, merged) => {
        finished.push(merged);
        return Promise.resolve();
      };
      try {
        await merges.begin([conflictOf('a.txt')], purpose(), new Map([['before.txt', encode('before\n')]]));
        const result = await resultOf('a.txt');
        await run('review.finishAccept');
        assert.equal(finished.length, 0);
        await write(result, 'both\n');
        await assert.rejects(
          Promise.resolve(
            vscode.workspace.fs.writeFile(
              result.uri.with({ query: result.uri.query.replace('result', 'current') }),
              encode('x'),
            ),
          ),
        );
        await run('review.completeMerge', result.uri);
        assert.deepEqual(merges.waiting, []);
        await run('review.finishAccept');
        assert.deepEqual(said(finished[0]), [
          ['before.txt', 'before\n'],
          ['a.txt', 'both\n'],
        ]);
        assert.equal(merges.isOpen, false);
        await assert.rejects(Promise.resolve(vscode.workspace.fs.readFile(result.uri)));
        await vscode.commands.executeCommand('notifications.clearAll');
      } finally {
        merges.finisher = finisher;
      }
    });

    it('goes on after a reload with what was completed and saved', async () => {
      const { merges } = seam.review;
      const { kept } = merges;
      const folder = temporaryFolder();
      merges.kept = new MergeStore(folder.path);
      const finished: ReadonlyMap<string, Uint8Array | undefined>[] = [];
      try {
        await merges.begin(['a.txt', 'b.txt', 'c.txt'].map(conflictOf), purpose());
        const first = await resultOf('a.txt');
        await write(first, 'both\n');
        await run('review.completeMerge', first.uri);
        const second = await resultOf('b.txt');
        await write(second, 'half of it\n');
        assert.equal(await second.save(), true);

        const after = new MergeSessions(seam.review.announcer, new MergeStore(folder.path));
        await after.restore();
        assert.deepEqual(after.waiting, ['b.txt', 'c.txt']);
        const contentOfSide = async (side: string): Promise<string> =>
          new TextDecoder().decode(
            await after.readFile(second.uri.with({ query: second.uri.query.replace('result', side) })),
          );
        assert.equal(await contentOfSide('result'), 'half of it\n');
        assert.equal(await contentOfSide('base'), 'one\n');
        assert.deepEqual(await after.stat(second.uri), await merges.stat(second.uri));
        after.dispose();

        await run('review.completeMerge', second.uri);
        const third = await resultOf('c.txt');
        await write(third, 'c\n');
        await run('review.completeMerge', third.uri);
        const later = new MergeSessions(seam.review.announcer, new MergeStore(folder.path));
        later.finisher = (what, merged) => {
          assert.deepEqual(what, purpose());
          finished.push(merged);
          return Promise.resolve();
        };
        await later.restore();
        assert.deepEqual(later.waiting, []);
        await later.finish();
        assert.deepEqual(said(finished[0]), [
          ['a.txt', 'both\n'],
          ['b.txt', 'half of it\n'],
          ['c.txt', 'c\n'],
        ]);
        assert.equal(later.isOpen, false);
        assert.equal(await new MergeStore(folder.path).read(), undefined);
        later.dispose();
        await vscode.commands.executeCommand('notifications.clearAll');
      } finally {
        await merges.cancel();
        merges.kept = kept;
        folder.dispose();
      }
    });

    it('makes the merge of an edit and a later version the edit', async () => {
      const path = 'src/deep/b.ts';
      await bench.review.edit(all, fileOf(path).id, encode('const b = 3;\n'));
      await bench.commit('Again', { [path]: 'const b = 4;\n' });
      await until('the conflict', () => fileOf(path).edit?.kind === 'conflict' || undefined);
      const node = await nodeOf(path);
      const item = seam.review.tree.getTreeItem(node);
      assert.match(item.contextValue ?? '', /\bconflict\b/);
      assert.match(
        item.accessibilityInformation?.label ?? '',
        /conflict: your edit and the task's new version have changed the same lines/,
      );
      await run('review.mergeEdit', node);
      const result = await resultOf(path);
      await write(result, 'const b = 34;\n');
      await run('review.completeMerge', result.uri);
      await until('the edit', () => fileOf(path).edit?.kind === 'own' || undefined);
      assert.equal(await contentOf(path), 'const b = 34;\n');
      assert.equal(seam.review.merges.isOpen, false);
      await run('review.discardEdit', await nodeOf(path));
      await until('no edit', () => fileOf(path).edit === undefined || undefined);
      await vscode.commands.executeCommand('notifications.clearAll');
    });
  });

  it('takes an accept back from its command', async () => {
    const fake = new FakeTaskReview();
    fake.say({
      type: 'accepted',
      id: 'one',
      target: { kind: 'tree', staged: false },
      files: 2,
      parts: [],
      whole: true,
    });
    const { find } = seam.review.reviews;
    seam.review.reviews.find = () => Promise.resolve(fake);
    const other = 'zzzzzzzzzzzz';
    try {
      bench.runner.add({ ...bench.spec, id: other });
      await run('review.undoAccept', { id: other, scope: all });
      assert.equal((await fake.state()).accepts[0]?.undone, true);
    } finally {
      seam.review.reviews.find = find;
    }
  });
});
