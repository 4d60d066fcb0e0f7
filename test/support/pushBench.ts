import { join } from 'node:path';
import { Quarantine } from '../../src/git/quarantine.ts';
import { hostRemotes, type HostRemote } from '../../src/git/hostRemotes.ts';
import { openRepository, type Repository } from '../../src/git/repository.ts';
import { GitRepo, temporaryFolder } from './gitRepo.ts';

/** A user's repository, and the quarantine of a task that has made commits on top of it. */
export class PushBench {
  readonly folder = temporaryFolder();
  readonly user = new GitRepo(join(this.folder.path, 'user'));
  readonly agent = new GitRepo(join(this.folder.path, 'agent'));
  base = '';
  repository!: Repository;
  quarantine!: Quarantine;

  static async open(files: Record<string, string> = { 'README.md': '# Test\n' }): Promise<PushBench> {
    const bench = new PushBench();
    for (const [path, text] of Object.entries(files)) bench.user.write(path, text);
    bench.base = bench.user.commit('First');
    bench.repository = await openRepository(bench.user.path);
    bench.quarantine = Quarantine.open(join(bench.folder.path, 'quarantine'), bench.repository.ref.id);
    await bench.quarantine.adopt(bench.repository);
    bench.agent.git('fetch', '-q', bench.user.path, 'main');
    bench.agent.git('reset', '-q', '--hard', 'FETCH_HEAD');
    return bench;
  }

  /** A commit of the agent's, which is in the quarantine and nowhere else. */
  async commit(files: Record<string, string>, message = 'By the agent'): Promise<string> {
    for (const [path, text] of Object.entries(files)) this.agent.write(path, text);
    const sha = this.agent.commit(message);
    await this.quarantine.create();
    this.agent.git('push', '-q', '--force', this.quarantine.gitDir, `${sha}:refs/tasks/test/commits/${sha}`);
    return sha;
  }

  /** Points a remote of the user's at a server. */
  async remote(url: string, name = 'origin'): Promise<HostRemote> {
    this.user.git('config', '--replace-all', `remote.${name}.url`, url);
    const { remotes, refused } = await hostRemotes(this.repository);
    const found = remotes.find((each) => each.name === name);
    if (found === undefined) throw new Error(`refused: ${JSON.stringify(refused)}`);
    return found;
  }

  dispose(): void {
    this.folder.dispose();
  }
}
