import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Quarantine } from '../../src/git/quarantine.ts';
import { openRepository } from '../../src/git/repository.ts';
import { newTaskId } from '../../src/protocol/task.ts';
import type { TaskEvent } from '../../src/protocol/taskEvent.ts';
import { GitRepo, pieces } from './gitRepo.ts';
import { aSpec } from './specs.ts';
import type { Household } from './workbench.ts';

/** What is in files, by path; null: the file is removed. */
export type Contents = Readonly<Record<string, string | Uint8Array | null>>;

/**
 * Leaves a task in a household that is over: its log and its commits, as a runner leaves them, without an engine. The
 * repository gets `before` first, in a commit.
 * @returns the task's id
 */
export async function leaveFinishedTask(
  household: Household,
  { before, after, title }: { before: Contents; after: Contents; title: string },
): Promise<string> {
  const user = new GitRepo(household.repository, { init: false });
  const base = change(user, before, 'Before');
  const repository = await openRepository(user.path);
  const quarantine = Quarantine.open(join(household.data, 'quarantine'), repository.ref.id);
  await quarantine.adopt(repository);
  const agent = new GitRepo(join(household.root, 'agent'));
  agent.git('fetch', '--quiet', user.path, base);
  agent.git('reset', '--quiet', '--hard', 'FETCH_HEAD');
  const sha = change(agent, after, 'Work');
  const spec = aSpec({
    id: newTaskId(Date.now()),
    title,
    prompt: title,
    repository: repository.ref,
    snapshot: { mode: 'head', commit: base, head: base, headBranch: 'main' },
  });
  const bundle = agent.raw(['bundle', 'create', '--quiet', '-', 'main', `^${base}`]);
  await quarantine.importBundle(spec.id, pieces(bundle), { tips: [{ sha, branch: spec.branch }] });
  const [commit] = await quarantine.commits([sha]);
  if (commit === undefined) throw new Error('The commit is not in the quarantine');
  const t = Date.now();
  const events: TaskEvent[] = [
    { n: 1, t, type: 'submitted', spec },
    { n: 2, t, s: 1, type: 'started', spec, supervisor: '1' },
    { n: 3, t, s: 2, type: 'commit', commit: { ...commit, branch: spec.branch } },
    { n: 4, t, type: 'imported', tips: [sha], commits: [commit] },
    { n: 5, t, s: 3, type: 'ended', outcome: 'succeeded', message: 'Over.' },
    { n: 6, t, type: 'sandbox_removed' },
  ];
  const lines = events.map((event) => `${JSON.stringify(event)}\n`);
  const folder = join(household.data, 'tasks', spec.id);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  await writeFile(join(folder, 'events.ndjson'), lines.join(''), { mode: 0o600 });
  return spec.id;
}

function change(repository: GitRepo, contents: Contents, message: string): string {
  for (const [path, content] of Object.entries(contents)) {
    if (content === null) repository.git('rm', '--quiet', '-r', path);
    else repository.write(path, content);
  }
  return repository.commit(message);
}
