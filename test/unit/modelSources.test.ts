import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { chmod } from 'node:fs/promises';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { SallyportError } from '../../src/base/errors.ts';
import type { FoundCredential } from '../../src/credentials/credential.ts';
import { type Exec, execProgram } from '../../src/credentials/exec.ts';
import {
  createModelSources,
  type ModelSourceOptions,
  type ModelSources,
} from '../../src/runner/modelSources.ts';
import { credentialTable } from '../../src/runner/modelSourcesTable.ts';
import { allTextOf, CredentialHome, noNetwork, noPrograms } from '../support/credentialHome.ts';

const key = (name: string): string => `sk-ant-api03-${name}-abcdefghijklmnop`;
const token = (name: string): string => `sk-ant-oat01-${name}-abcdefghijklmnop`;
const hour = 3_600_000;

function loginText(expiresAt: number): string {
  return JSON.stringify({
    claudeAiOauth: {
      accessToken: token('login'),
      refreshToken: token('refresh'),
      expiresAt,
      subscriptionType: 'pro',
    },
  });
}

const config = JSON.stringify({
  primaryApiKey: key('config'),
  oauthAccount: { emailAddress: 'ada@example.com', organizationName: 'Engines \u001b[31mLtd' },
});

describe('model sources', () => {
  let home: CredentialHome;
  let stored: FoundCredential | undefined;
  const sources = (
    env: Record<string, string> = {},
    options: Partial<ModelSourceOptions> = {},
  ): ModelSources =>
    createModelSources({
      env,
      homeFolder: home.path,
      stored: () => Promise.resolve(stored),
      settings: () => ({ modelSource: 'auto' }),
      exec: noPrograms,
      fetch: noNetwork,
      platform: 'linux',
      ...options,
    });

  async function failure(work: Promise<unknown>): Promise<SallyportError> {
    const thrown: unknown = await work.then(
      () => assert.fail('it did not fail'),
      (error: unknown) => error,
    );
    assert.ok(thrown instanceof SallyportError, String(thrown));
    return thrown;
  }

  beforeEach(async () => {
    stored = undefined;
    home = await CredentialHome.make();
  });
  afterEach(() => home.remove());

  it('are listed in the order in which they are used, each with where it is from', async () => {
    stored = {
      credential: { kind: 'api_key', value: key('stored') },
      label: 'Anthropic API key from the secret storage',
    };
    await home.write('.claude.json', config);
    await home.write('.claude/.credentials.json', loginText(Date.now() + hour));
    await home.write(
      '.aws/credentials',
      '[default]\naws_access_key_id=AKIAX\naws_secret_access_key=aws-secret\n',
    );
    const env = {
      ANTHROPIC_API_KEY: key('env'),
      ANTHROPIC_AUTH_TOKEN: 'bearer-token',
      ANTHROPIC_BASE_URL: 'https://models.example.com/secret-path',
      CLAUDE_CODE_OAUTH_TOKEN: token('env'),
    };
    const list = await sources(env).list();
    assert.deepEqual(
      list.map(({ id, state }) => `${id} ${state}`),
      [
        'stored ready',
        'env:ANTHROPIC_API_KEY ready',
        'env:ANTHROPIC_AUTH_TOKEN ready',
        'env:CLAUDE_CODE_OAUTH_TOKEN ready',
        'login ready',
        'claude-json ready',
        'bedrock:default ready',
        'demonstration ready',
        'identity unusable',
      ],
    );
    const login = list.find(({ id }) => id === 'login');
    assert.equal(login?.label, 'Claude login from ~/.claude/.credentials.json');
    assert.match(login.detail, /^ada@example\.com, Engines \[31mLtd, pro plan, good until /);
    assert.ok(!/abcdefghijklmnop|bearer-token|aws-secret|AKIAX|secret-path/.test(JSON.stringify(list)));
  });

  it('are chosen in that order, and an explicit choice comes before it', async () => {
    await home.write('.claude.json', config);
    await home.write('.claude/.credentials.json', loginText(Date.now() + hour));
    const env = { ANTHROPIC_API_KEY: key('env'), SALLYPORT_DEMONSTRATION: '1' };
    const chosen = async (options: Partial<ModelSourceOptions>, wanted?: string): Promise<string> =>
      (await sources(env, options).choose(wanted)).sourceId;
    const by = (modelSource: string): Partial<ModelSourceOptions> => ({ settings: () => ({ modelSource }) });
    assert.equal(await chosen({}), 'demonstration');
    assert.equal(await chosen(by('credentials')), 'env:ANTHROPIC_API_KEY');
    assert.equal(await chosen(by('login')), 'login');
    assert.equal(await chosen(by('login'), 'claude-json'), 'claude-json');
    assert.equal(await chosen(by('credentials'), 'demonstration'), 'demonstration');
    stored = { credential: { kind: 'api_key', value: key('stored') }, label: 'stored' };
    assert.equal(await chosen({}), 'stored');
    assert.equal(await chosen(by('demonstration')), 'demonstration');
    const login = await sources(env).choose('login');
    assert.deepEqual(login.upstream, {
      kind: 'anthropic',
      baseUrl: 'https://api.anthropic.com',
      auth: { type: 'oauth', value: token('login') },
      expiresAt: login.upstream.kind === 'anthropic' ? login.upstream.expiresAt : 0,
    });
  });

  it('pass over what cannot be used, and never a wish', async () => {
    const env = { ANTHROPIC_API_KEY: 'not a key', CLAUDE_CODE_OAUTH_TOKEN: token('env') };
    assert.equal((await sources(env).choose(undefined)).sourceId, 'env:CLAUDE_CODE_OAUTH_TOKEN');
    assert.equal((await failure(sources(env).choose('env:ANTHROPIC_API_KEY'))).code, 'invalid_credential');
    assert.equal(
      (await failure(sources({ ANTHROPIC_API_KEY: 'not a key' }).choose(undefined))).code,
      'invalid_credential',
    );
    await home.write(
      '.claude/.credentials.json',
      JSON.stringify({ claudeAiOauth: { accessToken: token('x'), expiresAt: 1 } }),
    );
    assert.equal((await failure(sources().choose(undefined))).code, 'auth_expired');
  });

  it('never fall to the demonstration model, and say when nothing is there or when a choice is gone', async () => {
    assert.equal((await failure(sources().choose(undefined))).code, 'no_credentials');
    const gone = await failure(sources().choose('stored\u001b]0;x'));
    assert.equal(gone.code, 'no_credentials');
    assert.equal(gone.message, 'The credential that was chosen (stored]0;x) is not there.');
    assert.equal((await failure(sources().choose('bedrock'))).code, 'no_credentials');
    assert.equal((await failure(sources().choose('vertex'))).code, 'no_credentials');
  });

  it('take up a stored credential that the user replaced while a task runs', async () => {
    stored = { credential: { kind: 'api_key', value: key('old') }, label: 'stored' };
    const chosen = await sources().choose(undefined);
    const signal = new AbortController().signal;
    assert.equal(
      (await failure(chosen.renew?.('refused', signal) ?? Promise.resolve())).code,
      'auth_refused',
    );
    stored = { credential: { kind: 'api_key', value: key('new') }, label: 'stored' };
    const upstream = await chosen.renew?.('refused', signal);
    assert.ok(upstream?.kind === 'anthropic');
    assert.equal(upstream.auth.value, key('new'));
  });

  it('find what proves somebody to GitHub, by asking programs for as little as possible', async () => {
    const commands: string[] = [];
    let loggedIn = true;
    const exec: Exec = (file, args, { env }) => {
      commands.push([file, ...args].join(' '));
      assert.ok(file !== 'gh' || args[0] !== 'auth' || env['GH_TOKEN'] === undefined);
      if (file === 'gh' && args[0] === 'auth')
        return Promise.resolve(loggedIn ? { code: 0, stdout: 'gho_marker\n' } : { code: 1, stdout: '' });
      if (file === 'gh') return Promise.resolve({ code: 0, stdout: 'ada\n' });
      return Promise.resolve({
        code: 0,
        stdout: args.includes('user.name') ? 'Ada Lovelace\n' : 'ada@example.com\n',
      });
    };
    const find = async (env: Record<string, string> = {}): Promise<string[]> =>
      (await sources(env, { exec }).list())
        .filter(({ purpose }) => purpose !== 'model')
        .map(({ id, state, detail }) => `${id} ${state} ${detail}`);
    assert.deepEqual(await find(), [
      'github:gh ready github.com, account ada',
      'identity ready Ada Lovelace <ada@example.com>',
    ]);
    assert.ok(!commands.some((command) => command.includes('status')), 'that would ask GitHub');
    loggedIn = false;
    assert.deepEqual(
      (await find({ GH_TOKEN: 'gho_marker_of_a_token_0123', GITHUB_TOKEN: 'x' })).slice(0, 2),
      ['github:env ready github.com', 'github:gh unusable Nobody is logged in.'],
    );
    assert.match((await find({ GITHUB_TOKEN: 'x y' }))[0] ?? '', /^github:env unusable/);
  });

  it('run real programs with arguments and no shell, and tell nothing of what they printed', async () => {
    const script = await home.write(
      'bin/tool',
      '#!/bin/sh\nread line\necho "$1/$line/$VARIABLE"\nexit "$2"\n',
    );
    await chmod(script, 0o755);
    const env = { PATH: process.env['PATH'], VARIABLE: 'set' };
    const done = await execProgram(script, ['$(id)', '3'], { env, input: 'typed\n', timeoutMs: 60_000 });
    assert.deepEqual(done, { code: 3, stdout: '$(id)/typed/set\n' });
    const slow = execProgram('/bin/sh', ['-c', 'echo marker; echo marker >&2; sleep 60'], {
      env,
      timeoutMs: 300,
    });
    const thrown: unknown = await slow.catch((error: unknown) => error);
    assert.ok(!allTextOf(thrown).includes('marker'), allTextOf(thrown));
  });

  it('stand in a table for the terminal', () => {
    const table = credentialTable([
      {
        id: 'login',
        purpose: 'model',
        label: 'Claude login',
        state: 'expired',
        detail: 'since yesterday',
        mend: 'Log in.',
      },
      { id: 'identity', purpose: 'identity', label: 'Author', state: 'ready', detail: 'Ada' },
    ]);
    assert.equal(
      table,
      'Model, in the order of use\n  expired   login     Claude login: since yesterday\n                      → Log in.\n\nAuthor of commits\n  ready     identity  Author: Ada\n',
    );
  });

  it('come out of the command line without a value', async () => {
    await home.write('.claude/.credentials.json', loginText(Date.now() + hour));
    const env = { PATH: process.env['PATH'], HOME: home.path, ANTHROPIC_API_KEY: key('marker') };
    const main = join(import.meta.dirname, '../../src/cli/main.ts');
    // As the bundle has it, where this name is always there.
    const source = `globalThis.__dirname = '/nonexistent'; process.argv.push('credentials'); await import(${JSON.stringify(main)});`;
    const output = await new Promise<string>((resolve, reject) =>
      execFile(process.execPath, ['--input-type=module', '-e', source], { env }, (error, stdout, stderr) =>
        error === null ? resolve(stdout + stderr) : reject(new Error(stderr)),
      ),
    );
    assert.match(output, /ready +env:ANTHROPIC_API_KEY +Anthropic API key from ANTHROPIC_API_KEY/);
    assert.match(output, /ready +login +Claude login from ~\/\.claude/);
    assert.ok(!/abcdefghijklmnop/.test(output));
  });

  /**
   * The marker stands in every place where a secret can be, in a form that fits and in many that do not; nothing that
   * is listed, and nothing that can be read of a failure, may hold it.
   */
  it('never show a secret, whatever the files and variables hold', async () => {
    const marker = 'mArKeR5e1f';
    const secretText = fc.oneof(
      fc.constantFrom(
        marker,
        `sk-ant-api03-${marker}-0123456789abcdef`,
        `sk-ant-oat01-${marker}-0123456789abcdef`,
        `AKIA${marker}`,
      ),
      fc.tuple(fc.string({ maxLength: 6 }), fc.string({ maxLength: 6 })).map(([a, b]) => `${a}${marker}${b}`),
    );
    const json = fc.oneof(
      secretText,
      secretText.map(
        (value) =>
          `{"claudeAiOauth":{"accessToken":${JSON.stringify(value)},"refreshToken":${JSON.stringify(value)},"expiresAt":1}}`,
      ),
      secretText.map((value) => `{"claudeAiOauth":{"accessToken":${value},"refreshToken":["${value}"]}}`),
      secretText.map((value) => `{"primaryApiKey":${JSON.stringify(value)}}`),
      secretText.map((value) => `{"primaryApiKey":{"x":${JSON.stringify(value)}}}`),
      secretText.map((value) =>
        JSON.stringify({
          type: 'authorized_user',
          client_id: 'x',
          client_secret: value,
          refresh_token: value,
        }),
      ),
      secretText.map((value) =>
        JSON.stringify({ type: 'service_account', client_email: 'a@b.example', private_key: value }),
      ),
      secretText.map((value) => JSON.stringify({ type: 'authorized_user', refresh_token: [value] })),
    );
    // The program is a constant: a shell runs it.
    const ini = secretText.map(
      (value) =>
        `[default]\naws_access_key_id = ${value}\naws_secret_access_key = ${value}\n[t]\naws_session_token=${value}\naws_access_key_id=x\n[p]\ncredential_process = echo ${marker}\n`,
    );
    const service: typeof fetch = () =>
      Promise.resolve(Response.json({ error: { type: marker, message: marker }, marker }, { status: 400 }));
    const exec: Exec = () => Promise.resolve({ code: 1, stdout: marker });
    const variables = [
      'ANTHROPIC_API_KEY',
      'ANTHROPIC_AUTH_TOKEN',
      'CLAUDE_CODE_OAUTH_TOKEN',
      'AWS_BEARER_TOKEN_BEDROCK',
      'AWS_ACCESS_KEY_ID',
      'AWS_SECRET_ACCESS_KEY',
      'AWS_SESSION_TOKEN',
      'GH_TOKEN',
      'GITHUB_TOKEN',
    ];
    await fc.assert(
      fc.asyncProperty(
        fc.record({
          login: json,
          config: json,
          google: json,
          ini,
          values: fc.array(secretText, { minLength: variables.length, maxLength: variables.length }),
        }),
        async (around) => {
          await home.write('.claude/.credentials.json', around.login);
          await home.write('.claude.json', around.config);
          await home.write('.config/gcloud/application_default_credentials.json', around.google);
          await home.write('.aws/credentials', around.ini);
          const env = Object.fromEntries(variables.map((name, i) => [name, around.values[i] ?? '']));
          Object.assign(env, {
            AWS_ENDPOINT_URL_STS: 'http://127.0.0.1:1',
            AWS_REGION: 'eu-central-1',
            CLOUD_ML_REGION: 'global',
            ANTHROPIC_VERTEX_PROJECT_ID: 'my-project',
          });
          stored = { credential: { kind: 'api_key', value: around.values[0] ?? '' }, label: 'stored' };
          const all = sources(env, { exec, fetch: service });
          const list = await all.list();
          assert.ok(!JSON.stringify(list).includes(marker), JSON.stringify(list));
          assert.ok(!credentialTable(list).includes(marker));
          for (const { id, purpose } of list) {
            if (purpose !== 'model' || /^bedrock:(?!p$|t$)/.test(id)) continue;
            try {
              const { upstream: _secret, ...chosen } = await all.choose(id);
              assert.ok(!JSON.stringify(chosen).includes(marker));
              await all.check({ ...chosen, upstream: _secret }, { deep: true, model: 'claude-x' });
            } catch (thrown) {
              assert.ok(thrown instanceof SallyportError, String(thrown));
              assert.ok(!allTextOf(thrown).includes(marker), `${id}: ${allTextOf(thrown)}`);
            }
          }
        },
      ),
      { numRuns: 20 },
    );
  }).timeout(60_000);
});
