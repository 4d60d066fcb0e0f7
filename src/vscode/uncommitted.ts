import type { Uncommitted } from './view/snapshotChoices.ts';

/** Counts edits of tracked files and untracked files. Nothing of the repository is written. */
export async function countUncommitted(folder: string, signal?: AbortSignal): Promise<Uncommitted> {
  const { git } = await import('../git/process.ts');
  const args = [
    'status',
    '--porcelain=v2',
    '-z',
    '--no-renames',
    '--untracked-files=all',
    '--ignore-submodules=all',
  ];
  const { stdout } = await git(args, { mode: 'user', cwd: folder, signal, maxBytes: 64 << 20 });
  const records = stdout.toString('utf8').split('\0');
  const untracked = records.filter((record) => record.startsWith('? ')).length;
  const tracked = records.filter((record) => /^[12u] /.test(record)).length;
  return { tracked, untracked };
}
