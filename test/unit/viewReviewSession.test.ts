import assert from 'node:assert/strict';
import type { ReviewFile } from '../../src/protocol/review.ts';
import { Emitter } from '../../src/base/event.ts';
import { Reviews } from '../../src/vscode/review/reviews.ts';
import { ReviewSession, type SessionChange } from '../../src/vscode/review/session.ts';
import { FakeTaskReview } from '../support/fakeTaskReview.ts';
import { FakeTaskService } from '../support/fakeTaskService.ts';
import { aSpec, shaOf } from '../support/specs.ts';

const all = { kind: 'all' } as const;

function aFile(name: string): ReviewFile {
  const id = shaOf(name).slice(0, 16);
  return {
    id,
    path: `src/${name}.ts`,
    status: 'modified',
    oldMode: '100644',
    newMode: '100644',
    oldBlob: shaOf('old'),
    newBlob: shaOf(name),
    binary: false,
    added: 1,
    removed: 1,
    parts: [1, 2, 3].map((number) => ({
      id: shaOf(`${name} ${number}`).slice(0, 16),
      kind: 'hunk',
      old: { start: number * 10, lines: 1 },
      new: { start: number * 10, lines: 1 },
      added: 1,
      removed: 1,
      label: `hunk ${number}`,
      needs: [],
    })),
    gate: [],
    fingerprint: `print ${name}`,
  };
}

describe('the review that a window shows', () => {
  const files = Array.from({ length: 300 }, (_, i) => aFile(`file${i}`));
  let review: FakeTaskReview;
  let service: FakeTaskService;
  let reviews: Reviews;
  let session: ReviewSession;
  let id: string;
  let kept: Map<string, unknown>;
  let changes: SessionChange[];
  let problems: unknown[];

  /** A window with the same memory as the last one. */
  function window(): ReviewSession {
    const made = new ReviewSession(
      reviews,
      {
        get: (key) => kept.get(key),
        update: (key, value) => Promise.resolve(void kept.set(key, JSON.parse(JSON.stringify(value)))),
      },
      (thrown) => problems.push(thrown),
    );
    made.onDidChange((change) => changes.push(change));
    return made;
  }

  beforeEach(async () => {
    review = new FakeTaskReview();
    review.show(files);
    service = new FakeTaskService();
    const removed = new Emitter<string>();
    reviews = new Reviews({
      onDidChange: service.onDidChange,
      onDidRemove: removed.event,
      get: (task) => service.task(task),
      open: () => Promise.resolve(service),
    });
    reviews.find = () => Promise.resolve(review);
    ({ id } = service.add(aSpec()).spec);
    kept = new Map();
    changes = [];
    problems = [];
    session = window();
    await session.show({ id, scope: all });
    changes = [];
  });
  afterEach(() => {
    session.dispose();
    reviews.dispose();
    assert.deepEqual(problems, []);
  });

  it('tells of the one file of three hundred that changed', async () => {
    await review.decide(all, { parts: [files[7]!.parts[1]!.id] }, 'accepted');
    assert.deepEqual(changes, [{ kind: 'files', files: [files[7]!.id] }]);
    assert.equal(session.standing(files[7]!.id)?.verdict, 'partly');
    // A second hunk leaves the file as decided in part, and its own line changes all the same.
    await review.decide(all, { parts: [files[7]!.parts[2]!.id] }, 'rejected');
    assert.deepEqual(changes.at(-1), { kind: 'files', files: [files[7]!.id] });
    await review.setReviewed([files[9]!], true);
    assert.deepEqual(changes.at(-1), { kind: 'files', files: [files[9]!.id] });
  });

  it('reads everything anew when the task brings more, and when the user edits', async () => {
    const [first, ...rest] = files;
    review.show(rest);
    service.say(id, { type: 'imported', tips: [shaOf('next')] });
    await soon(() => session.now?.diff.files.length === 299);
    assert.equal(session.file(first!.id), undefined);
    review.show(files);
    await review.edit(all, files[3]!.id, new Uint8Array([65]));
    await soon(() => session.standing(files[3]!.id)?.edit?.kind === 'own');
    assert.deepEqual(new Set(changes.map(({ kind }) => kind)), new Set(['all']));
  });

  it('is there again after a reload, with its layout and its marks', async () => {
    await review.setReviewed([files[2]!], true);
    session.setLayout('list');
    const again = window();
    assert.deepEqual(again.subject, { id, scope: all });
    assert.equal(again.layout, 'list');
    assert.equal((await again.open())?.diff.files.length, 300);
    assert.equal(again.standing(files[2]!.id)?.reviewed, true);
    again.close();
    assert.equal(window().subject, undefined);
    again.dispose();
  });

  it('takes nothing from a memory that is not its own', () => {
    kept.set('sallyport.review', {
      subject: { id: '../x', scope: { kind: 'everything' } },
      layout: 'circle',
    });
    const again = window();
    assert.equal(again.subject, undefined);
    assert.equal(again.layout, 'tree');
    again.dispose();
  });

  it('filters by how files stand', async () => {
    await review.decide(all, { file: files[0]!.id }, 'rejected');
    session.setFilter('rejected');
    assert.deepEqual(
      session.files().map(({ id: file }) => file),
      [files[0]!.id],
    );
    session.setFilter('unreviewed');
    assert.equal(session.files().length, 299);
  });
});

async function soon(ask: () => boolean): Promise<void> {
  for (let tries = 0; tries < 4000 && !ask(); tries++) await new Promise((done) => setTimeout(done, 10));
  assert.ok(ask());
}
