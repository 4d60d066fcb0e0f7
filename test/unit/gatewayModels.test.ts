import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { demonstration } from '../../src/gateway/demonstration.ts';
import type { MessagesRequest } from '../../src/gateway/messagesRequest.ts';
import type { Turn } from '../../src/gateway/scriptedModel.ts';
import { GitRepo, temporaryFolder } from '../support/gitRepo.ts';
import { ModelGateway } from '../support/modelGateway.ts';

type Message = MessagesRequest['messages'][number];
const tools = [{ name: 'Bash' }];
const user = (content: Message['content']): Message => ({ role: 'user', content });

describe('gatewayModels', () => {
  let folder: ReturnType<typeof temporaryFolder>;
  beforeEach(() => (folder = temporaryFolder()));
  afterEach(() => folder.dispose());

  describe('scripted', () => {
    let gateway: ModelGateway;
    beforeEach(async () => (gateway = await ModelGateway.open()));
    afterEach(() => gateway.close());

    const ask = (path: string, body: unknown): ReturnType<ModelGateway['ask']> =>
      gateway.ask(path, { body: typeof body === 'string' ? body : JSON.stringify(body) });

    const turns: Turn[] = [
      {
        text: 'A long text, cut into pieces 😀 '.repeat(5),
        tools: [{ name: 'Bash', input: { command: 'x'.repeat(500) } }],
      },
      { status: 529 },
      { text: 'last' },
    ];
    const conversation = (answers: number): Message[] => [
      user('go'),
      ...Array.from({ length: answers }, () => [{ role: 'assistant', content: 'x' }, user('y')]).flat(),
    ];

    it('streams what it answers whole, in the order of the Messages API', async () => {
      await gateway.listen({ kind: 'scripted', turns });
      const body = { model: 'any', messages: conversation(0), tools };
      const whole = JSON.parse((await ask('/v1/messages?beta=true', body)).text) as {
        content: unknown[];
        stop_reason: string;
        usage: object;
      };
      assert.equal(whole.stop_reason, 'tool_use');
      const { text } = await ask('/v1/messages', { ...body, stream: true });
      const events = text
        .trimEnd()
        .split('\n\n')
        .map((block) => {
          const [, name, data] = /^event: (\w+)\ndata: (.*)$/.exec(block) ?? [];
          const json = JSON.parse(data ?? '') as {
            type: string;
            index: number;
            delta: { text?: string; partial_json?: string; stop_reason?: string };
            usage: object;
          };
          assert.equal(json.type, name);
          return json;
        });
      const order = events.map(({ type }) => type).filter((type, at, all) => type !== all[at - 1]);
      const block = ['content_block_start', 'content_block_delta', 'content_block_stop'];
      assert.deepEqual(order, ['message_start', ...block, ...block, 'message_delta', 'message_stop']);
      const delta = (index: number): string =>
        events
          .flatMap((event) =>
            event.type === 'content_block_delta' && event.index === index
              ? [event.delta.text ?? event.delta.partial_json ?? '']
              : [],
          )
          .join('');
      assert.deepEqual(
        [
          { type: 'text', text: delta(0) },
          { type: 'tool_use', id: 'toolu_0_0', name: 'Bash', input: JSON.parse(delta(1)) as unknown },
        ],
        whole.content,
      );
      const counts = (usage: object | undefined): object => ({ ...usage, input_tokens: 0 });
      assert.deepEqual(counts(events.at(-2)?.usage), counts(whole.usage));
      assert.equal(events.at(-2)?.delta.stop_reason, 'tool_use');
    });

    it('chooses by the number of answers, refuses where the script says so, and ends when it runs out', async () => {
      await gateway.listen({ kind: 'scripted', turns });
      const at = (answers: number): ReturnType<ModelGateway['ask']> =>
        ask('/v1/messages', { model: 'm', messages: conversation(answers), tools });
      assert.equal((await at(1)).status, 529);
      assert.match((await at(1)).text, /overloaded_error/);
      assert.match((await at(2)).text, /"text":"last".*"stop_reason":"end_turn"/);
      assert.match((await at(9)).text, /"stop_reason":"end_turn"/);
    });

    it('answers helpers harmlessly, counts tokens, and refuses what is no request', async () => {
      await gateway.listen({ kind: 'scripted', turns });
      const helper = await ask('/v1/messages', { model: 'm', messages: conversation(0) });
      assert.match(helper.text, /"text":"Sallyport task".*"stop_reason":"end_turn"/);
      const { input_tokens: count } = JSON.parse(
        (await ask('/v1/messages/count_tokens', { system: 'x'.repeat(387) })).text,
      ) as { input_tokens: number };
      assert.equal(count, 100);
      for (const body of ['no JSON', '{}', '{"model":"m","messages":[{"role":1}]}']) {
        assert.equal((await ask('/v1/messages', body)).status, 400, body);
      }
    });
  });

  describe('demonstration', () => {
    /** Does what the agent's tools do, for real, and answers as they do. */
    function use(
      repository: GitRepo,
      name: string,
      input: Record<string, string>,
    ): { text: string; isError: boolean } {
      const path = input.file_path ?? '';
      switch (name) {
        case 'Bash': {
          const done = spawnSync('bash', ['-c', input.command ?? ''], {
            cwd: repository.path,
            encoding: 'utf8',
            env: { ...process.env, GIT_CONFIG_GLOBAL: '/dev/null', NODE_TEST_CONTEXT: undefined },
          });
          const said = `${done.stdout}${done.stderr}`.trimEnd();
          return {
            text: done.status === 0 ? said : `Exit code ${done.status}\n${said}`,
            isError: done.status !== 0,
          };
        }
        case 'Read':
          if (!existsSync(path)) return { text: 'File does not exist.', isError: true };
          return {
            text: readFileSync(path, 'utf8')
              .split('\n')
              .map((line, at) => `${at + 1}\t${line}`)
              .join('\n'),
            isError: false,
          };
        case 'Edit': {
          const content = readFileSync(path, 'utf8');
          if (content.split(input.old_string ?? '').length !== 2)
            return { text: 'String to replace not found in file.', isError: true };
          writeFileSync(
            path,
            content.replace(input.old_string ?? '', () => input.new_string ?? ''),
          );
          return { text: 'updated', isError: false };
        }
        case 'Write':
          mkdirSync(dirname(path), { recursive: true });
          writeFileSync(path, input.content ?? '');
          return { text: 'created', isError: false };
        default:
          throw new Error(`No tool ${name}`);
      }
    }

    /** Plays a whole conversation; resolves to the tools that were used and the last text. */
    function play(repository: GitRepo, prompt: string): { used: string[]; last: string } {
      const messages: Message[] = [
        user([
          { type: 'text', text: '<system-reminder>not the prompt</system-reminder>' },
          { type: 'text', text: prompt },
        ]),
      ];
      const used: string[] = [];
      for (let turn = 0; turn < 30; turn++) {
        const { text = '', tools: calls = [] } = demonstration({ model: 'm', messages, tools });
        if (calls.length === 0) return { used, last: text };
        const blocks = calls.map((call, at) => ({ type: 'tool_use', id: `toolu_${turn}_${at}`, ...call }));
        messages.push({ role: 'assistant', content: [{ type: 'text', text }, ...blocks] });
        messages.push(
          user(
            blocks.map(({ id, name, input }) => {
              const { text: content, isError } = use(repository, name, input as Record<string, string>);
              used.push(`${name}${isError ? '!' : ''}`);
              return { type: 'tool_result', tool_use_id: id, content, is_error: isError };
            }),
          ),
        );
      }
      throw new Error('The script does not end');
    }

    async function demoRepository(): Promise<GitRepo> {
      const module = new URL('../../scripts/lib/demoRepository.mjs', import.meta.url).href;
      const { createDemoRepository } = (await import(module)) as {
        createDemoRepository: (folder: string) => Promise<string>;
      };
      const repository = new GitRepo(join(folder.path, 'demo'), { init: false });
      await createDemoRepository(repository.path);
      return repository;
    }

    it('finds the bug of the demonstration repository, mends it, tests and commits twice', async () => {
      const repository = await demoRepository();
      const start = repository.git('rev-parse', 'HEAD');
      const { used, last } = play(repository, 'Fix the median');
      assert.deepEqual(used, [
        'Bash',
        'Read',
        'Bash!',
        'Edit',
        'Bash',
        'Bash',
        'Bash',
        'Write',
        'Bash',
        'Bash',
      ]);
      assert.match(last, /demonstration model/);
      assert.equal(
        repository.git('log', '--format=%s', '--reverse', `${start}..`),
        'Fix median for lists of even length\nAdd range',
      );
      assert.equal(repository.git('status', '--short'), '');
      // The same once more, on what it made: the other script, which ends too.
      const again = play(repository, 'Fix the median');
      assert.match(again.last, /DEMONSTRATION\.md is committed/);
    });

    it('writes the file anew where it is not as expected', async () => {
      const repository = await demoRepository();
      const path = join(repository.path, 'src/stats.js');
      writeFileSync(
        path,
        readFileSync(path, 'utf8').replace(
          'return sorted[Math.floor(sorted.length / 2)]',
          'return sorted[0]',
        ),
      );
      repository.commit('other bug');
      const { used } = play(repository, 'Fix the median');
      assert.ok(used.includes('Write') && !used.includes('Edit'));
      assert.equal(
        repository.git('log', '-2', '--format=%s'),
        'Add range\nFix median for lists of even length',
      );
    });

    it('says in any other repository that it understood nothing, with the prompt', () => {
      const repository = new GitRepo(join(folder.path, 'other'));
      repository.write('z.bin', Uint8Array.of(0, 1));
      repository.write('main.py', 'print(1)\n');
      repository.write('.gitignore', '*.md\n');
      repository.commit('x');
      const { used, last } = play(repository, 'Two lines\n# of prompt');
      assert.deepEqual(used, ['Bash', 'Read', 'Write', 'Bash']);
      assert.match(last, /was not understood/);
      const note = repository.git('show', 'HEAD:DEMONSTRATION.md');
      assert.match(note, /without any\nunderstanding/);
      assert.match(note, /> Two lines\n> # of prompt$/);
      assert.ok(!note.includes('not the prompt'));
      play(repository, 'again');
      assert.equal(repository.git('log', '-1', '--format=%s'), 'Add DEMONSTRATION-2.md');
    });

    it('ends in an empty repository, and where nothing can be committed', () => {
      const repository = new GitRepo(join(folder.path, 'empty'));
      repository.write('.git/hooks/pre-commit', '#!/bin/sh\nexit 1\n');
      spawnSync('chmod', ['+x', join(repository.path, '.git/hooks/pre-commit')]);
      const { used, last } = play(repository, 'p');
      assert.deepEqual(used, ['Bash', 'Write', 'Bash!']);
      assert.match(last, /left uncommitted/);
    });
  });
});
