import assert from 'node:assert/strict';
import { join } from 'node:path';
import fc from 'fast-check';
import { composeFile, composeParts, composeTree } from '../../src/git/parts/composeTree.ts';
import { hunkText, withHunks } from '../../src/git/parts/content.ts';
import { keepForReview, writeForReview } from '../../src/git/parts/keep.ts';
import { missingParts } from '../../src/git/parts/missingParts.ts';
import { readParts, type PartsDiff, type PartsFile } from '../../src/git/parts/readParts.ts';
import { git } from '../../src/git/process.ts';
import { Quarantine } from '../../src/git/quarantine.ts';
import type { PartId, ReviewPart } from '../../src/protocol/review.ts';
import { GitRepo, temporaryFolder } from '../support/gitRepo.ts';
import {
  content,
  twoTrees,
  writeObject,
  writeTree,
  type ModelFile,
  type ModelTree,
} from '../support/randomTrees.ts';

const runs = { numRuns: Number(process.env.SALLYPORT_PROPERTY_RUNS ?? 25) };

describe('the parts of a diff', function () {
  this.timeout(240_000 * Math.max(1, runs.numRuns / 25));
  let folder: ReturnType<typeof temporaryFolder>;
  let quarantine: Quarantine;
  const task = 'aaaaaaaaaaaa';

  before(async () => {
    folder = temporaryFolder();
    quarantine = Quarantine.open(join(folder.path, 'q'), 'a'.repeat(16));
    await quarantine.create();
  });
  after(() => folder.dispose());

  const write = (files: Record<string, string | ModelFile>): string =>
    writeTree(
      quarantine.objects,
      new Map(
        Object.entries(files).map(([path, file]) => [
          path,
          typeof file === 'string' ? { mode: '100644', content: file } : file,
        ]),
      ),
    );
  const read = async (
    from: Record<string, string | ModelFile>,
    to: Record<string, string | ModelFile>,
  ): Promise<PartsDiff> => await readParts(quarantine, write(from), write(to));
  const only = (diff: PartsDiff): PartsFile['file'] => {
    assert.equal(diff.files.length, 1);
    return diff.files[0]?.file ?? assert.fail();
  };

  it('gives exactly the chosen tree, for any parts of any two trees', async () => {
    await fc.assert(
      fc.asyncProperty(twoTrees, fc.infiniteStream(fc.boolean()), async ({ from, to }, chance) => {
        const [a, b] = [writeTree(quarantine.objects, from), writeTree(quarantine.objects, to)];
        const diff = await readParts(quarantine, a, b);
        const all = partsOf(diff);
        assert.equal(new Set(all.map(({ id }) => id)).size, all.length, 'every part has a name of its own');
        assert.equal(await composeParts(quarantine, diff, new Set(all.map(({ id }) => id))), b);
        assert.equal(await composeParts(quarantine, diff, new Set()), a);
        const chosen = closed(all, new Set(all.filter(() => chance.next().value).map(({ id }) => id)));
        const expected = writeTree(quarantine.objects, oracle(from, to, diff, chosen));
        const made = await composeParts(quarantine, diff, chosen);
        assert.equal(made, expected);
        // What was not taken can be taken later, whatever was taken first.
        const rest = await readParts(quarantine, made, b);
        assert.equal(await composeParts(quarantine, rest, new Set(partsOf(rest).map(({ id }) => id))), b);
      }),
      runs,
    );
  });

  it('takes lines as git itself does that gets them as patches, one after the other', async () => {
    await fc.assert(
      fc.asyncProperty(content, content, fc.infiniteStream(fc.boolean()), async (old, fresh, chance) => {
        fc.pre(!`${old}${fresh}`.includes('\0') && old !== fresh && old !== '' && fresh !== '');
        const file = only(await read({ f: old }, { f: fresh }));
        const base = Buffer.from(old, 'latin1');
        const next = Buffer.from(fresh, 'latin1');
        const chosen = file.parts.filter(() => chance.next().value);
        const repo = new GitRepo(join(folder.path, `apply-${Math.random()}`));
        repo.write('f', base);
        // From the last to the first, so that no line moves under the next patch.
        for (const part of chosen.toReversed()) {
          const { old: before, new: after } = part;
          assert.ok(before !== undefined && after !== undefined);
          const start = before.lines === 0 ? before.start + 1 : before.start;
          const at = after.lines === 0 ? start - 1 : start;
          const header = `--- a/f\n+++ b/f\n@@ -${before.start},${before.lines} +${at},${after.lines} @@\n`;
          const text = latin1Text(base, next, part);
          repo.raw(
            ['apply', '--unidiff-zero', '--whitespace=nowarn', '-'],
            Buffer.from(header + text, 'latin1'),
          );
        }
        const ids = new Set(chosen.map(({ id }) => id));
        assert.equal(
          Buffer.from(withHunks(base, next, file.parts, ids)).toString('latin1'),
          repo.raw(['cat-file', 'blob', repo.git('hash-object', '-w', 'f')]).toString('latin1'),
        );
      }),
      { ...runs, numRuns: Math.ceil(runs.numRuns / 2) },
    );
  });

  it('finds the hunks that were taken out of a content, and nothing where it was written otherwise', async () => {
    await fc.assert(
      fc.asyncProperty(content, content, fc.infiniteStream(fc.boolean()), async (old, fresh, chance) => {
        fc.pre(!`${old}${fresh}`.includes('\0') && old !== fresh && old !== '' && fresh !== '');
        const file = only(await read({ f: old }, { f: fresh }));
        const [base, next] = [Buffer.from(old, 'latin1'), Buffer.from(fresh, 'latin1')];
        const kept = new Set(file.parts.filter(() => chance.next().value).map(({ id }) => id));
        const reverted = withHunks(base, next, file.parts, kept);
        const missing = new Set(missingParts(base, next, reverted, file.parts) ?? assert.fail());
        // Where lines repeat themselves there may be two readings; both give the same content.
        assert.deepEqual(
          withHunks(base, next, file.parts, (id) => !missing.has(id)),
          reverted,
        );
        assert.ok(missing.size <= file.parts.length - kept.size);
        const other = Buffer.concat([reverted, Buffer.from('\nnever there\n')]);
        assert.equal(missingParts(base, next, other, file.parts), undefined);
      }),
      runs,
    );
  });

  it('knows a reverted hunk of a file that an editor cannot hold as it is', async () => {
    const old = 'a\r\nb\nc\xff\nd\ne\nf\ng\nh\n';
    const fresh = 'A\r\nb\nc\xff\nd\ne\nf\ng\nH\n';
    const file = only(await read({ f: old }, { f: fresh }));
    const [base, next] = [Buffer.from(old, 'latin1'), Buffer.from(fresh, 'latin1')];
    const written = Buffer.from('a\nb\nc\ufffd\nd\ne\nf\ng\nH\n');
    assert.deepEqual(missingParts(base, next, written, file.parts), [file.parts[0]?.id]);
    const untouched = Buffer.from('A\r\nb\r\nc\ufffd\r\nd\r\ne\r\nf\r\ng\r\nH\r\n');
    assert.deepEqual(missingParts(base, next, untouched, file.parts), []);
  });

  it('takes a change of line ends for an edit where the file has only one kind', async () => {
    const file = only(await read({ f: 'a\nb\n' }, { f: 'A\nb\n' }));
    const edited = Buffer.from('A\r\nb\r\n');
    assert.equal(missingParts(Buffer.from('a\nb\n'), Buffer.from('A\nb\n'), edited, file.parts), undefined);
  });

  it('refuses parts whose place is not free, and parts that are not there', async () => {
    const diff = await read({ a: 'file\n' }, { 'a/b': 'other\n' });
    const [deleted, added] = ['deleted', 'added'].map(
      (status) => diff.files.find(({ file }) => file.status === status)?.file.parts[0] ?? assert.fail(),
    );
    assert.ok(deleted !== undefined && added !== undefined);
    assert.deepEqual(added.needs, [deleted.id]);
    assert.deepEqual(deleted.needs, []);
    await assert.rejects(composeParts(quarantine, diff, new Set([added.id])), { code: 'invalid_input' });
    await assert.rejects(composeParts(quarantine, diff, new Set(['0123456789abcdef'])), {
      code: 'invalid_input',
    });
    const emptied = await composeTree(quarantine, diff.from, diff.to, new Set([deleted.id]));
    assert.equal(emptied, write({}));
  });

  it('ties two files together that change places with folders', async () => {
    const long = (word: string): string => `${word}\n`.repeat(20);
    const diff = await read({ a: long('a'), 'b/c': long('c') }, { 'a/c': long('c'), b: long('a') });
    const renames = partsOf(diff);
    assert.deepEqual(
      renames.map(({ kind }) => kind),
      ['rename', 'rename'],
    );
    assert.deepEqual(
      renames.map(({ needs }) => needs),
      renames.map(({ id }) => [id]).toReversed(),
    );
  });

  it('gives a change the same name in every diff that holds it', async () => {
    const lines = Array.from({ length: 60 }, (_, index) => `line ${index}`);
    const text = (changes: Record<number, string>): string =>
      lines.map((line, index) => `${changes[index] ?? line}\n`).join('');
    const one = { f: text({}), g: 'x\n' };
    const two = { f: text({ 40: 'changed' }), g: 'x\n' };
    const three = { f: text({ 5: 'new\nlines', 40: 'changed' }), g: 'y\n' };
    const early = only(await read(one, two)).parts.map(({ id }) => id);
    const late = await read(two, three);
    const whole = await read(one, three);
    assert.deepEqual(
      new Set(partsOf(whole).map(({ id }) => id)),
      new Set([...early, ...partsOf(late).map(({ id }) => id)]),
    );
    const again = only(await read({ f: 'x\n\n\n\n\nx\n' }, { f: 'y\n\n\n\n\ny\n' }));
    assert.equal(new Set(again.parts.map(({ id }) => id)).size, 2, 'the same change twice has two names');
  });

  it('gives the same lines another name where they stand elsewhere in the file', async () => {
    const body = (name: string, ...more: string[]): string =>
      [`function ${name}() {`, '  check();', ...more, '}', '', '', '', ''].join('\n');
    const base = body('a') + body('b');
    const inA = body('a', '  return true;') + body('b');
    const inB = body('a') + body('b', '  return true;');
    const id = async (to: string): Promise<PartId | undefined> =>
      only(await read({ f: base }, { f: to })).parts[0]?.id;
    const first = await id(inA);
    assert.ok(first !== undefined);
    assert.notEqual(first, await id(inB));
    // What lies further away has nothing to do with it.
    const far = '\n'.repeat(5) + body('c');
    const later = only(await read({ f: base + far }, { f: inA + far })).parts[0]?.id;
    assert.equal(later, first);
  });

  it('tells what a file consists of', async () => {
    const diff = await read(
      {
        m: 'a\n',
        d: 'gone\n',
        'was here': 'content\n'.repeat(20),
        l: { mode: '120000', content: 'x' },
        t: '1\n',
        bin: '\0',
        run: 'r\n',
      },
      {
        m: 'b\n',
        'is there': { mode: '100755', content: `${'content\n'.repeat(20)}more\n` },
        l: { mode: '120000', content: 'y' },
        t: { mode: '120000', content: 'm' },
        bin: '\0\0',
        run: { mode: '100755', content: 'r\n' },
        new: '',
        sub: { mode: '160000', content: '1'.repeat(40) },
      },
    );
    assert.deepEqual(
      Object.fromEntries(
        diff.files.map(({ file }) => [file.path, file.parts.map(({ kind }) => kind).join()]),
      ),
      {
        bin: 'binary',
        d: 'delete',
        'is there': 'rename,mode,hunk',
        l: 'link',
        m: 'hunk',
        new: 'add',
        run: 'mode',
        sub: 'submodule',
        t: 'type',
      },
    );
    const moved = diff.files.find(({ file }) => file.path === 'is there')?.file;
    assert.deepEqual(moved?.parts[2]?.old, { start: 20, lines: 0 });
    assert.deepEqual(moved.parts[2].new, { start: 21, lines: 1 });
    assert.equal(moved.parts[2].label, 'more');
    assert.equal(moved.from, 'was here');
  });

  it('puts an edit of the user in place of what the task wrote, as long as the task has not written anew', async () => {
    const [from, to] = [write({ f: 'a\nb\n', g: 'x\n' }), write({ f: 'a\nB\n', g: 'y\n' })];
    const plain = await readParts(quarantine, from, to);
    const file = plain.files[0]?.file ?? assert.fail();
    const written = await writeForReview(quarantine, task, Buffer.from('a\nB, edited\n'));
    const edit = { kind: 'own' as const, by: file.id };
    const edits = new Map([[file.id, [{ original: file.newBlob, content: written, edit }]]]);
    const diff = await readParts(quarantine, from, to, { edits });
    assert.equal(diff.files[0]?.file.newBlob, written);
    assert.notEqual(diff.files[0].file.fingerprint, file.fingerprint);
    assert.deepEqual(diff.files[1], plain.files[1]);
    const all = new Set(partsOf(diff).map(({ id }) => id));
    assert.equal(
      await composeTree(quarantine, from, to, all, { edits }),
      write({ f: 'a\nB, edited\n', g: 'y\n' }),
    );
    const stale = new Map([[file.id, [{ original: file.oldBlob, content: written, edit }]]]);
    assert.deepEqual((await readParts(quarantine, from, to, { edits: stale })).files, plain.files);
  });

  it('keeps what a review wrote until its task is removed', async () => {
    const edit = await writeForReview(quarantine, task, Buffer.from('kept'));
    const diff = await read({ a: 'a\n' }, { a: 'a\n', kept: 'in a tree' });
    const tree = await composeParts(quarantine, diff, new Set(partsOf(diff).map(({ id }) => id)));
    await keepForReview(quarantine, task, tree);
    const lost = writeObject(quarantine.objects, 'blob', Buffer.from('lost'));
    assert.equal(await quarantine.prune(), true);
    const there = async (oid: string): Promise<boolean> => await exists(quarantine, oid);
    assert.deepEqual([await there(edit), await there(tree), await there(lost)], [true, true, false]);
    await quarantine.removeTask(task);
    assert.equal(await quarantine.prune(), true);
    assert.deepEqual([await there(edit), await there(tree)], [false, false]);
  });

  it('reads the lines of a hunk as a diff shows them, and a content with some of its parts', async () => {
    const diff = await read({ f: 'a\nb' }, { f: 'a\nc\nd\n' });
    const file = only(diff);
    const part = file.parts[0] ?? assert.fail();
    assert.equal(
      hunkText(Buffer.from('a\nb'), Buffer.from('a\nc\nd\n'), part),
      '-b\n\\ No newline at end of file\n+c\n+d\n',
    );
    assert.equal(String(await composeFile(quarantine, file, () => true)), 'a\nc\nd\n');
    assert.equal(String(await composeFile(quarantine, file, () => false)), 'a\nb');
    const gone = only(await read({ f: 'a' }, {}));
    assert.equal(await composeFile(quarantine, gone, () => true), undefined);
  });

  it('takes a text of over 16 MiB for one part, and very long lines as they are', async () => {
    const long = 'x'.repeat(3 << 20);
    const file = only(await read({ f: `${long}\nend\n` }, { f: `${long}y\nend\n` }));
    assert.deepEqual(
      file.parts.map(({ kind, added, removed }) => ({ kind, added, removed })),
      [{ kind: 'hunk', added: 1, removed: 1 }],
    );
    assert.ok((file.parts[0]?.label.length ?? 0) < 400);
    const huge = 'line\n'.repeat((17 << 20) / 5);
    const large = only(await read({ f: huge }, { f: `${huge}more\n` }));
    assert.equal(large.binary, true);
    assert.deepEqual(
      large.parts.map(({ kind }) => kind),
      ['binary'],
    );
    assert.ok(large.gate.some(({ kind }) => kind === 'binary'));
  });

  it('looks at 50,000 files, and counts those beyond', async () => {
    const entries = Array.from(
      { length: 50_010 },
      (_, index) => [`d${index % 100}/f${index}`, 'same\n'] as const,
    );
    const diff = await read({}, Object.fromEntries(entries));
    assert.equal(diff.files.length, 50_000);
    assert.equal(diff.further, 10);
  });

  it('stops when it is told to', async () => {
    const controller = new AbortController();
    const [from, to] = [write({}), write({ f: 'a\n' })];
    const reading = readParts(quarantine, from, to, { signal: controller.signal });
    controller.abort();
    await assert.rejects(reading, { code: 'cancelled' });
  });
});

function partsOf(diff: PartsDiff): ReviewPart[] {
  return diff.files.flatMap(({ file }) => file.parts);
}

function closed(all: readonly ReviewPart[], chosen: Set<PartId>): Set<PartId> {
  for (let before = -1; before !== chosen.size;) {
    before = chosen.size;
    for (const part of all) if (chosen.has(part.id)) for (const id of part.needs) chosen.add(id);
  }
  return chosen;
}

/** What a tree with these parts is, worked out from the two trees as data, line by line. */
function oracle(from: ModelTree, to: ModelTree, diff: PartsDiff, chosen: ReadonlySet<PartId>): ModelTree {
  const result = new Map(from);
  const entries: [string, ModelFile][] = [];
  for (const { file, rawPath, rawFrom } of diff.files) {
    const path = Buffer.from(rawPath).toString('latin1');
    const before = rawFrom === undefined ? path : Buffer.from(rawFrom).toString('latin1');
    const kinds = new Set(file.parts.filter(({ id }) => chosen.has(id)).map(({ kind }) => kind));
    const [old, fresh] = [from.get(before), to.get(path)];
    result.delete(before);
    if (file.status === 'deleted' || file.status === 'added') {
      const taken = kinds.size > 0 ? fresh : old;
      if (taken !== undefined) entries.push([path, taken]);
      continue;
    }
    assert.ok(old !== undefined && fresh !== undefined);
    const whole = kinds.has('binary') || kinds.has('link') || kinds.has('submodule') || kinds.has('type');
    const mode = kinds.has('mode') || kinds.has('type') ? fresh.mode : old.mode;
    entries.push([
      kinds.has('rename') ? path : before,
      { mode, content: whole ? fresh.content : someLines(old.content, fresh.content, file.parts, chosen) },
    ]);
  }
  for (const [path, file] of entries) result.set(path, file);
  return result;
}

function someLines(
  old: string,
  fresh: string,
  parts: readonly ReviewPart[],
  chosen: ReadonlySet<PartId>,
): string {
  const lines = linesOf(old);
  const others = linesOf(fresh);
  const hunks = parts.filter(({ kind, id }) => kind === 'hunk' && chosen.has(id)).toReversed();
  for (const { old: before, new: after } of hunks) {
    assert.ok(before !== undefined && after !== undefined);
    const put = others.slice(after.start - 1, after.start - 1 + after.lines);
    lines.splice(
      before.lines === 0 ? before.start : before.start - 1,
      before.lines,
      ...(after.lines === 0 ? [] : put),
    );
  }
  return lines.join('');
}

function linesOf(text: string): string[] {
  return text.match(/[^\n]*\n|[^\n]+$/g) ?? [];
}

/** As `hunkText`, byte by byte. */
function latin1Text(base: Buffer, next: Buffer, { old, new: fresh }: ReviewPart): string {
  assert.ok(old !== undefined && fresh !== undefined);
  const signed = (sign: string, bytes: Buffer, { start, lines }: { start: number; lines: number }): string =>
    (lines === 0 ? [] : linesOf(bytes.toString('latin1')).slice(start - 1, start - 1 + lines))
      .map((line) => (line.endsWith('\n') ? sign + line : `${sign}${line}\n\\ No newline at end of file\n`))
      .join('');
  return signed('-', base, old) + signed('+', next, fresh);
}

async function exists(quarantine: Quarantine, oid: string): Promise<boolean> {
  const { code } = await git(['cat-file', '-e', oid], { ...quarantine.options(), okCodes: [0, 1, 128] });
  return code === 0;
}
