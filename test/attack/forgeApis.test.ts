import assert from 'node:assert/strict';
import fc from 'fast-check';
import { SallyportError } from '../../src/base/errors.ts';
import type { Forge } from '../../src/forge/forge.ts';
import { forgeOf } from '../../src/forge/forgeOf.ts';
import { BitbucketContract } from '../support/forgeFakes/bitbucket.ts';
import { BitbucketDataCenterContract } from '../support/forgeFakes/bitbucketDataCenter.ts';
import type { ContractForge } from '../support/forgeFakes/contractForge.ts';
import { GiteaContract } from '../support/forgeFakes/gitea.ts';
import { GitHubContract } from '../support/forgeFakes/github.ts';
import { GitLabContract } from '../support/forgeFakes/gitlab.ts';

/** A forge that means harm, or somebody who stands in for it. */
describe('attacks by the API of a forge', () => {
  const { signal } = new AbortController();
  let fake: ContractForge | undefined;

  afterEach(async () => {
    await fake?.close();
    fake = undefined;
  });

  async function opened<T extends ContractForge>(made: T): Promise<T> {
    await fake?.close();
    fake = made;
    await made.open();
    made.add('octo/app');
    return made;
  }

  const all = (): ContractForge[] => [
    new GitHubContract(),
    new GitLabContract(),
    new GiteaContract(),
    new BitbucketContract(),
    new BitbucketDataCenterContract(),
  ];

  it('shows the token to nobody to whom a remote only seems to lead', () => {
    const evil = 'evil.example';
    for (const remote of [
      `https://github.com@${evil}/octo/app`,
      `https://github.com:x@${evil}/octo/app`,
      `https://github.com%2f@${evil}/octo/app`,
      `https://${evil}/https://github.com/octo/app`,
      `https://${evil}#@github.com/octo/app`,
      `https://${evil}?@github.com/octo/app`,
      `https://${evil}\\@github.com/octo/app`,
      `https://github.com.${evil}/octo/app`,
      `https://github.com。${evil}/octo/app`,
      `https://api.github.com/octo/app`,
      `git@${evil}:github.com/octo`,
      `github.com@${evil}:octo/app`,
      `ssh://github.com@${evil}/octo/app`,
      `ssh://-oProxyCommand=x@${evil}/octo/app`,
      `ext::ssh github.com octo/app`,
      `https://ghe.com/octo/app`,
      `https://api.ghe.com/octo/app`,
      `https://evil.ghe.com.${evil}/octo/app`,
    ])
      assert.equal(forgeOf(remote), undefined, remote);
  });

  it('follows the address of no next page that is elsewhere', async () => {
    const other = await new BitbucketContract().open();
    for (const made of all()) {
      const one = await opened(made);
      for (const next of [
        `${other.apiUrl}/x`,
        `${one.origin}/beside`,
        'file:///etc/passwd',
        'javascript:1',
      ]) {
        one.instead = ({ path }, response) => {
          if (/\/projects\/[^/?]+$/.test(path)) return false;
          const list = path.includes('check-runs') ? { check_runs: [] } : [];
          response.setHeader('link', `<${next}>; rel="next"`);
          response.writeHead(200).end(JSON.stringify(one.kind === 'bitbucket' ? { values: [], next } : list));
          return true;
        };
        const forge = one.client();
        const asking =
          one.kind === 'github'
            ? forge.checks('octo/app', { number: 1, commit: 'c'.repeat(40) }, signal)
            : forge.findPullRequest({ repository: 'octo/app', branch: 'x' }, signal);
        await assert.rejects(asking, { code: 'forge_unreachable' }, `${one.kind} ${next}`);
      }
      assert.ok(!one.requests.some(({ path }) => path.includes('beside')));
    }
    assert.deepEqual(other.requests, []);
    await other.close();
  });

  it('ends where pages go round in a circle', async () => {
    const gitea = await opened(new GiteaContract());
    gitea.instead = (_, response) => {
      response.setHeader('link', `<${gitea.apiUrl}/repos/octo/app/pulls?state=open>; rel="next"`);
      response.writeHead(200).end('[]');
      return true;
    };
    const found = await gitea.client().findPullRequest({ repository: 'octo/app', branch: 'x' }, signal);
    assert.equal(found, undefined);
    assert.equal(gitea.requests.length, 100);
  });

  it('takes no address that is none of the web for a page of a pull request', async () => {
    const gitea = await opened(new GiteaContract());
    for (const html_url of ['javascript:alert(1)', 'file:///etc/passwd', 'vscode://x/y', 'text']) {
      gitea.instead = (_, response) => {
        const pull = {
          number: 1,
          html_url,
          state: 'open',
          title: 'A',
          head: { ref: 'x' },
          base: { ref: 'm' },
        };
        response.writeHead(200).end(JSON.stringify(pull));
        return true;
      };
      await assert.rejects(gitea.client().pullRequest('octo/app', 1, signal), { code: 'forge_unreachable' });
    }
  });

  it('believes nothing that is none of its API, whatever is in an answer', async () => {
    const odd = fc.oneof(
      fc.constantFrom<unknown>(
        null,
        -1,
        0,
        1e300,
        '',
        'javascript:alert(1)',
        '../../etc/passwd',
        '\u001b[2J\u202e',
        [],
        {},
        true,
        { __proto__: null, toString: 1 },
        'x'.repeat(10_000),
      ),
      fc.jsonValue({ maxDepth: 2 }),
    );
    const asks: ((forge: Forge) => Promise<unknown>)[] = [
      (forge) => forge.repository('octo/app', signal),
      (forge) => forge.pullRequest('octo/app', 1, signal),
      (forge) => forge.findPullRequest({ repository: 'octo/app', branch: 'claude/x' }, signal),
      (forge) => forge.isProtected('octo/app', 'main', signal),
      (forge) => forge.checks('octo/app', { number: 1, commit: 'c'.repeat(40) }, signal),
    ];
    for (const made of all()) {
      const one = await opened(made);
      one.addPull({ checks: ['passed'] });
      const forge = one.client();
      await fc.assert(
        fc.asyncProperty(fc.nat(), fc.nat(), odd, async (which, place, value) => {
          one.twist = (json) => replaced(json, place, value);
          const ask = asks[which % asks.length];
          assert.ok(ask);
          try {
            checkShape(await ask(forge));
          } catch (thrown) {
            assert.ok(thrown instanceof SallyportError, String(thrown));
            assert.equal(thrown.code, 'forge_unreachable');
          }
        }),
        { numRuns: 80 },
      );
    }
  });
});

/** One value of an answer, or all of it, is another. */
function replaced(json: unknown, place: number, value: unknown): unknown {
  const places: (() => unknown)[] = [() => value];
  const walk = (at: unknown): void => {
    if (typeof at !== 'object' || at === null) return;
    for (const [key, inner] of Object.entries(at)) {
      places.push(() => {
        (at as Record<string, unknown>)[key] = value;
        return copy;
      });
      walk(inner);
    }
  };
  const copy = structuredClone(json);
  walk(copy);
  return places[place % places.length]?.();
}

/** What is shown, opened or put into a path further on. */
function checkShape(value: unknown): void {
  if (typeof value !== 'object' || value === null) return;
  const { number, url, state, name, parent } = value as Record<string, unknown>;
  if (number !== undefined) {
    assert.ok(Number.isSafeInteger(number) && Number(number) > 0);
    assert.match(String(url), /^https?:\/\//);
    assert.ok(['draft', 'open', 'closed', 'merged'].includes(String(state)));
  }
  for (const one of [name, parent])
    if (one !== undefined) {
      assert.ok(typeof one === 'string');
      assert.match(one, /^[\w.-]+(?:\/[\w.-]+)+$/);
      assert.doesNotMatch(one, /(^|\/)\.\.?(\/|$)/);
    }
}
