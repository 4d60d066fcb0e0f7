import assert from 'node:assert/strict';
import { paths, type Upstream } from '../../src/protocol/control.ts';
import { judge, output, runAttacks, type Strong, type Verdicts } from '../support/attack.ts';
import { AttackRange } from '../support/attackRange.ts';
import { AttackUniverse, carelessModelSocket, carelessSocket } from '../support/attackUniverse.ts';
import { engineKinds } from '../support/engines.ts';

for (const kind of engineKinds) {
  describe(`promise 1 and 2 on ${kind}: the broker passes on nothing but messages to the model`, function () {
    this.timeout('5m');
    let range: AttackRange;
    let universe: AttackUniverse;
    const weak = new Map<string, Verdicts>();
    const strong: Strong[] = [];

    const attacks = (args: { socket: string; token: string; all?: boolean }): Promise<Verdicts> => {
      const more = { ...args, carelessSocket, otherToken: range.task.token, limitS: 60 };
      return runAttacks(range.engine, universe.sandbox, 'broker.py', more, '1000:1000');
    };

    before(async () => {
      range = await AttackRange.open(kind);
      universe = await AttackUniverse.open(range);
      const { token } = universe;
      weak.set('direct', await attacks({ socket: carelessModelSocket, token, all: true }));
      strong.push({ by: 'the agent', verdicts: await attacks({ socket: paths.modelSocket, token }) });
    });
    after(() => range.close());

    judge('broker.py', () => ({ weak, strong }));

    it('a message does arrive, with the credential', async () => {
      const body = '{"model":"claude-test","max_tokens":1,"messages":[{"role":"user","content":"it-is-me"}]}';
      const url = 'http://gateway/v1/messages';
      const socket = ['--unix-socket', paths.modelSocket, '-H', `authorization: Bearer ${universe.token}`];
      const argv = [
        'curl',
        '-sS',
        '-m',
        '10',
        ...socket,
        '-H',
        'content-type: application/json',
        '-d',
        body,
        url,
      ];
      const { text } = await output(range.engine, universe.sandbox, argv, '1000:1000');
      assert.match(text, /BAIT/);
      // What the token was sent to without a broker has seen it, so that is asked for in the next test.
      const came = await universe.arrived(['it-is-me', universe.secret, 'never-sent']);
      assert.deepEqual(came.sort(), ['it-is-me', universe.secret].sort());
    });

    it("the task's token is worth nothing at the service, and nothing when the task is over", async () => {
      const { token, id } = await range.startTask();
      assert.ok(range.seen.length > 0);
      assert.ok(!JSON.stringify(range.seen).includes(token), 'the service saw the token');
      await range.endTask(id);
      const left = (await range.engine.list({})).filter(({ name }) => name.includes(id));
      assert.deepEqual(left, [], 'the gateway outlived its task');
      const late = await attacks({ socket: paths.modelSocket, token });
      assert.deepEqual(
        [...late.values()].filter(({ got }) => got),
        [],
      );
      const mine = await output(
        range.engine,
        universe.sandbox,
        [
          'curl',
          '-sS',
          '-m',
          '10',
          '--unix-socket',
          paths.modelSocket,
          '-H',
          `x-api-key: ${token}`,
          'http://x/v1/models',
        ],
        '1000:1000',
      );
      assert.match(mine.text, /authentication_error/);
    });
  });
}

/** Other services, with paths of their own. */
const services: Record<string, { upstream: (secret: string) => Upstream; open: string }> = {
  bedrock: {
    upstream: (secret) => ({
      kind: 'bedrock',
      region: 'eu-central-1',
      endpoint: 'http://model.example.com:8000',
      auth: { type: 'bearer', value: secret },
    }),
    open: '/model/eu.anthropic.claude-sonnet-4-5-20250929-v1%3A0/invoke',
  },
  vertex: {
    upstream: (secret) => ({
      kind: 'vertex',
      project: 'my-project',
      region: 'us-east5',
      endpoint: 'http://model.example.com:8000',
      accessToken: secret,
    }),
    open: '/v1/projects/my-project/locations/us-east5/publishers/anthropic/models/claude-sonnet-4-5@20250929:rawPredict',
  },
};

describe("promise 2: a broker of another service passes on only that service's paths", function () {
  this.timeout('5m');
  let range: AttackRange;
  before(async () => (range = await AttackRange.open('docker')));
  after(() => range.close());

  for (const [name, { upstream, open }] of Object.entries(services)) {
    it(`${name}: its model, and no other path, project, region or vendor`, async () => {
      const universe = await AttackUniverse.open(range, upstream);
      const closed = [
        '/v1/messages',
        '/v1/files',
        open.replace('anthropic', 'meta'),
        open.replace('anthropic.', 'amazon.').replace('publishers/anthropic', 'publishers/google'),
        open.replace('my-project', 'other-project').replace('/invoke', '/converse'),
        open.replace('us-east5', 'us-central1').replace('/invoke', '/../../agents'),
        `${open}/../x`,
        `${open}?x=1`,
        open.replace('rawPredict', 'predict').replace('/invoke', '/async-invoke'),
        '/foundation-models',
        '/guardrail/x/version/1/apply',
        '/v1/projects/my-project/locations/us-east5/endpoints',
      ];
      const marks = closed.map((_, index) => `closed-${name}-${index}-end`);
      const body = (mark: string): string =>
        JSON.stringify({
          anthropic_version: 'x',
          max_tokens: 1,
          messages: [{ role: 'user', content: mark }],
        });
      const post = async (path: string, mark: string, socket: string): Promise<void> => {
        const headers = [
          '-H',
          `authorization: Bearer ${universe.token}`,
          '-H',
          'content-type: application/json',
        ];
        const argv = [
          'curl',
          '-sS',
          '-m',
          '10',
          '--path-as-is',
          '--unix-socket',
          socket,
          ...headers,
          '-d',
          body(mark),
        ];
        await output(range.engine, universe.sandbox, [...argv, `http://gateway${path}`], '1000:1000');
      };
      const open_ = `open-${name}-end`;
      await post(open, open_, paths.modelSocket);
      for (const [index, path] of closed.entries()) {
        await post(path, `careless-${marks[index] ?? ''}`, carelessModelSocket);
        await post(path, `strict-${marks[index] ?? ''}`, paths.modelSocket);
      }
      const came = await universe.arrived([
        open_,
        ...marks.flatMap((mark) => [`careless-${mark}`, `strict-${mark}`]),
      ]);
      assert.deepEqual(came.sort(), [open_, ...marks.map((mark) => `careless-${mark}`)].sort());
    });
  }
});
