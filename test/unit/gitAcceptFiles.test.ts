import assert from 'node:assert/strict';
import { chmodSync, lstatSync, readFileSync, symlinkSync, writeFileSync, existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { undoAccept } from '../../src/git/accept/undo.ts';
import { AcceptBench, undoOf } from '../support/acceptBench.ts';
import { seen } from '../support/seen.ts';

const unstaged = { kind: 'tree', staged: false } as const;
const staged = { kind: 'tree', staged: true } as const;

describe('git accept as files', () => {
  let bench: AcceptBench;

  beforeEach(async () => {
    bench = new AcceptBench();
    const { user } = bench;
    user.write('text', 'one\ntwo\nthree\nfour\nfive\nsix\nseven\n');
    user.write('gone', 'gone\n');
    user.write('folder/deep/file', 'deep\n');
    user.write('script', '#!/bin/sh\n');
    user.commit('one');
    await bench.begin();
    const { sandbox } = bench;
    sandbox.write('text', 'ONE\ntwo\nthree\nfour\nfive\nsix\nseven\n');
    sandbox.git('rm', '--quiet', 'gone', 'folder/deep/file');
    sandbox.write('new/place/file', 'new\n');
    chmodSync(join(sandbox.path, 'script'), 0o755);
    symlinkSync('text', join(sandbox.path, 'link'));
    sandbox.commit('work');
  });
  afterEach(() => bench.dispose());

  it('writes what was chosen, leaves the index as it is, and takes it back to the byte', async () => {
    const commits = await bench.end();
    const before = seen(bench.user.path);
    const result = await bench.accept(unstaged, commits);
    const { user } = bench;
    assert.equal(
      user.git('status', '--porcelain'),
      ' D folder/deep/file\n D gone\n M script\n M text\n?? link\n?? new/',
    );
    assert.equal(readFileSync(join(user.path, 'text'), 'utf8').slice(0, 4), 'ONE\n');
    assert.equal(lstatSync(join(user.path, 'link')).isSymbolicLink(), true);
    assert.equal(existsSync(join(user.path, 'folder')), false);
    assert.equal(result.kind === 'done' && result.files, 6);
    const after = seen(bench.user.path);
    assert.deepEqual(
      Object.keys(after).filter((path) => path.startsWith('/.git') && after[path] !== before[path]),
      [],
    );
    await undoAccept(bench.journal, undoOf(result));
    assert.deepEqual(seen(bench.user.path), before);
  });

  it('stages it too, and takes that back to the byte', async () => {
    const commits = await bench.end();
    const before = seen(bench.user.path);
    const result = await bench.accept(staged, commits);
    assert.equal(
      bench.user.git('ls-files', '-s').replaceAll(/ 0\t/g, '\t'),
      bench.sandbox.git('ls-tree', '-r', 'HEAD').replaceAll(/ blob/g, ''),
    );
    await undoAccept(bench.journal, undoOf(result));
    assert.deepEqual(seen(bench.user.path), before);
  });

  it('takes back what is staged where git has written the index anew since', async () => {
    const commits = await bench.end();
    bench.user.write('mine', 'mine\n');
    bench.user.git('add', 'mine');
    const entries = bench.user.git('ls-files', '-s');
    const result = await bench.accept(staged, commits);
    assert.equal(bench.user.git('diff', '--stat'), '');
    assert.equal(bench.user.git('status', '--porcelain').split('\n').length, 7);
    bench.user.write('other', 'other\n');
    bench.user.git('add', 'other');
    await undoAccept(bench.journal, undoOf(result));
    assert.equal(bench.user.git('ls-files', '-s', '--', ':!other'), entries);
    assert.equal(bench.user.git('status', '--porcelain'), 'A  mine\nA  other');
  });

  it('merges with what the user changed meanwhile, and tells what cannot be', async () => {
    const commits = await bench.end();
    const { user } = bench;
    user.write('text', 'one\ntwo\nthree\nfour\nfive\nsix\nSEVEN\n');
    const first = await bench.accept(unstaged, commits);
    assert.equal(first.kind, 'done');
    assert.equal(readFileSync(join(user.path, 'text'), 'utf8'), 'ONE\ntwo\nthree\nfour\nfive\nsix\nSEVEN\n');
    await undoAccept(bench.journal, undoOf(first));
    user.write('text', 'eins\ntwo\nthree\nfour\nfive\nsix\nSEVEN\n');
    user.write('link', 'mine\n');
    rmSync(join(user.path, 'script'));
    const before = seen(user.path);
    const result = await bench.accept(unstaged, commits);
    const conflicts = result.kind === 'conflicts' ? result.conflicts : assert.fail('there are none');
    assert.deepEqual(
      conflicts.map(({ path }) => path),
      ['link', 'script', 'text'],
    );
    const text = conflicts[2];
    assert.equal(
      Buffer.from(text?.current ?? [])
        .toString()
        .slice(0, 4),
      'eins',
    );
    assert.equal(
      Buffer.from(text?.incoming ?? [])
        .toString()
        .slice(0, 3),
      'ONE',
    );
    assert.match(
      Buffer.from(text?.marked ?? []).toString(),
      /<<<<<<< Current \(yours\)\neins\n=======\nONE\n>>>>>>> Incoming/,
    );
    assert.deepEqual(seen(user.path), before);
    const merged = new Map([
      ['text', Buffer.from('both\n')],
      ['link', Buffer.from('text')],
      ['script', Buffer.from('again\n')],
    ]);
    const again = await bench.accept(unstaged, commits, { merged });
    assert.equal(again.kind, 'done');
    assert.equal(readFileSync(join(user.path, 'text'), 'utf8'), 'both\n');
    writeFileSync(join(user.path, 'text'), 'changed since\n');
    await assert.rejects(undoAccept(bench.journal, undoOf(again)), {
      code: 'conflict',
      message: /text/,
    });
    writeFileSync(join(user.path, 'text'), 'both\n');
    await undoAccept(bench.journal, undoOf(again));
    assert.deepEqual(seen(user.path), before);
  });
});
