import assert from 'node:assert/strict';
import type { Exec, ExecOptions } from '../../src/credentials/exec.ts';
import { githubTokens, isToken } from '../../src/credentials/forgeTokens.ts';

describe('tokens of GitHub on this machine', () => {
  const calls: { args: readonly string[]; env: ExecOptions['env'] }[] = [];
  const gh: Exec = (file, args, { env }) => {
    calls.push({ args: [file, ...args], env });
    const host = args.at(-1) ?? '';
    return Promise.resolve({ code: 0, stdout: `gho_of-${host}\n` });
  };
  const none: Exec = () => Promise.reject(new Error('not installed'));

  beforeEach(() => {
    calls.length = 0;
  });

  it('are those that were made for that host, and no others', async () => {
    const env = {
      GITHUB_TOKEN: 'ghp_of-github-dot-com',
      GH_ENTERPRISE_TOKEN: 'ghp_of-the-enterprise',
      GH_HOST: 'git.example.com',
    };
    const labels = async (host: string): Promise<string[]> =>
      (await githubTokens(host, { env, exec: none })).map(({ token }) => token);
    assert.deepEqual(await labels('github.com'), ['ghp_of-github-dot-com']);
    assert.deepEqual(await labels('git.example.com'), ['ghp_of-the-enterprise']);
    for (const host of ['evil.example.com', 'github.com.evil.example', 'GITHUB.COM', 'git.example.com:8443'])
      assert.deepEqual(await labels(host), [], host);
  });

  it('come from the gh command for that very host, which is not shown the tokens of the environment', async () => {
    const env = { GH_TOKEN: 'ghp_of-the-environment', GITHUB_ENTERPRISE_TOKEN: 'x'.repeat(20), PATH: '/bin' };
    const found = await githubTokens('git.example.com', { env, exec: gh });
    assert.deepEqual(found, [
      { id: 'gh', label: 'The login of the gh command', token: 'gho_of-git.example.com' },
    ]);
    assert.deepEqual(calls, [
      { args: ['gh', 'auth', 'token', '--hostname', 'git.example.com'], env: { PATH: '/bin' } },
    ]);
    await githubTokens('--help', { env, exec: gh });
    await githubTokens('host:8080/path', { env, exec: gh });
    assert.equal(calls.length, 1, 'a host that could be an option is not asked about');
  });

  it('are left out where they could not be one', async () => {
    for (const text of ['', 'short', 'two words of text', 'line\nbreak-line-break', 'x'.repeat(5000)]) {
      assert.equal(isToken(text), false);
      assert.deepEqual(await githubTokens('github.com', { env: { GH_TOKEN: text }, exec: none }), []);
    }
  });
});
