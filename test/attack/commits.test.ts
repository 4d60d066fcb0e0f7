import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { DetailedChange } from '../../src/git/diff.ts';
import { engineKinds, engines } from '../support/engines.ts';
import { evilScript } from '../support/evilCommits.ts';
import { fingerprint } from '../support/gitRepo.ts';
import { aRepository, bash, Bench, gitIn } from '../support/tasks.ts';

const run = promisify(execFile);

async function shell(folder: string, script: string): Promise<void> {
  const env = {
    ...process.env,
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_CONFIG_GLOBAL: '/dev/null',
    GIT_COMMITTER_NAME: 'Ada',
    GIT_COMMITTER_EMAIL: 'ada@example.com',
  };
  await run('sh', ['-c', script], { cwd: folder, env, maxBuffer: 64 << 20 });
}

describe('a repository full of traps', function () {
  this.timeout('4m');
  let witness: string;

  /** What ran, by how it was reached. */
  const ran = (): string[] => readdirSync(witness).sort();

  before(async () => {
    witness = await mkdtemp(join(tmpdir(), 'sallyport-witness-'));
  });
  after(() => rm(witness, { recursive: true, force: true }));

  describe('before plain git', () => {
    let scratch: string;

    before(async () => {
      scratch = await aRepository();
      await shell(scratch, evilScript(witness));
      await shell(scratch, 'rm .git/objects/info/alternates');
    });
    beforeEach(async () => {
      for (const name of ran()) await rm(join(witness, name));
    });
    after(() => rm(scratch, { recursive: true, force: true }));

    const traps: [what: string, script: string, names: string[]][] = [
      ['looking at the state runs its monitor', 'git status', ['fsmonitor']],
      [
        'showing a diff runs its programs',
        'git diff HEAD~4 HEAD~3; git log -p --no-ext-diff -3',
        ['external', 'textconv'],
      ],
      [
        'a checkout runs its filters and hooks',
        'git checkout -q -f HEAD~2; git checkout -q -f main',
        ['hook-post-checkout', 'smudge'],
      ],
      [
        'adding runs its filter, a commit its hooks',
        'echo x > n; git add n; git commit -qm x',
        ['clean', 'hook-pre-commit'],
      ],
      [
        'an update of a ref runs its hook',
        'git update-ref refs/heads/new HEAD',
        ['hook-reference-transaction'],
      ],
      ['a fetch by ssh runs its command', 'git fetch ssh://localhost/x 2>/dev/null || true', ['ssh']],
      ['a short name runs its command', 'git st', ['alias']],
    ];
    for (const [what, script, names] of traps) {
      it(what, async () => {
        await shell(scratch, script);
        for (const name of names) assert.ok(ran().includes(name), `${name} is not among ${ran().join(' ')}`);
      });
    }

    it('a replaced commit tells another history', async () => {
      const root = await gitIn(scratch, 'rev-list', '--max-parents=0', 'last', '--').catch(() => '');
      assert.equal(root, '');
      const real = await gitIn(scratch, '--no-replace-objects', 'log', '--format=%s', 'main');
      const told = await gitIn(scratch, 'log', '--format=%s', 'main');
      assert.match(real, /First$/);
      assert.match(told, /forged$/);
    });

    it('a link is followed by who writes or reads through it', () => {
      assert.match(readFileSync(join(scratch, 'link-absolute'), 'utf8'), /^root:/m);
      assert.match(readFileSync(join(scratch, 'link-git'), 'utf8'), /fsmonitor/);
    });
  });

  for (const kind of engineKinds) {
    describe(`on ${kind}`, () => {
      let bench: Bench;
      let path: string;
      let id: string;
      let before_: Record<string, string>;
      let changes: DetailedChange[];
      let patch: string;

      before(async function () {
        this.timeout('4m');
        bench = await Bench.open((await engines())[kind]);
        path = await bench.repository();
        before_ = fingerprint(path);
        for (const name of ran()) await rm(join(witness, name));
        // The pause lets the commits come out before git in the sandbox stops working.
        const script = `REST=4; ${evilScript(witness)}`;
        const { spec } = await bench.submit([bash(script), { text: 'ok' }], { repositoryPath: path });
        id = spec.id;
        const events = await bench.events(id, (event) => event.type === 'ended');
        assert.ok(
          events.some((event) => event.type === 'imported'),
          JSON.stringify(events.slice(-8)).slice(0, 4000),
        );
        for (let i = 0; i < 1000 && bench.state(id).pendingImports.length > 0; i++)
          await new Promise((passed) => setTimeout(passed, 100));
        changes = await bench.service.changes(id);
        patch = (await bench.service.patch(id)).text;
        for (const { newBlob, newMode } of changes) {
          if (newMode !== '160000' && !/^0+$/.test(newBlob)) await bench.service.blob(id, newBlob);
        }
      });
      after(() => bench.close());

      it('comes in, and its diff can be read, without a program of it that ran', () => {
        assert.ok(changes.length > 20, `${changes.length} changes`);
        assert.ok(changes.some((one) => one.path === 'last.txt'));
        assert.match(patch, /^\+\* filter=evil/m);
        assert.deepEqual(ran(), []);
      });

      it('shows links as links, and follows none', () => {
        const link = changes.find((one) => one.path === 'link-absolute');
        assert.equal(link?.newMode, '120000');
        assert.match(patch, /^\+\/etc\/passwd$/m);
        assert.doesNotMatch(patch, /^\+root:/m);
        assert.ok(!existsSync(join(path, 'link-absolute')));
      });

      it('shows the names that the files have', () => {
        const names = changes.map((one) => Buffer.from(one.rawPath).toString('latin1'));
        for (const name of ['--output=x', 'tab\tnew\nline', 'a;touch x', 'bytes\xff\xfe', 'readme.md'])
          assert.ok(names.includes(name), `${JSON.stringify(name)} is not among ${JSON.stringify(names)}`);
      });

      it('keeps its words short, and the user’s history as it is', async () => {
        const { commits, imported } = bench.state(id);
        assert.ok(imported.length >= 5);
        for (const commit of commits) assert.ok(JSON.stringify(commit).length < 200_000, commit.sha);
        const quarantine = join(bench.data, 'quarantine', `${bench.state(id).spec.repository.id}.git`);
        const { stdout } = await run('git', ['--git-dir', quarantine, 'for-each-ref', '--format=%(refname)']);
        assert.doesNotMatch(stdout, /refs\/(replace|remotes|tags|heads)\//);
        const git = ['--git-dir', quarantine, 'log', '--format=%s', bench.service.result(id)?.to ?? ''];
        assert.match((await run('git', git, { maxBuffer: 64 << 20 })).stdout, /First\n$/);
        assert.ok(!existsSync(join(quarantine, 'objects', 'info', 'alternates')));
        assert.ok(!existsSync(join(quarantine, 'shallow')));
      });

      it('leaves the user’s repository byte for byte as it was', () => {
        assert.deepEqual(fingerprint(path), before_);
      });

      it('runs nothing when it is accepted, nor when the branch is checked out', async () => {
        const config = readFileSync(join(path, '.git', 'config'), 'utf8');
        await bench.service.acceptAsBranch(id, 'accepted');
        const after_ = fingerprint(path);
        const changed = Object.keys(after_).filter(
          (name) => after_[name] !== before_[name] && /^\/\.git\/[^/]+$/.test(name),
        );
        assert.deepEqual(
          changed.filter((name) => !/^\/\.git\/(objects|refs|logs)$/.test(name)),
          [],
        );
        assert.equal(readFileSync(join(path, '.git', 'config'), 'utf8'), config);
        assert.deepEqual(
          await gitIn(path, 'for-each-ref', '--format=%(refname)'),
          'refs/heads/accepted\nrefs/heads/main',
        );
        assert.deepEqual(ran(), []);
        await gitIn(path, 'checkout', '-q', 'accepted');
        await gitIn(path, 'status');
        assert.deepEqual(ran(), []);
      });
    });
  }
});
