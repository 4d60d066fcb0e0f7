import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { claudeCode } from '../../src/agent/claudeCode.ts';
import { defaultLimits, newTaskId } from '../../src/protocol/task.ts';
import type { SandboxEvent } from '../../src/protocol/taskEvent.ts';
import { AheadOfTime } from '../support/aheadOfTime.ts';
import { aSpec } from '../support/specs.ts';
import { ofType, Sandbox } from '../support/sandbox.ts';

const minute = 60_000;
const result = 'echo "$OK"';
const say = (text: string, id = newTaskId(Date.now())): object => ({ op: 'say', id, text });

/** Resolves when so many turns are over. */
const turns = (sandbox: Sandbox, count: number): Promise<SandboxEvent[]> =>
  sandbox.until((events) => (ofType(events, 'turn').length >= count ? events : undefined));

describe('supervisorConversation', () => {
  let sandbox: Sandbox;
  let time: AheadOfTime;
  beforeEach(async () => {
    time = new AheadOfTime();
    sandbox = new Sandbox();
    await sandbox.listen();
  });
  afterEach(() => {
    sandbox.dispose();
    time.dispose();
  });

  /** The agent's clock stands still and runs on: it looks how much of its time is left. */
  const lookAtClock = async (): Promise<void> => {
    await sandbox.ask({ op: 'clock', running: false });
    await sandbox.ask({ op: 'clock', running: true });
  };

  const converse = (script: string, limits: object = {}): Promise<unknown> =>
    sandbox.start(script, { conversation: true, limits: { ...defaultLimits, ...limits } });

  it('goes on with the same process, turn by turn, each with its commits before its end', async () => {
    await converse(`mine=1; git commit -q --allow-empty -m first; ${result}`);
    await turns(sandbox, 1);
    await sandbox.ask(
      say(`echo mine=$mine; git commit -q --allow-empty -m second; ${result}`, 'message0002'),
    );
    await turns(sandbox, 2);
    await sandbox.ask({ op: 'stop' });
    await sandbox.supervisor.over;
    const events = sandbox.events();
    assert.deepEqual(
      events
        .filter(({ type }) => ['turn_began', 'turn', 'commit', 'result', 'ended'].includes(type))
        .map((event) =>
          event.type === 'turn_began' || event.type === 'turn'
            ? [event.type, event.number]
            : event.type === 'commit'
              ? [event.type, event.commit.subject]
              : [event.type],
        )
        // A commit may be seen at once, or only at the end of the turn.
        .filter(([type]) => type !== 'result'),
      [
        ['turn_began', 1],
        ['commit', 'first'],
        ['turn', 1],
        ['turn_began', 2],
        ['commit', 'second'],
        ['turn', 2],
        ['ended'],
      ],
    );
    assert.equal(ofType(events, 'turn_began')[1]?.message, 'message0002');
    assert.deepEqual(
      ofType(events, 'output').map(({ text }) => text),
      ['mine=1'],
    );
    const [ended] = ofType(events, 'ended');
    assert.equal(ended?.outcome, 'succeeded');
    assert.match(ended.message, /was finished/);
  });

  it('keeps one message until the end of the turn, knows it when it comes twice, and refuses another', async () => {
    await converse(`echo up; until [ -e ../go ]; do sleep 0.05; done; ${result}`);
    await sandbox.until((events) => ofType(events, 'output')[0]);
    await sandbox.ask(say(`echo next; ${result}`, 'message0001'));
    await sandbox.ask(say(`echo next; ${result}`, 'message0001'));
    await assert.rejects(sandbox.ask(say('echo more')), { code: 'busy' });
    await writeFile(join(sandbox.workspace.path, '..', 'go'), '');
    await turns(sandbox, 2);
    await sandbox.ask(say(`echo next; ${result}`, 'message0001'));
    await sandbox.ask({ op: 'stop' });
    await sandbox.supervisor.over;
    const events = sandbox.events();
    assert.deepEqual(
      ofType(events, 'output').map(({ text }) => text),
      ['up', 'next'],
    );
    assert.deepEqual(
      ofType(events, 'turn_began').map(({ message }) => message),
      [undefined, 'message0001'],
    );
  });

  it('is finished when no message comes for the idle time, with what is uncommitted kept', async () => {
    await converse(`echo edit >> a.txt; ${result}`, { idleMs: 100 });
    await sandbox.supervisor.over;
    const events = sandbox.events();
    assert.equal(ofType(events, 'leftovers')[0]?.files[0]?.path, 'a.txt');
    assert.equal(ofType(events, 'ended')[0]?.outcome, 'succeeded');
    assert.match(ofType(events, 'ended')[0]!.message, /no message came/);
  });

  it('does not count the time in which it waits as time of work', async () => {
    await converse(result, { timeMs: 10 * minute });
    await turns(sandbox, 1);
    time.pass(11 * minute);
    await lookAtClock();
    await sandbox.ask(say(result));
    await turns(sandbox, 2);
    await sandbox.ask(say('echo up; sleep 60'));
    await sandbox.until((events) => ofType(events, 'output')[0]);
    time.pass(11 * minute);
    await lookAtClock();
    await sandbox.supervisor.over;
    assert.equal(ofType(sandbox.events(), 'ended')[0]?.outcome, 'timed_out');
  });

  it('goes on after a turn that failed, and ends as the last turn did', async () => {
    const fail = 'echo "${OK/false/true}"';
    await converse(fail);
    const [first] = ofType(await turns(sandbox, 1), 'turn');
    assert.deepEqual([first?.outcome, first?.message, first?.mend], ['failed', 'Refused.', 'Mend it.']);
    await sandbox.ask(say(result));
    assert.equal(ofType(await turns(sandbox, 2), 'turn')[1]?.outcome, 'succeeded');
    await sandbox.ask(say(fail));
    await turns(sandbox, 3);
    await sandbox.ask({ op: 'stop' });
    await sandbox.supervisor.over;
    const [ended] = ofType(sandbox.events(), 'ended');
    assert.deepEqual([ended?.outcome, ended?.kind], ['failed', 'auth_refused']);
  });

  const ask = '{"type":"asked","question":{"id":"q1","what":"permission","tool":"Bash","text":"{}"}}';
  const answer = (kind: string): object => ({ op: 'answer', id: 'q1', answer: { kind } });

  it('has the agent wait for an answer, hands it over once, and does not count that time', async () => {
    await converse(`answered() { echo "heard $ANSWER"; ${result}; }; echo '${ask}'`, {
      timeMs: 10 * minute,
    });
    await sandbox.until((events) => ofType(events, 'asked')[0]);
    time.pass(11 * minute);
    await lookAtClock();
    await assert.rejects(
      sandbox.ask({ op: 'answer', id: 'q1', answer: { kind: 'choose', answers: [['x']] } }),
      { code: 'invalid_input' },
    );
    await sandbox.ask(answer('allow'));
    await sandbox.ask(answer('allow'));
    await turns(sandbox, 1);
    // To nobody: the question is not open any more.
    await sandbox.ask(answer('refuse'));
    await sandbox.ask({ op: 'stop' });
    await sandbox.supervisor.over;
    const events = sandbox.events();
    assert.deepEqual(
      ofType(events, 'output').map(({ text }) => text),
      ['heard {"kind":"allow"}'],
    );
    assert.deepEqual(
      ofType(events, 'settled').map(({ id, by }) => [id, by]),
      [['q1', 'user']],
    );
    assert.equal(ofType(events, 'ended')[0]?.outcome, 'succeeded');
  });

  it('refuses by itself what nobody answers in time, and what the agent withdraws is settled', async () => {
    await converse(`answered() { echo "heard $ANSWER"; ${result}; }; echo '${ask}'`, { idleMs: 300 });
    const events = await turns(sandbox, 1);
    assert.match(ofType(events, 'output')[0]?.text ?? '', /"refuse".*did not answer in time/);
    assert.equal(ofType(events, 'settled')[0]?.by, 'time');
    // In one piece, so that no time passes between the two.
    await sandbox.ask(say(`printf '%s\\n' '${ask}' '{"type":"settled","id":"q1"}'; ${result}`));
    assert.equal(ofType(await turns(sandbox, 2), 'settled')[1]?.by, 'agent');
  });

  it('ends a turn when it is interrupted, takes up the message that waits, and is stopped after it', async () => {
    const ends = `interrupted() { echo "\${OK/false/true}"; }`;
    await converse(`${ends}; echo up`);
    await sandbox.until((events) => ofType(events, 'output')[0]);
    await sandbox.ask(say('echo next', 'message0001'));
    await sandbox.ask({ op: 'interrupt' });
    await sandbox.ask({ op: 'interrupt' });
    await sandbox.until((events) => ofType(events, 'output')[1]);
    const [first] = ofType(await turns(sandbox, 1), 'turn');
    assert.deepEqual([first?.outcome, first?.message], ['interrupted', undefined]);
    assert.equal(ofType(sandbox.events(), 'turn_began')[1]?.message, 'message0001');
    await sandbox.ask({ op: 'interrupt' });
    await turns(sandbox, 2);
    // Between turns there is nothing to interrupt.
    await sandbox.ask({ op: 'interrupt' });
    await sandbox.ask({ op: 'stop' });
    await sandbox.supervisor.over;
    assert.equal(ofType(sandbox.events(), 'ended')[0]?.outcome, 'stopped');
  });

  it('notices that the agent goes on by itself', async () => {
    await converse(
      `(until [ -e ../go ]; do sleep 0.05; done; echo '{"type":"text","text":"by myself"}'; ${result}) & ${result}`,
    );
    await turns(sandbox, 1);
    await writeFile(join(sandbox.workspace.path, '..', 'go'), '');
    const told = (await turns(sandbox, 2)).filter(({ type }) =>
      ['turn_began', 'turn', 'text'].includes(type),
    );
    assert.deepEqual(
      told.map(({ type }) => type),
      ['turn_began', 'turn', 'turn_began', 'text', 'turn'],
    );
  });

  it('takes what the agent does right after its word for the same turn', async () => {
    await converse(`${result}; echo '{"type":"text","text":"and this"}'; ${result}`);
    await turns(sandbox, 1);
    await sandbox.ask(say(result));
    const told = (await turns(sandbox, 2)).filter(({ type }) =>
      ['turn_began', 'turn', 'text'].includes(type),
    );
    assert.deepEqual(
      told.map(({ type }) => type),
      ['turn_began', 'text', 'turn', 'turn_began', 'turn'],
    );
  });

  it('tells a stop while the agent works, and an agent that dies while it waits', async () => {
    await converse('echo up; sleep 1000');
    await sandbox.until((events) => ofType(events, 'output')[0]);
    await sandbox.ask({ op: 'stop' });
    await sandbox.supervisor.over;
    assert.equal(ofType(sandbox.events(), 'ended')[0]?.outcome, 'stopped');
    await assert.rejects(sandbox.ask(say('echo more')), { code: 'conflict' });

    sandbox.dispose();
    sandbox = new Sandbox();
    await sandbox.listen();
    await converse(`(sleep 0.2; kill -9 $$) & ${result}`);
    await sandbox.supervisor.over;
    assert.equal(ofType(sandbox.events(), 'ended')[0]?.kind, 'killed');
  });

  it('refuses messages to a task that is no conversation, and those that are too long', async () => {
    await sandbox.start('sleep 5');
    await assert.rejects(sandbox.ask(say('echo more')), { code: 'conflict' });
    await assert.rejects(sandbox.ask(say('x'.repeat(100_001))), { code: 'invalid_input' });
  });

  it('hands out what the agent has written down of a conversation, and takes it for another one', async () => {
    const id = '05606d45-c8b9-4c0f-95c2-f9c51870a702';
    const written = 'x'.repeat(300_000);
    await sandbox.ask({ op: 'restore', id }, Buffer.from(written));
    await converse(
      `wc -c < "$HOME/sessions/${id}"; stat -c %a "$HOME/sessions/${id}"; echo more >> "$HOME/sessions/${id}"; ${result}`,
    );
    await turns(sandbox, 1);
    assert.deepEqual(
      ofType(sandbox.events(), 'output').map(({ text }) => text),
      ['300000', '600'],
    );
    await assert.rejects(sandbox.ask({ op: 'restore', id }, Buffer.from('x')), { code: 'busy' });
    const parts: Uint8Array[] = [];
    await sandbox.ask({ op: 'session', id }, Buffer.of(), (part) => parts.push(part));
    assert.ok(Buffer.concat(parts).includes(`${written}more\n`));
  });

  it('hands out nothing but a file of its name, and waits for no pipe', async () => {
    const [id, pipe, link, folder] = [1, 2, 3, 4].map((n) => `05606d45-c8b9-4c0f-95c2-00000000000${n}`);
    await converse(
      `mkdir -p "$HOME/sessions/${folder}"; cd "$HOME/sessions"; mkfifo ${pipe}; ln -s /etc/passwd ${link}; ${result}`,
    );
    await turns(sandbox, 1);
    for (const name of [id, pipe, link, folder])
      await assert.rejects(sandbox.ask({ op: 'session', id: name }), { code: 'no_session' });
    for (const name of ['../../../etc/passwd', 'x', '', `${id}/../x`])
      await assert.rejects(sandbox.ask({ op: 'session', id: name }), { code: 'invalid_input' });
  });

  it('speaks to Claude Code in its own messages, and counts what each turn costs by itself', () => {
    const spec = aSpec({
      conversation: true,
      prompt: '--help\n"x"',
      model: { label: 'key', demonstration: false },
    });
    const place = { baseUrl: '', token: '', proxyUrl: '', home: '/h', workspace: '/w', path: '/bin' };
    const { argv, stdin } = claudeCode.command(spec, place);
    assert.ok(argv.join(' ').includes('--input-format stream-json'));
    assert.deepEqual(JSON.parse(stdin), {
      type: 'user',
      message: { role: 'user', content: '--help\n"x"' },
    });
    assert.ok(stdin.endsWith('\n') && stdin.indexOf('\n') === stdin.length - 1);
    const reader = claudeCode.reader(spec);
    const costs = [0.5, 0.75, 0.75, 2].map((total_cost_usd) => {
      const body = reader(JSON.stringify({ type: 'result', is_error: false, total_cost_usd }))?.bodies[0];
      return body?.type === 'result' ? body.costUsd : undefined;
    });
    assert.deepEqual(costs, [0.5, 0.25, 0, 1.25]);
  });
});
