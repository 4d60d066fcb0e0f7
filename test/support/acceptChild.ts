import childProcess from 'node:child_process';
import fs from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';

/**
 * Accepts, undoes or recovers, and is killed with SIGKILL right before its n-th step that could leave something behind: a change
 * of the file system, or a git process. Says how many steps there were when it comes to its end.
 */
const [what = '', given = '{}', killAt = '0'] = process.argv.slice(2);

let steps = 0;
const step = (): void => {
  steps++;
  if (steps === Number(killAt)) process.kill(process.pid, 'SIGKILL');
};

const changing = [
  'rename',
  'link',
  'symlink',
  'unlink',
  'rm',
  'rmdir',
  'mkdir',
  'writeFile',
  'copyFile',
  'chmod',
  'open',
];
const functions = fs as unknown as Record<string, (...args: unknown[]) => unknown>;
for (const name of changing) {
  const real = functions[name];
  if (real === undefined) throw new Error(`there is no ${name}`);
  functions[name] = (...args) => {
    step();
    return real(...args);
  };
}
const real = childProcess.spawn as (...args: unknown[]) => unknown;
(childProcess as unknown as Record<string, unknown>).spawn = (...args: unknown[]) => {
  step();
  return real(...args);
};
syncBuiltinESMExports();

const { acceptTree } = await import('../../src/git/accept/acceptTree.ts');
const { recoverAccepts } = await import('../../src/git/accept/recover.ts');
const { undoAccept } = await import('../../src/git/accept/undo.ts');
const { Quarantine } = await import('../../src/git/quarantine.ts');
const { openRepository } = await import('../../src/git/repository.ts');

interface Given {
  user: string;
  quarantines: string;
  journal: string;
  id: string;
  options: Pick<Parameters<typeof acceptTree>[0], 'base' | 'tree' | 'commits' | 'whole' | 'target'>;
}
const { user, quarantines, journal, id, options } = JSON.parse(given) as Given;
if (what === 'recover') await recoverAccepts(journal);
else if (what === 'undo') await undoAccept(journal, id);
else {
  const repository = await openRepository(user);
  const quarantine = Quarantine.open(quarantines, repository.ref.id);
  steps = 0;
  await acceptTree({
    ...options,
    repository,
    quarantine,
    identity: { name: 'The Agent', email: 'agent@example.com' },
    journal,
  });
}
console.log(steps);
