import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { doneAccepts, recoverAccepts } from '../../src/git/accept/recover.ts';
import { undoAccept } from '../../src/git/accept/undo.ts';
import type { AcceptTarget } from '../../src/protocol/review.ts';
import { AcceptBench } from '../support/acceptBench.ts';
import { chance } from '../support/chance.ts';
import { seen } from '../support/seen.ts';

/** Moments for each test; with SALLYPORT_MOMENTS=all every one that there is. */
const moments = process.env.SALLYPORT_MOMENTS ?? '5';
const child = join(import.meta.dirname, '../support/acceptChild.ts');

describe('git accept, killed', function () {
  this.timeout(moments === 'all' ? 3_600_000 : 240_000);
  let bench: AcceptBench;
  let commits: string[];

  beforeEach(async () => {
    bench = new AcceptBench();
    const { user, sandbox } = bench;
    user.write('text', 'one\ntwo\nthree\nfour\nfive\n');
    user.write('gone/deep', 'gone\n');
    user.write('becomes', 'a folder\n');
    user.write('folder/file', 'becomes a file\n');
    user.write('script', '#!/bin/sh\n');
    user.commit('one');
    await bench.begin();
    sandbox.write('text', 'ONE\ntwo\nthree\nfour\nfive\n');
    sandbox.git('rm', '--quiet', '-r', 'gone', 'becomes', 'folder');
    sandbox.write('becomes/file', 'in a folder\n');
    sandbox.write('folder', 'a file\n');
    sandbox.write('new/place', 'new\n');
    chmodSync(join(sandbox.path, 'script'), 0o755);
    symlinkSync('text', join(sandbox.path, 'link'));
    sandbox.commit('work');
    commits = await bench.end();
    user.write('text', 'one\ntwo\nthree\nfour\nFIVE\n');
    user.write('mine', 'mine\n');
    user.git('add', 'mine');
  });
  afterEach(() => bench.dispose());

  /** Runs the child; resolves to the number of its steps, or undefined when it was killed. */
  function run(what: string, target: AcceptTarget, killAt: number, id = ''): number | undefined {
    const given = {
      user: bench.user.path,
      quarantines: join(bench.folder.path, 'data', 'q'),
      journal: bench.journal,
      id,
      options: { base: bench.base, tree: bench.tree(), commits, whole: true, target },
    };
    const args = [child, what, JSON.stringify(given), String(killAt)];
    const ended = spawnSync(process.execPath, args, { encoding: 'utf8' });
    if (ended.signal === 'SIGKILL') return undefined;
    assert.equal(ended.status, 0, ended.stderr);
    return Number(ended.stdout);
  }

  /** All but git's own stamps of commits, and of files in the index. */
  function state(): Record<string, string> {
    const all = seen(bench.user.path);
    const files = Object.entries(all).filter(([name]) => !/^\/\.git\/(?:index$|refs\/heads\/)/.test(name));
    return {
      ...Object.fromEntries(files),
      index: bench.user.git('ls-files', '-s'),
      refs: bench.user.git('for-each-ref', '--format=%(refname) %(tree)'),
    };
  }

  const chosen = (steps: number, pick: (below: number) => number): number[] =>
    moments === 'all'
      ? Array.from({ length: steps }, (_, index) => index + 1)
      : Array.from({ length: Number(moments) }, () => 1 + pick(steps));

  async function undoAll(): Promise<void> {
    for (const { id } of await doneAccepts(bench.journal)) await undoAccept(bench.journal, id);
  }

  /** Leaves an accept that has written a file, and is not done. */
  async function killHalfway(target: AcceptTarget): Promise<void> {
    const before = seen(bench.user.path);
    run('accept', target, 0);
    await undoAll();
    const steps = run('accept', target, 0) ?? 0;
    await undoAll();
    for (let moment = steps - 20; moment > 0; moment -= 3) {
      run('accept', target, moment);
      const isHalf = existsSync(join(bench.user.path, '.git/index.lock'));
      if (isHalf && seen(bench.user.path)['/text'] !== before['/text']) return;
      await recoverAccepts(bench.journal);
      await undoAll();
    }
    assert.fail('it was never half done');
  }

  for (const target of [
    { kind: 'tree', staged: true },
    { kind: 'commits' },
    { kind: 'branch', branch: 'made' },
  ] as const) {
    it(`leaves all or nothing of an accept to ${target.kind}, at whatever moment`, async () => {
      const before = seen(bench.user.path);
      run('accept', target, 0);
      const undo = async (): Promise<void> => {
        for (const { id } of await doneAccepts(bench.journal)) await undoAccept(bench.journal, id);
        assert.deepEqual(seen(bench.user.path), before);
      };
      await undo();
      // Now that all objects are there every run takes the same steps.
      const steps = run('accept', target, 0) ?? 0;
      const after = state();
      await undo();
      const pick = chance(7);
      let taken = 0;
      for (const moment of chosen(steps, pick)) {
        // Commits of the same second are there already, which saves steps: then it comes to its end.
        run('accept', target, moment);
        // The one that recovers is killed as well, now and then.
        if (pick(2) === 0) run('recover', target, 1 + pick(40));
        await recoverAccepts(bench.journal);
        const done = await doneAccepts(bench.journal);
        if (done.length === 0) {
          assert.deepEqual(seen(bench.user.path), before, `killed at step ${moment} of ${steps}`);
          taken++;
          continue;
        }
        assert.deepEqual(state(), after, `killed at step ${moment} of ${steps}`);
        await undo();
      }
      assert.ok(taken > 0);
    });
  }

  it('leaves all or nothing of an undo, at whatever moment', async () => {
    const target = { kind: 'commits' } as const;
    const before = seen(bench.user.path);
    run('accept', target, 0);
    let after = state();
    let [accepted] = await doneAccepts(bench.journal);
    const steps = run('undo', target, 0, accepted?.id) ?? 0;
    assert.deepEqual(seen(bench.user.path), before);
    for (const moment of chosen(steps, chance(11))) {
      if ((await doneAccepts(bench.journal)).length === 0) {
        run('accept', target, 0);
        after = state();
      }
      [accepted] = await doneAccepts(bench.journal);
      run('undo', target, moment, accepted?.id);
      await recoverAccepts(bench.journal);
      const isDone = (await doneAccepts(bench.journal)).length > 0;
      const message = `killed at step ${moment} of ${steps}`;
      if (isDone) assert.deepEqual(state(), after, message);
      else assert.deepEqual(seen(bench.user.path), before, message);
    }
  });

  it('keeps what the user changed between a kill and the recovery, and takes back the rest', async () => {
    const target = { kind: 'tree', staged: true } as const;
    const before = seen(bench.user.path);
    await killHalfway(target);
    bench.user.write('text', 'changed since\n');
    const [recovered] = await recoverAccepts(bench.journal);
    assert.deepEqual(recovered?.kept, ['text']);
    const after = seen(bench.user.path);
    assert.notEqual(after['/text'], before['/text']);
    assert.deepEqual({ ...after, '/text': '' }, { ...before, '/text': '' });
  });

  it('takes back what another accept left half done, before the next begins', async () => {
    const target = { kind: 'tree', staged: true } as const;
    const before = seen(bench.user.path);
    await killHalfway(target);
    const elsewhere = join(bench.folder.path, 'data', 'another');
    const result = await bench.accept(target, commits, { journal: elsewhere });
    assert.equal(result.kind, 'done');
    assert.deepEqual(await recoverAccepts(bench.journal), []);
    const [second] = await doneAccepts(elsewhere);
    await undoAccept(elsewhere, second?.id ?? '');
    assert.deepEqual(seen(bench.user.path), before);
  });
});
