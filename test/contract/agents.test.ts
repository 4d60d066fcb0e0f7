import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { engines } from '../support/engines.ts';
import { GitServer } from '../support/gitServer.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { bash } from '../support/tasks.ts';

const run = promisify(execFile);
const root = resolve(import.meta.dirname, '..', '..');

/** What people and other agents copy from the documents has to work as it stands there. */
describe('other agents and programs', () => {
  let git: GitServer;
  let server: TestServer;
  let token: string;

  before(async () => {
    git = await GitServer.open();
    git.filled('acme/api', { 'README.md': '# The API\n' });
    server = await startTestServer({
      engine: (await engines()).docker,
      env: { SALLYPORT_PRIVATE_FORGES: 'localhost' },
      turns: [
        bash('echo fixed > fix.txt && git add fix.txt && git commit -qm "Fix the token refresh"'),
        { text: 'All done.' },
      ],
    });
    const cookie = await server.session();
    token = await server.token(cookie, ['tasks:read', 'tasks:write']);
  });
  after(async () => {
    await server.removeTasks(token);
    await server.close();
    await git.close();
  });

  for (const [name, program] of [
    ['task.sh', 'sh'],
    ['task.py', 'python3'],
    ['task.mjs', process.execPath],
  ] as const) {
    it(`integrations/samples/${name} submits, follows and shows the diff`, async () => {
      const sample = join(root, 'integrations', 'samples', name);
      const { stdout } = await run(program, [sample, `${git.origin}/acme/api`, 'Fix the token refresh bug'], {
        env: { ...process.env, SALLYPORT_URL: server.url, SALLYPORT_TOKEN: token },
      });
      assert.match(stdout, /^task [a-z0-9]{10,}/);
      assert.match(stdout, /All done\./);
      assert.match(stdout, /^\+fixed$/m);
    });

    it(`integrations/samples/${name} says what the runner says when it is refused`, async () => {
      const sample = join(root, 'integrations', 'samples', name);
      const env = { ...process.env, SALLYPORT_URL: server.url, SALLYPORT_TOKEN: `slp_${'x'.repeat(43)}` };
      const refused = await run(program, [sample, `${git.origin}/acme/api`, 'x'], { env }).then(
        () => assert.fail('It ended well'),
        (thrown: unknown) => thrown as { code: number; stderr: string; stdout: string },
      );
      assert.notEqual(refused.code, 0);
      assert.match(refused.stderr + refused.stdout, /unauthorized|credential/);
    });
  }

  it('the commands of the skill are answered as it says', async () => {
    const skill = await readFile(join(root, 'integrations', 'skill', 'SKILL.md'), 'utf8');
    const blocks = [...skill.matchAll(/```sh\n([^]*?)```/g)].map(([, text]) => text ?? '');
    assert.equal(blocks.length, 2);
    const env = { ...process.env, SALLYPORT_URL: server.url, SALLYPORT_TOKEN: token };
    const submit = (blocks[0] ?? '')
      .replace('https://github.com/example/api', `${git.origin}/acme/api`)
      .replace('$(uuidgen)', 'one-key');
    const first = JSON.parse((await run('sh', ['-c', submit], { env })).stdout) as { id: string };
    const again = JSON.parse((await run('sh', ['-c', submit], { env })).stdout) as { id: string };
    assert.equal(again.id, first.id);
    const watch = (blocks[1] ?? '').replaceAll('/ID', `/${first.id}`).trimEnd().split('\n');
    assert.equal(watch.length, 3);
    const [, log, diff] = [
      await run('sh', ['-c', watch[0] ?? ''], { env }),
      (await run('sh', ['-c', watch[1] ?? ''], { env })).stdout,
      (await run('sh', ['-c', watch[2] ?? ''], { env })).stdout,
    ];
    assert.match(log, /All done\./);
    assert.match(diff, /^\+fixed$/m);
  });

  async function client(withToken: string): Promise<Client> {
    const one = new Client({ name: 'test', version: '1.0.0' });
    const transport = new StreamableHTTPClientTransport(new URL(`${server.url}/mcp`), {
      requestInit: { headers: { authorization: `Bearer ${withToken}` } },
    });
    await one.connect(transport);
    return one;
  }

  async function call(
    one: Client,
    name: string,
    args: Record<string, unknown>,
  ): Promise<{ text: string; isError: boolean }> {
    const answer = await one.callTool({ name, arguments: args });
    const [part] = answer.content as { type: string; text: string }[];
    return { text: part?.text ?? '', isError: answer.isError === true };
  }

  it('a client of the Model Context Protocol submits a task, and reads status, log and diff', async () => {
    const one = await client(token);
    const { tools } = await one.listTools();
    assert.deepEqual(
      tools.map(({ name }) => name),
      ['submit_task', 'task_status', 'list_tasks', 'task_log', 'task_diff', 'cancel_task'],
    );
    for (const { inputSchema } of tools) assert.ok(inputSchema.properties);
    const submitted = await call(one, 'submit_task', { prompt: 'Fix it', url: `${git.origin}/acme/api` });
    const id = /^id: (\S+)/.exec(submitted.text)?.[1] ?? '';
    let status = submitted.text;
    for (let left = 300; !/phase: (succeeded|failed)/.test(status); left--) {
      assert.ok(left > 0, status);
      await new Promise((resolve) => setTimeout(resolve, 200));
      status = (await call(one, 'task_status', { id })).text;
    }
    assert.match(status, /phase: succeeded/);
    assert.match(status, /commits: 1/);
    const log = await call(one, 'task_log', { id });
    assert.match(log.text, /^events 1 to (\d+) of \1\n/);
    assert.match(log.text, /All done\./);
    const last = Number(/ of (\d+)/.exec(log.text)?.[1]);
    assert.match((await call(one, 'task_log', { id, after: last })).text, new RegExp(`of ${last}`));
    let diff = '';
    do diff = (await call(one, 'task_diff', { id })).text;
    while (diff.includes('Ask again in a moment'));
    assert.match(diff, /^\+fixed$/m);
    assert.match((await call(one, 'list_tasks', {})).text, new RegExp(`id: ${id}`));
    await one.close();
  });

  it('a client of the Model Context Protocol may do what its token may, and is told what is wrong', async () => {
    const reader = await client(await server.token(await server.session(), ['tasks:read'], 'reader'));
    const refused = await call(reader, 'submit_task', { prompt: 'x' });
    assert.ok(refused.isError);
    assert.match(refused.text, /tasks:write/);
    const unknown = await call(reader, 'task_status', { id: '0000000000none0' });
    assert.ok(unknown.isError);
    assert.match(unknown.text, /\[(task_unknown|not_found)\]/);
    const wrong = await call(reader, 'task_status', { id: '../../etc' }).catch((thrown: unknown) => ({
      isError: true,
      text: String(thrown),
    }));
    assert.ok(wrong.isError);
    await reader.close();
    await assert.rejects(client(`slp_${'x'.repeat(43)}`));
  });
});
