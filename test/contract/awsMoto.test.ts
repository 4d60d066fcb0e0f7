import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { Upstream } from '../../src/protocol/control.ts';
import { createModelSources, type ModelSources } from '../../src/runner/modelSources.ts';
import { CredentialHome, noNetwork, noPrograms } from '../support/credentialHome.ts';

/** What the small fake of STS in the unit tests leaves out: answers of another's making. */
const hasMoto = spawnSync('moto_server', ['--help'], { stdio: 'ignore' }).status === 0;

(hasMoto ? describe : describe.skip)('AWS as moto plays it', () => {
  let moto: ChildProcess;
  let url: string;
  let home: CredentialHome;
  const sources = (env: Record<string, string> = {}): ModelSources =>
    createModelSources({
      env: { AWS_ENDPOINT_URL: url, AWS_REGION: 'eu-central-1', ...env },
      homeFolder: home.path,
      stored: () => Promise.resolve(undefined),
      settings: () => ({ modelSource: 'auto', sessionSeconds: 900 }),
      exec: noPrograms,
      fetch: noNetwork,
      platform: 'linux',
    });

  before(async function () {
    this.timeout(60_000);
    const probe = createServer().listen(0, '127.0.0.1');
    await once(probe, 'listening');
    const address = probe.address();
    assert.ok(typeof address === 'object' && address !== null);
    probe.close();
    url = `http://127.0.0.1:${address.port}`;
    moto = spawn('moto_server', ['-H', '127.0.0.1', '-p', String(address.port)], { stdio: 'ignore' });
    for (let tries = 0; ; tries++) {
      const answers = await fetch(url).then(
        () => true,
        () => false,
      );
      if (answers) break;
      assert.ok(tries < 200, 'moto_server does not answer');
      await new Promise((next) => setTimeout(next, 200));
    }
    home = await CredentialHome.make({
      '.aws/credentials':
        '[base]\naws_access_key_id = AKIAIOSFODNN7EXAMPLE\naws_secret_access_key = a-secret-of-a-user\n',
      '.aws/config':
        '[profile work]\nrole_arn = arn:aws:iam::123456789012:role/agent\nsource_profile = base\nexternal_id = 42\n',
    });
  });
  after(async () => {
    moto.kill();
    await home.remove();
  });

  it('gives temporary credentials for a role, which know whose they are', async () => {
    const all = sources();
    const chosen = await all.choose('bedrock:work');
    const upstream = Upstream.parse(chosen.upstream);
    assert.ok(upstream.kind === 'bedrock' && upstream.auth.type === 'keys');
    assert.match(upstream.auth.accessKeyId, /^ASIA/);
    assert.ok(upstream.auth.sessionToken);
    const life = (upstream.expiresAt ?? 0) - Date.now();
    assert.ok(life > 800_000 && life < 1_000_000, String(life));
    await all.check(chosen);
    const renewed = await chosen.renew?.('expired', new AbortController().signal);
    assert.notDeepEqual(renewed, chosen.upstream);
  });

  it('gives temporary credentials for the keys of a user, in the profile and in the environment', async () => {
    const env = { AWS_ACCESS_KEY_ID: 'AKIAIOSFODNN7EXAMPLE', AWS_SECRET_ACCESS_KEY: 'a-secret-of-a-user' };
    for (const chosen of [await sources().choose('bedrock:base'), await sources(env).choose('bedrock-env')]) {
      assert.ok(chosen.upstream.kind === 'bedrock' && chosen.upstream.auth.type === 'keys');
      assert.ok(chosen.upstream.auth.sessionToken);
      assert.ok(!JSON.stringify(chosen).includes('a-secret-of-a-user'));
    }
  });
});
