import assert from 'node:assert/strict';
import fc from 'fast-check';
import { failureOf } from '../../src/forge/failures.ts';
import { forgeOf, ForgeHosts, type ForgeHost } from '../../src/forge/forgeOf.ts';
import { isRepositoryName } from '../../src/forge/names.ts';
import { readRemoteAddress } from '../../src/forge/remoteAddress.ts';
import { fits } from '../../src/forge/segments.ts';

describe('forgeOf', () => {
  const hosts: ForgeHost[] = ForgeHosts.parse([
    { host: 'git.example.com:3000', kind: 'forgejo' },
    { host: 'example.com/gitlab', kind: 'gitlab' },
    { host: 'github.example.com', kind: 'github' },
    { host: 'stash.example.com', kind: 'bitbucket-data-center' },
    { host: 'example.com/stash', kind: 'bitbucket-data-center' },
    { host: 'plain.example.com', kind: 'gitea', apiUrl: 'http://plain.example.com/api/v1' },
  ]);

  it('knows the well-known forges by every way of writing a remote', () => {
    const cases: [string, string][] = [
      ['https://github.com/octo/app.git', 'github github.com octo/app'],
      ['https://ada:secret@github.com/octo/app', 'github github.com octo/app'],
      ['git@github.com:octo/app.git', 'github github.com octo/app'],
      ['ssh://git@ssh.github.com:443/octo/app.git', 'github github.com octo/app'],
      ['git+ssh://git@GitHub.com/octo/app/', 'github github.com octo/app'],
      ['github.com:octo/app', 'github github.com octo/app'],
      ['https://gitlab.com/a/b/c/app.git', 'gitlab gitlab.com a/b/c/app'],
      ['git@altssh.gitlab.com:a/b/app', 'gitlab gitlab.com a/b/app'],
      ['https://ada@bitbucket.org/team/app.git', 'bitbucket bitbucket.org team/app'],
      ['ssh://git@altssh.bitbucket.org:443/team/app', 'bitbucket bitbucket.org team/app'],
      ['https://codeberg.org/ada/app', 'gitea codeberg.org ada/app'],
      ['git@gitea.com:ada/app.git', 'gitea gitea.com ada/app'],
      ['https://octo.ghe.com/octo/app', 'github octo.ghe.com octo/app'],
    ];
    for (const [url, wanted] of cases) {
      const place = forgeOf(url);
      assert.equal(place && `${place.kind} ${place.host} ${place.repository}`, wanted, url);
    }
  });

  it('knows where each of them is spoken to', () => {
    const apis = ['github.com', 'gitlab.com', 'codeberg.org', 'bitbucket.org', 'octo.ghe.com'].map(
      (host) => forgeOf(`https://${host}/octo/app`)?.apiUrl,
    );
    assert.deepEqual(apis, [
      'https://api.github.com',
      'https://gitlab.com/api/v4',
      'https://codeberg.org/api/v1',
      'https://api.bitbucket.org/2.0',
      'https://api.octo.ghe.com',
    ]);
  });

  it('knows the hosts that it was told of, with their ports and paths, and by ssh without them', () => {
    const cases: [string, string | undefined][] = [
      ['https://git.example.com:3000/ada/app', 'https://git.example.com:3000/api/v1 ada/app'],
      ['ssh://git@git.example.com:2222/ada/app.git', 'https://git.example.com:3000/api/v1 ada/app'],
      ['git@git.example.com:ada/app', 'https://git.example.com:3000/api/v1 ada/app'],
      ['https://git.example.com/ada/app', undefined],
      ['https://example.com/gitlab/a/b/app', 'https://example.com/gitlab/api/v4 a/b/app'],
      ['https://example.com/other/app', undefined],
      ['https://github.example.com/octo/app', 'https://github.example.com/api/v3 octo/app'],
      ['https://stash.example.com/scm/octo/app.git', 'https://stash.example.com/rest octo/app'],
      ['https://stash.example.com/scm/~ada/app.git', 'https://stash.example.com/rest ~ada/app'],
      ['ssh://git@stash.example.com:7999/octo/app.git', 'https://stash.example.com/rest octo/app'],
      ['https://example.com/stash/scm/octo/app', 'https://example.com/stash/rest octo/app'],
      ['https://stash.example.com/octo/app.git', undefined],
      ['http://plain.example.com/ada/app', 'http://plain.example.com/api/v1 ada/app'],
    ];
    for (const [url, wanted] of cases) {
      const place = forgeOf(url, hosts);
      assert.equal(place && `${place.apiUrl} ${place.repository}`, wanted, url);
    }
  });

  it('takes nothing else for a forge: no token would be shown to it', () => {
    for (const url of [
      'https://example.org/octo/app',
      'https://github.com.evil.example/octo/app',
      'https://evil.example/github.com/octo/app',
      'https://github.com@evil.example/octo/app',
      'https://github.com:8443/octo/app',
      'http://github.com/octo/app',
      'http://github.example.com/octo/app',
      'https://github.com/octo',
      'https://github.com/octo/app/pulls',
      'https://github.com/octo/app?x=y',
      'https://github.com/octo/app#x',
      'https://github.com/octo/..',
      'https://gitlab.com/a/b/-/tree',
      'https://bitbucket.org/a/b/c',
      'https://bitbucket.org/~ada/app',
      'http://stash.example.com/scm/octo/app',
      'https://stash.example.com/scm/~../app',
      'https://evil.ghe.com.example/octo/app',
      'https://a.b.ghe.com/octo/app',
      'https://github.com\\@evil.example/octo/app',
      'https://github.com/octo/app\nx',
      'ftp://github.com/octo/app',
      'ext::sh -c x',
      '-oProxyCommand=x:octo/app',
      'C:/octo/app',
      'C:\\octo\\app',
      '/srv/git/app.git',
      './github.com:octo/app',
      'file:///srv/octo/app',
      '',
    ])
      assert.equal(forgeOf(url, hosts), undefined, url);
  });

  it('reads the setting once, and takes only what names a host and an API', () => {
    assert.deepEqual(ForgeHosts.parse([{ host: 'a.example', kind: 'forgejo' }]), [
      { host: 'a.example', kind: 'gitea' },
    ]);
    for (const entry of [
      { host: 'a.example', kind: 'sourcehut' },
      { host: '', kind: 'gitea' },
      { host: 'https://a.example', kind: 'gitea' },
      { host: 'ada@a.example', kind: 'gitea' },
      { host: 'a.example/..', kind: 'gitea' },
      { host: 'a.example?x', kind: 'gitea' },
      { host: 'a example', kind: 'gitea' },
      { host: 'a.example:99999', kind: 'gitea' },
      { host: 'a.example', kind: 'gitea', apiUrl: 'ftp://a.example' },
      { host: 'a.example', kind: 'gitea', apiUrl: 'https://ada:secret@a.example/api' },
      { host: 'a.example', kind: 'gitea', apiUrl: 'https://a.example/api?x=y' },
      { host: 'a.example', kind: 'gitea', apiUrl: 'a.example/api' },
    ])
      assert.equal(ForgeHosts.safeParse([entry]).success, false, JSON.stringify(entry));
  });

  it('never throws, whatever a remote is, and gives only names that fit into a path', () => {
    const part = fc.oneof(
      fc.constantFrom(
        'https://',
        'ssh://',
        'git@',
        'github.com',
        ':',
        '/',
        '..',
        '.git',
        '@',
        '%2e',
        '[::1]',
        '\\',
      ),
      fc.string({ maxLength: 5 }),
    );
    fc.assert(
      fc.property(fc.array(part, { maxLength: 8 }), (parts) => {
        const place = forgeOf(parts.join(''), hosts);
        if (place === undefined) return;
        assert.ok(isRepositoryName(place.repository, place.kind));
        assert.ok(new URL(place.apiUrl).hostname.length > 0);
      }),
      { numRuns: 2000 },
    );
    assert.equal(readRemoteAddress('https://github.com/' + 'x'.repeat(3000)), undefined);
  });

  it('knows patterns with stars, also hostile ones, in no time', () => {
    assert.ok(
      fits('release/1/2', 'release/*') && fits('main', '*') && fits('a-b-c', 'a*b*c') && fits('x', 'x'),
    );
    assert.ok(!fits('releases', 'release/*') && !fits('ab', 'a*b*c') && !fits('a', 'a*a') && !fits('x', ''));
    assert.equal(fits('a'.repeat(100_000), `${'*a'.repeat(1000)}b`), false);
  });

  it('finds the words of a refusal in each form, and when to ask again', () => {
    const who = { forge: 'F', owner: 'user', rights: 'rights' } as const;
    const said = (json: unknown, status = 422, headers: Record<string, string> = {}): string =>
      failureOf(who, 'x', status, new Headers(headers), json, 0).message;
    assert.match(said({ message: 'A', errors: ['B', { message: 'C' }] }), /It said: A; B; C$/);
    assert.match(said({ message: ['A', 'B'] }), /It said: A; B$/);
    assert.match(said({ message: { title: ['is long'] } }), /It said: title is long$/);
    assert.match(said({ error: 'A', error_description: 'B' }), /It said: A; B$/);
    assert.match(said({ error: ['A'] }), /It said: A$/);
    assert.match(said({ type: 'error', error: { message: 'A', detail: 'B' } }), /It said: A; B$/);
    assert.match(said({ message: '\x1b[31mA\u202e' }), /It said: A‹U\+202E›$/);
    for (const odd of [null, 1, 'text', [], { message: 1 }, { error: null }])
      assert.doesNotMatch(said(odd), /It said/);
    const until = (status: number, headers: Record<string, string>, json: unknown = {}): unknown =>
      (failureOf(who, 'x', status, new Headers(headers), json, 0) as { until?: number }).until;
    assert.equal(until(429, { 'retry-after': '60' }), 60_000);
    assert.equal(until(429, { 'retry-after': new Date(120_000).toUTCString() }), 120_000);
    assert.equal(until(429, { 'ratelimit-reset': '90' }), 90_000);
    assert.equal(until(403, { 'x-ratelimit-remaining': '0', 'x-ratelimit-reset': '90' }), 90_000);
    assert.equal(until(403, {}, { message: 'You have exceeded a secondary rate limit' }), 60_000);
    assert.equal(until(429, { 'retry-after': '999999999' }), 2 * 60 * 60_000);
    assert.equal(until(403, {}), undefined);
  });
});
