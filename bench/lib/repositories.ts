import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { gitIn } from '../../test/support/tasks.ts';
import type { Tools } from './measure.ts';

/** Bytes of a file, on average: half a kilobyte to sixteen, most of them small. */
const meanBytes = 6000;
const filesInFolder = 40;

/**
 * A repository with one commit of so many files, made once and kept in .cache/bench. The files are lines of words by
 * chance: no two share a content, and they compress about as well as source code does.
 */
export async function aRepositoryOf(tools: Tools, files: number): Promise<string> {
  const folder = join(tools.root, '.cache', 'bench', `files-${files}-v1`);
  if (existsSync(folder)) return folder;
  tools.say(`Making a repository of ${files.toLocaleString('en')} files, once, in ${folder}.`);
  const fresh = `${folder}.new`;
  await rm(fresh, { recursive: true, force: true });
  await mkdir(fresh, { recursive: true });
  await gitIn(fresh, 'init', '-q', '-b', 'main');
  await gitIn(fresh, 'config', 'user.name', 'Ada Lovelace');
  await gitIn(fresh, 'config', 'user.email', 'ada@example.com');
  await importFiles(fresh, files);
  await gitIn(fresh, 'reset', '-q', '--hard');
  await rename(fresh, folder);
  return folder;
}

async function importFiles(folder: string, files: number): Promise<void> {
  const child = spawn('git', ['-C', folder, 'fast-import', '--quiet'], {
    stdio: ['pipe', 'ignore', 'inherit'],
  });
  const closed = once(child, 'close') as Promise<[number | null]>;
  const write = async (data: string | Uint8Array): Promise<void> => {
    if (!child.stdin.write(data)) await once(child.stdin, 'drain');
  };
  await write(
    'commit refs/heads/main\ncommitter Ada Lovelace <ada@example.com> 1700000000 +0000\ndata 6\nFirst\n\n',
  );
  const pool = words(1 << 20);
  for (let i = 0; i < files; i++) {
    const content = textOf(pool, i);
    await write(
      `M 100644 inline src/part${Math.floor(i / filesInFolder)}/file${i}.txt\ndata ${content.length}\n`,
    );
    await write(content);
    await write('\n');
  }
  child.stdin.end('done\n');
  const [code] = await closed;
  if (code !== 0) throw new Error(`git fast-import ended with code ${code}`);
}

/** Some piece of the words, with a first line of its own. */
function textOf(pool: Buffer, index: number): Buffer {
  const share = Math.random();
  // Squared, so that small files are frequent, as they are in source code.
  const size = Math.round(500 + share * share * 3 * (meanBytes - 500));
  const from = Math.floor(Math.random() * (pool.length - size));
  return Buffer.concat([
    Buffer.from(`file ${index} ${randomBytes(12).toString('hex')}\n`),
    pool.subarray(from, from + size),
  ]);
}

/** Text of words by chance, in lines. */
function words(bytes: number): Buffer {
  const vocabulary = Array.from({ length: 4000 }, () =>
    randomBytes(2 + Math.floor(Math.random() * 3)).toString('hex'),
  );
  const parts: string[] = [];
  for (let length = 0, n = 1; length < bytes; n++) {
    const word = vocabulary[Math.floor(Math.random() * vocabulary.length)] ?? '';
    parts.push(word, n % 9 === 0 ? '\n' : ' ');
    length += word.length + 1;
  }
  return Buffer.from(parts.join(''));
}

/** What a repository takes: its work tree, and its packed objects. */
export async function sizeOf(folder: string): Promise<{ tree: number; pack: number }> {
  const listed = await gitIn(folder, 'ls-tree', '-r', '-l', 'HEAD');
  const tree = listed.split('\n').reduce((sum, entry) => sum + Number(/(\d+)\t/.exec(entry)?.[1] ?? 0), 0);
  const counted = await gitIn(folder, 'count-objects', '-v');
  return { tree, pack: Number(/size-pack: (\d+)/.exec(counted)?.[1] ?? 0) * 1024 };
}
