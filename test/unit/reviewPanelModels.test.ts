import assert from 'node:assert/strict';
import { type FileText, sliceText, type Stretch } from '../../src/protocol/reviewText.ts';
import type { ReviewFile, ReviewPart } from '../../src/protocol/review.ts';
import { encodeParts, fileBatches, filesFirst, readFiles, readParts } from '../../src/protocol/panelFiles.ts';
import { imageType } from '../../src/protocol/reviewMessages.ts';
import { PanelRequest } from '../../src/protocol/panelMessages.ts';
import { readPatch } from '../../webview/dashboard/patchReview.ts';
import { headRows, textRows } from '../../webview/task/review/fileRows.ts';
import { keyOf } from '../../webview/task/review/keys.ts';
import { difference } from '../../webview/task/review/lineDifference.ts';
import { PartsLoader } from '../../webview/task/review/partsLoader.ts';
import { noReview, ReviewModel } from '../../webview/task/review/reviewModel.ts';
import { RowHeights } from '../../webview/task/review/rowHeights.ts';
import { chance } from '../support/chance.ts';

let made = 0;

function aPart(change: Partial<ReviewPart> = {}): ReviewPart {
  made += 1;
  return {
    id: made.toString(16).padStart(16, '0'),
    kind: 'hunk',
    added: 1,
    removed: 1,
    label: 'x',
    needs: [],
    old: { start: 1, lines: 1 },
    new: { start: 1, lines: 1 },
    ...change,
  };
}

function aFile(path: string, change: Partial<ReviewFile> = {}): ReviewFile {
  made += 1;
  return {
    id: made.toString(16).padStart(16, '0'),
    path,
    status: 'modified',
    oldMode: '100644',
    newMode: '100644',
    oldBlob: '1'.repeat(40),
    newBlob: '2'.repeat(40),
    binary: false,
    added: 1,
    removed: 1,
    parts: [aPart()],
    gate: [],
    fingerprint: `print of ${path}`,
    ...change,
  };
}

/** Both sides again, as far as the stretches have them; gaps from the true lines. */
function sidesOf(text: FileText, old: readonly string[], now: readonly string[]): [string[], string[]] {
  const before: string[] = [];
  const after: string[] = [];
  for (const stretch of text.stretches) {
    assert.equal(stretch.old, before.length + 1, 'a stretch begins where the one before ended');
    assert.equal(stretch.new, after.length + 1);
    if (stretch.kind === 'change') {
      before.push(...stretch.removed);
      after.push(...stretch.added);
    } else {
      const count = stretch.kind === 'gap' ? stretch.lines : stretch.lines.length;
      before.push(...old.slice(before.length, before.length + count));
      after.push(...(stretch.kind === 'gap' ? now.slice(after.length, after.length + count) : stretch.lines));
    }
  }
  return [before, after];
}

describe('the lines of a file in the review', () => {
  it('are both sides, whatever changed and however much is shown around it', () => {
    for (let run = 0; run < 300; run++) {
      const random = chance(run);
      const old: string[] = [];
      const now: string[] = [];
      const parts: ReviewPart[] = [];
      for (let block = 0; block < random(6); block++) {
        for (let i = random(12); i >= 0; i--) {
          old.push(`same ${old.length}`);
          now.push(old.at(-1) ?? '');
        }
        const removed = random(4);
        const added = removed === 0 ? 1 + random(3) : random(4);
        parts.push(
          aPart({
            old: { start: removed === 0 ? old.length : old.length + 1, lines: removed },
            new: { start: added === 0 ? now.length : now.length + 1, lines: added },
          }),
        );
        for (let i = 0; i < removed; i++) old.push(`old ${old.length}`);
        for (let i = 0; i < added; i++) now.push(`new ${now.length}`);
      }
      for (let i = random(9); i > 0; i--) {
        old.push('end');
        now.push('end');
      }
      const of = (lines: readonly string[]): string => lines.map((line) => `${line}\n`).join('');
      const text = sliceText(of(old), of(now), parts, random(5));
      assert.deepEqual(sidesOf(text, old, now), [old, now], `run ${run}`);
      assert.deepEqual(
        text.stretches.flatMap((stretch) => (stretch.kind === 'change' ? [stretch.part] : [])),
        parts.map(({ id }) => id),
      );
      for (const split of [true, false]) {
        const keys = textRows(aFile('a', { parts }), text, { split, remarks: [] }).map(({ key }) => key);
        assert.equal(new Set(keys).size, keys.length, `keys name one row each, run ${run}`);
      }
    }
  });

  it('say which side ends without a newline, and how much is left out', () => {
    const part = aPart({ kind: 'add', added: 3, removed: 0 });
    const text = sliceText(undefined, 'a\nb\nc', [part], 3);
    assert.deepEqual(text.open, { old: false, new: true });
    assert.deepEqual(text.total, { old: 0, new: 3 });
    const many = sliceText(undefined, 'x\n'.repeat(30_000), [part], 3);
    assert.equal(many.left, 10_000);
    const long = sliceText(undefined, `${'x'.repeat(10_000)}evil\n`, [part], 3);
    const [first] = long.stretches as Extract<Stretch, { kind: 'change' }>[];
    assert.match(first?.added[0] ?? '', /6,004 more characters$/);
  });

  it('are told from a patch of git, with odd names, renames, modes and missing newlines', () => {
    const files = readPatch(
      [
        'diff --git "a/\\303\\244 b.txt" "b/\\303\\244 b.txt"',
        `index ${'1'.repeat(40)}..${'2'.repeat(40)} 100644`,
        '--- "a/\\303\\244 b.txt"',
        '+++ "b/\\303\\244 b.txt"',
        '@@ -3,3 +3,3 @@ function',
        ' one',
        '---two',
        '+++three',
        '\\ No newline at end of file',
        'diff --git a/old.sh b/new.sh',
        'old mode 100644',
        'new mode 100755',
        'similarity index 100%',
        'rename from old.sh',
        'rename to new.sh',
        'diff --git a/gone b/gone',
        'deleted file mode 100644',
        `index ${'1'.repeat(40)}..${'0'.repeat(40)}`,
        '--- a/gone',
        '+++ /dev/null',
        '@@ -1 +0,0 @@',
        '-diff --git a/x b/x',
        'diff --git a/i.png b/i.png',
        'new file mode 100644',
        `index ${'0'.repeat(40)}..${'3'.repeat(40)}`,
        'Binary files /dev/null and b/i.png differ',
        '',
      ].join('\n'),
    );
    assert.deepEqual(
      files.map(({ file }) => [file.path, file.status, file.added, file.removed]),
      [
        ['ä b.txt', 'modified', 1, 1],
        ['new.sh', 'renamed', 0, 0],
        ['gone', 'deleted', 0, 1],
        ['i.png', 'added', undefined, undefined],
      ],
    );
    const [first, second] = files;
    assert.ok(first !== undefined && second !== undefined);
    assert.deepEqual(first.text.stretches, [
      { kind: 'gap', old: 1, new: 1, lines: 2 },
      { kind: 'same', old: 3, new: 3, lines: ['one'] },
      {
        kind: 'change',
        part: first.file.parts[0]?.id,
        old: 4,
        new: 4,
        removed: ['--two'],
        added: ['++three'],
      },
    ]);
    assert.deepEqual(first.text.open, { old: false, new: true });
    assert.deepEqual(
      second.file.parts.map(({ kind }) => kind),
      ['rename', 'mode'],
    );
    assert.equal(second.file.from, 'old.sh');
    assert.equal(new Set(files.flatMap(({ file }) => file.parts.map(({ id }) => id))).size, 5);
  });
});

describe('the model of the review', () => {
  const gate = aFile('z/package.json', { gate: [{ kind: 'scripts', why: 'It runs.' }] });
  const plain = aFile('a.ts', { parts: [aPart(), aPart()] });
  const empty = aFile('b.ts', { parts: [] });
  const model = (): ReviewModel => {
    const made = new ReviewModel();
    made.setFiles([plain, gate, empty]);
    return made;
  };

  it('puts what is to be looked at first before the others, and finds files by words', () => {
    const one = model();
    assert.deepEqual(
      one.shown.map(({ path }) => path),
      ['z/package.json', 'a.ts', 'b.ts'],
    );
    one.setFilter('JSON z');
    assert.deepEqual(
      one.shown.map(({ path }) => path),
      ['z/package.json'],
    );
    one.setFilter('  ');
    assert.equal(one.shown.length, 3);
  });

  it('goes from part to part over the borders of files, and back the same way', () => {
    const one = model();
    const way: string[] = [];
    let at = { file: 0, part: -1 };
    for (let next = one.step(at, 1); next !== undefined; next = one.step(at, 1)) {
      at = next;
      way.push(`${at.file}/${at.part}`);
    }
    assert.deepEqual(way, ['0/0', '1/0', '1/1', '2/-1']);
    const back: string[] = [`${at.file}/${at.part}`];
    for (let next = one.step(at, -1); next !== undefined; next = one.step(at, -1)) {
      at = next;
      back.push(`${at.file}/${at.part}`);
    }
    assert.deepEqual(back.reverse(), way);
    assert.deepEqual(one.stepFile({ file: 1, part: 1 }, -1), { file: 1, part: -1 });
    assert.deepEqual(one.stepFile({ file: 1, part: -1 }, -1), { file: 0, part: -1 });
    assert.equal(one.stepFile({ file: 2, part: -1 }, 1), undefined);
  });

  it('counts what is reviewed and decided, and knows what came back', () => {
    const one = model();
    one.setState({
      ...noReview,
      verdicts: { [plain.parts[0]?.id ?? '']: 'accepted', [plain.parts[1]?.id ?? '']: 'rejected' },
      reviewed: { [gate.fingerprint]: true },
      returned: [plain.parts[1]?.id ?? ''],
    });
    assert.deepEqual(one.progress, { files: 3, reviewed: 1, accepted: 1, rejected: 1, parts: 3 });
    assert.equal(one.cameBack(plain), true);
    assert.equal(one.cameBack(gate), false);
  });

  it('names a rename, a mode and a reason of the gate above the lines', () => {
    const file = aFile('run.sh', {
      from: 'start.sh',
      newMode: '100755',
      parts: [aPart({ kind: 'rename' }), aPart({ kind: 'mode' }), aPart()],
      gate: [{ kind: 'mode', why: 'It can be run.' }],
    });
    assert.deepEqual(
      headRows(file).map((row) => (row.kind === 'words' ? row.text : row.kind)),
      [
        'gate',
        'part',
        'Renamed from start.sh',
        'part',
        'Mode 100644 (plain file) → 100755 (executable file)',
      ],
    );
  });
});

describe('a large review', () => {
  const hunks = (count: number): ReviewPart[] => Array.from({ length: count }, () => aPart());
  const first = aFile('a.ts', { parts: hunks(150), added: 150, removed: 150 });
  const renamed = aFile('b.ts', { from: 'z.ts', parts: [aPart({ kind: 'rename' }), ...hunks(60)] });
  const added = aFile('c.ts', { parts: [aPart({ kind: 'add' })] });
  const all = [first, renamed, added, aFile('d.ts')];
  /** As the panel gets them first. */
  const panelFiles = (): ReturnType<typeof readFiles> => fileBatches(filesFirst(all)).flatMap(readFiles);

  it('comes without the hunks that are not in sight, but with what is of whole files', () => {
    assert.deepEqual(
      panelFiles().map(({ parts, coming }) => [parts.length, coming]),
      [
        [150, undefined],
        [1, 60],
        [1, undefined],
        [0, 1],
      ],
    );
    assert.deepEqual(filesFirst(all.slice(0, 1)), all.slice(0, 1), 'a small one comes as it is');
  });

  it('is the same review when its parts are there, whatever they are mixed with', () => {
    const model = new ReviewModel();
    model.setFiles(panelFiles());
    model.setState({ ...noReview, verdicts: { [renamed.parts[0]?.id ?? '']: 'accepted' } });
    assert.equal(model.complete, false);
    assert.equal(model.verdict(model.files[1] ?? first), 'none', 'of what has not come nothing is said');
    assert.equal(model.progress.parts, 150 + 61 + 1 + 1);
    assert.deepEqual(model.step({ file: 1, part: 60 }, 1), { file: 2, part: 0 });
    assert.deepEqual(model.step({ file: 2, part: 0 }, -1), { file: 1, part: 60 });
    const older = { ...aFile('d.ts'), id: all[3]?.id ?? '', fingerprint: 'older' };
    const arrived = model.setParts(readParts(encodeParts([renamed, first, older, aFile('e.ts')])));
    assert.deepEqual(
      arrived.map(({ path }) => path),
      ['b.ts'],
    );
    assert.equal(model.verdict(model.files[1] ?? first), 'mixed');
    assert.equal(model.complete, false);
    model.setParts(readParts(encodeParts(all)));
    assert.equal(model.complete, true);
    assert.deepEqual(model.files, all);
  });

  it('keeps the parts of what did not change when it comes again', () => {
    const model = new ReviewModel();
    model.setFiles(panelFiles());
    model.setParts(readParts(encodeParts(all)));
    const again = panelFiles().map((file) => (file.path === 'd.ts' ? { ...file, fingerprint: 'new' } : file));
    model.setFiles(again);
    assert.deepEqual(
      model.files.filter(({ coming }) => coming !== undefined).map(({ path }) => path),
      ['d.ts'],
    );
    assert.equal(model.complete, false);
  });

  it('asks for what is seen at once, and for the rest bit by bit while nothing else is wanted', () => {
    const asked: string[][] = [];
    let quiet = false;
    const loader = new PartsLoader({ ask: (_request, ids) => asked.push(ids), isQuiet: () => quiet });
    const many = Array.from({ length: 6 }, (_, n) => ({
      ...aFile(`${n}.ts`, { parts: [] }),
      coming: 200,
    }));
    const ids = many.map(({ id }) => id);
    loader.reset([...many, first]);
    loader.fill();
    assert.equal(asked.length, 0);
    loader.want(many.slice(4, 5));
    loader.want(many.slice(4, 5));
    assert.deepEqual(asked, [ids.slice(4, 5)], 'each file is asked for once');
    quiet = true;
    loader.answered(1);
    loader.fill();
    assert.deepEqual(asked.slice(1), [ids.slice(0, 2)], 'one request at a time');
    loader.answered(1);
    assert.equal(asked.length, 2, 'another answer than that which is waited for changes nothing');
    loader.answered(2);
    loader.answered(3);
    loader.answered(4);
    assert.deepEqual(asked.slice(2), [ids.slice(2, 4), ids.slice(5)]);
    // The answers were of a diff that is shown no more.
    loader.reset(many.slice(0, 1));
    loader.fill();
    assert.deepEqual(asked.at(-1), ids.slice(0, 1));
  });
});

describe('the rows of a file', () => {
  it('finds rows by their position, before and after heights were measured', () => {
    const list = new RowHeights();
    const rows = Array.from({ length: 50 }, (_, n) => ({ key: `k${n}`, kind: 'gap' as const, lines: n }));
    list.set(rows, ({ key }) => (key.endsWith('5') ? 40 : 20));
    assert.equal(list.total, 50 * 20 + 5 * 20);
    for (let row = 0; row < 50; row++) {
      assert.equal(list.at(list.top(row)), row);
      assert.equal(list.at(list.top(row) + list.height(row) - 0.1), row);
    }
    assert.equal(list.at(-1), undefined);
    // What stays keeps its height, wherever it is.
    list.set(rows.slice(5), () => 7);
    assert.equal(list.height(0), 40);
    assert.equal(list.indexOf('k7'), 2);
  });
});

describe('words of the review', () => {
  it('mark where two lines differ, if they have something in common', () => {
    assert.deepEqual(difference('const a = 1;', 'const a = 2;'), { from: 10, to: 11 });
    assert.equal(difference('abc', 'xyz'), undefined);
    assert.equal(difference('same', 'same'), undefined);
    assert.deepEqual(difference('aaaa', 'aa'), { from: 2, to: 4 });
  });

  it('mean keys only where nothing is typed', () => {
    const key = (name: string, target: unknown, change: object = {}): string | undefined =>
      keyOf({
        key: name,
        ctrlKey: false,
        metaKey: false,
        altKey: false,
        isComposing: false,
        target,
        ...change,
      });
    assert.equal(key('j', null), 'next');
    assert.equal(key('J', null), 'nextFile');
    assert.equal(key('a', { tagName: 'TEXTAREA' }), undefined);
    assert.equal(key('a', { tagName: 'INPUT', type: 'text' }), undefined);
    assert.equal(key('v', { tagName: 'INPUT', type: 'checkbox' }), 'reviewed');
    assert.equal(key('a', null, { ctrlKey: true }), undefined);
    assert.equal(key('toString', null), undefined);
  });
});

describe('messages of the review', () => {
  it('carry files in batches that are read as they were', () => {
    const files = Array.from({ length: 900 }, (_, n) => aFile(`src/file\n${n}.ts`));
    const batches = fileBatches(files);
    assert.ok(batches.length > 1);
    assert.ok(batches.every(({ length }) => length < 200_000));
    assert.deepEqual(batches.flatMap(readFiles), files);
    assert.deepEqual(fileBatches([]).flatMap(readFiles), []);
  });

  it('are refused when they are not what a panel says', () => {
    const good = { type: 'decide', what: { parts: ['0'.repeat(16)] }, verdict: 'accepted' };
    assert.ok(PanelRequest.safeParse(good).success);
    for (const bad of [
      { ...good, verdict: 'perhaps' },
      { ...good, what: { parts: ['../x'] } },
      { ...good, what: { all: false } },
      { type: 'review', request: 1, scope: { kind: 'commit', sha: '--output=x' } },
      { type: 'remark', file: '0'.repeat(16), side: 'new', line: 0, endLine: 1, text: 'x' },
      { type: 'remark', file: '0'.repeat(16), side: 'new', line: 1, endLine: 1, text: '' },
      { type: 'say', request: 1, text: '', now: false },
      { type: 'continueFrom', request: 1, turn: 0 },
      { type: 'reviewDo', what: 'push' },
    ])
      assert.ok(!PanelRequest.safeParse(bad).success, JSON.stringify(bad));
  });

  it('show no image that is a document', () => {
    assert.equal(imageType('a/b.PNG'), 'image/png');
    assert.equal(imageType('a.svg'), undefined);
    assert.equal(imageType('png'), 'image/png');
    assert.equal(imageType('a.html'), undefined);
  });
});
