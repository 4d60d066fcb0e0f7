import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { TaskEvent } from '../../src/protocol/taskEvent.ts';
import { defaultPolicy, type UserPolicy } from '../../src/runner/userPolicy.ts';
import { engineKinds, engines } from '../support/engines.ts';
import { answerAsModel } from '../support/modelReplies.ts';
import { assertWhole, bash, Bench, only, printed, type Turns } from '../support/tasks.ts';

/** A turn that costs a dollar and a half: a hundred thousand tokens out. */
function dear(turn: Turns[number]): Turns[number] {
  const usage = { inputTokens: 0, outputTokens: 100_000, cacheReadTokens: 0, cacheWriteTokens: 0 };
  return { ...turn, model: 'claude-sonnet-4-5', usage };
}
const each = 1.5;

for (const name of engineKinds) {
  describe(`budget on ${name}`, () => {
    let bench: Bench;
    let repositoryPath: string;

    before(async () => {
      bench = await Bench.open((await engines())[name]);
      repositoryPath = await bench.repository();
      budgets({});
      // The image, and the time in which an engine still writes it: no test's clock runs meanwhile.
      const { spec } = await bench.submit([{ text: 'ready' }], { repositoryPath });
      assert.match(outcome(await bench.events(spec.id)), /^succeeded/);
    });
    after(() => bench.close());
    beforeEach(() => budgets({}));

    function budgets(change: Partial<UserPolicy>): void {
      bench.policy = { ...defaultPolicy, egress: { mode: 'closed', rules: [] }, ...change };
    }

    async function until(id: string, type: TaskEvent['type']): Promise<void> {
      const events = await bench.events(id, (event) => event.type === type);
      assert.ok(
        events.some((event) => event.type === type),
        `no ${type}, but ${outcome(events)}`,
      );
    }

    function outcome(events: readonly TaskEvent[]): string {
      const [ended] = only(events, 'ended');
      return ended === undefined ? 'none' : `${ended.outcome}: ${ended.message}`;
    }

    it('pauses at the budget with the clock stopped, and goes on when it is raised', async () => {
      const turns = [dear(bash('echo one')), dear(bash('echo two')), dear({ text: 'ok' })];
      const limits = { timeMs: 24_000 };
      const { spec } = await bench.submit(turns, { repositoryPath, budgetUsd: each, limits });
      await until(spec.id, 'paused');
      assert.deepEqual(bench.state(spec.id).paused, { scope: 'task', spentUsd: each, limitUsd: each });
      // Longer than the agent has in all.
      await new Promise((passed) => setTimeout(passed, limits.timeMs));
      await bench.service.setBudget(spec.id, null);
      const events = await bench.events(spec.id);
      assertWhole(events);
      assert.match(outcome(events), /^succeeded/);
      assert.deepEqual(printed(events), ['one', 'two']);
      assert.deepEqual(
        events.map(({ type }) => type).filter((type) => ['paused', 'budget_set', 'continued'].includes(type)),
        ['paused', 'budget_set', 'continued'],
      );
      const { spend, paused } = bench.state(spec.id);
      assert.equal(spend.usd, 3 * each);
      assert.equal(spend.usage.outputTokens, 300_000);
      assert.equal(paused, undefined);
      assert.deepEqual(await bench.remains(), []);
    });

    it('stops a paused task', async () => {
      const turns = [dear(bash('git commit -q --allow-empty -m Kept')), dear({ text: 'ok' })];
      const { spec } = await bench.submit(turns, { repositoryPath, budgetUsd: 1 });
      await until(spec.id, 'paused');
      await bench.service.stop(spec.id);
      const events = await bench.events(spec.id);
      assert.match(outcome(events), /^stopped/);
      assert.equal(bench.state(spec.id).paused, undefined);
      assert.equal(bench.state(spec.id).imported.length, 1);
    });

    it('shares a day between tasks: what one spends the other cannot', async () => {
      const begun = await bench.service.spentToday();
      budgets({ dayBudgetUsd: begun + 2 * each });
      const turns = [dear(bash('sleep 1')), dear(bash('sleep 1')), dear({ text: 'ok' })];
      const both = await Promise.all([0, 1].map(() => bench.submit(turns, { repositoryPath })));
      await Promise.all(both.map(({ spec }) => until(spec.id, 'paused')));
      for (const { spec } of both) assert.equal(bench.state(spec.id).paused?.scope, 'day');
      // Answers that were under way at once may pass the limit, by one for each task at the most.
      const spent = (await bench.service.spentToday()) - begun;
      assert.ok(spent >= 2 * each && spent <= 4 * each, String(spent));
      budgets({ dayBudgetUsd: begun + 10 * each });
      await bench.service.budgetsChanged();
      for (const { spec } of both) assert.match(outcome(await bench.events(spec.id)), /^succeeded/);
      assert.equal((await bench.service.spentToday()) - begun, 6 * each);
    });

    it('stays paused over a restart of this process and of the gateway', async () => {
      const turns = [dear(bash('echo one')), dear({ text: 'ok' })];
      const { spec } = await bench.submit(turns, { repositoryPath, budgetUsd: 1 });
      await until(spec.id, 'paused');
      await bench.reopen();
      assert.equal(bench.state(spec.id).paused?.scope, 'task');
      const engine = await bench.engine();
      const [gateway] = await engine.list({ 'dev.sallyport.task': spec.id, 'dev.sallyport.role': 'gateway' });
      assert.ok(gateway);
      await engine.stop(gateway.id, 0);
      engine.dispose();
      await bench.events(spec.id, (event) => event.type === 'notice' && event.text.includes('started again'));
      assert.equal(bench.state(spec.id).paused?.scope, 'task');
      await bench.service.setBudget(spec.id, 20);
      const events = await bench.events(spec.id);
      assertWhole(events);
      assert.match(outcome(events), /^succeeded/);
      assert.equal(only(events, 'continued').length, 1);
      assert.equal(bench.state(spec.id).spend.usd, 2 * each);
    });

    it('gets another credential when the service refuses the one it has', async () => {
      const [old, fresh] = ['sk-ant-oat01-old', 'sk-ant-oat01-new'];
      const seen: (string | undefined)[] = [];
      const server = createServer((request, response) => {
        const key = request.headers.authorization?.replace('Bearer ', '');
        seen.push(key);
        if (key === fresh) answerAsModel(request, response, [bash('echo renewed'), { text: 'ok' }]);
        else {
          request.resume();
          response.writeHead(401, { 'content-type': 'application/json' });
          response.end('{"type":"error","error":{"type":"authentication_error","message":"invalid token"}}');
        }
      }).listen(0, '0.0.0.0');
      await once(server, 'listening');
      const { port } = server.address() as { port: number };
      const host = `host.${name === 'docker' ? 'docker' : 'containers'}.internal`;
      const upstream = (value: string) => ({
        kind: 'anthropic' as const,
        baseUrl: `http://${host}:${port}`,
        auth: { type: 'oauth' as const, value },
      });
      const reasons: string[] = [];
      bench.demonstration = false;
      bench.upstream = upstream(old);
      bench.renew = (reason) => {
        reasons.push(reason);
        return Promise.resolve(upstream(fresh));
      };
      try {
        const { spec } = await bench.service.submit({ prompt: 'Do it.', snapshot: 'head', repositoryPath });
        const events = await bench.events(spec.id);
        assertWhole(events);
        assert.match(outcome(events), /^succeeded/);
        assert.deepEqual(printed(events), ['renewed']);
        assert.deepEqual(reasons, ['refused']);
        assert.equal(only(events, 'credential_wanted').length, 1);
        assert.ok(seen.includes(old) && seen.includes(fresh));
        const text = await bench.logText(spec.id);
        assert.ok(!text.includes(old) && !text.includes(fresh));
      } finally {
        bench.demonstration = true;
        bench.renew = undefined;
        server.close();
        server.closeAllConnections();
      }
    });
  }).timeout(90_000);
}
