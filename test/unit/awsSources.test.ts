import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { SallyportError } from '../../src/base/errors.ts';
import { problemWithBedrockModel } from '../../src/credentials/bedrockNames.ts';
import { Upstream } from '../../src/protocol/control.ts';
import { createModelSources, type ModelSettings, type ModelSources } from '../../src/runner/modelSources.ts';
import { allTextOf, CredentialHome, noNetwork, noPrograms } from '../support/credentialHome.ts';
import { StsFake } from '../support/stsFake.ts';

const agent = 'arn:aws:iam::123456789012:role/agent';
const other = 'arn:aws:iam::123456789012:role/other';
const userKey = 'AKIAUSERUSERUSERUSER';
const userSecret = 'long-lived-secret-of-a-user';
const policy = JSON.stringify({
  Version: '2012-10-17',
  Statement: [{ Effect: 'Allow', Action: 'bedrock:*', Resource: '*' }],
});

const config = `
[default]
region = eu-central-1
[profile work]
role_arn = ${agent}
source_profile = base
region = eu-west-1
[profile foreign]
role_arn = ${agent}
source_profile = base
external_id = secret-handshake
[profile chained]
role_arn = ${other}
source_profile = work
[profile base]
region = eu-central-1
[profile mfa]
role_arn = ${agent}
source_profile = base
mfa_serial = arn:aws:iam::123456789012:mfa/ada
[profile circle]
role_arn = ${agent}
source_profile = circle2
[profile circle2]
role_arn = ${other}
source_profile = circle
[profile program]
credential_process = sh -c 'echo ${userSecret} >&2; exit 3'
[profile good-program]
credential_process = echo '{"Version":1,"AccessKeyId":"ASIAPROCESS","SecretAccessKey":"process-secret","SessionToken":"process-token","Expiration":"2999-01-01T00:00:00Z"}'
[profile sso]
sso_session = company
sso_account_id = 123456789012
sso_role_name = Developer
[sso-session company]
sso_start_url = https://company.awsapps.com/start
sso_region = eu-central-1
[profile empty]
output = json
`;
const credentials = `
# ours
[base]
aws_access_key_id = ${userKey}
aws_secret_access_key = ${userSecret}
[default]
aws_access_key_id=${userKey}
aws_secret_access_key=${userSecret}
`;

describe('AWS credentials for Bedrock', () => {
  let home: CredentialHome;
  let sts: StsFake;
  const sources = (
    settings: Partial<ModelSettings> = {},
    env: Record<string, string> = {},
    askMfaCode?: (serial: string) => Promise<string | undefined>,
  ): ModelSources =>
    createModelSources({
      env: { AWS_ENDPOINT_URL_STS: sts.url, AWS_REGION: 'eu-central-1', ...env },
      homeFolder: home.path,
      stored: () => Promise.resolve(undefined),
      settings: () => ({ modelSource: 'auto', ...settings }),
      exec: noPrograms,
      fetch: noNetwork,
      platform: 'linux',
      ...(askMfaCode && { askMfaCode }),
    });

  async function failure(work: Promise<unknown>): Promise<SallyportError> {
    const thrown: unknown = await work.then(
      () => assert.fail('it did not fail'),
      (error: unknown) => error,
    );
    assert.ok(thrown instanceof SallyportError, String(thrown));
    assert.ok(
      !/long-lived-secret|temporary-(?:secret|token)/.test(allTextOf(thrown)),
      'a secret is in the failure',
    );
    return thrown;
  }

  beforeEach(async () => {
    home = await CredentialHome.make({ '.aws/config': config, '.aws/credentials': credentials });
    sts = await StsFake.start();
    sts.keys.set(userKey, { role: false });
    sts.roles.set(agent, { maxSeconds: 7200 });
    sts.roles.set(other, { maxSeconds: 43_200 });
  });
  afterEach(async () => {
    sts.stop();
    await home.remove();
  });

  it('come from the role of a profile, live as long as wished, and say so', async () => {
    const chosen = await sources({ sessionSeconds: 7200, sessionPolicy: policy }).choose('bedrock:work');
    assert.equal(chosen.label, 'Amazon Bedrock with the AWS profile work (eu-central-1)');
    assert.deepEqual(chosen.service, { kind: 'bedrock', region: 'eu-central-1' });
    const upstream = Upstream.parse(chosen.upstream);
    assert.ok(upstream.kind === 'bedrock' && upstream.auth.type === 'keys');
    assert.equal(upstream.auth.sessionToken, 'temporary-token-1');
    assert.ok(Math.abs((upstream.expiresAt ?? 0) - Date.now() - 7_200_000) < 60_000);
    const [call] = sts.calls;
    assert.equal(sts.calls.length, 1);
    assert.equal(call?.action, 'AssumeRole');
    assert.equal(call.signedBy, userKey);
    assert.equal(call.parameters.get('DurationSeconds'), '7200');
    assert.equal(call.parameters.get('Policy'), policy);
    assert.match(call.parameters.get('RoleSessionName') ?? '', /^sallyport-/);
    assert.ok(!JSON.stringify(chosen).includes(userSecret));
  });

  it('are never the long-lived keys of a user: those are exchanged', async () => {
    const plain = await sources().choose('bedrock:base');
    assert.equal(sts.calls[0]?.action, 'GetSessionToken');
    assert.ok(plain.upstream.kind === 'bedrock' && plain.upstream.auth.type === 'keys');
    assert.match(plain.upstream.auth.accessKeyId, /^ASIA/);
    await sources({ sessionPolicy: policy }).choose('bedrock:base');
    assert.equal(sts.calls[1]?.action, 'GetFederationToken');
    assert.equal(sts.calls[1].parameters.get('Policy'), policy);
    const env = { AWS_ACCESS_KEY_ID: userKey, AWS_SECRET_ACCESS_KEY: userSecret };
    const ofEnvironment = await sources({}, env).choose('bedrock-env');
    assert.equal(sts.calls[2]?.action, 'GetSessionToken');
    assert.ok(!JSON.stringify([plain, ofEnvironment]).includes(userSecret));
  });

  it('come from a role of the settings, taken on with what the profile gives', async () => {
    await sources({ roleArn: other, sessionSeconds: 43_200 }).choose('bedrock:base');
    assert.equal(sts.calls[0]?.parameters.get('RoleArn'), other);
    assert.equal(sts.calls[0].parameters.get('DurationSeconds'), '43200');
  });

  it('show the external id that the profile has', async () => {
    sts.roles.set(agent, { maxSeconds: 3600, externalId: 'secret-handshake' });
    await sources().choose('bedrock:foreign');
    const refusal = await failure(sources().choose('bedrock:work'));
    assert.equal(refusal.code, 'cloud_misconfigured');
    assert.match(refusal.mend, /trust policy.*external id/);
  });

  it('live one hour at most behind two roles, and the failure explains it', async () => {
    const chosen = await sources({ sessionSeconds: 3600 }).choose('bedrock:chained');
    assert.deepEqual(
      sts.calls.map(({ parameters }) => parameters.get('RoleArn')),
      [agent, other],
    );
    assert.deepEqual(
      sts.calls.map(({ signedBy }) => signedBy?.slice(0, 4)),
      ['AKIA', 'ASIA'],
    );
    assert.equal(chosen.demonstration, false);
    const refusal = await failure(sources({ sessionSeconds: 7200 }).choose('bedrock:chained'));
    assert.equal(refusal.code, 'cloud_misconfigured');
    assert.match(refusal.message, /7200 seconds.*one hour at most/);
    assert.match(refusal.mend, /3600 or less/);
  });

  it('say what the role itself allows at most', async () => {
    const refusal = await failure(sources({ sessionSeconds: 43_200 }).choose('bedrock:work'));
    assert.equal(refusal.code, 'cloud_misconfigured');
    assert.match(
      refusal.message,
      /43200 seconds for the role arn:aws:iam::123456789012:role\/agent.*own maximum/,
    );
  });

  it('have a sentence for each refusal', async () => {
    const cases = [
      ['ExpiredToken', 'auth_expired', /have expired/],
      ['InvalidClientTokenId', 'auth_refused', /does not know/],
      ['SignatureDoesNotMatch', 'auth_refused', /clock/],
      ['AccessDenied', 'cloud_misconfigured', /does not let/],
      ['MalformedPolicyDocument', 'cloud_misconfigured', /session policy/],
      ['PackedPolicyTooLarge', 'cloud_misconfigured', /too large/],
      ['RegionDisabledException', 'cloud_misconfigured', /not active/],
    ] as const;
    const messages = new Set<string>();
    for (const [error, code, pattern] of cases) {
      sts.answer = () => ({ error, message: `${userSecret} was sent`, status: 403 });
      const refusal = await failure(sources().choose('bedrock:work'));
      assert.equal(refusal.code, code, error);
      assert.match(refusal.message, pattern);
      messages.add(refusal.message);
    }
    assert.equal(messages.size, cases.length);
  });

  it('tell a network that does not answer', async () => {
    const env = { AWS_ENDPOINT_URL_STS: 'http://127.0.0.1:1' };
    const refusal = await failure(sources({}, env).choose('bedrock:work'));
    assert.equal(refusal.code, 'model_unreachable');
    assert.match(refusal.message, /127\.0\.0\.1:1 refuses the connection \(ECONNREFUSED\)/);
  });

  it('go through the proxy of the environment, and tell when it refuses', async () => {
    const asked: string[] = [];
    const proxy = createServer();
    proxy.on('connect', (request: IncomingMessage, socket: { end(text: string): void }) => {
      asked.push(request.url ?? '');
      socket.end('HTTP/1.1 502 long-lived-secret\r\n\r\n');
    });
    proxy.listen(0, '127.0.0.1');
    await once(proxy, 'listening');
    const { port } = proxy.address() as AddressInfo;
    const env = { AWS_ENDPOINT_URL_STS: '', HTTPS_PROXY: `http://127.0.0.1:${port}` };
    const refusal = await failure(sources({}, env).choose('bedrock:work'));
    assert.equal(refusal.code, 'model_unreachable');
    assert.match(refusal.message, /^sts\.eu-central-1\.amazonaws\.com cannot be reached/);
    assert.ok(asked.length > 0 && asked.every((host) => host === 'sts.eu-central-1.amazonaws.com:443'));
    proxy.close();
  });

  it('ask for the code of an MFA device where somebody can be asked', async () => {
    sts.roles.set(agent, { maxSeconds: 7200, mfaCode: '123456' });
    const asked: string[] = [];
    const ask = (code: string | undefined) => (serial: string) => {
      asked.push(serial);
      return Promise.resolve(code);
    };
    await sources({}, {}, ask('123456')).choose('bedrock:mfa');
    assert.deepEqual(asked, ['arn:aws:iam::123456789012:mfa/ada']);
    assert.equal((await failure(sources({}, {}, ask('999999')).choose('bedrock:mfa'))).code, 'auth_refused');
    assert.equal(
      (await failure(sources({}, {}, ask(undefined)).choose('bedrock:mfa'))).code,
      'invalid_credential',
    );
    const nobody = await failure(sources().choose('bedrock:mfa'));
    assert.match(nobody.message, /nobody can be asked/);
  });

  it('come from programs, whose words are not told on', async () => {
    const chosen = await sources().choose('bedrock:good-program');
    assert.ok(chosen.upstream.kind === 'bedrock' && chosen.upstream.auth.type === 'keys');
    assert.equal(chosen.upstream.auth.accessKeyId, 'ASIAPROCESS');
    assert.equal(sts.calls.length, 0);
    const refusal = await failure(sources().choose('bedrock:program'));
    assert.match(refusal.message, /credential_process/);
    const narrowed = await failure(sources({ sessionPolicy: policy }).choose('bedrock:good-program'));
    assert.match(narrowed.message, /no hold/);
  });

  it('say how to log in again for single sign-on', async () => {
    const find = async (): Promise<{ state: string; mend?: string } | undefined> =>
      (await sources().list()).find(({ id }) => id === 'bedrock:sso');
    assert.deepEqual(
      [(await find())?.state, (await find())?.mend],
      ['expired', 'Run `aws sso login --profile sso`.'],
    );
    const refusal = await failure(sources().choose('bedrock:sso'));
    assert.deepEqual([refusal.code, refusal.mend], ['auth_expired', 'Run `aws sso login --profile sso`.']);
    const file = `${createHash('sha1').update('company').digest('hex')}.json`;
    await home.write(
      `.aws/sso/cache/${file}`,
      JSON.stringify({ accessToken: 'x', expiresAt: '2999-01-01T00:00:00Z' }),
    );
    assert.equal((await find())?.state, 'ready');
  });

  it('refuse what cannot work before anything is asked', async () => {
    const cases: [Partial<ModelSettings>, Record<string, string>, string, RegExp][] = [
      [{ sessionSeconds: 899 }, {}, 'bedrock:work', /899 seconds/],
      [{ sessionSeconds: 43_201 }, {}, 'bedrock:work', /43201 seconds/],
      [{ sessionPolicy: '{' }, {}, 'bedrock:work', /no JSON/],
      [{ sessionPolicy: '[]' }, {}, 'bedrock:work', /no Statement/],
      [{ roleArn: 'arn:aws:iam::1:user/x' }, {}, 'bedrock:work', /no ARN of an IAM role/],
      [{ awsRegion: 'eu central' }, {}, 'bedrock:work', /no valid name/],
      [{ bedrockModel: 'claude' }, {}, 'bedrock:work', /no Bedrock model id/],
      [{}, { AWS_REGION: '' }, 'bedrock:foreign', /no AWS region/],
      [{}, {}, 'bedrock:empty', /names no credentials/],
      [{ awsProfile: 'gone' }, {}, 'bedrock', /no AWS profile of that name/],
    ];
    for (const [settings, env, id, pattern] of cases) {
      const refusal = await failure(sources(settings, env).choose(id));
      assert.match(refusal.message, pattern);
      assert.equal(refusal.code, 'cloud_misconfigured');
      assert.ok(refusal.mend.length > 5);
    }
    assert.equal((await failure(sources().choose('bedrock:circle'))).code, 'cloud_misconfigured');
    assert.equal(sts.calls.length, 0);
  });

  it('are shared by parallel tasks, and renewed once for all of them', async () => {
    const all = sources();
    const tasks = await Promise.all(Array.from({ length: 6 }, () => all.choose('bedrock:work')));
    assert.equal(sts.calls.length, 1);
    const signal = new AbortController().signal;
    const renewed = await Promise.all(tasks.map(async (task) => await task.renew?.('expired', signal)));
    assert.equal(sts.calls.length, 2);
    assert.equal(new Set(renewed.map((upstream) => JSON.stringify(upstream))).size, 1);
    assert.ok(!JSON.stringify(renewed).includes('temporary-token-1'));
  });

  it('cannot be renewed where the environment has the same ones for ever', async () => {
    sts.keys.set('ASIAENVIRONMENT', { role: true });
    const env = {
      AWS_ACCESS_KEY_ID: 'ASIAENVIRONMENT',
      AWS_SECRET_ACCESS_KEY: userSecret,
      AWS_SESSION_TOKEN: 'temporary-token-x',
    };
    const chosen = await sources({}, env).choose('bedrock-env');
    const refusal = await failure(
      chosen.renew?.('refused', new AbortController().signal) ?? Promise.resolve(),
    );
    assert.equal(refusal.code, 'auth_expired');
  });

  it('are used unasked only when Bedrock is asked for', async () => {
    const env = { AWS_ACCESS_KEY_ID: userKey, AWS_SECRET_ACCESS_KEY: userSecret };
    assert.equal((await failure(sources({}, env).choose(undefined))).code, 'no_credentials');
    assert.equal(
      (await sources({}, { ...env, CLAUDE_CODE_USE_BEDROCK: '1' }).choose(undefined)).sourceId,
      'bedrock-env',
    );
    const byProfile = { CLAUDE_CODE_USE_BEDROCK: '1', AWS_PROFILE: 'work' };
    const chosen = await sources({}, byProfile).choose(undefined);
    assert.match(chosen.label, /work \(AWS_PROFILE\)/);
    assert.equal((await sources({ awsProfile: 'work' }).choose(undefined)).sourceId, 'bedrock:work');
    assert.equal((await sources({ modelSource: 'bedrock' }).choose(undefined)).sourceId, 'bedrock:default');
  });

  it('may be a Bedrock API key, which has no other way', async () => {
    const env = {
      AWS_BEARER_TOKEN_BEDROCK: 'bedrock-api-key-abc',
      ANTHROPIC_BEDROCK_BASE_URL: 'https://vpce.example.com/',
    };
    const { upstream } = await sources({}, env).choose(undefined);
    assert.deepEqual(Upstream.parse(upstream), {
      kind: 'bedrock',
      region: 'eu-central-1',
      endpoint: 'https://vpce.example.com',
      auth: { type: 'bearer', value: 'bedrock-api-key-abc' },
    });
  });

  it('list the profiles with what they do, and without a key', async () => {
    await home.write(
      '.aws/config',
      `${config}\nnonsense without a section = [\n[profile \x1b[31mred]\nrole_arn=x\n`,
    );
    const list = await sources({}, { AWS_ACCESS_KEY_ID: userKey, AWS_SECRET_ACCESS_KEY: userSecret }).list();
    const details = Object.fromEntries(list.map(({ id, detail }) => [id, detail]));
    assert.match(
      details['bedrock:work'] ?? '',
      /role arn:aws:iam::123456789012:role\/agent from profile base, eu-west-1/,
    );
    assert.match(details['bedrock:base'] ?? '', /long-lived keys, exchanged/);
    assert.match(details['bedrock:program'] ?? '', /external program/);
    assert.match(details['bedrock:sso'] ?? '', /session company/);
    assert.ok(!/long-lived-secret|AKIA|\x1b/.test(JSON.stringify(list)));
  });

  it('list a file that cannot be read as such', async () => {
    const env = { AWS_CONFIG_FILE: home.path, AWS_SHARED_CREDENTIALS_FILE: `${home.path}/none` };
    const list = await sources({}, env).list();
    const broken = list.find(({ id }) => id === 'bedrock:');
    assert.deepEqual(
      [broken?.state, broken?.detail],
      ['unusable', `${home.path} cannot be used: it is a folder.`],
    );
  });

  it('go with model ids and inference profiles of their region', () => {
    const good = [
      'anthropic.claude-sonnet-4-5-20250929-v1:0',
      'eu.anthropic.claude-sonnet-4-5-20250929-v1:0',
      'global.anthropic.claude-opus-4-5-20251101-v1:0',
      'arn:aws:bedrock:eu-central-1:123456789012:inference-profile/eu.anthropic.claude-sonnet-4-5-20250929-v1:0',
      'arn:aws:bedrock:eu-central-1:123456789012:application-inference-profile/abc123def456',
      'arn:aws:bedrock:eu-central-1::foundation-model/anthropic.claude-3-haiku-20240307-v1:0',
    ];
    for (const model of good) assert.equal(problemWithBedrockModel(model, 'eu-central-1'), undefined, model);
    const bad = [
      'claude-sonnet',
      '',
      '../x',
      'anthropic.claude/../x',
      'a b',
      'arn:aws:s3:::x',
      'anthropic.claude?x=1',
    ];
    for (const model of bad) assert.ok(problemWithBedrockModel(model, 'eu-central-1'), model);
    assert.match(problemWithBedrockModel(good[3] ?? '', 'us-east-1') ?? '', /belongs to region eu-central-1/);
  });
});
