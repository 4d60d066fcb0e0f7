import assert from 'node:assert/strict';
import { forgeKinds } from '../../src/forge/names.ts';
import {
  markOf,
  pullRequestBody,
  pullRequestDraft,
  pullRequestTitle,
} from '../../src/forge/pullRequestText.ts';
import type { TaskEventBody } from '../../src/protocol/taskEvent.ts';
import { reduce } from '../../src/protocol/foldTask.ts';
import { initialState, type TaskState } from '../../src/protocol/taskState.ts';
import { aCommit, aSpec } from '../support/specs.ts';

function stateOf(...bodies: TaskEventBody[]): TaskState {
  let state = initialState(aSpec({ title: 'The task', prompt: 'Do it' }), 1);
  for (const body of bodies) state = reduce(state, { ...body, n: state.lastEvent + 1, t: 2 });
  return state;
}

describe('forgePullRequestText', () => {
  const one = { ...aCommit('one'), subject: 'Add a thing', body: 'Because it\nwas missing.' };
  const two = { ...aCommit('two'), subject: 'Fix it', body: '' };

  it('makes of one commit its title and its words', () => {
    assert.deepEqual(pullRequestDraft({ state: stateOf(), commits: [one] }), {
      title: 'Add a thing',
      body: '```text\nBecause it\nwas missing.\n```',
    });
    assert.deepEqual(pullRequestDraft({ state: stateOf(), commits: [two] }), { title: 'Fix it', body: '' });
  });

  it("makes of several the task's title and a list", () => {
    const { title, body } = pullRequestDraft({ state: stateOf(), commits: [one, two] });
    assert.equal(title, 'The task');
    assert.equal(
      body,
      `### Commits

- \` ${one.sha.slice(0, 10)} \` \` Add a thing \`

  \`\`\`text
  Because it
  was missing.
  \`\`\`

- \` ${two.sha.slice(0, 10)} \` \` Fix it \``,
    );
  });

  it('lists what is in the way when the task failed, before the commits', () => {
    const state = stateOf({
      type: 'ended',
      outcome: 'failed',
      kind: 'agent_error',
      message: 'It @broke',
      mend: 'Try again',
    });
    for (const commits of [[one], [one, two]]) {
      const { body } = pullRequestDraft({ state, commits });
      assert.match(body, /### Blockers\n\n- Failure: ` agent_error `\n- It said: ` It @broke `/);
      assert.match(body, /- What to do: ` Try again `/);
    }
  });

  it('lets nothing be obeyed, wherever a forge thinks that a code ends', () => {
    const hostile = ['```', '/merge', '/assign @ada', '````', '~~~', '/close', '>>>', '/label x', '<pre>'];
    for (let i = 0; i < hostile.length; i++) {
      const body = [...hostile.slice(i), ...hostile.slice(0, i)].join('\n');
      const commits = [{ ...one, body, subject: '/merge' }, two];
      const state = stateOf({ type: 'ended', outcome: 'failed', kind: 'killed', message: '/merge\n/close' });
      for (const text of [
        pullRequestDraft({ state, commits }),
        pullRequestDraft({ state, commits: commits.slice(0, 1) }),
        {
          title: pullRequestTitle('/merge'),
          body: pullRequestBody(
            { state: { ...state, spec: { ...state.spec, prompt: body } }, owner: '/ada', pushedCommit: '' },
            'gitlab',
          ),
        },
      ]) {
        assert.doesNotMatch(text.body, /^\//m);
        assert.doesNotMatch(text.title, /^\//);
      }
    }
    const returned = pullRequestDraft({
      state: stateOf(),
      commits: [{ ...one, body: 'a\n\r/merge\r\n\r/close' }],
    });
    assert.doesNotMatch(returned.body.replaceAll('\r', ''), /^\//m);
  });

  it('parts what a title could say to a forge, and keeps what it says to people', () => {
    const cases: [string, string][] = [
      ['Ask @ada about #12 and !7, GH-3', 'Ask @ ada about # 12 and ! 7, GH 3'],
      ['See https://example.com/1', 'See example.com/1'],
      ['WIP: [Draft] (draft) Draft the notes', 'Draft the notes'],
      ['Draft the notes', 'Draft the notes'],
      ['WIPe the disk', 'WIPe the disk'],
      ['Mention @{557058:x}', 'Mention @ {557058:x}'],
      ['two\nlines\x1b[31m', 'two lines'],
      ['Draft:', 'Changes of an agent'],
      ['', 'Changes of an agent'],
    ];
    for (const [given, wanted] of cases) assert.equal(pullRequestTitle(given), wanted, given);
  });

  it('is never longer than every forge takes', () => {
    const long = `${'`'.repeat(5000)}\n`.repeat(200);
    const commits = Array.from({ length: 300 }, (_, i) => ({
      ...aCommit(`c${i}`),
      body: long,
      subject: long,
    }));
    const state = stateOf({ type: 'ended', outcome: 'failed', kind: 'exit', message: long, mend: long });
    state.spec.prompt = long;
    for (const { body, title } of [
      pullRequestDraft({ state, commits }),
      pullRequestDraft({ state, commits: commits.slice(0, 1) }),
      {
        title: pullRequestTitle(long),
        body: pullRequestBody({ state, owner: long, pushedCommit: '' }, 'bitbucket'),
      },
    ]) {
      assert.ok(body.length <= 30_000, `${body.length}`);
      assert.ok(title.length <= 250);
    }
  });

  it('has a mark of its own that no reader sees', () => {
    for (const kind of forgeKinds) {
      const facts = { state: stateOf(), owner: 'ada', pushedCommit: undefined };
      const body = pullRequestBody(facts, kind);
      assert.ok(body.startsWith(markOf(facts.state.spec.id, kind)), kind);
      assert.match(body, kind.startsWith('bitbucket') ? /^\[\/\/\]: # \(.*\)\n\n/ : /^<!-- .* -->\n\n/);
    }
  });
});
