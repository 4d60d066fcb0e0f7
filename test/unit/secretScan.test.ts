import assert from 'node:assert/strict';
import { readdirSync, readFileSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { Quarantine } from '../../src/git/quarantine.ts';
import { openRepository } from '../../src/git/repository.ts';
import { prefilter } from '../../src/git/secretRules.ts';
import { scanSnapshot, type SecretFinding } from '../../src/git/secretScan.ts';
import { takeSnapshot } from '../../src/git/snapshot.ts';
import type { SnapshotMode } from '../../src/protocol/task.ts';
import { GitRepo, temporaryFolder } from '../support/gitRepo.ts';

const lower = 'abcdefghijklmnopqrstuvwxyz';
const upper = lower.toUpperCase();
const digits = '0123456789';
const alnum = lower + upper + digits;

/** Characters by chance, the same at each run: no value that looks like a key stands in this file. */
function chance(length: number, alphabet = alnum, seed = length * 7919): string {
  let state = seed + alphabet.length;
  return Array.from({ length }, () => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return alphabet[(state >>> 16) % alphabet.length] ?? '';
  }).join('');
}

const base64 = chance(64, `${alnum}+/`);
const pem = (label: string): string =>
  [`-----BEGIN ${label}-----`, base64, chance(64, `${alnum}+/`, 5), `-----END ${label}-----`, ''].join('\n');
const json = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
const webToken = (claims: unknown): string =>
  `${json({ alg: 'HS256', typ: 'JWT' })}.${json(claims)}.${chance(43)}`;

/** What has to be found: the kind, the path, the text, and the value in it. */
const positives: [kind: string, path: string, text: (value: string) => string, value: string][] = [
  ['Private key', 'deploy/key.pem', () => pem('RSA PRIVATE KEY'), base64],
  ['Private key', 'ssh/id_ed25519', () => pem('OPENSSH PRIVATE KEY'), base64],
  ['Private key', 'ec.txt', () => pem('EC PRIVATE KEY').replaceAll('\n', '\r\n'), base64],
  ['Private key', 'plain.txt', () => pem('PRIVATE KEY'), base64],
  [
    'Private key',
    'pgp.asc',
    () => pem('PGP PRIVATE KEY BLOCK').replace('\n', '\nVersion: GnuPG v2\n\n'),
    base64,
  ],
  [
    'Private key',
    'gcp/service-account.json',
    () => JSON.stringify({ type: 'service_account', private_key: pem('PRIVATE KEY') }, null, 2),
    base64,
  ],
  ['PuTTY private key', 'x/putty.txt', () => 'PuTTY-User-Key-File-2: ssh-rsa\nEncryption: none\n', 'ssh-rsa'],
  ['AWS access key', 'a/aws.ini', (v) => `aws_access_key_id = ${v}\n`, `AKIA${chance(16, `${upper}234567`)}`],
  ['AWS secret key', 'a/credentials', (v) => `aws_secret_access_key = ${v}\n`, chance(40, `${alnum}/+`, 11)],
  [
    'Google API key',
    'map.html',
    (v) => `<script src="https://maps.example.com/js?key=${v}"></script>`,
    `AIza${chance(35)}`,
  ],
  ['Google OAuth client secret', 'oauth.py', (v) => `SECRET = '${v}'`, `GOCSPX-${chance(28)}`],
  [
    'Azure storage key',
    'az.config',
    (v) => `DefaultEndpointsProtocol=https;AccountName=a;AccountKey=${v};`,
    `${chance(86)}==`,
  ],
  [
    'Azure shared access key',
    'bus.cs',
    (v) => `"Endpoint=sb://a/;SharedAccessKeyName=r;SharedAccessKey=${v}"`,
    `${chance(43)}=`,
  ],
  ['Azure client secret', 'az.ts', (v) => `const c = '${v}';`, `${chance(3)}8Q~${chance(34)}`],
  ['GitHub token', 'ci.sh', (v) => `curl -H "Authorization: token ${v}"`, `ghp_${chance(36)}`],
  ['GitHub token', 'ci2.sh', (v) => `GH=${v}`, `github_pat_${chance(22)}_${chance(59)}`],
  ['GitLab token', 'ci.yml', (v) => `  TOKEN: ${v}`, `glpat-${chance(20)}`],
  ['Gitea token', 'gitea.env.txt', (v) => `GITEA_TOKEN=${v}`, chance(40, '0123456789abcdef')],
  ['Slack token', 'bot.js', (v) => `new Bot('${v}')`, `xoxb-${chance(12, digits)}-${chance(24)}`],
  [
    'Slack webhook',
    'hook.md',
    (v) => `https://hooks.slack.com/services/${v}`,
    `T${chance(8, upper)}/B${chance(8, upper)}/${chance(24)}`,
  ],
  ['Stripe key', 'pay.rb', (v) => `Stripe.key = "${v}"`, `sk_live_${chance(24)}`],
  ['npm token', 'publish.sh', (v) => `echo ${v}`, `npm_${chance(36)}`],
  ['Registry token', '.npmrc', (v) => `//registry.example.com/:_authToken=${v}\n`, chance(30)],
  ['PyPI token', 'upload.txt', (v) => v, `pypi-AgEIcHlwaS5vcmc${chance(80)}`],
  ['Anthropic key', 'a.ts', (v) => `const key = "${v}"`, `sk-ant-api03-${chance(93)}AA`],
  ['Anthropic key', 'o.ts', (v) => `const oauth = "${v}"`, `sk-ant-oat01-${chance(93)}AA`],
  ['OpenAI key', 'b.ts', (v) => `const key = "${v}"`, `sk-proj-${chance(60)}`],
  ['OpenAI key', 'c.ts', (v) => `const key = "${v}"`, `sk-${chance(20)}T3BlbkFJ${chance(20, alnum, 3)}`],
  ['JSON web token', 'jwt.txt', (v) => `Bearer ${v}`, webToken({ sub: 'deploy', iat: 1_700_000_000 })],
  [
    'Password of a login file',
    'home/.netrc',
    (v) => `machine git.example.org login ada password ${v}\n`,
    'Gr4nit-Turm',
  ],
  ['Password of a database', '.pgpass', (v) => `db.internal:5432:app:ada:${v}\n`, 'Gr4nit-Turm'],
  [
    'Login of a container registry',
    '.docker/config.json',
    (v) => `{"auths":{"r":{"auth": "${v}"}}}`,
    chance(32),
  ],
  [
    'Password in a URL',
    'settings.py',
    (v) => `DB = "postgresql://app:${v}@db.internal.org:5432/app"`,
    'Gr4nit-Turm',
  ],
  ['Password in a URL', 'redis.yml', (v) => `url: redis://:${v}@cache.internal.org/0`, 'Gr4nit-Turm'],
  ['Password in a URL', 'git.txt', (v) => `git clone https://ada:${v}@git.internal.org/x.git`, chance(16)],
  ['Secret in an environment file', '.env', (v) => `PORT=3000\nexport DB_PASSWORD="${v}"\n`, 'Gr4nit-Turm'],
  ['Secret in an environment file', 'config/.env.production', (v) => `SESSION_SECRET=${v}\n`, chance(24)],
  ['Assigned secret', 'auth.go', (v) => `apiToken := "${v}"`, chance(32)],
  ['Assigned secret', 'auth.json', (v) => `{ "clientSecret": "${v}" }`, chance(32, '0123456789abcdef')],
  ['Assigned secret', 'auth.rb', (v) => `config.secret_key_base => '${v}'`, chance(40)],
];

/** What must not be found: documents, templates, names, hashes. */
const negatives: [what: string, path: string, text: string][] = [
  [
    'the key of the AWS documentation',
    'aws.md',
    `AKIAIOSFODNN7EXAMPLE and aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY`,
  ],
  ['a row of one character', 'x.md', `token: "${'x'.repeat(36)}" ghp_${'x'.repeat(36)}`],
  [
    'a sequence',
    'seq.ts',
    `const token = "0123456789abcdefghijklmnopqrstuvwxyz" // ghp_0123456789abcdefghijklmnopqrstuvwxyz`,
  ],
  [
    'a variable',
    'var.yml',
    'password: "${DB_PASSWORD}"\nurl: postgres://app:${DB_PASSWORD}@db.internal.org/app\ntoken: "$TOKEN_12345678"',
  ],
  [
    'a template',
    'tpl.yml',
    'token: "{{ vault.token1234 }}"\nsecret: "<your-secret-123>"\nkey: "%(api_key)s"',
  ],
  ['a public key', 'pub.pem', pem('PUBLIC KEY')],
  ['a certificate', 'ca.pem', pem('CERTIFICATE')],
  [
    'a private key in a document',
    'doc.md',
    '-----BEGIN RSA PRIVATE KEY-----\n...\n-----END RSA PRIVATE KEY-----\n',
  ],
  ['a public SSH key', 'id_ed25519.pub', `ssh-ed25519 ${chance(68)} ada@example.com\n`],
  ['a template of an environment file', '.env.example', 'DB_PASSWORD=Gr4nit-Turm-echt\n'],
  [
    'an environment file without secrets',
    '.env.test',
    'PORT=3000\nDEBUG=true\nTOKEN_TTL=360000\nAPI_KEY=\nSECRET_NAME=session\n',
  ],
  [
    'a login of a service on the same machine',
    'compose.yml',
    'postgres://postgres:postgres@db:5432/x redis://:secret@localhost:6379',
  ],
  [
    'a login at an example',
    'doc2.md',
    'https://user:Gr4nit-Turm@example.com/ https://ada:Gr4nit-Turm@git.example.org/',
  ],
  [
    'a URL with a port and a later at sign',
    'url.ts',
    'http://localhost:3000/users/@me http://x.org:8080/a@b',
  ],
  [
    'names and words',
    'names.ts',
    `tokenType = "application/x-www-form-urlencoded"; passwordField = "current-password-input"; secretName = "kubernetes.io/service-account-token"; accessKeyPath = "./config/keys/dev-1.json"`,
  ],
  [
    'names with numbers',
    'constants.ts',
    `ttlToken = "x-aws-ec2-metadata-token-ttl-seconds"; token: "VERY_SECRET_TOKEN0_OF_MINE"; secretState: "FlowActionResultV2.State"`,
  ],
  [
    'a dotted name',
    'i18n.json',
    '{"password.label": "settings.account.password2", "tokenKey": "errors.token.expired.v1"}',
  ],
  ['a version', 'v.json', '{"tokenizer": "^12.34.56-beta.1", "secretVersion": "2024-01-31T00:00"}'],
  [
    'hashes of a lock file',
    'package-lock.json',
    `{"js-tokens": {"integrity": "sha512-${chance(86)}=="}, "token": "${chance(40)}"}`,
  ],
  ['the web token of every document', 'jwt.md', webToken({ sub: '1234567890', name: 'John Doe' })],
  ['a web token that is over', 'jwt2.md', webToken({ sub: 'x', exp: 1_500_000_000 })],
  ['something with three parts', 'parts.md', `eyJ${chance(30)}.eyJ${chance(30)}.${chance(43)}`],
  [
    'code that reads a password',
    'read.ts',
    'const password = process.env.PASSWORD ?? prompt("Password:"); if (token === "undefined1") token = getToken("default-1")',
  ],
  ['a key store for debugging', 'android/debug.keystore', '\0binary'],
  ['an empty file with a telling name', 'id_rsa', ''],
];

describe('secrets scan', function () {
  let folder: ReturnType<typeof temporaryFolder>;
  let user: GitRepo;
  let quarantine: Quarantine;

  beforeEach(async () => {
    folder = temporaryFolder();
    user = new GitRepo(join(folder.path, 'user'));
    user.write('README.md', '# Test\n');
    user.commit('one');
    const { ref } = await openRepository(user.path);
    quarantine = Quarantine.open(join(folder.path, 'q'), ref.id);
  });
  afterEach(() => folder.dispose());

  async function scan(mode: SnapshotMode = 'head', accepted: string[] = []) {
    const snapshot = await takeSnapshot(await openRepository(user.path), quarantine, mode);
    return await scanSnapshot(quarantine, snapshot, { accepted });
  }

  /** Without the values, which nothing may say: neither what is handed out nor what is kept on disk. */
  function assertSilent(findings: readonly SecretFinding[], values: readonly string[]): void {
    const kept = join(quarantine.gitDir, 'sallyport-secrets');
    const said = [
      JSON.stringify(findings),
      ...readdirSync(kept).map((name) => readFileSync(join(kept, name), 'latin1')),
    ].join('\n');
    for (const value of values) assert.ok(!said.includes(value), `${value.slice(0, 4)}… is said`);
  }

  it('finds every kind of key, each where it stands, and says none of them', async () => {
    for (const [, path, text, value] of positives) user.write(path, `first line\n${text(value)}`);
    user.commit('two');
    const { findings, more } = await scan();
    const missed = positives.filter(([kind, path, text, value]) => {
      const mark = kind === 'Private key' ? 'PRIVATE KEY' : value;
      const line = `first line\n${text(value)}`.split('\n').findIndex((each) => each.includes(mark)) + 1;
      return !findings.some((one) => one.path === path && one.kind === kind && one.line === line);
    });
    assert.deepEqual(
      missed.map(([kind, path]) => `${kind} in ${path}`),
      [],
    );
    const extra = findings.filter((one) => !positives.some(([, path]) => path === one.path));
    assert.deepEqual(extra, []);
    assert.equal(findings.length, positives.length, 'one finding for each value');
    assert.equal(more, 0);
    assertSilent(
      findings,
      positives.map(([, , , value]) => value),
    );
    assert.ok(findings.every((one) => one.tracked));
  });

  it('searches for the same in either syntax of git grep, because not every git knows the fast one', () => {
    for (const [, path, text, value] of positives) user.write(path, text(value));
    user.commit('two');
    const files = (syntax: string): string => user.git('grep', '-I', '-l', syntax, '-e', prefilter, 'HEAD');
    const fast = files('-P');
    assert.ok(fast.split('\n').length > 25, fast);
    assert.equal(files('-E'), fast);
  });

  for (const [what, path, text] of negatives) {
    it(`takes no notice of ${what}`, async () => {
      user.write(path, text);
      user.commit('two');
      assert.deepEqual((await scan()).findings, []);
    });
  }

  it('names key stores and key files that it cannot read', async () => {
    user.write('certs/server.p12', Buffer.from([0x30, 0x82, 0, 1, 2, 3]));
    user.write('home/id_rsa', Buffer.from([0, 1, 2, 3]));
    user.commit('two');
    const { findings } = await scan();
    assert.deepEqual(
      findings.map(({ path, kind, line }) => [path, kind, line]),
      [
        ['certs/server.p12', 'Key store', 0],
        ['home/id_rsa', 'SSH private key', 0],
      ],
    );
  });

  it('parts what HEAD has from what only the working tree has, and looks at nothing that stays at home', async () => {
    const line = (n: number): string => `key = "sk-ant-api03-${chance(80, alnum, n)}"\n`;
    user.write('.gitignore', 'ignored.txt\n');
    user.write('tracked.txt', line(1));
    user.write('edited.txt', 'nothing\n');
    user.commit('two');
    user.write('edited.txt', `nothing\n${line(2)}`);
    user.write('new.txt', line(3));
    user.write('ignored.txt', line(4));
    const seen = async (mode: SnapshotMode) =>
      (await scan(mode)).findings.map(({ path, line: at, tracked }) => `${path}:${at} ${tracked}`);
    assert.deepEqual(await seen('head'), ['tracked.txt:1 true']);
    assert.deepEqual(await seen('tracked'), ['edited.txt:2 true', 'tracked.txt:1 true']);
    assert.deepEqual(await seen('untracked'), ['edited.txt:2 true', 'new.txt:1 false', 'tracked.txt:1 true']);
  });

  it('looks at the same tree once, and of the next only at what changed', async () => {
    for (let n = 0; n < 20; n++) user.write(`f${n}.txt`, `key = "sk-ant-api03-${chance(80, alnum, n)}"\n`);
    user.commit('two');
    const first = await scan();
    assert.equal(first.findings.length, 20);
    // An object that was looked at is gone: who looked again would fail.
    const blob = user.git('rev-parse', 'HEAD:f3.txt');
    const object = join(quarantine.objects, blob.slice(0, 2), blob.slice(2));
    renameSync(object, `${object}-away`);
    assert.deepEqual(await scan(), first);
    renameSync(`${object}-away`, object);
    user.write('f5.txt', 'harmless\n');
    user.write('f6.txt', `moved down\nkey = "sk-ant-api03-${chance(80, alnum, 6)}"\n`);
    user.git('rm', '-q', '--cached', 'f7.txt');
    const second = await scan('tracked');
    assert.equal(second.findings.length, 18);
    const byPath = (findings: SecretFinding[]) => new Map(findings.map((one) => [one.path, one]));
    assert.equal(byPath(second.findings).get('f6.txt')?.line, 2);
    assert.equal(
      byPath(second.findings).get('f6.txt')?.fingerprint,
      byPath(first.findings).get('f6.txt')?.fingerprint,
      'the same value at the same path',
    );
  });

  it('leaves out what was accepted, and gives the same value elsewhere another fingerprint', async () => {
    const line = `key = "sk-ant-api03-${chance(80)}"\n`;
    user.write('a.txt', line);
    user.write('b.txt', line);
    user.commit('two');
    const { findings } = await scan();
    const [a, b] = findings;
    assert.ok(a && b && a.fingerprint !== b.fingerprint);
    assert.deepEqual(
      (await scan('head', [a.fingerprint])).findings.map(({ path }) => path),
      ['b.txt'],
    );
    // Another quarantine has another key, so that a fingerprint cannot be looked up.
    const other = Quarantine.open(join(folder.path, 'other'), 'other-0123');
    const snapshot = await takeSnapshot(await openRepository(user.path), other, 'head');
    const again = await scanSnapshot(other, snapshot);
    assert.notEqual(again.findings[0]?.fingerprint, a.fingerprint);
  });

  it('shows at most a hundred, says how many more, and lets accepted ones make room', async () => {
    const lines = Array.from({ length: 130 }, (_, n) => `key${n} = "sk-ant-api03-${chance(80, alnum, n)}"`);
    user.write('many.txt', lines.join('\n'));
    user.commit('two');
    const { findings, more } = await scan();
    assert.deepEqual([findings.length, more], [100, 30]);
    const rest = await scan(
      'head',
      findings.map((one) => one.fingerprint),
    );
    assert.deepEqual([rest.findings.length, rest.more], [30, 0]);
  });

  it('is not held up by large, binary, or hostile files', async () => {
    const key = `sk-ant-api03-${chance(80)}`;
    user.write('large.txt', `${key}\n${'lorem ipsum dolor\n'.repeat(400_000)}`);
    user.write('binary.bin', `\0${key}`);
    user.write('line.js', `${'a:b@c://d:"secret=token:'.repeat(40_000)}${key}`);
    user.write('headers.txt', `-----BEGIN RSA PRIVATE KEY-----\n${'Aa: '.repeat(50_000)}`);
    user.write(Buffer.from('name\n":\t').toString(), `"${key}"`);
    user.commit('two');
    const { findings } = await scan();
    assert.deepEqual(
      findings.map(({ path }) => path),
      ['line.js', 'name\n":\t'],
    );
  });

  it('can be cancelled, and takes commits by their name only', async () => {
    const snapshot = await takeSnapshot(await openRepository(user.path), quarantine, 'head');
    const controller = new AbortController();
    controller.abort();
    await assert.rejects(scanSnapshot(quarantine, snapshot, { signal: controller.signal }), {
      code: 'cancelled',
    });
    await assert.rejects(scanSnapshot(quarantine, { commit: '--help', head: '--help' }), {
      code: 'invalid_input',
    });
  });
});
