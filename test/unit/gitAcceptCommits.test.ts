import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { undoAccept } from '../../src/git/accept/undo.ts';
import { AcceptBench, undoOf } from '../support/acceptBench.ts';
import { seen } from '../support/seen.ts';

const commits = { kind: 'commits' } as const;
const lines = (changed: Record<number, string> = {}): string =>
  Array.from({ length: 30 }, (_, index) => `${changed[index + 1] ?? `line ${index + 1}`}\n`).join('');
/** The agent commits by a name of its own, at a time long ago. */
const agent = {
  GIT_AUTHOR_NAME: 'Ágent',
  GIT_AUTHOR_EMAIL: 'agent@example.com',
  GIT_AUTHOR_DATE: '1700000000 +0530',
};

describe('git accept as commits', () => {
  let bench: AcceptBench;

  beforeEach(async () => {
    bench = new AcceptBench();
    bench.user.write('text', lines());
    bench.user.write('other', 'other\n');
    bench.user.commit('one');
    await bench.begin();
  });
  afterEach(() => bench.dispose());

  function agentCommits(message: string): string {
    bench.sandbox.git('add', '--all');
    bench.sandbox.raw(['commit', '--quiet', '--allow-empty', '-F', '-'], message, agent);
    return bench.sandbox.git('rev-parse', 'HEAD');
  }
  const log = (format: string, range = `${bench.base}..HEAD`): string =>
    bench.user.git('log', '--reverse', `--format=${format}`, range);

  it('puts them on the branch with messages and authors, by the user, and takes them back', async () => {
    bench.sandbox.write('text', lines({ 3: 'THREE' }));
    agentCommits('First\n\nWith a body — ünï\n');
    bench.sandbox.write('text', lines({ 3: 'THREE', 20: 'TWENTY' }));
    bench.sandbox.write('new', 'new\n');
    agentCommits('Second');
    const list = await bench.end();
    const before = seen(bench.user.path);
    const result = await bench.accept(commits, list);
    assert.equal(log('%B'), 'First\n\nWith a body — ünï\n\nSecond\n');
    assert.equal(
      log('%an <%ae> %ad', `${bench.base}..HEAD`).split('\n')[0],
      'Ágent <agent@example.com> Wed Nov 15 03:43:20 2023 +0530',
    );
    assert.equal(log('%cn <%ce>'), 'Ada Example <ada@example.org>\nAda Example <ada@example.org>');
    assert.equal(bench.user.git('rev-parse', 'HEAD^{tree}'), bench.tree());
    assert.equal(bench.user.git('status', '--porcelain'), '');
    assert.equal(bench.user.git('symbolic-ref', 'HEAD'), 'refs/heads/main');
    assert.match(bench.user.git('log', '-g', '-1', '--format=%gs'), /sallyport: accepted/);
    assert.equal(bench.user.code('fsck', '--strict'), 0);
    assert.equal(result.kind === 'done' && result.branch, 'main');
    assert.equal(result.kind === 'done' && result.commit, bench.user.git('rev-parse', 'HEAD'));
    await undoAccept(bench.journal, undoOf(result));
    assert.equal(bench.user.git('rev-parse', 'HEAD'), bench.base);
    assert.equal(bench.user.git('status', '--porcelain'), '');
    const after = seen(bench.user.path);
    for (const each of [before, after]) {
      // Git has written the index anew when it was asked for the status.
      delete each['/.git/index'];
    }
    assert.deepEqual(after, before);
  });

  it('puts them on top of what the user committed, and leaves uncommitted edits uncommitted', async () => {
    bench.sandbox.write('text', lines({ 3: 'THREE' }));
    agentCommits('First');
    bench.sandbox.write('text', lines({ 3: 'THREE', 20: 'TWENTY' }));
    agentCommits('Second');
    const list = await bench.end();
    bench.user.write('text', lines({ 10: 'TEN' }));
    bench.user.commit('of the user');
    bench.user.write('text', lines({ 10: 'TEN', 28: 'not committed' }));
    bench.user.write('other', 'edited\n');
    bench.user.write('staged', 'staged\n');
    bench.user.git('add', 'staged');
    const result = await bench.accept(commits, list);
    assert.equal(log('%s'), 'of the user\nFirst\nSecond');
    assert.equal(
      bench.user.git('show', 'HEAD:text'),
      lines({ 3: 'THREE', 10: 'TEN', 20: 'TWENTY' }).trimEnd(),
    );
    assert.equal(bench.user.git('show', 'HEAD~:text'), lines({ 3: 'THREE', 10: 'TEN' }).trimEnd());
    assert.equal(
      readFileSync(join(bench.user.path, 'text'), 'utf8'),
      lines({ 3: 'THREE', 10: 'TEN', 20: 'TWENTY', 28: 'not committed' }),
    );
    assert.equal(bench.user.git('status', '--porcelain'), ' M other\nA  staged\n M text');
    await undoAccept(bench.journal, undoOf(result));
    assert.equal(
      readFileSync(join(bench.user.path, 'text'), 'utf8'),
      lines({ 10: 'TEN', 28: 'not committed' }),
    );
    assert.equal(bench.user.git('status', '--porcelain'), ' M other\nA  staged\n M text');
  });

  it('leaves out of each commit what was rejected, and commits that are left with nothing', async () => {
    bench.sandbox.write('text', lines({ 3: 'rejected' }));
    agentCommits('Only what is rejected');
    bench.sandbox.write('text', lines({ 3: 'rejected', 20: 'TWENTY' }));
    bench.sandbox.write('unwanted', 'unwanted\n');
    agentCommits('Both');
    bench.sandbox.write('unwanted', 'more\n');
    bench.sandbox.write('wanted', 'wanted\n');
    agentCommits('Third');
    agentCommits('Empty from the beginning');
    const list = await bench.end();
    bench.sandbox.git('checkout', '--quiet', '-b', 'chosen');
    bench.sandbox.write('text', lines({ 20: 'TWENTY' }));
    rmSync(join(bench.sandbox.path, 'unwanted'));
    bench.sandbox.commit('chosen');
    const tree = await bench.compose(bench.tree());
    await bench.accept(commits, list, { tree, whole: false });
    assert.equal(log('%s'), 'Both\nThird\nEmpty from the beginning');
    assert.equal(bench.user.git('rev-parse', 'HEAD^{tree}'), tree);
    assert.equal(bench.user.git('show', '--format=', '--name-only', 'HEAD~2'), 'text');
    assert.equal(bench.user.git('show', '--format=', '--name-only', 'HEAD~1'), 'wanted');
    assert.equal(bench.user.git('status', '--porcelain'), '');
  });

  it('takes files that no commit touched into one more commit, with the message that was given', async () => {
    bench.sandbox.write('text', lines({ 3: 'THREE' }));
    agentCommits('First');
    const list = await bench.end();
    bench.sandbox.write('left', 'left over\n');
    bench.sandbox.git('add', '--all');
    const tree = await bench.compose(bench.sandbox.git('write-tree'));
    await bench.accept(commits, list, { tree, whole: false, message: 'What was left' });
    assert.equal(log('%s, %an, %cn'), 'First, Ágent, Ada Example\nWhat was left, The Agent, Ada Example');
    assert.equal(bench.user.git('rev-parse', 'HEAD^{tree}'), tree);
  });

  it('makes one ordinary commit of a merge, with all that it brought', async () => {
    bench.sandbox.git('checkout', '--quiet', '-b', 'side');
    bench.sandbox.write('side', 'side\n');
    agentCommits('On the side');
    bench.sandbox.git('checkout', '--quiet', 'task');
    bench.sandbox.write('text', lines({ 3: 'THREE' }));
    agentCommits('On the task');
    bench.sandbox.git('merge', '--quiet', '--no-ff', '-m', 'Merge of the side', 'side');
    bench.sandbox.write('after', 'after\n');
    agentCommits('After');
    const list = await bench.end();
    assert.equal(list.length, 4);
    await bench.accept(commits, list);
    assert.equal(log('%s %p').replaceAll(/ [0-9a-f]+$/gm, ''), 'On the task\nMerge of the side\nAfter');
    assert.equal(bench.user.git('show', '--format=', '--name-only', 'HEAD~'), 'side');
    assert.equal(bench.user.git('rev-parse', 'HEAD^{tree}'), bench.tree());
  });

  it('tells conflicts with the branch and with uncommitted edits, changes nothing, and takes what the user made of them', async () => {
    bench.sandbox.write('text', lines({ 3: 'THREE' }));
    agentCommits('First');
    bench.sandbox.write('text', lines({ 3: 'THREE', 20: 'TWENTY' }));
    agentCommits('Second');
    const list = await bench.end();
    bench.user.write('text', lines({ 3: 'drei' }));
    bench.user.commit('of the user');
    const before = seen(bench.user.path);
    const first = await bench.accept(commits, list);
    assert.equal(first.kind, 'conflicts');
    assert.deepEqual(seen(bench.user.path), before);
    const mine = lines({ 3: 'DREI', 20: 'TWENTY' });
    const merged = new Map([['text', Buffer.from(mine)]]);
    const second = await bench.accept(commits, list, { merged });
    assert.equal(second.kind, 'done');
    assert.equal(bench.user.git('show', 'HEAD:text'), mine.trimEnd());
    assert.equal(bench.user.git('status', '--porcelain'), '');
    await undoAccept(bench.journal, undoOf(second));
    bench.user.git('reset', '--quiet', '--hard', bench.base);
    bench.user.write('text', lines({ 3: 'uncommitted' }));
    const third = await bench.accept(commits, list);
    assert.equal(third.kind, 'conflicts');
    const fourth = await bench.accept(commits, list, { merged: new Map([['text', Buffer.from('mine\n')]]) });
    assert.equal(fourth.kind, 'done');
    assert.equal(bench.user.git('rev-parse', 'HEAD^{tree}'), bench.tree());
    assert.equal(readFileSync(join(bench.user.path, 'text'), 'utf8'), 'mine\n');
  });

  it('leaves uncommitted what was uncommitted when the task began', async () => {
    bench.user.write('text', lines({ 10: 'mine' }));
    bench.user.write('untracked', 'mine\n');
    await bench.begin('untracked');
    bench.sandbox.write('text', lines({ 10: 'mine', 20: 'TWENTY' }));
    bench.sandbox.write('untracked', 'mine\nand more\n');
    agentCommits('First');
    const list = await bench.end();
    const result = await bench.accept(commits, list);
    assert.equal(result.kind, 'done');
    assert.equal(bench.user.git('show', 'HEAD:text'), lines({ 20: 'TWENTY' }).trimEnd());
    assert.equal(bench.user.git('show', 'HEAD:untracked'), 'mine\nand more');
    assert.equal(readFileSync(join(bench.user.path, 'text'), 'utf8'), lines({ 10: 'mine', 20: 'TWENTY' }));
    assert.equal(bench.user.git('status', '--porcelain'), ' M text');
    await undoAccept(bench.journal, undoOf(result));
    assert.equal(bench.user.git('status', '--porcelain'), ' M text\n?? untracked');
    assert.equal(readFileSync(join(bench.user.path, 'untracked'), 'utf8'), 'mine\n');
  });

  it('refuses a detached HEAD, a merge in progress, and what is there already', async () => {
    bench.sandbox.write('text', lines({ 3: 'THREE' }));
    agentCommits('First');
    const list = await bench.end();
    bench.user.git('checkout', '--quiet', '--detach');
    await assert.rejects(bench.accept(commits, list), { code: 'accept_refused', message: /detached/ });
    bench.user.git('checkout', '--quiet', 'main');
    writeFileSync(join(bench.user.path, '.git', 'MERGE_HEAD'), `${bench.base}\n`);
    await assert.rejects(bench.accept(commits, list), { code: 'operation_in_progress' });
    rmSync(join(bench.user.path, '.git', 'MERGE_HEAD'));
    bench.user.write('text', lines({ 3: 'THREE' }));
    bench.user.commit('the same');
    await assert.rejects(bench.accept(commits, list), { code: 'nothing_to_accept' });
  });

  it('signs them with the key of a user who signs, by ssh', async () => {
    const key = join(bench.folder.path, 'key');
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', 'ada', '-f', key]);
    const signers = join(bench.folder.path, 'signers');
    writeFileSync(signers, `ada@example.org ${readFileSync(`${key}.pub`, 'utf8')}`);
    for (const [name, value] of [
      ['commit.gpgSign', 'true'],
      ['gpg.format', 'ssh'],
      ['user.signingKey', `${key}.pub`],
      ['gpg.ssh.allowedSignersFile', signers],
    ] as const)
      bench.user.git('config', name, value);
    bench.sandbox.write('text', lines({ 3: 'THREE' }));
    agentCommits('First');
    bench.sandbox.write('text', lines({ 4: 'FOUR' }));
    agentCommits('Second');
    const list = await bench.end();
    await bench.accept(commits, list);
    assert.equal(log('%G? %GS %s'), 'G ada@example.org First\nG ada@example.org Second');
    await bench.accept({ kind: 'branch', branch: 'part' }, list, {
      whole: false,
      tree: bench.tree('HEAD~'),
    });
    assert.equal(bench.user.git('log', '-1', '--format=%G? %an %cn', 'part'), 'G The Agent Ada Example');
    rmSync(key);
    const before = seen(bench.user.path);
    bench.sandbox.write('text', lines({ 4: 'FOUR', 20: 'TWENTY' }));
    agentCommits('Third');
    await assert.rejects(bench.accept(commits, await bench.end()), {
      code: 'accept_refused',
      message: /could not be signed/,
    });
    assert.deepEqual(seen(bench.user.path), before);
  });

  for (const { format, makeKey } of [
    { format: 'OpenPGP', makeKey: openPgpKey },
    { format: 'X.509', makeKey: x509Key },
  ])
    it(`signs them with the key of a user who signs, by ${format}`, async function () {
      const home = join(bench.folder.path, 'gnupg');
      mkdirSync(home, { mode: 0o700 });
      const previous = process.env.GNUPGHOME;
      process.env.GNUPGHOME = home;
      try {
        for (const [name, value] of makeKey(home)) bench.user.git('config', name, value);
        bench.user.git('config', 'commit.gpgSign', 'true');
        bench.sandbox.write('text', lines({ 3: 'THREE' }));
        agentCommits('First');
        await bench.accept(commits, await bench.end());
        assert.equal(
          bench.user.raw(['log', '-1', '--format=%G? %s'], '', { GNUPGHOME: home }).toString(),
          'G First\n',
        );
      } finally {
        try {
          execFileSync('gpgconf', ['--kill', 'all'], { stdio: 'pipe' });
        } catch {
          // It ends by itself when its folder is gone.
        }
        if (previous === undefined) delete process.env.GNUPGHOME;
        else process.env.GNUPGHOME = previous;
      }
    });
});

/** Makes a key for Ada in a GnuPG home; returns what git has to be told of it. */
type MakeKey = (home: string) => [string, string][];

function openPgpKey(): ReturnType<MakeKey> {
  const args = ['--batch', '--quiet', '--passphrase', '', '--quick-gen-key', 'Ada Example <ada@example.org>'];
  execFileSync('gpg', [...args, 'ed25519', 'sign', 'never'], { stdio: 'pipe' });
  return [];
}

/** A certificate that signs itself and that this home trusts, with no list of revoked ones to ask a network for. */
function x509Key(home: string): ReturnType<MakeKey> {
  const certificate = join(home, 'ada.pem');
  const wanted = [
    'Key-Type: RSA',
    'Key-Length: 2048',
    'Key-Usage: sign, cert',
    'Serial: random',
    'Name-DN: CN=Ada Example',
    'Name-Email: ada@example.org',
  ];
  writeFileSync(join(home, 'wanted'), `${wanted.join('\n')}\n`);
  writeFileSync(join(home, 'gpgsm.conf'), 'disable-crl-checks\n');
  const gpgsm = (...args: string[]): string =>
    execFileSync('gpgsm', ['--batch', '--quiet', ...args], { input: '', stdio: 'pipe', encoding: 'utf8' });
  const unattended = ['--pinentry-mode', 'loopback', '--passphrase-fd', '0'];
  gpgsm(...unattended, '--output', certificate, '--gen-key', join(home, 'wanted'));
  gpgsm('--import', certificate);
  const [, fingerprint = ''] = /^fpr:+([0-9A-F]{40}):/m.exec(gpgsm('--with-colons', '--list-keys')) ?? [];
  writeFileSync(join(home, 'trustlist.txt'), `${fingerprint} S relax\n`);
  execFileSync('gpgconf', ['--kill', 'all'], { stdio: 'pipe' });
  return [
    ['gpg.format', 'x509'],
    ['user.signingKey', `0x${fingerprint}`],
  ];
}
