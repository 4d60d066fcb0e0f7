import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmod,
  lstat,
  mkdir,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { join, resolve } from 'node:path';
import * as lockfile from 'proper-lockfile';
import { SallyportError } from '../../src/base/errors.ts';
import { ClaudeLogin } from '../../src/credentials/claudeLogin.ts';
import type { Exec } from '../../src/credentials/exec.ts';
import { allTextOf, CredentialHome } from '../support/credentialHome.ts';

const hour = 3_600_000;
const signal = new AbortController().signal;

/** A login as the CLI writes it, whose tokens name their generation. */
function login(generation: number, expiresAt: number): string {
  return JSON.stringify({
    claudeAiOauth: {
      accessToken: `sk-ant-oat01-generation-${generation}`,
      refreshToken: `sk-ant-ort01-generation-${generation}`,
      expiresAt,
      scopes: ['user:inference', 'user:profile'],
      subscriptionType: 'max',
      rateLimitTier: 'tier-9',
    },
    mcpOAuth: { 'server|1': { accessToken: 'another' } },
  });
}

/** Anthropic's token service: a refresh token is good once. */
class TokenService {
  generation = 1;
  requests: Record<string, unknown>[] = [];
  before: () => Promise<void> = () => Promise.resolve();
  refuse: { status: number; body: object } | undefined;

  readonly fetch: typeof fetch = async (input, init) => {
    assert.equal(input, 'https://platform.claude.com/v1/oauth/token');
    assert.equal(init?.method, 'POST');
    return await this.answer(
      JSON.parse(typeof init.body === 'string' ? init.body : '') as Record<string, unknown>,
    );
  };

  async answer(body: Record<string, unknown>): Promise<Response> {
    this.requests.push(body);
    await this.before();
    if (this.refuse !== undefined) return Response.json(this.refuse.body, { status: this.refuse.status });
    if (body['refresh_token'] !== `sk-ant-ort01-generation-${this.generation}`)
      return Response.json({ error: 'invalid_grant' }, { status: 400 });
    this.generation++;
    return Response.json({
      access_token: `sk-ant-oat01-generation-${this.generation}`,
      refresh_token: `sk-ant-ort01-generation-${this.generation}`,
      expires_in: 28_800,
      token_type: 'Bearer',
    });
  }
}

async function failure(work: Promise<unknown>): Promise<SallyportError> {
  const thrown: unknown = await work.then(
    () => assert.fail('it did not fail'),
    (error: unknown) => error,
  );
  assert.ok(thrown instanceof SallyportError, String(thrown));
  assert.ok(!/generation/.test(allTextOf(thrown)), 'a token is in the failure');
  return thrown;
}

describe('the Claude login', () => {
  let home: CredentialHome;
  let service: TokenService;
  let path: string;
  const open = (changes: Parameters<CredentialHome['around']>[0] = {}): ClaudeLogin =>
    new ClaudeLogin(home.around({ fetch: service.fetch, ...changes }));
  const stored = async (): Promise<Record<string, Record<string, unknown>>> =>
    JSON.parse(await readFile(path, 'utf8')) as Record<string, Record<string, unknown>>;

  beforeEach(async () => {
    home = await CredentialHome.make();
    service = new TokenService();
    path = await home.write('.claude/.credentials.json', login(1, Date.now() - hour));
  });
  afterEach(() => home.remove());

  it('is used as it is while it is good', async () => {
    await writeFile(path, login(1, Date.now() + hour));
    const token = await open().token(signal);
    assert.equal(token.value, 'sk-ant-oat01-generation-1');
    assert.equal(service.requests.length, 0);
    const status = await open().status();
    assert.equal(status.state, 'ready');
  });

  it('is renewed once for all who ask, and keeps what else is in the file', async () => {
    const one = open();
    const tokens = await Promise.all(Array.from({ length: 20 }, () => one.token(signal)));
    assert.deepEqual([...new Set(tokens.map(({ value }) => value))], ['sk-ant-oat01-generation-2']);
    assert.deepEqual(service.requests, [
      {
        grant_type: 'refresh_token',
        refresh_token: 'sk-ant-ort01-generation-1',
        client_id: '9d1c250a-e61b-44d9-88ed-5944d1962f5e',
      },
    ]);
    const { claudeAiOauth, mcpOAuth } = await stored();
    assert.equal(claudeAiOauth?.['refreshToken'], 'sk-ant-ort01-generation-2');
    assert.equal(claudeAiOauth['rateLimitTier'], 'tier-9');
    assert.deepEqual(claudeAiOauth['scopes'], ['user:inference', 'user:profile']);
    assert.ok(Number(claudeAiOauth['expiresAt']) > Date.now() + 7 * hour);
    assert.deepEqual(mcpOAuth, { 'server|1': { accessToken: 'another' } });
    assert.equal((await stat(path)).mode & 0o777, 0o600);
    assert.deepEqual(await readdir(join(home.path, '.claude')), ['.credentials.json']);
    assert.deepEqual(await readdir(home.path), ['.claude']);
  });

  it('is readable by its owner alone afterwards, whatever it was before', async () => {
    await chmod(path, 0o644);
    await open().token(signal);
    assert.equal((await stat(path)).mode & 0o777, 0o600);
  });

  it('stays a symbolic link where it is one', async () => {
    const real = await home.write('elsewhere/login.json', login(1, 0));
    await rm(path);
    await symlink(real, path);
    await open().token(signal);
    assert.ok((await lstat(path)).isSymbolicLink());
    assert.ok((await readFile(real, 'utf8')).includes('generation-2'));
  });

  it('keeps what others wrote into the file during the renewal', async () => {
    service.before = async () => {
      await writeFile(path, JSON.stringify({ ...(await stored()), mcpOAuth: { newer: true } }));
    };
    await open().token(signal);
    const { mcpOAuth, claudeAiOauth } = await stored();
    assert.deepEqual(mcpOAuth, { newer: true });
    assert.equal(claudeAiOauth?.['accessToken'], 'sk-ant-oat01-generation-2');
  });

  it('is not brought back when the user logs out during the renewal', async () => {
    service.before = () => rm(path);
    assert.equal((await failure(open().token(signal))).code, 'no_credentials');
    assert.deepEqual(await readdir(join(home.path, '.claude')), []);
  });

  it('takes what the CLI renewed while it held its lock, and asks nobody', async () => {
    const folder = join(home.path, '.claude');
    for (const lockfilePath of [join(folder, '.oauth_refresh.lock'), `${folder}.lock`]) {
      await writeFile(path, login(1, Date.now() - hour));
      const release = await lockfile.lock(folder, { lockfilePath, realpath: false, stale: 60_000 });
      const token = open().token(signal);
      // The CLI's turn: it replaces the file, and only then gives the lock back.
      await writeFile(path, login(7, Date.now() + hour));
      assert.equal((await token).value, 'sk-ant-oat01-generation-7');
      await release();
    }
    assert.equal(service.requests.length, 0);
  });

  it('locks out the CLI while it renews', async () => {
    const folder = join(home.path, '.claude');
    const seen: boolean[] = [];
    service.before = async () => {
      for (const lockfilePath of [join(folder, '.oauth_refresh.lock'), `${folder}.lock`])
        seen.push(await lockfile.check(folder, { lockfilePath, realpath: false, stale: 60_000 }));
    };
    await open().token(signal);
    assert.deepEqual(seen, [true, true]);
  });

  it('does not wait for a lock whose holder was killed long ago', async () => {
    const old = new Date(Date.now() - 120_000);
    for (const lock of [join(home.path, '.claude', '.oauth_refresh.lock'), join(home.path, '.claude.lock')]) {
      await mkdir(lock);
      await utimes(lock, old, old);
    }
    assert.equal((await open().token(signal)).value, 'sk-ant-oat01-generation-2');
    assert.deepEqual(await readdir(home.path), ['.claude']);
  });

  it('stops waiting for a lock when nobody wants the token any more', async () => {
    await mkdir(join(home.path, '.claude', '.oauth_refresh.lock'));
    const leaving = new AbortController();
    const waiting = open().token(leaving.signal);
    leaving.abort();
    await assert.rejects(waiting, { name: 'AbortError' });
    // The renewal goes on for others; it ends when somebody else did the work.
    await writeFile(path, login(9, Date.now() + hour));
    assert.equal(service.requests.length, 0);
  });

  it('gives another task what the first one renewed', async () => {
    await writeFile(path, login(1, Date.now() + hour));
    const one = open();
    const { value } = await one.token(signal);
    const first = await one.renew(value, 'refused', signal);
    const second = await one.renew(value, 'refused', signal);
    assert.equal(first.value, second.value);
    assert.equal(service.requests.length, 1);
    const refusal = await failure(one.renew(first.value, 'refused', signal));
    assert.equal(refusal.code, 'auth_refused');
    assert.equal(service.requests.length, 1);
  });

  it('does not end a renewal with the one who began it', async () => {
    const leaving = new AbortController();
    const { promise: arrived, resolve: arrive } = Promise.withResolvers<undefined>();
    const { promise: go, resolve: answer } = Promise.withResolvers<undefined>();
    service.before = async () => {
      arrive(undefined);
      await go;
    };
    const one = open();
    const first = one.token(leaving.signal);
    await arrived;
    const second = one.token(signal);
    leaving.abort();
    await assert.rejects(first, { name: 'AbortError' });
    answer(undefined);
    assert.equal((await second).value, 'sk-ant-oat01-generation-2');
  });

  it('tells an expired login from a service that does not answer, and changes nothing then', async () => {
    const before = await readFile(path, 'utf8');
    const cases = [
      [400, { error: 'invalid_grant' }, 'auth_expired'],
      [401, { error: { type: 'authentication_error' } }, 'auth_expired'],
      [404, { type: 'error', error: { type: 'not_found_error' } }, 'auth_expired'],
      [403, { error: 'unauthorized_client' }, 'auth_refused'],
      [429, {}, 'capacity_reached'],
      [503, {}, 'model_unreachable'],
      [200, { access_token: 'x' }, 'model_unreachable'],
    ] as const;
    for (const [status, body, code] of cases) {
      service.refuse = { status, body };
      const refusal = await failure(open().token(signal));
      assert.equal(refusal.code, code, String(status));
      assert.equal(await readFile(path, 'utf8'), before);
    }
    assert.equal(
      (
        await failure(
          open({ fetch: () => Promise.reject(new Error('sk-ant-ort01-generation-1')) }).token(signal),
        )
      ).code,
      'model_unreachable',
    );
    assert.deepEqual(await readdir(join(home.path, '.claude')), ['.credentials.json']);
  });

  it('says what is wrong with a file that is none', async () => {
    const broken = [
      '',
      '{',
      '[]',
      '{"claudeAiOauth": {"accessToken": 5}}',
      'sk-ant-ort01-generation-1',
      '{"claudeAiOauth": {"accessToken": "sk-ant-oat01-generation-1\\n"}}',
    ];
    for (const text of broken) {
      await writeFile(path, text);
      const status = await open().status();
      assert.equal(status.state, 'unusable', text);
      assert.ok(!JSON.stringify(status).includes('generation'));
      assert.equal((await failure(open().token(signal))).code, 'invalid_credential');
    }
    await rm(path);
    await mkdir(path);
    assert.equal((await open().status()).state, 'unusable');
    await rm(path, { recursive: true });
    assert.equal((await open().status()).state, 'absent');
    await writeFile(path, '{"mcpOAuth":{}}');
    assert.equal((await open().status()).state, 'absent');
  });

  it('cannot be renewed without a refresh token', async () => {
    await writeFile(
      path,
      JSON.stringify({ claudeAiOauth: { accessToken: 'sk-ant-oat01-generation-1', expiresAt: 5 } }),
    );
    assert.equal((await open().status()).state, 'expired');
    assert.equal((await failure(open().token(signal))).code, 'auth_expired');
    assert.equal(service.requests.length, 0);
  });

  it('is where CLAUDE_CONFIG_DIR says', async () => {
    const folder = join(home.path, 'own');
    await home.write('own/.credentials.json', login(5, Date.now() + hour));
    const token = await open({ env: { CLAUDE_CONFIG_DIR: folder } }).token(signal);
    assert.equal(token.value, 'sk-ant-oat01-generation-5');
  });

  describe('among processes', () => {
    let server: Server;
    let address: string;
    const child = (times: number): ReturnType<typeof spawn> => {
      const source = `
        import { ClaudeLogin } from ${JSON.stringify(resolve(import.meta.dirname, '../../src/credentials/claudeLogin.ts'))};
        const login = new ClaudeLogin({ env: {}, home: ${JSON.stringify(home.path)}, platform: 'linux', now: Date.now,
          exec: () => Promise.reject(new Error()), fetch: (_url, init) => fetch(${JSON.stringify(address)}, init) });
        const signal = new AbortController().signal;
        let { value } = await login.token(signal);
        for (let i = 1; i < ${times}; i++) ({ value } = await login.renew(value, 'expired', signal));
        process.stdout.write(value);
        process.exit(0);`;
      return spawn(process.execPath, ['--input-type=module', '-e', source], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
    };

    beforeEach(async () => {
      server = createServer((request, response) => {
        void (async () => {
          const parts: Buffer[] = [];
          for await (const part of request as AsyncIterable<Buffer>) parts.push(part);
          const answer = await service.answer(
            JSON.parse(Buffer.concat(parts).toString()) as Record<string, unknown>,
          );
          response.writeHead(answer.status, { 'content-type': 'application/json' }).end(await answer.text());
        })();
      });
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      const at = server.address();
      assert.ok(typeof at === 'object' && at !== null);
      address = `http://127.0.0.1:${at.port}/`;
    });
    afterEach(() => {
      server.closeAllConnections();
      server.close();
    });

    it('is renewed once by several', async () => {
      const outputs = await Promise.all(
        Array.from({ length: 4 }, async () => {
          const process = child(1);
          let text = '';
          process.stdout?.on('data', (part: Buffer) => (text += part.toString()));
          await once(process, 'close');
          return text;
        }),
      );
      assert.deepEqual(
        outputs,
        Array.from({ length: 4 }, () => 'sk-ant-oat01-generation-2'),
      );
      assert.equal(service.requests.length, 1);
    });

    it('is a whole file whenever its renewer is killed', async () => {
      for (let round = 0; round < 5; round++) {
        await writeFile(path, login(service.generation, Date.now() - hour));
        const before = service.requests.length;
        const process = child(1_000_000);
        // Killed at some point of some renewal; which one is left to chance.
        while (service.requests.length < before + 2 + round) await new Promise((next) => setTimeout(next, 1));
        process.kill('SIGKILL');
        await once(process, 'close');
        const { claudeAiOauth, mcpOAuth } = await stored();
        const access = /generation-(\d+)$/.exec(String(claudeAiOauth?.['accessToken']))?.[1];
        assert.equal(claudeAiOauth?.['refreshToken'], `sk-ant-ort01-generation-${access}`);
        assert.ok(Number(access) >= service.generation - 1, 'more than the renewal under way was lost');
        assert.ok(mcpOAuth);
        // As a minute later: the killed one's locks are void.
        await rm(join(home.path, '.claude', '.oauth_refresh.lock'), { recursive: true, force: true });
        await rm(join(home.path, '.claude.lock'), { recursive: true, force: true });
      }
      await writeFile(path, login(service.generation, Date.now() - hour));
      await open().token(signal);
      assert.deepEqual(await readdir(join(home.path, '.claude')), ['.credentials.json']);
    });
  });

  describe('in the macOS keychain', () => {
    let item: string | undefined;
    let locked: boolean;
    let commands: { args: readonly string[]; input: string | undefined }[];
    const security: Exec = (file, args, { input }) => {
      assert.equal(file, 'security');
      commands.push({ args, input });
      if (locked) return Promise.resolve({ code: 36, stdout: '' });
      const typed = (input ?? '').matchAll(/"([^"]*)"|(\S+)/g);
      const words =
        args[0] === '-i' ? [...typed].map(([, quoted, plain]) => quoted ?? plain ?? '') : [...args];
      const value = (name: string): string | undefined => words[words.indexOf(name) + 1];
      assert.equal(value('-a'), 'ada');
      assert.equal(value('-s'), 'Claude Code-credentials');
      if (words[0] === 'find-generic-password')
        return Promise.resolve(
          item === undefined ? { code: 44, stdout: '' } : { code: 0, stdout: `${item}\n` },
        );
      assert.equal(words[0], 'add-generic-password');
      assert.ok(words.includes('-U'));
      item = Buffer.from(value('-X') ?? '', 'hex').toString();
      return Promise.resolve({ code: 0, stdout: '' });
    };
    const onMac = (): ClaudeLogin => open({ platform: 'darwin', exec: security, env: { USER: 'ada' } });

    beforeEach(async () => {
      item = login(1, Date.now() - hour);
      locked = false;
      commands = [];
      await rm(path);
    });

    it('is renewed there, and no argument of a program shows it', async () => {
      const token = await onMac().token(signal);
      assert.equal(token.value, 'sk-ant-oat01-generation-2');
      assert.ok(item?.includes('sk-ant-ort01-generation-2'));
      assert.ok(item?.includes('tier-9'));
      const hex = Buffer.from('generation').toString('hex');
      for (const { args } of commands)
        assert.ok(!args.some((arg) => arg.includes('generation') || arg.includes(hex)));
    });

    it('is read as hexadecimal digits too, as the program prints what is not plain text', async () => {
      item = Buffer.from(login(3, Date.now() + hour)).toString('hex');
      assert.equal((await onMac().token(signal)).value, 'sk-ant-oat01-generation-3');
    });

    it('uses up no refresh token when the keychain does not take what it would get for it', async () => {
      const inner = security;
      const readOnly: Exec = (file, args, options) =>
        args[0] === '-i' ? Promise.resolve({ code: 1, stdout: '' }) : inner(file, args, options);
      const refusal = await failure(
        open({ platform: 'darwin', exec: readOnly, env: { USER: 'ada' } }).token(signal),
      );
      assert.equal(refusal.code, 'auth_expired');
      assert.match(refusal.mend, /Unlock the keychain/);
      assert.equal(service.requests.length, 0);
    });

    it('gives way to the file where there is no item, and says so when it is locked', async () => {
      item = undefined;
      await writeFile(path, login(4, Date.now() + hour));
      assert.equal((await onMac().token(signal)).value, 'sk-ant-oat01-generation-4');
      await rm(path);
      locked = true;
      const status = await onMac().status();
      assert.equal(status.state, 'unusable');
    });
  });
});
