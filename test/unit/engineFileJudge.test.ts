import assert from 'node:assert/strict';
import { FileJudge } from '../../src/runner/fileJudge.ts';

const all = 1_000_000;

/** A judge of a disk with a million files, of which 100,000 are to stay free; so many were free at first. */
function watching(free = 900_000, countable = true): FileJudge {
  const judge = new FileJudge({ countable });
  assert.equal(judge.free(free, all), undefined);
  return judge;
}

describe('file judge', () => {
  it('has nobody stand still while there is room', () => {
    const judge = watching();
    assert.equal(judge.isDue(), false);
    judge.free(100_000, all);
    assert.equal(judge.isDue(), false);
    assert.equal(judge.counted(1_000_000), undefined);
  });

  it('has the files counted when they run short, and ends who made many', () => {
    const judge = watching();
    judge.free(96_000, all);
    assert.equal(judge.isDue(), true);
    const over = judge.counted(12_000);
    assert.equal(over?.why, 'files');
    assert.match(over.message, /96,000 more files/);
  });

  it('lets an innocent go on, and stops it again only when an eighth more is gone', () => {
    const judge = watching();
    judge.free(96_000, all);
    assert.equal(judge.counted(11_999), undefined);
    assert.equal(judge.isDue(), false);
    judge.free(84_001, all);
    assert.equal(judge.isDue(), false);
    judge.free(84_000, all);
    assert.equal(judge.isDue(), true);
    assert.equal(judge.counted(11_999)?.why, 'files');
  });

  it('does not take room that others made and took again for what is gone', () => {
    const judge = watching();
    judge.free(80_000, all);
    assert.equal(judge.counted(0), undefined);
    judge.free(99_000, all);
    judge.free(90_000, all);
    assert.equal(judge.isDue(), false);
    judge.free(86_000, all);
    assert.equal(judge.isDue(), true);
  });

  it('counts to the last file: who made none is left alone, who made some is ended', () => {
    const judge = watching();
    assert.equal(judge.free(800, all), undefined);
    assert.equal(judge.isDue(), true);
    assert.equal(judge.counted(99), undefined);
    assert.equal(judge.free(0, all), undefined);
    assert.equal(judge.isDue(), true);
    assert.equal(judge.counted(0), undefined);
    assert.equal(judge.isDue(), false, 'an innocent is not stopped for ever');
    assert.equal(judge.counted(1)?.why, 'files');
  });

  it('leaves a disk that was nearly full before to itself until half of that is gone', () => {
    const judge = watching(24_000);
    judge.free(12_000, all);
    assert.equal(judge.isDue(), false);
    judge.free(11_000, all);
    assert.equal(judge.isDue(), true);
  });

  it('ends a sandbox whose files are not all counted when hardly one is left', () => {
    const judge = watching(900_000, false);
    judge.free(96_000, all);
    assert.equal(judge.counted(0), undefined);
    assert.equal(judge.free(25_000, all), undefined);
    assert.equal(judge.free(24_000, all)?.why, 'files');
  });

  it('does so when a count fails, and tries no other before more is gone', () => {
    const judge = watching();
    judge.free(96_000, all);
    assert.equal(judge.cannotCount(), undefined);
    assert.equal(judge.isDue(), false);
    assert.equal(judge.free(24_000, all)?.why, 'files');
    const late = watching();
    late.free(24_000, all);
    assert.equal(late.cannotCount()?.why, 'files');
  });

  it('says nothing where a file system has no number of files, or it is not known', () => {
    const judge = new FileJudge({ countable: true });
    assert.equal(judge.free(0, 0), undefined);
    assert.equal(judge.isDue(), false);
    const blind = watching();
    blind.free(50_000, all);
    blind.blind();
    assert.equal(blind.isDue(), false);
    assert.equal(blind.counted(1_000_000), undefined);
  });
});
