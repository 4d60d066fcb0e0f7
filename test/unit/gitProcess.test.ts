import assert from 'node:assert/strict';
import { chmodSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { git, gitEnvironment, gitStream } from '../../src/git/process.ts';
import { GitRepo, collect, pieces, temporaryFolder } from '../support/gitRepo.ts';
import { processesWith } from '../support/sandbox.ts';

describe('git process', () => {
  let folder: ReturnType<typeof temporaryFolder>;
  let repo: GitRepo;
  beforeEach(() => {
    folder = temporaryFolder();
    repo = new GitRepo(join(folder.path, 'repo'));
  });
  afterEach(() => folder.dispose());

  /** A program that stands for git in a state that the real one cannot be brought into. */
  function program(script: string): string {
    repo.write('../bin/git', `#!/bin/sh\n${script}\n`);
    const path = join(folder.path, 'bin/git');
    chmodSync(path, 0o755);
    return path;
  }

  it('gives output and exit code, and takes input as bytes, text or stream', async () => {
    const bytes = Buffer.from([0, 255, 10]);
    const expected = repo.raw(['hash-object', '--stdin'], bytes).toString();
    for (const input of [bytes, pieces(bytes, 1)]) {
      assert.equal(
        (await git(['hash-object', '--stdin'], { cwd: repo.path, input })).stdout.toString(),
        expected,
      );
    }
    const result = await git(['config', 'no.such'], { cwd: repo.path, okCodes: [0, 1] });
    assert.equal(result.code, 1);
  });

  it('tells its failures apart', async () => {
    await assert.rejects(git(['log'], { cwd: repo.path }), {
      code: 'git_failed',
      message: /git log failed \(exit code 128\): fatal: /,
    });
    await assert.rejects(git(['version'], { program: '/absent/git' }), {
      code: 'git_missing',
      mend: /Install git/,
    });
    await assert.rejects(git(['version'], { cwd: '/absent' }), { code: 'git_failed' });
    const full = program('echo "fatal: write error: No space left on device" >&2; exit 128');
    await assert.rejects(git(['gc'], { program: full }), { code: 'disk_full' });
    await assert.rejects(git(['x'], { program: program('kill -9 $$') }), {
      code: 'git_failed',
      message: /SIGKILL/,
    });
    await assert.rejects(git(['x'], { program: program('yes'), maxBytes: 10_000 }), {
      code: 'git_failed',
      message: /more than 10000/,
    });
  });

  it('ends a process, and what it started, when it is cancelled or takes too long', async () => {
    // A number that no other process bears.
    const mark = `1000.${process.pid}`;
    const slow = program(`sleep ${mark} & echo started; wait`);
    const controller = new AbortController();
    const stream = gitStream(['x'], { program: slow, signal: controller.signal });
    const reading = (async () => {
      for await (const chunk of stream.stdout) if (chunk.length > 0) controller.abort();
    })();
    await assert.rejects(reading, { code: 'cancelled' });
    await assert.rejects(stream.done, { code: 'cancelled' });
    await assert.rejects(git(['x'], { program: slow, timeoutMs: 100 }), { message: /took longer/ });
    await assert.rejects(git(['x'], { signal: AbortSignal.abort() }), { code: 'cancelled' });
    while (processesWith(mark).length > 0) await new Promise((resolve) => setTimeout(resolve, 20));
  });

  it('ends when its reader leaves, and fails at the end of a stream that was cut', async () => {
    const stream = gitStream(['x'], { program: program('yes') });
    for await (const chunk of stream.stdout) if (chunk.length > 0) break;
    await assert.rejects(stream.done, { code: 'cancelled' });
    await assert.rejects(collect(gitStream(['x'], { program: program('echo half; exit 3') }).stdout), {
      code: 'git_failed',
    });
  });

  it('keeps its output for a reader that comes when the process is gone', async () => {
    const stream = gitStream(['x'], { program: program('echo here') });
    await new Promise((resolve) => setTimeout(resolve, 300));
    assert.equal((await collect(stream.stdout)).toString(), 'here\n');
    await stream.done;
  });

  it('fails with the failure of its input', async () => {
    const broken = async function* (): AsyncGenerator<Uint8Array> {
      yield Buffer.from('x');
      await Promise.resolve();
      throw new Error('the source broke');
    };
    await assert.rejects(git(['hash-object', '--stdin'], { cwd: repo.path, input: broken() }), {
      message: 'the source broke',
    });
  });

  it('inherits no variable that leads git elsewhere', () => {
    const inherited = {
      PATH: '/bin',
      GIT_DIR: '/evil',
      git_work_tree: '/evil',
      GIT_EXTERNAL_DIFF: 'evil',
      HOME: '/home/u',
    };
    const hardened = gitEnvironment({}, inherited);
    assert.equal(hardened.PATH, '/bin');
    assert.equal(hardened.GIT_DIR, undefined);
    assert.equal(hardened.git_work_tree, undefined);
    assert.equal(hardened.GIT_EXTERNAL_DIFF, undefined);
    assert.equal(hardened.GIT_CONFIG_GLOBAL, '/dev/null');
    assert.equal(gitEnvironment({ mode: 'user' }, inherited).GIT_CONFIG_GLOBAL, undefined);
  });

  it('reaches no other repository when hardened', async () => {
    repo.write('a', '1\n');
    repo.commit('one');
    const other = join(folder.path, 'other');
    mkdirSync(other);
    for (const url of [repo.path, `file://${repo.path}`, 'ext::sh -c true']) {
      await assert.rejects(git(['clone', url, join(other, 'x')]), {
        code: 'git_failed',
        message: /not allowed/,
      });
    }
  });
});
