import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { BlobReader } from '../../src/git/parts/blobReader.ts';
import { Quarantine } from '../../src/git/quarantine.ts';
import { temporaryFolder } from '../support/gitRepo.ts';
import { writeObject } from '../support/randomTrees.ts';

describe('reading of many blobs', () => {
  let folder: ReturnType<typeof temporaryFolder>;
  let quarantine: Quarantine;
  let reader: BlobReader;

  beforeEach(async () => {
    folder = temporaryFolder();
    quarantine = Quarantine.open(join(folder.path, 'q'), 'a'.repeat(16));
    await quarantine.create();
    reader = new BlobReader(quarantine, { idleMs: 60_000 });
  });
  afterEach(() => {
    reader.dispose();
    folder.dispose();
  });

  const write = (content: Uint8Array): string => writeObject(quarantine.objects, 'blob', content);
  /** The processes of git that read this quarantine's blobs. */
  const processes = (): number[] =>
    execFileSync('ps', ['-eo', 'pid=,args='])
      .toString()
      .split('\n')
      .filter((line) => /git cat-file --batch$/.test(line))
      .map((line) => Number.parseInt(line))
      .filter((pid) =>
        execFileSync('ps', ['eww', '-o', 'args=', '-p', String(pid)])
          .toString()
          .includes(quarantine.gitDir),
      );

  it('gives every content as it is, asked for in any number at once, through one process', async () => {
    const contents = Array.from({ length: 300 }, (_, index) =>
      Buffer.from(`${'\n'.repeat(index % 3)}${'x'.repeat((index * 997) % 200_000)}${index}\0\xff`, 'latin1'),
    );
    contents.push(Buffer.alloc(0), Buffer.from('\n'));
    const read = await Promise.all(contents.map((content) => reader.read(write(content), 1 << 20)));
    for (const [index, content] of contents.entries())
      assert.deepEqual(Buffer.from(read[index] ?? []), content);
    assert.equal(processes().length, 1);
    assert.equal(String(await reader.read(write(Buffer.from('later')), 100)), 'later');
    assert.equal(processes().length, 1);
  });

  it('refuses what is too long, not there or no file, and reads on', async () => {
    const long = write(Buffer.alloc(6 << 20, 'y'));
    const tree = writeObject(quarantine.objects, 'tree', Buffer.alloc(0));
    const [a, b] = [write(Buffer.from('a')), write(Buffer.from('b'))];
    const results = await Promise.allSettled([
      reader.read(a, 1),
      reader.read(long, 1000),
      reader.read('0'.repeat(40), 1000),
      reader.read(tree, 1000),
      reader.read(a, 0),
      reader.read('HEAD', 1000),
      reader.read(b, 1000),
    ]);
    assert.deepEqual(
      results.map((result) =>
        result.status === 'fulfilled' ? String(result.value) : (result.reason as { code: string }).code,
      ),
      ['a', 'git_failed', 'git_failed', 'git_failed', 'git_failed', 'invalid_input', 'b'],
    );
  });

  it('goes on with another process when its own is killed', async () => {
    const oid = write(Buffer.from('still there'));
    await reader.read(oid, 100);
    for (const pid of processes()) process.kill(pid, 'SIGKILL');
    assert.equal(String(await reader.read(oid, 100)), 'still there');
  });

  it('lets one reader go without the others', async () => {
    const [a, b] = [write(Buffer.from('a')), write(Buffer.from('b'))];
    const controller = new AbortController();
    const [left, stayed] = [reader.read(a, 10, controller.signal), reader.read(b, 10)];
    controller.abort();
    await assert.rejects(left, { code: 'cancelled' });
    assert.equal(String(await stayed), 'b');
  });

  it('ends its process when nobody asks, and starts one again', async () => {
    const idle = new BlobReader(quarantine, { idleMs: 20 });
    const oid = write(Buffer.from('x'));
    await idle.read(oid, 10);
    while (processes().length > 0) await new Promise((resolve) => setTimeout(resolve, 20));
    assert.equal(String(await idle.read(oid, 10)), 'x');
    idle.dispose();
    idle.dispose();
    await assert.rejects(idle.read(oid, 10), { code: 'cancelled' });
    while (processes().length > 0) await new Promise((resolve) => setTimeout(resolve, 20));
  });
});
