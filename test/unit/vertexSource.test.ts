import assert from 'node:assert/strict';
import { generateKeyPairSync, verify } from 'node:crypto';
import { SallyportError } from '../../src/base/errors.ts';
import { Upstream } from '../../src/protocol/control.ts';
import { createModelSources, type ModelSettings, type ModelSources } from '../../src/runner/modelSources.ts';
import { allTextOf, CredentialHome, noPrograms } from '../support/credentialHome.ts';

const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
const user = JSON.stringify({
  type: 'authorized_user',
  client_id: 'client.apps.example.com',
  client_secret: 'marker-client-secret',
  refresh_token: 'marker-refresh-token',
  quota_project_id: 'quota-project',
});
const robot = JSON.stringify({
  type: 'service_account',
  project_id: 'robot-project',
  private_key_id: 'key-1',
  private_key: privateKey.export({ type: 'pkcs8', format: 'pem' }),
  client_email: 'agent@robot-project.iam.example.com',
});
const usual = '.config/gcloud/application_default_credentials.json';

describe('Vertex AI', () => {
  let home: CredentialHome;
  let answers: (form: URLSearchParams) => { status: number; body: object };
  let requests: URLSearchParams[];
  const google: typeof fetch = (input, init) => {
    const url = input instanceof Request ? input.url : String(input);
    assert.match(url, /^https:\/\/(?:oauth2\.googleapis\.com|www\.googleapis\.com\/oauth2\/v4)\/token$/);
    const form = new URLSearchParams(
      init?.body instanceof URLSearchParams ? init.body : typeof init?.body === 'string' ? init.body : '',
    );
    requests.push(form);
    const { status, body } = answers(form);
    return Promise.resolve(Response.json(body, { status }));
  };
  const sources = (env: Record<string, string> = {}, settings: Partial<ModelSettings> = {}): ModelSources =>
    createModelSources({
      env: { CLOUD_ML_REGION: 'europe-west1', ...env },
      homeFolder: home.path,
      stored: () => Promise.resolve(undefined),
      settings: () => ({ modelSource: 'auto', ...settings }),
      exec: noPrograms,
      fetch: google,
      platform: 'linux',
    });

  async function failure(work: Promise<unknown>): Promise<SallyportError> {
    const thrown: unknown = await work.then(
      () => assert.fail('it did not fail'),
      (error: unknown) => error,
    );
    assert.ok(thrown instanceof SallyportError, String(thrown));
    assert.ok(!/marker|PRIVATE KEY/.test(allTextOf(thrown)), 'a secret is in the failure');
    return thrown;
  }

  beforeEach(async () => {
    home = await CredentialHome.make({ [usual]: user });
    requests = [];
    answers = () => ({
      status: 200,
      body: { access_token: `ya29.token-${requests.length}`, expires_in: 3600, token_type: 'Bearer' },
    });
  });
  afterEach(() => home.remove());

  it('is used with the login of a user, in the project and region that are named', async () => {
    const chosen = await sources({ ANTHROPIC_VERTEX_PROJECT_ID: 'my-project' }).choose('vertex');
    assert.equal(requests[0]?.get('grant_type'), 'refresh_token');
    assert.equal(requests[0].get('refresh_token'), 'marker-refresh-token');
    const upstream = Upstream.parse(chosen.upstream);
    assert.ok(upstream.kind === 'vertex');
    assert.ok(Math.abs((upstream.expiresAt ?? 0) - Date.now() - 3_600_000) < 60_000);
    assert.deepEqual(
      { ...upstream, expiresAt: 0 },
      {
        kind: 'vertex',
        project: 'my-project',
        region: 'europe-west1',
        accessToken: 'ya29.token-1',
        expiresAt: 0,
      },
    );
    assert.deepEqual(chosen.service, { kind: 'vertex', project: 'my-project', region: 'europe-west1' });
    assert.match(
      chosen.label,
      /from ~\/\.config\/gcloud\/application_default_credentials\.json \(my-project, europe-west1\)/,
    );
  });

  it('is used with the key of a service account, which signs what Google can verify', async () => {
    const path = await home.write('robot.json', robot);
    const chosen = await sources({ GOOGLE_APPLICATION_CREDENTIALS: path }).choose('vertex');
    assert.ok(chosen.upstream.kind === 'vertex');
    assert.equal(chosen.upstream.project, 'robot-project');
    const [head = '', claims = '', signature = ''] = (requests[0]?.get('assertion') ?? '').split('.');
    assert.ok(
      verify('RSA-SHA256', Buffer.from(`${head}.${claims}`), publicKey, Buffer.from(signature, 'base64url')),
    );
    const said = JSON.parse(Buffer.from(claims, 'base64url').toString()) as Record<string, unknown>;
    assert.equal(said['iss'], 'agent@robot-project.iam.example.com');
    assert.equal(said['scope'], 'https://www.googleapis.com/auth/cloud-platform');
    assert.ok(!JSON.stringify(chosen).includes('PRIVATE KEY'));
  });

  it('gives parallel tasks one token, and renews it once', async () => {
    const all = sources();
    const tasks = await Promise.all(Array.from({ length: 5 }, () => all.choose('vertex')));
    assert.equal(requests.length, 1);
    const signal = new AbortController().signal;
    const renewed = await Promise.all(tasks.map(async (task) => await task.renew?.('refused', signal)));
    assert.equal(requests.length, 2);
    assert.ok(
      renewed.every((upstream) => upstream?.kind === 'vertex' && upstream.accessToken === 'ya29.token-2'),
    );
    answers = () => ({ status: 200, body: { access_token: 'ya29.token-2', expires_in: 3600 } });
    const refusal = await failure(tasks[0]?.renew?.('refused', signal) ?? Promise.resolve());
    assert.equal(refusal.code, 'auth_refused');
  });

  it('tells a login that is over from a key that is refused and a network that is down', async () => {
    const refuse = (status: number, body: object): void => {
      answers = () => ({ status, body });
    };
    refuse(400, {
      error: 'invalid_grant',
      error_subtype: 'invalid_rapt',
      error_description: 'marker-refresh-token',
    });
    const over = await failure(sources().choose('vertex'));
    assert.deepEqual(
      [over.code, over.mend],
      ['auth_expired', 'Run `gcloud auth application-default login`.'],
    );
    const path = await home.write('robot.json', robot);
    const key = await failure(sources({ GOOGLE_APPLICATION_CREDENTIALS: path }).choose('vertex'));
    assert.equal(key.code, 'auth_refused');
    answers = () => {
      throw Object.assign(new Error('marker'), { code: 'ENOTFOUND' });
    };
    const down = await failure(sources().choose('vertex'));
    assert.equal(down.code, 'model_unreachable');
    assert.match(down.message, /does not resolve/);
  });

  it('says what is missing before anything is asked', async () => {
    const cases: [string, Record<string, string>, string, RegExp][] = [
      [user, { CLOUD_ML_REGION: '' }, 'cloud_misconfigured', /no region/],
      [user, { ANTHROPIC_VERTEX_PROJECT_ID: 'NOT VALID' }, 'cloud_misconfigured', /project/],
      ['{', {}, 'invalid_credential', /no credentials file/],
      [
        '{"type":"authorized_user","refresh_token":"marker"}',
        {},
        'invalid_credential',
        /no credentials file/,
      ],
      [
        '{"type":"external_account","x":"marker"}',
        {},
        'invalid_credential',
        /type external_account are not used/,
      ],
    ];
    for (const [text, env, code, pattern] of cases) {
      await home.write(usual, text);
      const refusal = await failure(sources(env).choose('vertex'));
      assert.equal(refusal.code, code);
      assert.match(refusal.message, pattern);
    }
    await home.write(usual, JSON.stringify({ ...(JSON.parse(robot) as object), private_key: 'marker' }));
    assert.equal((await failure(sources().choose('vertex'))).code, 'invalid_credential');
    const named = { GOOGLE_APPLICATION_CREDENTIALS: `${home.path}/none.json` };
    assert.match((await failure(sources(named).choose('vertex'))).message, /it is not there/);
    assert.equal(requests.length, 0);
  });

  it('is used unasked only when it is asked for', async () => {
    assert.equal((await failure(sources().choose(undefined))).code, 'no_credentials');
    assert.equal((await sources({ CLAUDE_CODE_USE_VERTEX: '1' }).choose(undefined)).sourceId, 'vertex');
    assert.equal((await sources({}, { vertexProject: 'my-project' }).choose(undefined)).sourceId, 'vertex');
    assert.equal((await sources({}, { modelSource: 'vertex' }).choose(undefined)).sourceId, 'vertex');
    await home.remove();
    const refusal = await failure(sources({ CLAUDE_CODE_USE_VERTEX: '1' }).choose(undefined));
    assert.equal(refusal.code, 'no_credentials');
  });
});
