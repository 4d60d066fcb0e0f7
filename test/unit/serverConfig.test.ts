import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SallyportError } from '../../src/base/errors.ts';
import { readConfig } from '../../src/server/operation/readConfig.ts';
import { reportText, startReport } from '../../src/server/operation/report.ts';

const around = { distFolder: '/dist', containerFolder: '/container', memoryBytes: 16 * 2 ** 30, cpus: 8 };

describe('configuration of the runner', () => {
  let folder: string;
  beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'sallyport-config-'))));
  afterEach(() => rmSync(folder, { recursive: true }));

  const read = (env: Record<string, string> = {}) =>
    readConfig({ SALLYPORT_HOME: join(folder, 'data'), ...env }, around);
  const refused = (env: Record<string, string>): string => {
    try {
      read(env);
    } catch (thrown) {
      assert.ok(thrown instanceof SallyportError);
      assert.equal(thrown.code, 'server_misconfigured');
      return thrown.message;
    }
    assert.fail('It was accepted');
  };

  it('needs none: then it listens on the loopback only', () => {
    const config = read();
    assert.equal(config.host, '127.0.0.1');
    assert.equal(config.publicUrl, 'http://localhost:7334');
    assert.equal(config.queue.parallel, 16);
    assert.equal(config.queue.memoryBytes, 12 * 2 ** 30);
    assert.equal(config.secretKey.length, 32);
  });

  it('keeps the key that it made, and lets nobody else read it', () => {
    const first = read().secretKey;
    assert.deepEqual(read().secretKey, first);
    assert.equal(statSync(join(folder, 'data', 'secret.key')).mode & 0o777, 0o600);
    assert.equal(statSync(join(folder, 'data')).mode & 0o777, 0o700);
  });

  it('does not make another key over one that is damaged', () => {
    read();
    writeFileSync(join(folder, 'data', 'secret.key'), 'half');
    assert.match(refused({}), /does not hold a key/);
    assert.equal(readFileSync(join(folder, 'data', 'secret.key'), 'utf8'), 'half');
  });

  it('reads what is secret from files too', () => {
    const path = join(folder, 'token');
    writeFileSync(path, 'ghp_abc\n');
    assert.equal(read({ GITHUB_TOKEN_FILE: path }).forge?.token, 'ghp_abc');
    assert.match(refused({ GITHUB_TOKEN_FILE: path, GITHUB_TOKEN: 'x' }), /both set/);
    assert.match(refused({ GITHUB_TOKEN_FILE: join(folder, 'none') }), /cannot be read/);
  });

  it('takes the quotes away that an env file leaves', () => {
    assert.equal(read({ GITHUB_TOKEN: '"ghp_abc"' }).forge?.token, 'ghp_abc');
  });

  it('refuses a public address without TLS', () => {
    assert.match(
      refused({ SALLYPORT_PUBLIC_URL: 'http://runner.example.com' }),
      /over the network as they are/,
    );
  });

  it('refuses an https address that nobody serves', () => {
    assert.match(refused({ SALLYPORT_PUBLIC_URL: 'https://runner.example.com' }), /neither a certificate/);
    const config = read({
      SALLYPORT_PUBLIC_URL: 'https://runner.example.com/',
      SALLYPORT_TRUSTED_PROXIES: '10.0.0.0/8',
      SALLYPORT_HOST: '0.0.0.0',
    });
    assert.equal(config.publicUrl, 'https://runner.example.com');
  });

  it('refuses secrets that stand in examples, and short ones', () => {
    for (const key of [
      'changeme',
      'secret',
      'short',
      '${SESSION_SECRET}',
      'a'.repeat(64),
      'your-secret-key-goes-here-please-change',
    ])
      assert.match(refused({ SESSION_SECRET: key }), /example or too short/, key);
    assert.equal(
      read({ SESSION_SECRET: 'a phrase of words that is long enough to be one' }).secretKey.length,
      32,
    );
  });

  it('refuses a TLS key that everybody may read', () => {
    const [cert, key] = [join(folder, 'cert.pem'), join(folder, 'key.pem')];
    for (const file of [cert, key]) writeFileSync(file, 'x');
    chmodSync(key, 0o644);
    const env = { SALLYPORT_TLS_CERT: cert, SALLYPORT_TLS_KEY: key };
    assert.match(refused(env), /every user of this machine/);
    chmodSync(key, 0o600);
    assert.equal(read(env).publicUrl, 'https://localhost:7334');
    assert.match(refused({ SALLYPORT_TLS_CERT: cert }), /belong together/);
  });

  it('refuses a sign-in with GitHub that lets everybody in', () => {
    const env = { GITHUB_CLIENT_ID: 'id', GITHUB_CLIENT_SECRET: 'secret' };
    assert.match(refused(env), /lets everybody in/);
    assert.deepEqual(read({ ...env, GITHUB_ALLOWED_ORGS: 'Example, other' }).github?.allowedOrganizations, [
      'example',
      'other',
    ]);
  });

  it('takes a token for each of several forges, and gives none to a place that it was not said for', () => {
    assert.equal(read().otherForges, undefined);
    assert.deepEqual(
      read({
        GITLAB_TOKEN: 'glpat-a',
        GITLAB_URL: 'https://example.com/gitlab/',
        FORGEJO_TOKEN: 'b',
        FORGEJO_URL: 'https://codeberg.org',
        BITBUCKET_TOKEN: 'c',
        BITBUCKET_USER: 'ada@example.com',
      }).otherForges,
      [
        {
          kind: 'gitlab',
          token: 'glpat-a',
          webUrl: 'https://example.com/gitlab',
          apiUrl: 'https://example.com/gitlab/api/v4',
        },
        { kind: 'gitea', token: 'b', webUrl: 'https://codeberg.org', apiUrl: 'https://codeberg.org/api/v1' },
        {
          kind: 'bitbucket',
          token: 'c',
          webUrl: 'https://bitbucket.org',
          apiUrl: 'https://api.bitbucket.org/2.0',
          user: 'ada@example.com',
        },
      ],
    );
    assert.equal(read({ GITLAB_TOKEN: 'a' }).otherForges?.[0]?.apiUrl, 'https://gitlab.com/api/v4');
    assert.match(refused({ GITEA_TOKEN: 'a' }), /needs GITEA_URL/);
  });

  it('says everything that is wrong at once', () => {
    const text = refused({ PORT: 'http', SALLYPORT_PARALLEL: '0', SALLYPORT_PUBLIC_URL: 'ftp://x' });
    assert.equal(text.split('\n').length, 4);
  });

  it('reports what is configured, and no secret of it', () => {
    const config = read({
      GITHUB_TOKEN: 'ghp_verysecret',
      GITLAB_TOKEN: 'glpat-verysecret',
      SMTP_URL: 'smtps://user:hidden@mail.example.com',
      EMAIL_FROM: 'Runner <runner@example.com>',
      ALLOWED_DOMAINS: '@Example.com',
    });
    const found = {
      url: 'http://localhost:7334',
      engine: undefined,
      credential: undefined,
      tasks: 0,
      users: 0,
      isRoot: true,
    };
    const text = reportText(startReport(config, found));
    assert.doesNotMatch(text, /verysecret|hidden/);
    assert.match(text, /no container engine answers/);
    assert.match(text, /@example\.com/);
    assert.doesNotMatch(text, new RegExp(Buffer.from(config.secretKey).toString('hex')));
  });

  it('is told in docs/runner.md, variable by variable', () => {
    const read = (path: string): string => readFileSync(join(import.meta.dirname, '../..', path), 'utf8');
    const source = read('src/server/operation/readConfig.ts');
    const names = new Set(
      [...source.matchAll(/'((?:SALLYPORT|GITHUB|GH|SMTP|RESEND|EMAIL|ALLOWED|SESSION|PORT)[A-Z_]*)'/g)].map(
        ([, name]) => name ?? '',
      ),
    );
    assert.ok(names.size > 25);
    const told = read('docs/runner.md');
    assert.deepEqual(
      [...names].filter(
        (name) =>
          !told.includes(`\`${name}\``) &&
          !/^SALLYPORT_(ALLOWED_(EMAILS|DOMAINS)|SMTP_URL|EMAIL_FROM|GITHUB_CLIENT)/.test(name),
      ),
      [],
    );
  });
});
