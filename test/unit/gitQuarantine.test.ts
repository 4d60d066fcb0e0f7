import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { chmodSync, existsSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { deflateSync } from 'node:zlib';
import { readBundle } from '../../src/git/bundle.ts';
import { Quarantine } from '../../src/git/quarantine.ts';
import type { Tip } from '../../src/git/taskRefs.ts';
import { openRepository, type Repository } from '../../src/git/repository.ts';
import { whileInUse, whileUnused } from '../../src/git/usage.ts';
import { GitRepo, collect, pieces, temporaryFolder } from '../support/gitRepo.ts';

const task = 'abcdefghijklmno';

describe('git quarantine', () => {
  let folder: ReturnType<typeof temporaryFolder>;
  let user: GitRepo;
  let repository: Repository;
  let quarantine: Quarantine;
  let held: GitRepo;
  let sandbox: GitRepo;
  let base: string;

  beforeEach(async () => {
    folder = temporaryFolder();
    user = new GitRepo(join(folder.path, 'user'));
    user.write('a', '1\n'.repeat(500));
    user.write('dir/b', '1\n');
    base = user.commit('one');
    repository = await openRepository(user.path);
    quarantine = Quarantine.open(join(folder.path, 'q'), repository.ref.id);
    await quarantine.adopt(repository);
    held = new GitRepo(quarantine.gitDir, { init: false });
    sandbox = new GitRepo(join(folder.path, 'sandbox'));
    sandbox.git('fetch', '--quiet', user.path, 'main');
    sandbox.git('reset', '--quiet', '--hard', base);
  });
  afterEach(() => folder.dispose());

  /** A bundle of commits without `base`, as the sandbox makes it. */
  function bundleOf(tips: string[], without: string[] = [base]): Buffer {
    for (const [n, sha] of tips.entries()) sandbox.git('update-ref', `refs/heads/out-${n}`, sha);
    const refs = tips.map((_, n) => `refs/heads/out-${n}`);
    return sandbox.raw(['bundle', 'create', '--quiet', '-', ...refs, ...without.map((sha) => `^${sha}`)]);
  }

  /** The same around a pack of any objects: git itself does not look at what it packs here. */
  function bundleOfObjects(tip: string, objects: string[], prerequisites = [base]): Buffer {
    const pack = sandbox.raw(
      ['pack-objects', '--stdout', '-q', '--window=0'],
      objects.map((sha) => `${sha}\n`).join(''),
    );
    const lines = [
      '# v2 git bundle',
      ...prerequisites.map((sha) => `-${sha}`),
      `${tip} refs/heads/x`,
      '',
      '',
    ];
    return Buffer.concat([Buffer.from(lines.join('\n')), pack]);
  }

  const take = (bundle: Uint8Array, tips: Tip[], options: { maxBytes?: number; timeoutMs?: number } = {}) =>
    quarantine.importBundle(task, pieces(bundle, 1000), { tips, ...options });

  /** The import must fail so, and leave nothing at all. */
  async function refused(bundle: Uint8Array, tips: Tip[], message: RegExp, options = {}): Promise<void> {
    const files = (): string[] => readdirSync(quarantine.gitDir, { recursive: true }).map(String).sort();
    const before = files();
    await assert.rejects(take(bundle, tips, options), (thrown: Error & { code: string; mend: string }) => {
      assert.equal(thrown.code, 'import_refused', thrown.message);
      assert.match(thrown.message, message);
      assert.notEqual(thrown.mend, '');
      return true;
    });
    assert.deepEqual(files(), before);
    assert.deepEqual(await quarantine.tips(task), []);
  }

  it('takes in commits, thin packs too, and keeps each and the branches', async () => {
    sandbox.write('a', '1\n'.repeat(500) + '2\n');
    const one = sandbox.commit('two');
    sandbox.write('-odd\nname', 'x');
    const two = sandbox.commit('three');
    await take(bundleOf([one]), [{ sha: one, branch: 'claude/work' }]);
    await take(bundleOf([two], [one]), [{ sha: two, branch: 'claude/work' }]);
    const expected = [
      { sha: one, ref: `refs/tasks/${task}/commits/${one}` },
      { sha: two, ref: `refs/tasks/${task}/commits/${two}` },
      { sha: two, ref: `refs/tasks/${task}/heads/claude/work` },
    ];
    const byRef = (a: { ref: string }, b: { ref: string }): number => (a.ref < b.ref ? -1 : 1);
    assert.deepEqual((await quarantine.tips(task)).sort(byRef), expected.sort(byRef));
    assert.equal(await quarantine.has(two), true);
    assert.equal(held.code('fsck', '--strict'), 0);
    assert.deepEqual(held.files(two), sandbox.files(two));
  });

  it('takes the same bundle twice, and a tip that came before', async () => {
    sandbox.write('a', '2\n');
    const one = sandbox.commit('two');
    await take(bundleOf([one]), [{ sha: one }]);
    await take(bundleOf([one]), [{ sha: one, branch: 'x' }]);
    assert.equal((await quarantine.tips(task)).length, 2);
  });

  it('says which of the tips the bundle brought, and names no other', async () => {
    sandbox.write('a', '2\n');
    const one = sandbox.commit('two');
    const lost = '1'.repeat(40);
    assert.deepEqual(await take(bundleOf([one]), [{ sha: lost, branch: 'x' }, { sha: one }]), [one]);
    assert.deepEqual(await quarantine.tips(task), [{ sha: one, ref: `refs/tasks/${task}/commits/${one}` }]);
  });

  it('lets a branch be replaced by one that has it as a folder', async () => {
    sandbox.write('a', '2\n');
    const one = sandbox.commit('two');
    await take(bundleOf([one]), [{ sha: one, branch: 'x' }]);
    await take(bundleOf([one]), [{ sha: one, branch: 'x/y' }]);
    assert.deepEqual((await quarantine.tips(task)).map(({ ref }) => ref).sort(), [
      `refs/tasks/${task}/commits/${one}`,
      `refs/tasks/${task}/heads/x/y`,
    ]);
  });

  it('keeps a commit whose branch has an impossible name, without the name', async () => {
    sandbox.write('a', '2\n');
    const one = sandbox.commit('two');
    await take(bundleOf([one]), [{ sha: one, branch: '../../heads/main\ndelete refs/bases/x' }]);
    assert.deepEqual(
      (await quarantine.tips(task)).map(({ ref }) => ref),
      [`refs/tasks/${task}/commits/${one}`],
    );
  });

  it('takes imports of several tasks at once', async () => {
    const bundles = [1, 2, 3, 4].map((n) => {
      sandbox.git('reset', '--quiet', '--hard', base);
      sandbox.write('a', `${n}\n`);
      const sha = sandbox.commit(`n ${n}`);
      return { sha, bundle: bundleOf([sha]), id: `${task}${n}` };
    });
    await Promise.all(
      bundles.map(({ sha, bundle, id }) => quarantine.importBundle(id, pieces(bundle), { tips: [{ sha }] })),
    );
    for (const { sha, id } of bundles) assert.equal((await quarantine.tips(id))[0]?.sha, sha);
  });

  describe('refuses', () => {
    const evil: [string, (blob: string, tree: string) => [string, string | Uint8Array, string][], RegExp][] =
      [
        ['a .git folder', (_, tree) => [['40000', '.git', tree]], /hasDotgit/],
        ['a .GIT folder', (_, tree) => [['40000', '.GIT', tree]], /hasDotgit/],
        ['the short name of .git', (_, tree) => [['40000', 'git~1', tree]], /hasDotgit/],
        ['.git with a character that HFS ignores', (_, tree) => [['40000', '.g\u200cit', tree]], /hasDotgit/],
        [
          '.git with a stream of NTFS',
          (_, tree) => [['40000', '.git::$INDEX_ALLOCATION', tree]],
          /hasDotgit/,
        ],
        ['a folder ..', (_, tree) => [['40000', '..', tree]], /hasDotdot/],
        ['a folder .', (_, tree) => [['40000', '.', tree]], /hasDot/],
        ['an empty name', (blob) => [['100644', '', blob]], /empty|malformed|too-short|broken/i],
        ['a name with a slash', (blob) => [['100644', 'x/../../y', blob]], /fullPathname/],
        ['a zero-padded mode', (_, tree) => [['040000', 'x', tree]], /zeroPaddedFilemode/],
        [
          'a name twice',
          (blob) => [
            ['100644', 'x', blob],
            ['100644', 'x', blob],
          ],
          /duplicateEntries/,
        ],
        [
          'a file and a folder of one name',
          (blob, tree) => [
            ['100644', 'x', blob],
            ['40000', 'x', tree],
          ],
          /duplicateEntries/,
        ],
        [
          'names out of order',
          (blob) => [
            ['100644', 'y', blob],
            ['100644', 'x', blob],
          ],
          /treeNotSorted/,
        ],
        ['a link as .gitmodules', (blob) => [['120000', '.gitmodules', blob]], /gitmodulesSymlink/],
        ['an object name of zeros', () => [['100644', 'x', '0'.repeat(40)]], /nullSha1|missing|not receive/],
      ];
    for (const [what, entries, message] of evil) {
      it(`a tree with ${what}`, async () => {
        const blob = sandbox.object('blob', Buffer.from('outside'));
        const inner = sandbox.tree([['100644', 'config', blob]]);
        const tree = sandbox.tree(entries(blob, inner));
        const commit = sandbox.commitOf(tree, [base]);
        await refused(bundleOfObjects(commit, [commit, tree, inner, blob]), [{ sha: commit }], message);
        // The same hidden below a good folder.
        const outer = sandbox.tree([['40000', 'good', tree]]);
        const deep = sandbox.commitOf(outer, [base]);
        await refused(bundleOfObjects(deep, [deep, outer, tree, inner, blob]), [{ sha: deep }], message);
      });
    }

    for (const [what, text] of [
      ['a command as url', '[submodule "x"]\n\tpath = x\n\turl = --upload-pack=touch /tmp/x\n'],
      ['a command as path', '[submodule "x"]\n\tpath = -x\n\turl = https://example.org/x\n'],
      ['a name that climbs', '[submodule "../../x"]\n\tpath = x\n\turl = https://example.org/x\n'],
      [
        'an update command',
        '[submodule "x"]\n\tpath = x\n\turl = https://example.org/x\n\tupdate = !touch /tmp/x\n',
      ],
      ['a line break in a url', '[submodule "x"]\n\tpath = x\n\turl = "https://example.org/\\nhost=evil"\n'],
    ] as const) {
      it(`a .gitmodules with ${what}`, async () => {
        const blob = sandbox.object('blob', Buffer.from(text));
        const tree = sandbox.tree([['100644', '.gitmodules', blob]]);
        const commit = sandbox.commitOf(tree, [base]);
        await refused(bundleOfObjects(commit, [commit, tree, blob]), [{ sha: commit }], /gitmodules/);
      });
    }

    it('a commit with a zero byte or without an author', async () => {
      const tree = sandbox.git('rev-parse', `${base}^{tree}`);
      const zero = sandbox.commitOf(tree, [base], 'x\0y\n');
      await refused(bundleOfObjects(zero, [zero]), [{ sha: zero }], /nulInCommit/);
      const bare = sandbox.object('commit', Buffer.from(`tree ${tree}\n\nx\n`));
      await refused(bundleOfObjects(bare, [bare]), [{ sha: bare }], /missingAuthor/);
    });

    it('a commit, tree or blob that is not there', async () => {
      sandbox.write('new', 'content\n');
      const commit = sandbox.commit('two');
      const tree = sandbox.git('rev-parse', `${commit}^{tree}`);
      const blob = sandbox.git('rev-parse', `${commit}:new`);
      await refused(bundleOfObjects(commit, [commit]), [{ sha: commit }], /./);
      await refused(bundleOfObjects(commit, [commit, tree]), [{ sha: commit }], /./);
      await refused(bundleOfObjects(commit, [tree, blob]), [{ sha: commit }], /missing/);
      const absent = '1'.repeat(40);
      await refused(bundleOfObjects(absent, [commit, tree, blob]), [{ sha: absent }], /missing/);
      await refused(bundleOfObjects(tree, [tree, blob]), [{ sha: tree }], /is a tree/);
    });

    it('a commit whose history was left out', async () => {
      sandbox.write('x', '1');
      const one = sandbox.commit('two');
      sandbox.write('x', '2');
      const two = sandbox.commit('three');
      await refused(bundleOf([two], [one]), [{ sha: two }], new RegExp(`builds on commit ${one}`));
      // The prerequisite is simply not said.
      const pack = bundleOf([two], [one]);
      const silent = Buffer.from(pack.toString('latin1').replace(/^-.*\n/m, ''), 'latin1');
      await refused(silent, [{ sha: two }], /./);
    });

    it('a prerequisite that is no commit', async () => {
      sandbox.write('x', '1');
      const one = sandbox.commit('two');
      const tree = held.git('rev-parse', `${base}^{tree}`);
      await refused(bundleOfObjects(one, [one], [tree]), [{ sha: one }], /builds on commit/);
    });

    it('what is no bundle', async () => {
      sandbox.write('x', '1');
      const sha = sandbox.commit('two');
      const good = bundleOf([sha]);
      const text = good.toString('latin1');
      const changed = (from: string | RegExp, to: string): Buffer =>
        Buffer.from(text.replace(from, to), 'latin1');
      await refused(Buffer.from(''), [{ sha }], /ends inside its header/);
      await refused(Buffer.from('# v2 git bundle\n'), [{ sha }], /ends inside its header/);
      await refused(Buffer.from('GIF89a\n\nPACK'), [{ sha }], /not a git bundle/);
      await refused(changed('# v2', '# v3'), [{ sha }], /not a git bundle/);
      await refused(changed('refs/heads/out-0', 'refs/heads/out 0'), [{ sha }], /holds the line/);
      await refused(changed('refs/heads/out-0', 'main'), [{ sha }], /holds the line/);
      await refused(changed(/^-[0-9a-f]{40}/m, '-HEAD'), [{ sha }], /holds the line/);
      await refused(changed(/^[0-9a-f]{40} refs.*\n/m, ''), [{ sha }], /names no ref/);
      await refused(
        Buffer.from(`# v2 git bundle\n${`-${base}\n`.repeat(30_000)}`),
        [{ sha }],
        /header is longer/,
      );
      await refused(good.subarray(0, good.length - 30), [{ sha }], /./);
      await refused(good.subarray(0, good.indexOf('PACK')), [{ sha }], /./);
      const flipped = Buffer.from(good);
      flipped[good.length - 40]! ^= 1;
      await refused(flipped, [{ sha }], /./);
    });

    it('too much, and what takes too long', async () => {
      sandbox.write('x', randomBytes(100_000));
      const sha = sandbox.commit('two');
      await refused(bundleOf([sha]), [{ sha }], /exceeds maximum|maximum allowed size/, { maxBytes: 5000 });
      const stalled = async function* (): AsyncGenerator<Uint8Array> {
        yield bundleOf([sha]).subarray(0, 500);
        await new Promise((resolve) => setTimeout(resolve, 1500));
      };
      await assert.rejects(quarantine.importBundle(task, stalled(), { tips: [{ sha }], timeoutMs: 300 }), {
        code: 'import_refused',
        message: /took longer/,
      });
      assert.deepEqual(await quarantine.tips(task), []);
    });

    it('a pack that says it holds more than it does', async () => {
      const sha = '2'.repeat(40);
      const header = Buffer.alloc(12);
      header.write('PACK');
      header.writeUInt32BE(2, 4);
      header.writeUInt32BE(4_000_000_000, 8);
      const body = Buffer.concat([header, Buffer.from([0x30]), deflateSync('')]);
      const pack = Buffer.concat([body, createHash('sha1').update(body).digest()]);
      await refused(
        Buffer.concat([Buffer.from(`# v2 git bundle\n${sha} refs/heads/x\n\n`), pack]),
        [{ sha }],
        /./,
      );
    });
  });

  it('takes names and ids by their grammar only', async () => {
    assert.throws(() => Quarantine.open(folder.path, '../x'), { code: 'invalid_input' });
    await assert.rejects(quarantine.tips('../../bases'), { code: 'invalid_input' });
    await assert.rejects(quarantine.has('--help'), { code: 'invalid_input' });
    await assert.rejects(take(Buffer.from(''), [{ sha: 'HEAD' }]), { code: 'invalid_input' });
  });

  it('can be cancelled in the middle of an import', async () => {
    const controller = new AbortController();
    const source = async function* (): AsyncGenerator<Uint8Array> {
      yield Buffer.from(`# v2 git bundle\n${base} refs/heads/x\n\nPACK`);
      controller.abort();
      await new Promise((resolve) => setTimeout(resolve, 50));
      yield Buffer.from('more');
    };
    const options = { tips: [{ sha: base }], signal: controller.signal };
    await assert.rejects(quarantine.importBundle(task, source(), options), { code: 'cancelled' });
  });

  it('hands out what a task made, without what the asker has, as a bundle that another quarantine takes', async () => {
    sandbox.write('a', '2\n');
    const one = sandbox.commit('two');
    sandbox.write('a', '3\n');
    const two = sandbox.commit('three');
    await take(bundleOf([two]), [{ sha: one }, { sha: two, branch: 'work' }]);
    const other = Quarantine.open(join(folder.path, 'other'), repository.ref.id);
    await other.adopt(repository);
    const tips = [{ sha: one }, { sha: two, branch: 'work' }];
    const first = await collect(quarantine.bundle(task, [base]));
    const { header } = await readBundle(pieces(first));
    assert.deepEqual(header.prerequisites, [base]);
    await other.importBundle(task, pieces(first, 7), { tips });
    assert.deepEqual(await other.tips(task), await quarantine.tips(task));
    // One who has everything gets a bundle without objects, and one who has something unknown gets all.
    await other.importBundle(task, pieces(await collect(quarantine.bundle(task, [two, base]))), { tips });
    const all = await readBundle(pieces(await collect(quarantine.bundle(task, ['3'.repeat(40)]))));
    assert.deepEqual(all.header.prerequisites, []);
    await assert.rejects(collect(quarantine.bundle('zzzzzzzzzzzz', [])), { code: 'task_unknown' });
  });

  it('forgets a task, and prunes what only it had', async () => {
    sandbox.write('a', '2\n');
    const one = sandbox.commit('two');
    await take(bundleOf([one]), [{ sha: one, branch: 'x' }]);
    sandbox.git('reset', '--quiet', '--hard', base);
    sandbox.write('a', '3\n');
    const two = sandbox.commit('other');
    await quarantine.importBundle('otherothertask', pieces(bundleOf([two])), { tips: [{ sha: two }] });
    await quarantine.removeTask(task);
    assert.deepEqual(await quarantine.tips(task), []);
    assert.equal(await quarantine.prune(), true);
    assert.equal(await quarantine.has(one), false);
    assert.equal(await quarantine.has(two), true);
    assert.equal(await quarantine.has(base), true);
    assert.equal(held.code('fsck', '--strict'), 0);
    await quarantine.prune([]);
    assert.equal(await quarantine.has(base), true, 'a task builds on it');
    await quarantine.removeTask('otherothertask');
    await quarantine.prune([]);
    assert.equal(await quarantine.has(base), false);
    assert.equal(user.code('fsck', '--strict'), 0);
  });

  it('does not prune while objects are coming in', async () => {
    await quarantine.use(undefined, async () => {
      assert.equal(await quarantine.prune(), false);
    });
    assert.equal(await quarantine.prune(), true);
  });

  it('does not add objects while it prunes', async () => {
    const order: string[] = [];
    const markers = join(folder.path, 'markers');
    let adding: Promise<unknown> = Promise.resolve();
    await whileUnused(markers, async () => {
      adding = whileInUse(markers, undefined, () => Promise.resolve(order.push('added')));
      await new Promise((resolve) => setTimeout(resolve, 200));
      order.push('pruned');
    });
    await adding;
    assert.deepEqual(order, ['pruned', 'added']);
    assert.deepEqual(readdirSync(markers), []);
  });

  it('is empty, not wrong, before anything was brought in', async () => {
    const fresh = Quarantine.open(join(folder.path, 'fresh'), 'x');
    assert.deepEqual(await fresh.tips(task), []);
    assert.equal(await fresh.has(base), false);
    assert.equal(await fresh.prune(), true);
    await fresh.removeTask(task);
    sandbox.write('a', '2\n');
    const sha = sandbox.commit('two');
    await assert.rejects(fresh.importBundle(task, pieces(bundleOf([sha])), { tips: [{ sha }] }), {
      code: 'import_refused',
    });
  });

  it('reads no configuration but its own', async () => {
    const witness = join(folder.path, 'witness');
    writeFileSync(
      join(folder.path, 'evil'),
      `[core]\n\thooksPath = ${folder.path}/hooks\n[fsck]\n\thasDotgit = ignore\n`,
    );
    const hook = new GitRepo(join(folder.path, 'hooks'));
    hook.write('reference-transaction', `#!/bin/sh\ntouch '${witness}'\n`);
    chmodSync(join(hook.path, 'reference-transaction'), 0o755);
    const saved = { ...process.env };
    try {
      process.env.GIT_CONFIG_GLOBAL = join(folder.path, 'evil');
      process.env.GIT_DIR = user.path;
      process.env.GIT_CONFIG_PARAMETERS = "'core.bare'='false'";
      const blob = sandbox.object('blob', Buffer.from('x'));
      const inner = sandbox.tree([['100644', 'config', blob]]);
      const tree = sandbox.tree([['40000', '.git', inner]]);
      const sha = sandbox.commitOf(tree, [base]);
      await refused(bundleOfObjects(sha, [sha, tree, inner, blob]), [{ sha }], /hasDotgit/);
      sandbox.write('a', '2\n');
      const good = sandbox.commit('two');
      await take(bundleOf([good]), [{ sha: good }]);
    } finally {
      for (const name of ['GIT_CONFIG_GLOBAL', 'GIT_DIR', 'GIT_CONFIG_PARAMETERS']) {
        if (saved[name] === undefined) Reflect.deleteProperty(process.env, name);
        else process.env[name] = saved[name];
      }
    }
    assert.equal(existsSync(witness), false);
  });
});
