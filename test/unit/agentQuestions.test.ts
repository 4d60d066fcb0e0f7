import assert from 'node:assert/strict';
import fc from 'fast-check';
import { claudeCode } from '../../src/agent/claudeCode.ts';
import type { OpenQuestion, Reading } from '../../src/agent/adapter.ts';
import { misfit, type QuestionAnswer } from '../../src/protocol/question.ts';
import { aSpec } from '../support/specs.ts';

const read = (message: unknown): Reading | undefined => claudeCode.reader(aSpec())(JSON.stringify(message));

/** As the CLI prints it. */
const request = (tool: string, input: unknown, id = '3ca43b2f-7c6b-49e9-b7d5-623a7142c8d5'): unknown => ({
  type: 'control_request',
  request_id: id,
  request: { subtype: 'can_use_tool', tool_name: tool, display_name: tool, input, tool_use_id: 'toolu_0' },
});

const colours = {
  questions: [
    {
      question: 'Which colour?',
      header: 'Colour',
      multiSelect: false,
      options: [
        { label: 'Red', description: 'warm' },
        { label: 'Blue', description: 'cold' },
      ],
    },
    {
      question: 'Which sizes?',
      header: 'Size',
      multiSelect: true,
      options: [{ label: 'S', description: '' }],
    },
  ],
};

function questionOf(tool: string, input: unknown): OpenQuestion {
  const question = read(request(tool, input))?.question;
  assert.ok(question);
  return question;
}

const answered = (open: OpenQuestion, answer: QuestionAnswer): unknown =>
  JSON.parse(claudeCode.answer(open, answer));

describe("questions of Claude Code's", () => {
  it('are read with their options, and answered by their own words', () => {
    const open = questionOf('AskUserQuestion', colours);
    assert.equal(open.question.what, 'choice');
    assert.deepEqual(
      open.question.choices?.map(({ header, multiple, options }) => [header, multiple, options.length]),
      [
        ['Colour', false, 2],
        ['Size', true, 1],
      ],
    );
    assert.deepEqual(answered(open, { kind: 'choose', answers: [['Blue'], ['S', 'or larger']] }), {
      type: 'control_response',
      response: {
        subtype: 'success',
        request_id: '3ca43b2f-7c6b-49e9-b7d5-623a7142c8d5',
        response: {
          behavior: 'allow',
          updatedInput: { ...colours, answers: { 'Which colour?': 'Blue', 'Which sizes?': 'S, or larger' } },
        },
      },
    });
  });

  it('for a permission show what the tool would get, and give exactly that back', () => {
    const input = { command: 'touch a', description: 'x' };
    const open = questionOf('Bash', input);
    assert.equal(open.question.what, 'permission');
    assert.deepEqual(JSON.parse(open.question.text ?? ''), input);
    assert.deepEqual(answered(open, { kind: 'allow' }), {
      type: 'control_response',
      response: {
        subtype: 'success',
        request_id: open.question.id,
        response: { behavior: 'allow', updatedInput: input },
      },
    });
    const refused = JSON.stringify(answered(open, { kind: 'refuse', why: 'Use the script.' }));
    assert.match(refused, /"behavior":"deny","message":"Use the script."/);
    assert.match(JSON.stringify(answered(open, { kind: 'refuse' })), /does not want this/);
  });

  it('show a plan as its text', () => {
    assert.deepEqual(questionOf('ExitPlanMode', { plan: '1. Think.' }).question, {
      id: '3ca43b2f-7c6b-49e9-b7d5-623a7142c8d5',
      tool: 'ExitPlanMode',
      what: 'plan',
      text: '1. Think.',
    });
  });

  it('that nobody here understands are answered at once, so that the agent does not wait for ever', () => {
    const reading = read({
      type: 'control_request',
      request_id: 'r1',
      request: { subtype: 'hook_callback', callback_id: 'x' },
    });
    assert.equal(reading?.question, undefined);
    assert.match(reading?.reply ?? '', /"subtype":"error","request_id":"r1"/);
    const odd = read(request('Bash', {}, 'no number\n'));
    assert.equal(odd?.question, undefined);
    assert.match(odd?.reply ?? '', /"subtype":"error"/);
  });

  it('can be withdrawn', () => {
    assert.equal(read({ type: 'control_cancel_request', request_id: 'r1' })?.withdrawn, 'r1');
  });

  it('are bounded, whatever the agent puts into them', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 1 }), fc.jsonValue(), fc.nat(200_000), (tool, input, size) => {
        const reading = read(request(tool, { input, long: 'x'.repeat(size) }));
        const text = reading?.question?.question.text ?? reading?.reply ?? '';
        assert.ok(text.length <= 20_000);
      }),
      { numRuns: 50 },
    );
    const many = { questions: Array.from({ length: 50 }, () => colours.questions[0]) };
    const reading = read(request('AskUserQuestion', many));
    assert.equal(reading?.question, undefined);
    assert.match(reading?.reply ?? '', /cannot be shown/);
  });

  it('take only answers that fit', () => {
    const { question } = questionOf('AskUserQuestion', colours);
    const { question: permission } = questionOf('Bash', { command: 'ls' });
    const fits = (answer: QuestionAnswer): boolean => misfit(question, answer) === undefined;
    assert.ok(fits({ kind: 'choose', answers: [['Blue'], ['S', 'M']] }));
    assert.ok(fits({ kind: 'choose', answers: [['something else'], ['S']] }));
    assert.ok(fits({ kind: 'refuse' }));
    assert.ok(!fits({ kind: 'allow' }));
    assert.ok(!fits({ kind: 'choose', answers: [['Blue']] }));
    assert.ok(!fits({ kind: 'choose', answers: [['Blue', 'Red'], ['S']] }));
    assert.ok(!fits({ kind: 'choose', answers: [[' '], ['S']] }));
    assert.equal(misfit(permission, { kind: 'allow' }), undefined);
    assert.ok(misfit(permission, { kind: 'choose', answers: [] }) !== undefined);
  });
});

describe('an interruption of Claude Code', () => {
  it('is asked for as the CLI wants it, and what it answers is no news', () => {
    assert.deepEqual(JSON.parse(claudeCode.interrupt('r1')), {
      type: 'control_request',
      request_id: 'r1',
      request: { subtype: 'interrupt' },
    });
    assert.deepEqual(read({ type: 'control_response', response: { subtype: 'success', request_id: 'r1' } }), {
      bodies: [],
    });
    const mark = { role: 'user', content: [{ type: 'text', text: '[Request interrupted by user]' }] };
    assert.deepEqual(read({ type: 'user', message: mark }), { bodies: [] });
  });
});

describe('the command line of a conversation', () => {
  const argv = (conversation: boolean, permissions?: 'ask' | 'skip'): string => {
    const agent = { kind: 'claude-code' as const, ...(permissions === undefined ? {} : { permissions }) };
    const place = { baseUrl: '', token: '', proxyUrl: '', home: '/h', workspace: '/w', path: '' };
    return claudeCode.command({ ...aSpec({ agent }), conversation }, place).argv.join(' ');
  };

  it('lets the agent ask, and has it ask for permissions only where that is wanted', () => {
    assert.match(argv(true), /--dangerously-skip-permissions .*--permission-prompt-tool stdio/);
    assert.match(argv(true, 'ask'), /--permission-mode default .*--permission-prompt-tool stdio/);
    assert.ok(!argv(true, 'ask').includes('--dangerously-skip-permissions'));
    // Nobody could answer.
    assert.match(argv(false, 'ask'), /--dangerously-skip-permissions/);
    assert.ok(!argv(false).includes('--permission-prompt-tool'));
  });
});
