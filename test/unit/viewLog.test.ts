import assert from 'node:assert/strict';
import fc from 'fast-check';
import { aCommit, aSpec } from '../support/specs.ts';
import type { TaskEvent, TaskEventBody } from '../../src/protocol/taskEvent.ts';
import { HeightIndex } from '../../webview/shared/heightIndex.ts';
import { entryText, firstLines, LogModel, rawText } from '../../webview/task/logModel.ts';
import { Search } from '../../webview/task/search.ts';
import { shortPath, toolView } from '../../webview/task/toolView.ts';

function numbered(...bodies: TaskEventBody[]): TaskEvent[] {
  return bodies.map((body, i) => ({ n: i + 1, t: i, ...body }));
}

describe('the log of a panel', () => {
  it('puts a tool and its result into one entry, wherever the result comes', () => {
    const model = new LogModel();
    model.push(
      numbered(
        { type: 'tool_use', id: 'a', name: 'Bash', input: { command: 'ls' } },
        { type: 'tool_use', id: 'b', name: 'Read', input: {} },
        { type: 'tool_result', id: 'a', isError: false, text: 'file' },
        { type: 'tool_result', id: 'lost', isError: true, text: 'alone' },
      ),
    );
    assert.deepEqual(
      model.entries.map((entry) => [entry.kind, entry.kind === 'tool' ? entry.result?.text : undefined]),
      [
        ['tool', 'file'],
        ['tool', undefined],
        ['event', undefined],
      ],
    );
  });

  it('is the same after a replay', () => {
    const model = new LogModel();
    const events = numbered(
      { type: 'submitted', spec: aSpec() },
      { type: 'progress', stage: 'engine', text: 'one' },
      { type: 'progress', stage: 'image', text: 'two' },
      { type: 'commit', commit: aCommit('one') },
    );
    model.push(events);
    model.push(events);
    model.push(events.slice(2));
    assert.equal(model.events.length, 4);
    assert.deepEqual(
      model.entries.map(({ kind }) => kind),
      ['prompt', 'progress', 'event'],
    );
    assert.equal(model.lastEvent, 4);
    model.clear();
    assert.equal(model.lastEvent, 0);
  });

  it('keeps every event for the raw log', () => {
    const model = new LogModel();
    model.push(numbered({ type: 'imported', tips: [] }, { type: 'unknown', message: { a: 1 } }));
    assert.equal(model.events.length, 2);
    assert.equal(model.entries.length, 1);
    assert.deepEqual(rawText(model.events[1]!), { text: '{"message":{"a":1}}', cut: 0 });
    assert.equal(rawText(model.events[1]!, 5).cut, 14);
  });

  it('leaves notes of the agent about itself to the raw log', () => {
    const model = new LogModel();
    model.push(
      numbered(
        { type: 'unknown', message: { type: 'system', subtype: 'vcs_state_changed' } },
        { type: 'output', stream: 'stderr', text: '[claude-code:unrecognized_model] {"model":"x"}' },
        { type: 'unknown', message: null },
        { type: 'output', stream: 'stderr', text: 'error: it broke' },
      ),
    );
    assert.equal(model.events.length, 4);
    assert.deepEqual(
      model.entries.map((entry) => entry.event.n),
      [3, 4],
    );
  });

  it('corrects what the sandbox said of a commit by what the quarantine holds', () => {
    const said = aCommit('a');
    const { branch, ...known } = { ...said, subject: 'The truth' };
    const model = new LogModel();
    model.push(
      numbered({ type: 'commit', commit: said }, { type: 'imported', tips: [said.sha], commits: [known] }),
    );
    const [entry] = model.entries;
    assert.ok(entry?.event.type === 'commit');
    assert.deepEqual(entry.event.commit, { ...known, branch });
  });

  it('finds what is folded away', () => {
    const model = new LogModel();
    model.push(
      numbered(
        {
          type: 'tool_use',
          id: 'a',
          name: 'Edit',
          input: { file_path: '/workspace/x', old_string: 'needle', new_string: '' },
        },
        { type: 'thinking', text: 'a needle' },
      ),
    );
    assert.ok(model.entries.every((entry) => entryText(entry).includes('needle')));
  });

  it('shows the beginning of a long text', () => {
    assert.deepEqual(firstLines('a\nb\nc', 2, 100), { text: 'a\nb', more: 1 });
    assert.deepEqual(firstLines('a\nb\n', 2, 100), { text: 'a\nb', more: 0 });
    assert.deepEqual(firstLines('a\nb', 5, 100), { text: 'a\nb', more: 0 });
    assert.deepEqual(firstLines('x'.repeat(50), 5, 20), { text: 'x'.repeat(20), more: 1 });
    assert.deepEqual(firstLines('', 5, 20), { text: '', more: 0 });
  });
});

describe('a tool of the agent', () => {
  it('is summed up in a line', () => {
    assert.equal(toolView('Bash', { command: 'npm test\n&& echo ok' }).summary, 'npm test && echo ok');
    assert.equal(toolView('Read', { file_path: '/workspace/src/a.ts' }).summary, 'src/a.ts');
    assert.equal(toolView('Grep', { pattern: 'x', path: '/workspace/src' }).summary, 'x in src');
    assert.equal(toolView('mcp__x', { a: 1 }).summary, '{"a":1}');
  });

  it('shows an edit as what goes and what comes', () => {
    const { body } = toolView('Edit', { file_path: 'a', old_string: 'one\ntwo\n', new_string: 'three' });
    assert.deepEqual(body, { kind: 'edit', text: '- one\n- two\n+ three' });
  });

  it('takes any input', () => {
    const key = fc.constantFrom(
      'command',
      'file_path',
      'old_string',
      'new_string',
      'content',
      'pattern',
      'path',
    );
    const input = fc.oneof(fc.jsonValue(), fc.dictionary(key, fc.jsonValue()));
    const name = fc.constantFrom('Bash', 'Edit', 'Write', 'Read', 'Grep', 'Task', 'x');
    fc.assert(
      fc.property(name, input, (tool, given) => {
        const view = toolView(tool, given);
        assert.equal(typeof view.summary, 'string');
        assert.equal(typeof view.body.text, 'string');
      }),
    );
    assert.equal(toolView('Bash', undefined).summary, '');
  });

  it('names files from the root of the workspace', () => {
    assert.equal(shortPath('/workspace/a/b'), 'a/b');
    assert.equal(shortPath('/etc/passwd'), '/etc/passwd');
  });
});

describe('heights of a list', () => {
  it('add up as if they were added one by one', () => {
    const change = fc.tuple(fc.nat(3000), fc.nat(100));
    fc.assert(
      fc.property(
        fc.array(fc.nat(100), { maxLength: 3000 }),
        fc.array(change, { maxLength: 50 }),
        (initial, changes) => {
          const index = new HeightIndex();
          const plain = [...initial];
          for (const height of initial) index.push(height);
          for (const [at, height] of changes) {
            index.set(at, height);
            if (at < plain.length) plain[at] = height;
          }
          let sum = 0;
          for (const [i, height] of plain.entries()) {
            if (i % 97 === 0) assert.equal(index.offset(i), sum);
            if (height > 0) assert.equal(index.indexAt(sum), i);
            sum += height;
          }
          assert.equal(index.total, sum);
        },
      ),
      { numRuns: 50 },
    );
  });

  it('stay within the list', () => {
    const index = new HeightIndex();
    assert.equal(index.indexAt(5), 0);
    for (let i = 0; i < 3; i++) index.push(10);
    assert.equal(index.indexAt(-5), 0);
    assert.equal(index.indexAt(1e9), 2);
    index.clear();
    assert.equal(index.total, 0);
    index.push(7);
    assert.equal(index.total, 7);
  });
});

describe('the search', () => {
  it('finds everything, also what comes later, and forgets it for other words', async () => {
    const rows: string[] = Array.from({ length: 3000 }, (_, i) => (i % 1000 === 7 ? 'a Needle' : 'hay'));
    let heard: readonly number[] = [];
    let ready = (): void => undefined;
    const search = new Search({
      text: (i) => rows[i] ?? '',
      count: () => rows.length,
      onFound: ({ indices, done }) => {
        heard = [...indices];
        if (done) ready();
      },
    });
    const run = (act: () => void): Promise<void> =>
      new Promise((resolve) => {
        ready = resolve;
        act();
      });
    await run(() => search.start('nEEdle'));
    assert.deepEqual(heard, [7, 1007, 2007]);
    rows.push('needle');
    await run(() => search.grown());
    assert.deepEqual(heard, [7, 1007, 2007, 3000]);
    await run(() => search.start('nothing of that'));
    assert.deepEqual(heard, []);
    await run(() => search.start(''));
    search.stop();
  });
});
