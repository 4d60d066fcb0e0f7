import assert from 'node:assert/strict';
import fc from 'fast-check';
import {
  emptyReview,
  type ReviewFile,
  type ReviewPart,
  type ReviewState,
} from '../../src/protocol/review.ts';
import { foldersOf } from '../../src/vscode/view/reviewFolders.ts';
import { findHidden } from '../../src/vscode/view/reviewHidden.ts';
import { fileDecoration, fileItem, partItem } from '../../src/vscode/view/reviewItems.ts';
import {
  fromNewSide,
  hunkAt,
  hunkBeside,
  hunksIn,
  linesOf,
  placeHunks,
  toNewSide,
} from '../../src/vscode/view/reviewLines.ts';
import { isTextConflict, mergeParts, parseMerge } from '../../src/vscode/view/reviewMerge.ts';
import {
  isDone,
  passes,
  progressOf,
  standingOf,
  verdictOfFile,
} from '../../src/vscode/view/reviewProgress.ts';
import { quoteOf, sendingWords } from '../../src/vscode/view/reviewRemarks.ts';
import {
  parseReview,
  reviewParts,
  reviewSides,
  scopeOfWord,
  scopeWord,
} from '../../src/vscode/view/reviewUri.ts';
import { acceptSentence, partsLeft, progressWords, wrapped } from '../../src/vscode/view/reviewWords.ts';
import { shaOf } from '../support/specs.ts';

const none = '0'.repeat(40);
const idOf = (word: string): string => shaOf(word).slice(0, 16);

function hunk(id: string, old: [number, number], now: [number, number]): ReviewPart {
  return {
    id: idOf(id),
    kind: 'hunk',
    old: { start: old[0], lines: old[1] },
    new: { start: now[0], lines: now[1] },
    added: now[1],
    removed: old[1],
    label: id,
    needs: [],
  };
}

function aFile(path: string, change: Partial<ReviewFile> = {}): ReviewFile {
  return {
    id: idOf(path),
    path,
    status: 'modified',
    oldMode: '100644',
    newMode: '100644',
    oldBlob: shaOf('old'),
    newBlob: shaOf('new'),
    binary: false,
    added: 2,
    removed: 1,
    parts: [hunk(`${path} 1`, [1, 1], [1, 1]), hunk(`${path} 2`, [10, 1], [10, 2])],
    gate: [],
    fingerprint: `print of ${path}`,
    ...change,
  };
}

const state = (change: Partial<ReviewState>): ReviewState => ({ ...emptyReview, ...change });
const task = 'abcdefghij0123';

describe('addresses of a review', () => {
  it('say which task, scope and file, and nothing else is read from them', () => {
    for (const scope of [
      { kind: 'all' },
      { kind: 'leftovers' },
      { kind: 'turn', turn: 12 },
      { kind: 'commit', sha: shaOf('x') },
    ] as const) {
      assert.deepEqual(scopeOfWord(scopeWord(scope)), scope);
      const { authority, query } = reviewParts(task, scope, aFile('src/a.ts'));
      assert.deepEqual(parseReview(authority, query), { id: task, scope, file: idOf('src/a.ts') });
    }
    for (const query of [
      '',
      'scope=all',
      'scope=all&file=../../etc/passwd',
      'scope=turn.0&file=x',
      'scope=all&file=zz',
    ])
      assert.equal(parseReview(task, query), undefined, query);
    assert.equal(parseReview('../x', `scope=all&file=${idOf('a')}`), undefined);
  });

  it('show in a name what cannot be seen', () => {
    const { path } = reviewParts(task, { kind: 'all' }, aFile('src/\u202etxt.exe'));
    assert.equal(path, '/src/‹U+202E›txt.exe');
  });

  it('leave a side out that does not exist, or make it empty', () => {
    const added = aFile('new.ts', { status: 'added', oldBlob: none, oldMode: '000000' });
    assert.equal(reviewSides(task, { kind: 'all' }, added, false).original, undefined);
    const { original } = reviewSides(task, { kind: 'all' }, added, true);
    assert.deepEqual(parseReview(task, original?.query ?? ''), {
      id: task,
      scope: { kind: 'all' },
      file: undefined,
    });
  });

  it('name the documents of a merge', () => {
    assert.deepEqual(parseMerge(mergeParts(3, 7, 'result', 'a').query), {
      session: 3,
      at: 7,
      side: 'result',
    });
    assert.equal(parseMerge('3.7.other'), undefined);
    const bytes = new Uint8Array();
    assert.equal(isTextConflict({ current: bytes, incoming: undefined, marked: bytes }), false);
    assert.equal(isTextConflict({ current: bytes, incoming: bytes, marked: bytes }), true);
  });
});

describe('hunks in a document', () => {
  it('stand where the document has them when hunks above are rejected', () => {
    // The first replaces two lines by five, the second deletes one.
    const parts = [hunk('a', [3, 2], [3, 5]), hunk('b', [20, 1], [22, 0])];
    const file = { parts };
    assert.deepEqual(
      placeHunks(file, {}).map(({ start, lines }) => [start, lines]),
      [
        [3, 5],
        [22, 0],
      ],
    );
    assert.deepEqual(
      placeHunks(file, { [idOf('a')]: 'rejected' }).map(({ start, lines }) => [start, lines]),
      [
        [3, 2],
        [19, 0],
      ],
    );
    assert.deepEqual(
      placeHunks(file, { [idOf('a')]: 'rejected', [idOf('b')]: 'rejected' }).map(({ start, lines }) => [
        start,
        lines,
      ]),
      [
        [3, 2],
        [20, 1],
      ],
    );
  });

  it('are found at the cursor, in a selection, and beside it', () => {
    const hunks = placeHunks({ parts: [hunk('a', [3, 2], [3, 2]), hunk('b', [20, 1], [20, 0])] }, {});
    assert.equal(hunkAt(hunks, 4)?.part.label, 'a');
    assert.equal(hunkAt(hunks, 6)?.part.label, 'a');
    assert.equal(hunkAt(hunks, 10), undefined);
    assert.equal(hunkAt(hunks, 20)?.part.label, 'b');
    assert.deepEqual(hunksIn(hunks, 1, 30).length, 2);
    assert.equal(hunkBeside(hunks, 4, 1)?.part.label, 'b');
    assert.equal(hunkBeside(hunks, 30, -1)?.part.label, 'b');
    assert.equal(hunkBeside(hunks, 30, 1), undefined);
    assert.deepEqual(linesOf({ start: 0, lines: 0 }), { first: 1, last: 1 });
  });

  it('leave every line outside of them where it is, there and back', () => {
    const gap = fc.integer({ min: 1, max: 6 });
    const size = fc.integer({ min: 0, max: 4 });
    const shapes = fc.array(fc.tuple(gap, size, size, fc.boolean()), { maxLength: 8 });
    fc.assert(
      fc.property(shapes, (made) => {
        let [old, now] = [1, 1];
        const parts: ReviewPart[] = [];
        const verdicts: Record<string, 'rejected'> = {};
        // What the document is, line by line: the number on the new side, or undefined within a rejected hunk.
        const document: (number | undefined)[] = [];
        for (const [at, [space, oldLines, newLines, rejected]] of made.entries()) {
          for (let i = 0; i < space; i++) document.push(now + i);
          old += space;
          now += space;
          if (oldLines + newLines === 0) continue;
          const start = (lines: number, line: number): [number, number] => [
            lines === 0 ? line - 1 : line,
            lines,
          ];
          parts.push(hunk(String(at), start(oldLines, old), start(newLines, now)));
          if (rejected) verdicts[idOf(String(at))] = 'rejected';
          if (rejected) for (let i = 0; i < oldLines; i++) document.push(undefined);
          else for (let i = 0; i < newLines; i++) document.push(now + i);
          old += oldLines;
          now += newLines;
        }
        for (let i = 0; i < 3; i++) document.push(now + i);
        for (const [index, line] of document.entries()) {
          if (line === undefined) continue;
          assert.equal(toNewSide({ parts }, verdicts, index + 1), line);
          assert.equal(fromNewSide({ parts }, verdicts, line), index + 1);
        }
        for (const { start, lines, verdict, part } of placeHunks({ parts }, verdicts)) {
          for (let i = 0; i < lines; i++)
            assert.equal(
              document[start - 1 + i],
              verdict === 'rejected' ? undefined : (part.new?.start ?? 0) + i,
            );
        }
      }),
      { numRuns: 200 },
    );
  });
});

describe('how a file stands', () => {
  const file = aFile('src/a.ts');
  const [one, two] = file.parts.map(({ id }) => id) as [string, string];

  it('is what was decided about all of its parts', () => {
    assert.equal(verdictOfFile(file, state({})), 'open');
    assert.equal(verdictOfFile(file, state({ verdicts: { [one]: 'accepted' } })), 'partly');
    assert.equal(
      verdictOfFile(file, state({ verdicts: { [one]: 'rejected', [two]: 'rejected' } })),
      'rejected',
    );
    assert.equal(verdictOfFile(file, state({ taken: { [one]: ['x'], [two]: ['x'] } })), 'taken');
    // What was taken without what was rejected has nothing left; what is decided both ways neither.
    assert.equal(
      verdictOfFile(file, state({ taken: { [one]: ['x'] }, verdicts: { [two]: 'rejected' } })),
      'taken',
    );
    assert.equal(verdictOfFile(file, state({ taken: { [one]: ['x'] } })), 'partly');
    assert.equal(verdictOfFile(file, state({ verdicts: { [one]: 'accepted', [two]: 'rejected' } })), 'mixed');
    assert.equal(isDone({ verdict: 'mixed', reviewed: false }), true);
    assert.equal(isDone({ verdict: 'partly', reviewed: false }), false);
    assert.equal(isDone({ verdict: 'open', reviewed: true }), true);
  });

  it('is counted, with what waits at the gate', () => {
    const gate = aFile('package.json', { gate: [{ kind: 'scripts', why: 'It runs.' }] });
    const now = state({ verdicts: { [one]: 'rejected', [two]: 'rejected' } });
    const diff = { scope: { kind: 'all' as const }, from: none, to: none, files: [gate, file] };
    assert.equal(progressWords(progressOf(diff, now)), '1 of 2 files done · 1 to look at first');
    assert.equal(passes('gate', gate, standingOf(gate, now, new Set()), now), true);
    assert.equal(passes('rejected', gate, standingOf(gate, now, new Set()), now), false);
    assert.equal(passes('unreviewed', file, standingOf(file, now, new Set()), now), false);
    assert.equal(passes('returned', file, standingOf(file, now, new Set([one])), now), true);
  });

  it('is said in its line, for eyes and for ears, and never with hidden characters', () => {
    const item = fileItem(
      aFile('src/\u200bevil.ts', { from: 'src/b.ts', status: 'renamed' }),
      standingOf(file, state({ verdicts: { [one]: 'accepted', [two]: 'accepted' } }), new Set()),
      'shown',
    );
    assert.equal(item.label, '‹U+200B›evil.ts');
    assert.equal(item.description, '+2 −1 · accepted · src · from src/b.ts');
    assert.equal(item.contextValue, 'file accepted unreviewed plain');
    assert.match(item.accessibility, /renamed, \+2 minus 1, accepted, not reviewed$/);
    const back = standingOf(file, state({}), new Set([one]));
    assert.equal(fileDecoration(file, back).badge, 'M!');
    assert.match(partItem(file.parts[0]!, state({}), new Set([one])).tooltip, /here again/);
  });
});

describe('words of a review', () => {
  it('find every hidden character, and none in plain text', () => {
    assert.deepEqual(findHidden('plain\r\n\ttext\n'), []);
    assert.deepEqual(findHidden('a\nb\u202ec\n'), [{ line: 1, start: 1, end: 2, shown: '‹U+202E›' }]);
    assert.deepEqual(findHidden('x\u{e0041}y'), [{ line: 0, start: 1, end: 3, shown: '‹U+E0041›' }]);
    assert.equal(findHidden('\u200b'.repeat(5000)).length, 2000);
  });

  it('put files into folders, joined where a folder holds only another', () => {
    const root = foldersOf(['src/deep/er/a', 'src/deep/b', 'top'].map((path) => ({ path })));
    assert.deepEqual(
      root.folders.map(({ name, path, all }) => [name, path, all.length]),
      [['src/deep', 'src/deep', 2]],
    );
    assert.deepEqual(root.folders[0]?.folders[0]?.files, [{ path: 'src/deep/er/a' }]);
    assert.deepEqual(root.files, [{ path: 'top' }]);
  });

  it('say what will happen before it does', () => {
    const file = aFile('a');
    assert.equal(partsLeft([file], new Set([file.parts[0]!.id])), 1);
    const plan = { files: 2, partsLeft: 1, repository: 'demo' };
    assert.equal(
      acceptSentence({ ...plan, target: { kind: 'tree', staged: false } }),
      '2 files without 1 part will be written to your working tree in demo; nothing is staged or committed.',
    );
    assert.match(acceptSentence({ ...plan, target: { kind: 'branch', branch: 'x' } }), /your files stay/);
  });

  it('keep the lines that a remark is about, and say when the agent gets it', () => {
    assert.equal(quoteOf('a\r\nb\r\nc\n', 0, 1), 'a\nb');
    assert.match(sendingWords(2, 1, undefined), /^2 remarks and 1 rejected part\. /);
    assert.deepEqual(wrapped('one two three', 7), ['one two', 'three']);
  });
});
