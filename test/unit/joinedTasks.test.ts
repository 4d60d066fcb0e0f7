import assert from 'node:assert/strict';
import { SallyportError } from '../../src/base/errors.ts';
import type { TaskEvent } from '../../src/protocol/taskEvent.ts';
import { JoinedTasks } from '../../src/runner/joinedTasks.ts';
import { FakeTaskService } from '../support/fakeTaskService.ts';
import { aCommit } from '../support/specs.ts';

const request = { repositoryPath: '/tmp/demo', prompt: 'Fix it', snapshot: 'head' } as const;

describe('the tasks of several runners together', () => {
  let local: FakeTaskService;
  let far: FakeTaskService;
  let joined: JoinedTasks;
  let troubles: SallyportError[];

  beforeEach(async () => {
    local = new FakeTaskService();
    far = new FakeTaskService();
    joined = new JoinedTasks({ id: 'local', name: () => 'This machine', service: local });
    troubles = [];
    joined.onTrouble((error) => troubles.push(error));
    await joined.add({ id: 'far', name: () => 'Far', service: far });
    await joined.open();
  });

  afterEach(() => joined.dispose());

  /** The same task on another runner, as one that means ill can say. */
  const copyTo = (target: FakeTaskService, id: string, from: FakeTaskService): void =>
    void target.add(from.task(id)!.spec);

  it('opens each once, the first before the others', async () => {
    await joined.open();
    assert.deepEqual([local.opened, far.opened], [1, 1]);
  });

  it('sends what names no runner to the first, and the rest to the one that is named', async () => {
    await joined.submit(request);
    const { spec } = await joined.submitTo('far', request);
    assert.deepEqual([local.submitted.length, far.submitted.length], [1, 1]);
    assert.equal(joined.placeOf(spec.id), 'far');
    await assert.rejects(joined.submitTo('nowhere', request), { code: 'not_found' });
  });

  it('gives the review that the runner of the task has', async () => {
    const { spec } = await joined.submitTo('far', request);
    assert.equal(joined.review(spec.id), far.review(spec.id));
    assert.deepEqual([...local.reviews.keys()], []);
    assert.throws(() => joined.review('nobodys0task'), { code: 'task_unknown' });
  });

  it('lists the tasks of all, and those of one', async () => {
    const one = await joined.submitTo('local', request);
    const two = await joined.submitTo('far', request);
    assert.deepEqual(
      joined
        .tasks()
        .map(({ spec }) => spec.id)
        .sort(),
      [one.spec.id, two.spec.id].sort(),
    );
    assert.deepEqual(
      joined.tasksOf('far').map(({ spec }) => spec.id),
      [two.spec.id],
    );
    assert.deepEqual(joined.tasksOf('nowhere'), []);
  });

  it('sends every call to the runner that has the task', async () => {
    const { spec } = await joined.submitTo('far', request);
    const { id } = spec;
    const commit = aCommit('one');
    far.say(id, { type: 'commit', commit }, { type: 'imported', tips: [commit.sha] });
    far.patchText = 'of the far one';
    far.blobs.set('a', new Uint8Array([1]));
    await joined.stop(id);
    await joined.send(id, 'Go on');
    await joined.setBudget(id, 3);
    await joined.answerEgress(id, { allow: 'task', rule: 'example.com' });
    await joined.acceptAsBranch(id, 'agent/it');
    assert.deepEqual(far.stopped, [id]);
    assert.deepEqual(far.sent, [{ id, text: 'Go on' }]);
    assert.equal(far.budgets.length, 1);
    assert.equal(far.answers.length, 1);
    assert.deepEqual(far.accepted, [{ id, branch: 'agent/it' }]);
    assert.equal((await joined.patch(id)).text, 'of the far one');
    assert.deepEqual([...(await joined.blob(id, 'a'))], [1]);
    assert.deepEqual(joined.result(id), far.result(id));
    const reading = new AbortController();
    const types: TaskEvent['type'][] = [];
    for await (const batch of joined.events(id, 0, reading.signal)) {
      types.push(...batch.map(({ type }) => type));
      reading.abort();
    }
    assert.deepEqual(types.slice(0, 3), ['submitted', 'commit', 'imported']);
    await joined.remove(id);
    assert.equal(joined.task(id), undefined);
    assert.deepEqual(
      [local.stopped, local.sent, local.budgets, local.answers, local.accepted],
      [[], [], [], [], []],
    );
  });

  it('knows no task that no runner has', async () => {
    await assert.rejects(joined.stop('0123456789abcdef'), { code: 'task_unknown' });
    assert.throws(() => joined.result('0123456789abcdef'), { code: 'task_unknown' });
  });

  it('keeps the settings of workspaces and the budget of the day with this machine', async () => {
    await joined.changeWorkspaceSettings('/tmp/demo', { egressRules: ['example.com'] });
    await joined.budgetsChanged();
    assert.deepEqual(local.settings.egressRules, ['example.com']);
    assert.deepEqual(far.settings.egressRules, []);
    assert.deepEqual([local.budgetLooks, far.budgetLooks], [1, 0]);
  });

  it('names the runner in what its doctor finds', async () => {
    assert.deepEqual(
      (await joined.doctor()).map(({ name }) => name),
      ['Engine', 'Far: Engine'],
    );
    far.doctor = () => Promise.reject(new SallyportError('runner_unreachable', 'It is away.', 'Wait.'));
    assert.deepEqual((await joined.doctor())[1], {
      name: 'Far: Runner',
      ok: false,
      detail: 'It is away.',
      mend: 'Wait.',
    });
  });

  describe('when a runner has a task with the id of another', () => {
    it('shows and asks the first one only, and says so once', async () => {
      const { spec } = await joined.submitTo('local', request);
      const { id } = spec;
      copyTo(far, id, local);
      const heard: string[] = [];
      joined.onDidChange((state) => heard.push(state.progress));
      far.say(id, { type: 'progress', stage: 'sandbox', text: 'of the far one' });
      far.say(id, { type: 'progress', stage: 'sandbox', text: 'of the far one, again' });
      local.say(id, { type: 'progress', stage: 'sandbox', text: 'own' });
      assert.deepEqual(heard, ['own']);
      assert.deepEqual(
        troubles.map(({ code, message }) => [code, message]),
        [
          [
            'conflict',
            'Far has a task with the id of one of This machine. Only that of This machine is shown.',
          ],
        ],
      );
      assert.equal(joined.tasks().length, 1);
      assert.deepEqual(joined.tasksOf('far'), []);
      await joined.acceptAsBranch(id, 'agent/it');
      assert.deepEqual([local.accepted.length, far.accepted.length], [1, 0]);
    });

    it('keeps the task of this machine although the other spoke first', async () => {
      const { spec } = await joined.submitTo('far', request);
      copyTo(local, spec.id, far);
      assert.equal(joined.placeOf(spec.id), 'local');
    });

    it('shows that of the other one when the first is removed', async () => {
      const { spec } = await joined.submitTo('local', request);
      copyTo(far, spec.id, local);
      const removed: string[] = [];
      joined.onDidRemove((id) => removed.push(id));
      await local.remove(spec.id);
      assert.deepEqual(removed, []);
      assert.equal(joined.placeOf(spec.id), 'far');
    });
  });

  it('tells of the tasks of a runner that comes later, and of those that go with one', async () => {
    const late = new FakeTaskService();
    const { spec } = await late.submit(request);
    const [heard, removed]: string[][] = [[], []];
    joined.onDidChange((state) => heard!.push(state.spec.id));
    joined.onDidRemove((id) => removed!.push(id));
    await joined.add({ id: 'late', name: () => 'Late', service: late });
    assert.equal(late.opened, 1);
    assert.deepEqual(heard, [spec.id]);
    joined.drop('late');
    assert.equal(late.disposed, 1);
    assert.deepEqual(removed, [spec.id]);
    assert.deepEqual(joined.tasks(), []);
    joined.drop('late');
    joined.drop('local');
    assert.deepEqual([late.disposed, local.disposed], [1, 0], 'this machine cannot be dropped');
  });

  it('takes no runner in twice', async () => {
    const again = { id: 'far', name: () => 'Far', service: new FakeTaskService() };
    await assert.rejects(joined.add(again), { code: 'conflict' });
  });

  it('goes on without a runner whose mirror cannot be opened, and tries it again at the next look', async () => {
    const broken = new FakeTaskService();
    let fails = true;
    broken.open = () =>
      fails ? Promise.reject(new SallyportError('disk_full', 'No room.', 'Make some.')) : Promise.resolve();
    await joined.add({ id: 'broken', name: () => 'Broken', service: broken });
    await joined.open();
    assert.deepEqual(
      troubles.map(({ code }) => code),
      ['disk_full', 'disk_full'],
    );
    fails = false;
    await joined.open();
    await joined.open();
    assert.equal(troubles.length, 2);
  });

  it('fails when this machine cannot be opened', async () => {
    const bad = new FakeTaskService();
    bad.open = () => Promise.reject(new SallyportError('disk_full', 'No room.', 'Make some.'));
    const tasks = new JoinedTasks({ id: 'local', name: () => 'This machine', service: bad });
    await assert.rejects(tasks.open(), { code: 'disk_full' });
  });

  it('ends all of them once', () => {
    joined.dispose();
    joined.dispose();
    assert.deepEqual([local.disposed, far.disposed], [1, 1]);
  });
});
