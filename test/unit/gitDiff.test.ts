import assert from 'node:assert/strict';
import { chmodSync, existsSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { blob, changedFiles, emptyTree, patch } from '../../src/git/diff.ts';
import {
  commitLogArgs,
  parseCommitLog,
  parseRawNumstat,
  rawNumstatArgs,
  splitMessage,
} from '../../src/git/log.ts';
import { git } from '../../src/git/process.ts';
import { Quarantine } from '../../src/git/quarantine.ts';
import { openRepository } from '../../src/git/repository.ts';
import { GitRepo, temporaryFolder } from '../support/gitRepo.ts';

describe('git log and diff', () => {
  let folder: ReturnType<typeof temporaryFolder>;
  let repo: GitRepo;

  beforeEach(() => {
    folder = temporaryFolder();
    repo = new GitRepo(join(folder.path, 'repo'));
  });
  afterEach(() => folder.dispose());

  const log = async (...revisions: string[]) =>
    parseCommitLog((await git(commitLogArgs(revisions), { cwd: repo.path })).stdout);

  async function quarantined(): Promise<Quarantine> {
    const repository = await openRepository(repo.path);
    const quarantine = Quarantine.open(join(folder.path, 'q'), repository.ref.id);
    await quarantine.adopt(repository);
    return quarantine;
  }

  /** Two commits with a change of every kind between them. */
  function everyKind(): { from: string; to: string } {
    repo.write('modified', '1\n2\n3\n');
    repo.write('deleted', 'gone\n');
    repo.write('old name', 'content\n'.repeat(20));
    repo.write('becomes link', '1\n2\n');
    repo.write('binary', Buffer.from([0, 1, 2]));
    repo.write('mode', '1\n');
    const from = repo.commit('one');
    repo.write('modified', '1\n3\n4\n5\n');
    rmSync(join(repo.path, 'deleted'));
    repo.git('mv', 'old name', 'new\nname');
    rmSync(join(repo.path, 'becomes link'));
    symlinkSync('target', join(repo.path, 'becomes link'));
    repo.write('binary', Buffer.from([0, 1, 3]));
    repo.write('-added', '1\n');
    chmodSync(join(repo.path, 'mode'), 0o755);
    return { from, to: repo.commit('two') };
  }

  const kinds = [
    { path: '-added', status: 'added', added: 1, removed: 0 },
    { path: 'becomes link', status: 'type-changed', added: 1, removed: 2 },
    { path: 'binary', status: 'modified' },
    { path: 'deleted', status: 'deleted', added: 0, removed: 1 },
    { path: 'mode', status: 'modified', added: 0, removed: 0 },
    { path: 'modified', status: 'modified', added: 2, removed: 1 },
    { path: 'new\nname', from: 'old name', status: 'renamed', added: 0, removed: 0 },
  ];

  it('reads commits with every kind of change', async () => {
    const { from, to } = everyKind();
    const [second, first, ...more] = await log('HEAD');
    assert.deepEqual(more, []);
    assert.deepEqual(second, {
      sha: to,
      parents: [from],
      author: 'Ada Example',
      email: 'ada@example.org',
      date: Number(repo.git('log', '-1', '--format=%at')) * 1000,
      subject: 'two',
      body: '',
      files: kinds,
    });
    assert.deepEqual(first?.parents, []);
    assert.equal(first.files.length, 6);
  });

  it('reads merges against their first parent, and empty commits', async () => {
    repo.write('a', '1\n');
    const base = repo.commit('one');
    repo.git('checkout', '--quiet', '-b', 'side');
    repo.write('b', '1\n');
    const side = repo.commit('side');
    repo.git('checkout', '--quiet', 'main');
    repo.commit('empty');
    repo.git('merge', '--quiet', '--no-ff', '-m', 'joined', 'side');
    const commits = await log('HEAD', `^${base}`);
    assert.deepEqual(commits.map(({ subject, files }) => [subject, files.map((file) => file.path)]).sort(), [
      ['empty', []],
      ['joined', ['b']],
      ['side', ['b']],
    ]);
    assert.equal(commits.find(({ subject }) => subject === 'joined')?.parents[1], side);
  });

  it('cannot be deceived by a message or a name', async () => {
    const messages = [
      'subject\n\n\x01' + '0'.repeat(40) + '\n:100644 100644 x y M\n1\t1\tx',
      ':000000 100644 0000000000000000000000000000000000000000 0000000000000000000000000000000000000000 A',
      '\x01',
      '1\t2\tfile',
      'two lines\nof a subject\n\n\nbody 1\n\nbody 2',
    ];
    for (const [n, message] of messages.entries()) {
      repo.write(`:000000 100644 ${n}\n1\t1\t`, `${n}\n`);
      repo.git('add', '--all');
      repo.git('commit', '--quiet', '--cleanup=verbatim', '-m', message);
    }
    const commits = (await log('HEAD')).reverse();
    assert.equal(commits.length, messages.length);
    for (const [n, commit] of commits.entries()) {
      assert.deepEqual(commit.files, [
        { path: `:000000 100644 ${n}\n1\t1\t`, status: 'added', added: 1, removed: 0 },
      ]);
      assert.deepEqual({ subject: commit.subject, body: commit.body }, splitMessage(messages[n]!));
    }
    assert.deepEqual(splitMessage(messages[4]!), {
      subject: 'two lines of a subject',
      body: 'body 1\n\nbody 2',
    });
  });

  it('reads file names of any bytes', async function () {
    const name = fc
      .uint8Array({ minLength: 1, maxLength: 12 })
      .map((bytes) => bytes.map((byte) => (byte === 0 || byte === 0x2f ? 0x0a : byte)))
      .filter((bytes) => !/^\.{1,2}$|git/i.test(Buffer.from(bytes).toString('latin1')));
    const names = fc.uniqueArray(name, {
      minLength: 1,
      maxLength: 8,
      selector: (bytes) => Buffer.from(bytes).toString('hex'),
    });
    await fc.assert(
      fc.asyncProperty(names, names, async (before, after) => {
        const one = repo.object('blob', Buffer.from('1\n2\n'));
        const two = repo.object('blob', Buffer.from('3\n'));
        const sorted = (list: Uint8Array[]) => [...list].sort((a, b) => Buffer.compare(a, b));
        const treeOf = (list: Uint8Array[], sha: string) =>
          repo.tree(sorted(list).map((n) => ['100644', n, sha] as const));
        const from = treeOf(before, one);
        const to = treeOf(after, two);
        const { stdout } = await git(['diff-tree', '-r', ...rawNumstatArgs, from, to], { cwd: repo.path });
        const found = parseRawNumstat(stdout).map((c) => [
          Buffer.from(c.rawPath).toString('hex'),
          c.status,
          c.added,
          c.removed,
        ]);
        const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
        const olds = new Set(before.map(hex));
        const news = new Set(after.map(hex));
        const expected = [...new Set([...olds, ...news])].map((n) => {
          if (!news.has(n)) return [n, 'deleted', 0, 2];
          return olds.has(n) ? [n, 'modified', 1, 2] : [n, 'added', 1, 0];
        });
        const byName = (a: unknown[], b: unknown[]): number => (String(a[0]) < String(b[0]) ? -1 : 1);
        assert.deepEqual(found.sort(byName), expected.sort(byName));
      }),
      { numRuns: 60 },
    );
  });

  it('lists no more files of a commit than can be shown, and says how many there are', async () => {
    const blob = repo.object('blob', Buffer.from('1\n'));
    const many = Array.from(
      { length: 2500 },
      (_, n) => ['100644', String(n).padStart(4, '0'), blob] as const,
    );
    const wide = repo.git('commit-tree', '-m', 'wide', repo.tree(many));
    const long = 'x'.repeat(250);
    const names = Array.from({ length: 1500 }, (_, n) => ['100644', `${long}${1000 + n}`, blob] as const);
    const talkative = repo.git('commit-tree', '-m', 'talkative', repo.tree(names));
    let deepTree = repo.tree([['100644', 'file', blob]]);
    for (let depth = 0; depth < 40; depth++) deepTree = repo.tree([['40000', long, deepTree]]);
    const deep = repo.git('commit-tree', '-m', 'deep', deepTree);
    const args = commitLogArgs([wide, talkative, deep], { noWalk: true });
    const found = parseCommitLog((await git(args, { cwd: repo.path })).stdout);
    assert.deepEqual(
      found.map(({ files, moreFiles }) => [files.length, moreFiles]),
      [
        [2000, 500],
        [1032, 468],
        [1, undefined],
      ],
    );
    assert.equal(found[2]?.files[0]?.path.length, 4097);
    for (const commit of found) assert.ok(JSON.stringify(commit).length < 512 << 10);
  });

  it('refuses output that is cut off or something else', () => {
    assert.deepEqual(parseCommitLog(new Uint8Array()), []);
    assert.throws(() => parseCommitLog(Buffer.from('x\0\0\0\0\0\0')), /a commit expected/);
    assert.throws(() => parseCommitLog(Buffer.from('\x01abc\0\0a')), /cut off/);
    assert.throws(() => parseRawNumstat(Buffer.from('1\t1\tx\0')), /did not change/);
    assert.throws(() => parseRawNumstat(Buffer.from('hello\0')), /behind the last change/);
  });

  it('shows changes with modes and object names, and their contents', async () => {
    const { from, to } = everyKind();
    const quarantine = await quarantined();
    const changes = await changedFiles(quarantine, from, to);
    assert.deepEqual(
      changes.map((change) => change.path),
      kinds.map((kind) => kind.path),
    );
    const byPath = new Map(changes.map((change) => [change.path, change]));
    assert.equal(byPath.get('binary')?.binary, true);
    assert.deepEqual([byPath.get('mode')?.oldMode, byPath.get('mode')?.newMode], ['100644', '100755']);
    assert.deepEqual(byPath.get('becomes link')?.newMode, '120000');
    assert.match(byPath.get('-added')?.oldBlob ?? '', /^0+$/);
    const content = async (oid: string | undefined) =>
      Buffer.from(await blob(quarantine, oid ?? '', 1000)).toString();
    assert.equal(await content(byPath.get('modified')?.oldBlob), '1\n2\n3\n');
    assert.equal(await content(byPath.get('becomes link')?.newBlob), 'target');
    await assert.rejects(blob(quarantine, byPath.get('modified')!.newBlob, 3), { code: 'git_failed' });
    await assert.rejects(blob(quarantine, '--batch', 3), { code: 'invalid_input' });
    assert.equal((await changedFiles(quarantine, emptyTree, from)).length, 6);
  });

  it('gives a patch with renames and quoted names, and cuts off a long one', async () => {
    const { from, to } = everyKind();
    const quarantine = await quarantined();
    const { text, truncated } = await patch(quarantine, from, to);
    assert.equal(truncated, false);
    assert.match(text.toString(), /rename from old name\nrename to "new\\nname"/);
    assert.match(text.toString(), /Binary files a\/binary and b\/binary differ/);
    const cut = await patch(quarantine, from, to, { maxBytes: 100 });
    assert.deepEqual(cut, { text: text.subarray(0, 100), truncated: true });
  });

  it('lets no attribute and no configuration of the content run or hide anything', async () => {
    const witness = join(folder.path, 'witness');
    repo.write('.gitattributes', '* diff=evil -text binary\n');
    repo.write('a', '1\n');
    const from = repo.commit('one');
    repo.write('a', '2\n');
    const to = repo.commit('two');
    const quarantine = await quarantined();
    writeFileSync(
      join(quarantine.gitDir, 'config'),
      `[core]\n\tbare = true\n[diff "evil"]\n\tcommand = touch ${witness}\n\ttextconv = touch ${witness};cat\n`,
    );
    assert.deepEqual(
      (await changedFiles(quarantine, from, to)).map(({ path, added, removed, binary }) => ({
        path,
        added,
        removed,
        binary,
      })),
      [{ path: 'a', added: 1, removed: 1, binary: false }],
    );
    assert.match((await patch(quarantine, from, to)).text.toString(), /-1\n\+2\n/);
    assert.equal(existsSync(witness), false);
  });
});
