import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { changedFiles, patch } from '../../src/git/diff.ts';
import { Quarantine, type ImportOptions } from '../../src/git/quarantine.ts';
import { openRepository } from '../../src/git/repository.ts';
import {
  bundle,
  commitOf,
  gitMemory,
  inflating,
  nameOf,
  pack,
  packed,
  packedDelta,
  treeOf,
  type PackKind,
} from '../support/evilPacks.ts';
import { GitRepo, pieces, temporaryFolder } from '../support/gitRepo.ts';

const task = 'abcdefghijklmno';
const MB = 1 << 20;
/** More than git takes here for anything that is let in: of this machine's memory it is little. */
const muchMemory = 700 * MB;

/** Objects with their names, for a pack. */
class Objects {
  readonly parts: Buffer[] = [];

  add(kind: PackKind, content: Uint8Array): string {
    this.parts.push(packed(kind, content));
    return nameOf(kind, content);
  }

  /** A chain of trees around an object, each in the next. */
  nest(sha: string, mode: string, name: string, times: number): string {
    let inner = this.add('tree', treeOf([[mode, name, sha]]));
    for (let n = 1; n < times; n++) inner = this.add('tree', treeOf([['40000', name, inner]]));
    return inner;
  }
}

describe('git bombs', function () {
  let folder: ReturnType<typeof temporaryFolder>;
  let user: GitRepo;
  let quarantine: Quarantine;
  let base: string;
  let large: string;
  let objects: Objects;

  beforeEach(async () => {
    folder = temporaryFolder();
    user = new GitRepo(join(folder.path, 'user'));
    user.write('a', '1\n');
    user.write('large', randomBytes(4 * MB));
    base = user.commit('one');
    large = user.git('rev-parse', 'HEAD:large');
    const repository = await openRepository(user.path);
    quarantine = Quarantine.open(join(folder.path, 'q'), repository.ref.id);
    await quarantine.adopt(repository);
    objects = new Objects();
  });
  afterEach(() => folder.dispose());

  /** A scratch repository that holds what the user's does, and takes whatever comes. */
  function scratch(): GitRepo {
    const repo = new GitRepo(join(folder.path, 'scratch'), { bare: true });
    repo.git('fetch', '--quiet', user.path, 'main');
    return repo;
  }

  /** Plain git at work: its exit code, or the signal that ended it. */
  async function plain(repo: GitRepo, args: string[], input?: Uint8Array): Promise<number | string> {
    const child = spawn('git', args, { cwd: repo.path, stdio: ['pipe', 'ignore', 'ignore'] });
    child.stdin.on('error', () => undefined);
    child.stdin.end(input ?? '');
    const [code, signal] = (await once(child, 'close')) as [number | null, string | null];
    return code ?? signal ?? 'nothing';
  }

  /** The memory that git took, which is more than that; what was overlooked in a bad moment is done once more. */
  async function takes(least: number, work: () => Promise<unknown>): Promise<number> {
    let most = 0;
    for (let tries = 0; tries < 3 && most <= least; tries++) most = Math.max(most, await gitMemory(work));
    assert.ok(most > least, `git took ${most} bytes`);
    return most;
  }

  const take = (bytes: Uint8Array, sha: string, options: Partial<ImportOptions> = {}) =>
    quarantine.importBundle(task, pieces(bytes), { tips: [{ sha }], ...options });

  /** Refused with these words, and nothing of it is left. */
  async function refused(
    bytes: Uint8Array,
    sha: string,
    message: RegExp,
    options: Partial<ImportOptions> = {},
  ): Promise<void> {
    const size = (): number =>
      readdirSync(quarantine.gitDir, { recursive: true }).reduce(
        (sum, name) => sum + statSync(join(quarantine.gitDir, String(name))).size,
        0,
      );
    const before = size();
    await assert.rejects(take(bytes, sha, options), { code: 'import_refused', message });
    assert.equal(size(), before);
    assert.equal(await quarantine.has(sha), false);
  }

  it('a delta of a kilobyte that stands for a gigabyte takes no gigabyte of memory', async () => {
    const small = Buffer.alloc(MB, 'a');
    const blob = objects.add('blob', small);
    objects.parts.push(packedDelta(blob, inflating(small.length, 1200 * MB)));
    const tree = objects.add('tree', treeOf([['100644', 'x', blob]]));
    const commit = objects.add('commit', commitOf(tree, [base]));
    const bomb = pack(objects.parts);
    assert.ok(bomb.length < 4000);
    const bytes = bundle(bomb, [`${commit} refs/heads/x`], [base]);

    const repo = scratch();
    await takes(1000 * MB, () => plain(repo, ['index-pack', '--strict', '--stdin'], bomb));
    const withLimit = await gitMemory(() => refused(bytes, commit, /more memory than is allowed/));
    assert.ok(withLimit < muchMemory, `git took ${withLimit} bytes`);
  });

  it('many deltas that each are just allowed do not add up', async () => {
    const small = Buffer.alloc(MB, 'a');
    const blob = objects.add('blob', small);
    for (let n = 0; n < 4; n++) objects.parts.push(packedDelta(blob, inflating(MB, 400 * MB + n)));
    const tree = objects.add('tree', treeOf([['100644', 'x', blob]]));
    const commit = objects.add('commit', commitOf(tree, [base]));
    const bytes = bundle(pack(objects.parts), [`${commit} refs/heads/x`], [base]);
    let turn = 0;
    const options = { tips: [{ sha: commit }] };
    const memory = await takes(300 * MB, () =>
      quarantine.importBundle(`${task}${turn++}`, pieces(bytes), options),
    );
    assert.ok(memory < 1000 * MB, `git took ${memory} bytes`);
  });

  it('a file of zeros is taken in by pieces, up to a size', async () => {
    const zeros = Buffer.alloc(500 * MB);
    const blob = objects.add('blob', zeros);
    const tree = objects.add('tree', treeOf([['100644', 'x', blob]]));
    const commit = objects.add('commit', commitOf(tree, [base]));
    const bytes = bundle(pack(objects.parts), [`${commit} refs/heads/x`], [base]);
    assert.ok(bytes.length < MB);
    const memory = await gitMemory(() => take(bytes, commit));
    assert.ok(memory < 200 * MB, `git took ${memory} bytes`);
    const reading = await gitMemory(async () => {
      const changes = await changedFiles(quarantine, base, commit);
      assert.equal(changes.find((one) => one.path === 'x')?.binary, true);
      assert.ok((await patch(quarantine, base, commit)).text.length < MB);
    });
    assert.ok(reading < muchMemory, `git took ${reading} bytes`);
    const more = new Objects();
    const longer = more.add('blob', Buffer.alloc(513 * MB));
    const longTree = more.add('tree', treeOf([['100644', 'x', longer]]));
    const refusedOne = more.add('commit', commitOf(longTree, [base]));
    await refused(
      bundle(pack(more.parts), [`${refusedOne} refs/heads/x`], [base]),
      refusedOne,
      /longer than 536870912/,
    );
  });

  it('ten small trees that stand for ten billion files', async () => {
    const blob = objects.add('blob', Buffer.from('x'));
    let tree = objects.add('tree', treeOf(Array.from({ length: 10 }, (_, n) => ['100644', `f${n}`, blob])));
    for (let level = 0; level < 9; level++) {
      const inner = tree;
      tree = objects.add('tree', treeOf(Array.from({ length: 10 }, (_, n) => ['40000', `d${n}`, inner])));
    }
    const commit = objects.add('commit', commitOf(tree, [base]));
    const bomb = pack(objects.parts);
    const repo = scratch();
    assert.equal(await plain(repo, ['index-pack', '--strict', '--stdin'], bomb), 0, 'git itself lets it in');
    const listing = spawn('git', ['ls-tree', '-r', commit], {
      cwd: repo.path,
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    let seen = 0;
    for await (const chunk of listing.stdout) {
      seen += (chunk as Buffer).length;
      if (seen > 100 * MB) listing.kill();
    }
    assert.ok(seen > 100 * MB, 'and does not come to an end with it');
    await refused(
      bundle(bomb, [`${commit} refs/heads/x`], [base]),
      commit,
      /stands for more than 2000000 files/,
    );
  });

  it('the same made of folders that are the user’s own', async () => {
    for (let n = 0; n < 1500; n++) user.write(`many/f${n}`, 'x');
    const next = user.commit('two');
    const own = user.git('rev-parse', 'HEAD:many');
    await quarantine.adopt(await openRepository(user.path));
    let tree = own;
    for (let level = 0; level < 4; level++) {
      const inner = tree;
      tree = objects.add('tree', treeOf(Array.from({ length: 10 }, (_, n) => ['40000', `d${n}`, inner])));
    }
    const commit = objects.add('commit', commitOf(tree, [next]));
    await refused(
      bundle(pack(objects.parts), [`${commit} refs/heads/x`], [next]),
      commit,
      /stands for more than/,
    );
  });

  for (const [times, name, message] of [
    [300, 'd', /nested deeper than 256/],
    [50_000, 'd', /nested deeper than 256/],
    [30, 'n'.repeat(200), /path that is longer than 4096 bytes/],
  ] as const) {
    it(`${times} folders in each other with names of ${name.length} letters`, async () => {
      const blob = objects.add('blob', Buffer.from('x'));
      const tree = objects.nest(blob, '100644', name, times);
      const commit = objects.add('commit', commitOf(tree, [base]));
      const bomb = pack(objects.parts);
      assert.equal(await plain(scratch(), ['index-pack', '--strict', '--stdin'], bomb), 0, 'git lets it in');
      await refused(bundle(bomb, [`${commit} refs/heads/x`], [base]), commit, message);
    });
  }

  it('a pack that says it holds four billion objects makes no room for them', async () => {
    const commit = nameOf('commit', Buffer.from(''));
    const bytes = bundle(pack([packed('blob', Buffer.from(''))], 4_000_000_000), [`${commit} refs/heads/x`]);
    const memory = await gitMemory(() =>
      refused(bytes, commit, /4,000,000,000 objects, more than 1,000,000/),
    );
    assert.ok(memory < 100 * MB);
  });

  it('a thin pack of a few bytes that calls in much of what is here', async () => {
    const tree = objects.add('tree', treeOf([['100644', 'a', nameOf('blob', Buffer.from('1\n'))]]));
    const commit = objects.add('commit', commitOf(tree, [base]));
    objects.parts.push(packedDelta(large, inflating(4 * MB, 5 * MB)));
    const bytes = bundle(pack(objects.parts), [`${commit} refs/heads/x`], [base]);
    assert.ok(bytes.length < 2000);
    await refused(bytes, commit, /it takes \d+ bytes, and 1048576 are allowed/, { maxBytes: MB });
    await take(bytes, commit);
  });

  it('a task brings in so many bytes and commits, and then no more', async () => {
    const commits = Array.from({ length: 4 }, (_, n) => {
      const own = new Objects();
      const blob = own.add('blob', randomBytes(MB));
      const tree = own.add('tree', treeOf([['100644', `f${n}`, blob]]));
      const sha = own.add('commit', commitOf(tree, [base]));
      return { sha, bytes: bundle(pack(own.parts), [`${sha} refs/heads/x`], [base]) };
    });
    const [first, second, third, fourth] = commits;
    assert.ok(first && second && third && fourth);
    const limits = { bytes: 2.5 * MB, tips: 100 };
    await take(first.bytes, first.sha, { limits });
    await take(second.bytes, second.sha, { limits });
    await refused(third.bytes, third.sha, /allowed/, { limits });
    await refused(third.bytes, third.sha, /more than 2 commits/, { limits: { bytes: 100 * MB, tips: 2 } });
    // Another task has its own; and so has one that is made anew.
    await quarantine.importBundle(`${task}2`, pieces(third.bytes), {
      tips: [{ sha: third.sha }],
      limits,
    });
    await quarantine.removeTask(task);
    await take(fourth.bytes, fourth.sha, { limits });
  });

  it('two large texts are not compared line by line', async () => {
    const text = (n: number): Buffer => Buffer.from(`${n} line of a large text\n`.repeat(2_000_000));
    const texts = [text(1), text(2)].map((content) => objects.add('blob', content));
    const trees = texts.map((blob) => objects.add('tree', treeOf([['100644', 'x', blob]])));
    const one = objects.add('commit', commitOf(trees[0] ?? '', [base]));
    const two = objects.add('commit', commitOf(trees[1] ?? '', [one]));
    const bomb = pack(objects.parts);
    await take(bundle(bomb, [`${two} refs/heads/x`], [base]), two);
    const repo = scratch();
    await plain(repo, ['index-pack', '--stdin'], bomb);
    await takes(150 * MB, () => plain(repo, ['diff-tree', '--numstat', one, two]));
    const withLimit = await gitMemory(async () => {
      await changedFiles(quarantine, one, two);
      await patch(quarantine, one, two);
      await quarantine.commits([two]);
    });
    assert.ok(withLimit < 100 * MB, `git took ${withLimit} bytes`);
  });

  it('a message of ten megabytes is kept, and cut where it is shown', async () => {
    const tree = user.git('rev-parse', `${base}^{tree}`);
    const commit = objects.add(
      'commit',
      commitOf(tree, [base], `${'s'.repeat(10 * MB)}\n\n${'b'.repeat(10 * MB)}\n`),
    );
    await take(bundle(pack(objects.parts), [`${commit} refs/heads/x`], [base]), commit);
    const [shown] = await quarantine.commits([commit]);
    assert.ok(shown);
    assert.ok(JSON.stringify(shown).length < 100_000);
    assert.match(shown.subject, /^s+…$/);
    assert.match(shown.body, /^b+…$/);
  });
});
