import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { UploadRequest, UploadState } from '../../src/protocol/runnerApi.ts';
import type { User } from '../../src/server/principal.ts';
import { repositoryId } from '../../src/server/tasks/submissions.ts';
import { GitRepo, pieces } from '../support/gitRepo.ts';
import { bundleOf, TasksBench } from '../support/serverTasks.ts';

describe('uploads of the server', () => {
  let bench: TasksBench;
  let ada: User;
  let repo: GitRepo;
  let commit: string;
  let bytes: Buffer;

  beforeEach(async () => {
    bench = await TasksBench.open((one) => {
      one.uploadLimits = { bytes: 1 << 20, bytesOfUser: 2 << 20, open: 3 };
    });
    ada = bench.user('ada');
    ({ repo, commit } = bench.repository());
    bytes = bundleOf(repo, commit);
  });
  afterEach(() => bench.close());

  const announce = (content: Uint8Array = bytes, sha = commit, id = 'demo-1'): UploadRequest => ({
    repository: { id, name: 'demo' },
    commit: sha,
    bytes: content.length,
    sha256: createHash('sha256').update(content).digest('hex'),
  });
  const send = (id: string, offset: number, content: Uint8Array, user = ada): Promise<UploadState> =>
    bench.tasks.continueUpload(user, id, offset, pieces(content, 37));
  const files = (): string[] => readdirSync(join(bench.folder.path, 'uploads'));

  it('come in pieces, and bring the commit with its history', async () => {
    const begun = await bench.tasks.beginUpload(ada, announce());
    assert.deepEqual(begun, { id: begun.id, offset: 0, complete: false });
    const half = await send(begun.id, 0, bytes.subarray(0, 100));
    assert.deepEqual(half, { id: begun.id, offset: 100, complete: false });
    assert.deepEqual(await bench.tasks.uploadState(ada, begun.id), half);
    assert.deepEqual(await bench.tasks.knownCommits(ada, 'demo-1', [commit]), []);
    const whole = await send(begun.id, 100, bytes.subarray(100));
    assert.deepEqual(whole, { id: begun.id, offset: bytes.length, complete: true });
    assert.deepEqual(await bench.tasks.knownCommits(ada, 'demo-1', [commit, '1'.repeat(40)]), [commit]);
    assert.deepEqual(files(), []);
    const held = new GitRepo(bench.service.quarantine(repositoryId(ada.id, 'snapshot', 'demo-1')).gitDir, {
      init: false,
    });
    assert.equal(held.git('cat-file', '-p', `${commit}:README.md`), '# work');
    assert.equal(held.git('for-each-ref', '--format=%(refname)'), `refs/bases/${commit}`);
  });

  it('go on where they were cut, also after a restart of the server', async () => {
    const { id } = await bench.tasks.beginUpload(ada, announce());
    const cut = async function* (): AsyncGenerator<Uint8Array> {
      yield* pieces(bytes.subarray(0, 120), 50);
      throw new Error('ECONNRESET');
    };
    await assert.rejects(bench.tasks.continueUpload(ada, id, 0, cut()), { code: 'cancelled' });
    await bench.restart();
    assert.deepEqual(await bench.tasks.beginUpload(ada, announce()), { id, offset: 120, complete: false });
    assert.equal((await send(id, 120, bytes.subarray(120))).complete, true);
  });

  it('need not send what is here', async () => {
    const first = await bench.tasks.beginUpload(ada, announce());
    await send(first.id, 0, bytes);
    const again = await bench.tasks.beginUpload(ada, announce());
    assert.deepEqual(again, { id: first.id, offset: bytes.length, complete: true });
    // Whatever its bundle looks like.
    const other = await bench.tasks.beginUpload(ada, { ...announce(), sha256: '0'.repeat(64), bytes: 7 });
    assert.equal(other.complete, true);
    // A later commit needs only what is new.
    repo.write('more', 'more\n');
    const next = repo.commit('Second');
    const thin = bundleOf(repo, next, [commit]);
    const { id } = await bench.tasks.beginUpload(ada, announce(thin, next));
    assert.equal((await send(id, 0, thin)).complete, true);
    assert.deepEqual(await bench.tasks.knownCommits(ada, 'demo-1', [next]), [next]);
  });

  it('say where they stand to who is at another place', async () => {
    const { id } = await bench.tasks.beginUpload(ada, announce());
    await send(id, 0, bytes.subarray(0, 50));
    for (const offset of [0, 49, 51, bytes.length])
      await assert.rejects(send(id, offset, bytes.subarray(offset)), {
        code: 'conflict',
        message: /stands at 50 bytes/,
      });
    assert.equal((await bench.tasks.uploadState(ada, id)).offset, 50);
  });

  it('take no more than was announced, and keep nothing of a piece that is too long', async () => {
    const { id } = await bench.tasks.beginUpload(ada, announce());
    await send(id, 0, bytes.subarray(0, 50));
    const long = Buffer.concat([bytes.subarray(50), Buffer.from('more')]);
    await assert.rejects(send(id, 50, long), { code: 'too_large', mend: /right size/ });
    assert.equal((await bench.tasks.uploadState(ada, id)).offset, 50);
    assert.equal((await send(id, 50, bytes.subarray(50))).complete, true);
  });

  it('begin anew when what came is not what was announced', async () => {
    const { id } = await bench.tasks.beginUpload(ada, announce());
    const other = Buffer.from(bytes);
    other[200] = (other[200] ?? 0) ^ 1;
    await assert.rejects(send(id, 0, other), { code: 'invalid_input', message: /SHA-256/ });
    assert.deepEqual(await bench.tasks.uploadState(ada, id), { id, offset: 0, complete: false });
    assert.equal((await send(id, 0, bytes)).complete, true);
  });

  it('let a client that comes again take the place of its connection that hangs', async () => {
    const { id } = await bench.tasks.beginUpload(ada, announce());
    const begun = Promise.withResolvers<undefined>();
    const hanging = async function* (): AsyncGenerator<Uint8Array> {
      yield bytes.subarray(0, 60);
      begun.resolve(undefined);
      await new Promise(() => undefined);
    };
    const first = bench.tasks.continueUpload(ada, id, 0, hanging());
    first.catch(() => undefined);
    await begun.promise;
    assert.equal((await send(id, 60, bytes.subarray(60))).complete, true);
    await assert.rejects(first, { code: 'conflict' });
  });

  it('end a connection on which nothing comes', async () => {
    bench.uploadLimits = { ...bench.uploadLimits, silenceMs: 500 };
    await bench.restart();
    const { id } = await bench.tasks.beginUpload(ada, announce());
    const silent = async function* (): AsyncGenerator<Uint8Array> {
      yield bytes.subarray(0, 10);
      await new Promise(() => undefined);
    };
    await assert.rejects(bench.tasks.continueUpload(ada, id, 0, silent()), { code: 'cancelled' });
    assert.equal((await bench.tasks.uploadState(ada, id)).offset, 10);
  });

  it('are refused when they are too large or too many, with a mend', async () => {
    await assert.rejects(bench.tasks.beginUpload(ada, { ...announce(), bytes: (1 << 20) + 1 }), {
      code: 'too_large',
      message: /at most 1 MiB/,
      mend: /known/,
    });
    await assert.rejects(bench.tasks.beginUpload(ada, { ...announce(), bytes: 0 }), {
      code: 'invalid_input',
    });
    for (const n of ['1', '2', '3'])
      await bench.tasks.beginUpload(ada, { ...announce(), commit: n.repeat(40) });
    await assert.rejects(bench.tasks.beginUpload(ada, announce()), { code: 'too_many_requests' });
    // What is gone on with is none more.
    await bench.tasks.beginUpload(ada, { ...announce(), commit: '1'.repeat(40) });
    await bench.tasks.beginUpload(bench.user('bob'), announce());
    const eve = bench.user('eve');
    for (const n of ['1', '2'])
      await bench.tasks.beginUpload(eve, { ...announce(), commit: n.repeat(40), bytes: 1 << 20 });
    await assert.rejects(bench.tasks.beginUpload(eve, announce()), { code: 'too_many_requests' });
  });

  it('are removed when nobody goes on with them, and files that belong to none', async () => {
    const { id } = await bench.tasks.beginUpload(ada, announce());
    await send(id, 0, bytes.subarray(0, 50));
    writeFileSync(join(bench.folder.path, 'uploads', 'f'.repeat(32)), 'left behind');
    bench.time += 23 * 3_600_000;
    await bench.restart();
    await bench.tasks.close();
    assert.deepEqual(files(), [id]);
    bench.time += 26 * 3_600_000;
    await bench.restart();
    await bench.tasks.close();
    assert.deepEqual(files(), []);
    await bench.start();
    await assert.rejects(bench.tasks.uploadState(ada, id), { code: 'not_found' });
  });

  it('go on after the server ended between the last byte and the commit', async () => {
    const { id } = await bench.tasks.beginUpload(ada, announce());
    await send(id, 0, bytes.subarray(0, bytes.length - 1));
    writeFileSync(join(bench.folder.path, 'uploads', id), bytes);
    await bench.restart();
    assert.deepEqual(await bench.tasks.uploadState(ada, id), { id, offset: bytes.length, complete: false });
    const begun = await bench.tasks.beginUpload(ada, announce());
    assert.deepEqual(begun, { id, offset: bytes.length, complete: true });
    assert.deepEqual(await bench.tasks.knownCommits(ada, 'demo-1', [commit]), [commit]);
  });

  it('are taken in once, also for a client that lost its connection meanwhile and comes again', async () => {
    const { id } = await bench.tasks.beginUpload(ada, announce());
    const sent = send(id, 0, bytes);
    const states = [await bench.tasks.uploadState(ada, id)];
    while (states.at(-1)?.offset !== bytes.length) states.push(await bench.tasks.uploadState(ada, id));
    const again = await bench.tasks.beginUpload(ada, announce());
    assert.deepEqual(again, { id, offset: bytes.length, complete: true });
    assert.equal((await sent).complete, true);
  });

  it('let in a history that an old tool wrote, and that harms nobody', async () => {
    const blob = repo.object('blob', Buffer.from('old\n'));
    const inner = repo.tree([['100644', 'file', blob]]);
    // A zero before the mode of a folder, and no space before the author's address.
    const tree = repo.tree([['040000', 'folder', inner]]);
    const old = repo.object(
      'commit',
      Buffer.from(
        `tree ${tree}\nauthor Old Tool<old@example.com> 1 +0000\ncommitter Old Tool <old@example.com> 1 +0000\n\nOld\n`,
      ),
    );
    const bundle = bundleOf(repo, old);
    const { id } = await bench.tasks.beginUpload(ada, announce(bundle, old));
    assert.equal((await send(id, 0, bundle)).complete, true);
  });

  it('bring nothing when the bundle is not taken in, and forget it', async () => {
    const evil = repo.tree([['100644', '.git', repo.object('blob', Buffer.from('x'))]]);
    const sha = repo.commitOf(evil);
    const bundle = bundleOf(repo, sha);
    const { id } = await bench.tasks.beginUpload(ada, announce(bundle, sha));
    await assert.rejects(send(id, 0, bundle), { code: 'import_refused', message: /hasDotgit/ });
    assert.deepEqual(await bench.tasks.knownCommits(ada, 'demo-1', [sha]), []);
    await assert.rejects(bench.tasks.uploadState(ada, id), { code: 'not_found' });
    assert.equal(existsSync(join(bench.folder.path, 'uploads', id)), false);
  });
});
