import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { SallyportError } from '../../src/base/errors.ts';
import { reduce } from '../../src/protocol/foldTask.ts';
import { initialState } from '../../src/protocol/taskState.ts';
import {
  consentPage,
  newHandshake,
  programName,
  readReturn,
  returnPath,
} from '../../src/vscode/view/handshake.ts';
import {
  clock,
  defaultPlace,
  findPlace,
  freeName,
  type Place,
  type PlaceStatus,
  placeWords,
  shownStatus,
  thisMachinePlace,
} from '../../src/vscode/view/places.ts';
import { problemButtons } from '../../src/vscode/view/problemButtons.ts';
import {
  anySwitch,
  asksToPush,
  switchChoices,
  switchesOf,
  uploadWords,
} from '../../src/vscode/view/taskOptions.ts';
import { groupTasks, taskView } from '../../src/vscode/view/taskView.ts';
import { TerminalText } from '../../src/vscode/view/terminalText.ts';
import { aSpec } from '../support/specs.ts';

const away = new SallyportError('runner_unreachable', 'Nothing listens there.', 'Start it.');
const online: PlaceStatus = {
  kind: 'online',
  version: { name: 'sallyport-runner', version: '1.2.3', api: 1, oldestApi: 1 },
  user: { id: 'u', name: 'Ada', role: 'member' },
};
const noon = new Date(2026, 10, 21, 12, 0).getTime();
const offline: PlaceStatus = { kind: 'offline', since: noon, error: away };

function aPlace(change: Partial<Place> = {}): Place {
  return {
    id: '0123456789abcdef',
    name: 'Build',
    url: 'https://runner.example.com/',
    status: online,
    ...change,
  };
}

describe('signing in through the browser', () => {
  it('shows the runner only what the verifier hashes to, and a fresh one each time', () => {
    const one = newHandshake();
    const two = newHandshake();
    assert.equal(one.challenge, createHash('sha256').update(one.verifier).digest('base64url'));
    assert.equal(new Set([one.verifier, two.verifier, one.state, two.state, one.challenge]).size, 5);
    assert.match(one.verifier, /^[A-Za-z0-9_-]{43,128}$/);
    const callback = `vscode://sallyport.sallyport${returnPath}?windowId=1`;
    const page = new URL(
      consentPage(new URL('https://runner.example.com/base/'), callback, one, 'VS Code on box & co'),
    );
    assert.equal(page.origin + page.pathname, 'https://runner.example.com/base/connect');
    assert.deepEqual(Object.fromEntries(page.searchParams), {
      callback,
      challenge: one.challenge,
      state: one.state,
      name: 'VS Code on box & co',
    });
    assert.equal(page.href.includes(one.verifier), false);
  });

  it('reads the way back, and nothing else', () => {
    const state = 's'.repeat(32);
    const code = 'c'.repeat(43);
    assert.deepEqual(readReturn(returnPath, `windowId=1&code=${code}&state=${state}`), { state, code });
    for (const [path, query] of [
      ['/other', `code=${code}&state=${state}`],
      [returnPath, `code=${code}`],
      [returnPath, `state=${state}`],
      [returnPath, `code=&state=${state}`],
      [returnPath, `code=${'c'.repeat(300)}&state=${state}`],
      [returnPath, `code=${encodeURIComponent('../../etc/passwd')}&state=${state}`],
      [returnPath, ''],
    ] as const)
      assert.equal(readReturn(path, query), undefined, `${path}?${query}`);
  });

  it('names the editor in plain letters', () => {
    assert.equal(programName('VS Code', 'box\u202e\n'), 'VS Code on box??');
    assert.equal(programName('x'.repeat(300), 'y').length, 100);
  });
});

describe('a runner in the tree', () => {
  it('says how it stands with it', () => {
    const words = (status: PlaceStatus): string => placeWords(aPlace({ status }), noon).description;
    assert.equal(words(online), '');
    assert.equal(words({ kind: 'idle' }), 'connecting…');
    assert.equal(words(offline), 'offline since 12:00');
    assert.equal(words({ kind: 'refused', error: away }), 'signed out');
    assert.equal(words({ kind: 'version', update: 'runner', error: away }), 'update the runner');
    assert.equal(words({ kind: 'version', update: 'client', error: away }), 'update Sallyport');
    assert.match(
      placeWords(aPlace({ status: offline }), noon).tooltip,
      /Nothing listens there\.\nStart it\./,
    );
    assert.match(placeWords(aPlace(), noon).tooltip, /as Ada \(member\)/);
    assert.equal(placeWords(thisMachinePlace, noon).contextValue, 'place');
  });

  it('tells the day when it is not today', () => {
    assert.equal(clock(noon, noon + 3_600_000), '12:00');
    assert.equal(clock(noon, noon + 24 * 3_600_000), '2026-11-21 12:00');
  });

  it('says why it has to be tried again, not that it is', () => {
    assert.equal(shownStatus(offline, { kind: 'connecting' }), offline);
    assert.equal(shownStatus(offline, online), online);
    assert.deepEqual(shownStatus(online, { kind: 'connecting' }), { kind: 'connecting' });
    assert.equal(shownStatus({ kind: 'connecting' }, offline), offline);
  });

  it('shows what its name holds as text on one line', () => {
    const { tooltip } = placeWords(aPlace({ name: 'a\u202eb\nc' }), noon);
    assert.equal(tooltip.split('\n')[1], 'https://runner.example.com/');
    assert.equal(tooltip.includes('\u202e'), false);
  });

  it('lets its running tasks stand still while it is away, and names it', () => {
    const state = initialState(aSpec(), noon - 60_000);
    const here = taskView(state, noon + 3_600_000, false);
    const there = taskView(state, noon + 3_600_000, false, { name: 'Build', since: noon });
    assert.match(here.description, /1h 01m/);
    assert.match(there.description, /^last seen 12:00 · 1m 00s/);
    assert.equal(there.icon, 'debug-disconnect');
    assert.match(there.tooltip, /^Runner: Build$/m);
    const over = reduce(state, { n: 1, t: noon, type: 'ended', outcome: 'succeeded', message: 'Done.' });
    assert.equal(taskView(over, noon, false, { name: 'Build', since: noon }).icon, 'pass-filled');
  });

  it('has tasks of repositories that are not on this machine', () => {
    const far = initialState(aSpec({ repository: { id: 'remote-1', name: 'far', path: '' } }), noon);
    assert.deepEqual(groupTasks([far], ['/work/demo', '/']).here, []);
    assert.match(taskView(far, noon, false).tooltip, /^Repository: far$/m);
    assert.equal(
      taskView(far, noon, true).contextValue,
      'task active result foreign',
      'nothing to accept it in',
    );
    assert.equal(taskView(initialState(aSpec(), noon), noon, true).contextValue, 'task active result');
  });

  it('has tasks of other users, to look at only', () => {
    const state = initialState(aSpec(), noon);
    const { contextValue } = taskView(state, noon, true, { name: 'Build', readOnly: true });
    assert.equal(contextValue, 'task shared result');
  });
});

describe('where a task runs', () => {
  const build = aPlace();
  const other = aPlace({ id: 'fedcba9876543210', name: 'Other', url: 'http://localhost:8080/' });
  const places = [thisMachinePlace, build, other];

  it('is what was said, then what was chosen last, then the setting, then this machine', () => {
    assert.equal(defaultPlace(places, other.id, build.id, 'Build'), other);
    assert.equal(defaultPlace(places, undefined, build.id, 'Other'), build);
    assert.equal(defaultPlace(places, undefined, 'gone', 'http://localhost:8080'), other);
    assert.equal(defaultPlace(places, undefined, undefined, ''), thisMachinePlace);
    assert.equal(defaultPlace(places, undefined, 'local', 'Build'), thisMachinePlace, 'chosen on purpose');
  });

  it('is named by id, name or address', () => {
    for (const wish of [build.id, 'Build', 'https://runner.example.com', 'HTTPS://runner.example.com/'])
      assert.equal(findPlace(places, wish), build, wish);
    assert.equal(findPlace(places, 'https://runner.example.com.evil.example.com'), undefined);
  });

  it('has a name of its own', () => {
    const url = new URL('https://runner.example.com/team/');
    assert.equal(freeName(url, []), 'runner.example.com');
    assert.equal(freeName(url, ['runner.example.com']), 'runner.example.com/team');
    assert.equal(freeName(url, ['runner.example.com', 'runner.example.com/team']), 'runner.example.com (2)');
  });

  it('can have the agent commit often, and nothing that a task from here cannot have', () => {
    assert.deepEqual(
      switchChoices({ commitEach: true, autoPush: true }, false).map(({ key, picked }) => [key, picked]),
      [['commitEach', true]],
    );
    assert.deepEqual(switchesOf({ commitEach: true, autoPush: true }, false), { commitEach: true });
    assert.deepEqual(switchesOf({ commitEach: true, draftEarly: undefined }, true), { commitEach: true });
    assert.deepEqual(
      switchChoices({ autoPush: true }, true).map(({ key, picked }) => [key, picked]),
      [
        ['commitEach', false],
        ['autoPush', true],
        ['draftEarly', false],
        ['autoPullRequest', false],
      ],
      'this machine can push',
    );
    assert.equal(anySwitch({ commitEach: false }), false);
    assert.equal(anySwitch({ commitEach: true }), true);
    assert.equal(asksToPush({ commitEach: true, autoPush: false }), false);
    for (const key of ['autoPush', 'draftEarly', 'autoPullRequest'] as const)
      assert.equal(asksToPush({ [key]: true }), true);
  });

  it('tells how much has gone there', () => {
    assert.equal(
      uploadWords({ task: 'x', stage: 'uploading', done: 1_000_000, total: 4_200_000 }),
      '1.0 MB of 4.2 MB',
    );
  });
});

describe('a failure of a runner', () => {
  it('offers to sign in again, or to try again', () => {
    const titles = (code: Parameters<typeof problemButtons>[0]): string[] =>
      problemButtons(code, true).map(({ title }) => title);
    assert.deepEqual(titles('unauthorized'), ['Retry', 'Sign In Again', 'Runners…']);
    assert.deepEqual(titles('runner_unreachable'), ['Retry', 'Runners…', 'Open Settings']);
    assert.deepEqual(titles('runner_version'), ['Retry', 'Runners…']);
  });
});

describe('a terminal of a sandbox', () => {
  const show = (...pieces: string[]): string => {
    const text = new TerminalText();
    return pieces.map((piece) => text.take(Buffer.from(piece))).join('');
  };

  it('moves, colours and clears', () => {
    const plain = '\x1b[31mred\x1b[0m\r\n\x1b[2J\x1b[1;1H\x1b(B\x1bM ünï\x07';
    assert.equal(show(plain), plain);
  });

  it('reads and writes no clipboard, makes no links, and is no shell of the user', () => {
    for (const string of [
      '\x1b]52;c;?\x07',
      '\x1b]52;c;ZXZpbA==\x1b\\',
      '\x1b]8;;command:evil\x07',
      '\x1b]633;E;rm -rf ~\x07',
      '\x1b]1337;SetMark\x1b\\',
      '\x1bP+q544e\x1b\\',
      '\x1b_evil\x1b\\',
      '\x1b^evil\x1b\\',
      '\x1bXevil\x1b\\',
      '\x9d52;c;?\x9c',
      '\x905;evil\x9c',
      '\x1b]52;c;\x1b]52;c;?\x07',
    ])
      assert.equal(show(`a${string}b`), 'ab', JSON.stringify(string));
  });

  it('is not deceived by where a piece ends', () => {
    const said = 'a\x1b]52;c;?\x07b\x1b[31mc\x1b\x1b]0;x\x1b\\dü';
    const whole = show(said);
    assert.equal(whole, 'ab\x1b[31mcdü');
    const bytes = Buffer.from(said);
    for (let at = 1; at < bytes.length; at++) {
      const text = new TerminalText();
      assert.equal(text.take(bytes.subarray(0, at)) + text.take(bytes.subarray(at)), whole, `cut at ${at}`);
    }
  });

  it('goes on after a string that never ends', () => {
    assert.match(show(`\x1b]${'x'.repeat(70_000)}after`), /after$/);
  });
});
