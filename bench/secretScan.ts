import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { git } from '../src/git/process.ts';
import { Quarantine } from '../src/git/quarantine.ts';
import { openRepository } from '../src/git/repository.ts';
import { scanSnapshot } from '../src/git/secretScan.ts';
import { takeSnapshot } from '../src/git/snapshot.ts';
import type { Section, Tools } from './lib/measure.ts';
import { mega, median, ms, now, ratio, thousands } from './lib/numbers.ts';
import { aRepositoryOf, sizeOf } from './lib/repositories.ts';

const goal = 2.5;

/** The search for keys in what a sandbox would get, against git's own search for one letter. */
export async function secretScan(tools: Tools): Promise<Section> {
  const files = tools.quick ? 2000 : 50_000;
  const rounds = tools.quick ? 2 : 5;
  const path = await aRepositoryOf(tools, files);
  const { tree } = await sizeOf(path);
  const folder = await mkdtemp(join(tmpdir(), 'sallyport-bench-'));
  try {
    const repository = await openRepository(path);
    const times = {
      whole: [] as number[],
      again: [] as number[],
      changed: [] as number[],
      peer: [] as number[],
    };
    for (let round = 0; round < rounds; round++) {
      const quarantine = Quarantine.open(join(folder, String(round)), repository.ref.id);
      const snapshot = await takeSnapshot(repository, quarantine, 'head');
      const scan = async (commit: string): Promise<number> => {
        const begin = now();
        await scanSnapshot(quarantine, { commit, head: snapshot.head });
        return now() - begin;
      };
      times.whole.push(await scan(snapshot.commit));
      times.again.push(await scan(snapshot.commit));
      times.changed.push(await scan(await withChanges(quarantine, snapshot.commit, join(folder, 'index'))));
      const begin = now();
      await git(['grep', '-I', '-c', 'e', snapshot.commit], quarantine.options());
      times.peer.push(now() - begin);
    }
    const peer = median(times.peer);
    const row = (what: string, values: readonly number[]): string[] => [
      what,
      ms(median(values)),
      ratio(median(values), peer),
    ];
    return {
      title: 'Search for keys',
      how: [
        `A repository of ${thousands(files)} files with ${mega(tree)} MB, ${rounds} times, each in a fresh quarantine. The peer is ` +
          '`git grep -I -c e COMMIT` in the same store: one letter in the same files.',
      ],
      tables: [
        {
          head: ['What', 'median', 'of `git grep -c e`'],
          rows: [
            row('A tree that was never looked at', times.whole),
            row('The same tree again', times.again),
            row('A tree in which 20 files have changed', times.changed),
            ['`git grep -I -c e`', ms(peer), ''],
          ],
        },
      ],
      targets: [
        {
          what: 'Search for keys in a tree that was never looked at',
          target: `≤ ${goal} × \`git grep -c e\``,
          measured: ratio(median(times.whole), peer),
          met: median(times.whole) <= goal * peer,
        },
      ],
    };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** A commit on top of another one, with 20 other files. */
async function withChanges(quarantine: Quarantine, commit: string, index: string): Promise<string> {
  const options = { ...quarantine.options(), env: { GIT_INDEX_FILE: index } };
  await git(['read-tree', commit], options);
  const listed = (await git(['ls-tree', '-r', '--name-only', commit], options)).stdout.toString().split('\n');
  const file = `${index}.content`;
  const lines: string[] = [];
  for (const [n, path] of listed.slice(0, 20).entries()) {
    await writeFile(file, `changed ${n}\n`.repeat(200));
    const { stdout } = await git(['hash-object', '-w', '--no-filters', file], options);
    lines.push(`100644 ${stdout.toString().trim()}\t${path}\n`);
  }
  await git(['update-index', '--index-info'], { ...options, input: lines.join('') });
  const tree = (await git(['write-tree'], options)).stdout.toString().trim();
  const who = { GIT_AUTHOR_NAME: 'Ada', GIT_AUTHOR_EMAIL: 'ada@example.com' };
  const committer = { GIT_COMMITTER_NAME: 'Ada', GIT_COMMITTER_EMAIL: 'ada@example.com' };
  const made = await git(['commit-tree', '-p', commit, '-m', 'Changed', tree], {
    ...options,
    env: { ...options.env, ...who, ...committer },
  });
  return made.stdout.toString().trim();
}
