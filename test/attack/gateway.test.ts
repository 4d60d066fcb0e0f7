import assert from 'node:assert/strict';
import { judge, output, runAttacks, type Strong, type Verdicts } from '../support/attack.ts';
import { AttackRange } from '../support/attackRange.ts';
import { AttackUniverse, carelessSocket } from '../support/attackUniverse.ts';
import { engineKinds } from '../support/engines.ts';
import { paths } from '../../src/protocol/control.ts';

for (const kind of engineKinds) {
  describe(`promise 2 on ${kind}: the gateway passes on only what is on its list`, function () {
    this.timeout('5m');
    let range: AttackRange;
    let universe: AttackUniverse;
    const weak = new Map<string, Verdicts>();
    const strong: Strong[] = [];

    before(async () => {
      range = await AttackRange.open(kind);
      universe = await AttackUniverse.open(range);
      const attacks = (args: { socket: string; all?: boolean }) => {
        const more = { ...args, carelessSocket, limitS: 60 };
        return runAttacks(range.engine, universe.sandbox, 'gateway.py', more, '1000:1000');
      };
      // Not only every attack, but every way of it has to get through there.
      weak.set('careless', await attacks({ socket: carelessSocket, all: true }));
      strong.push({ by: 'the agent', verdicts: await attacks({ socket: paths.proxySocket }) });
    });
    after(() => range.close());

    judge('gateway.py', () => ({ weak, strong }));

    for (const socket of [paths.proxySocket, paths.modelSocket]) {
      it(`ten thousand connections that say little and never end do not stop ${socket}`, async () => {
        const flood = [
          'import resource, socket, sys',
          'resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)',
          'open_ones, refused = [], 0',
          'for at in range(10000):',
          '    one = socket.socket(socket.AF_UNIX)',
          '    one.settimeout(5)',
          '    try:',
          '        one.connect(sys.argv[1])',
          '        one.sendall(b"GET http://allowed.example.com/ HTTP/1.1\\r\\nX-Slow: ")',
          '        open_ones.append(one)',
          '    except OSError:',
          '        refused += 1',
          'print(len(open_ones) + refused)',
        ].join('\n');
        const argv = ['python3', '-c', flood, socket];
        const { text, stderr } = await output(range.engine, universe.sandbox, argv, '1000:1000');
        assert.equal(text.trim(), '10000', stderr);
        const url = 'http://allowed.example.com/';
        const asked = ['--request-target', url, '--retry', '5', '--retry-all-errors', url];
        const after = await output(
          range.engine,
          universe.sandbox,
          ['curl', '-sS', '-m', '10', '--unix-socket', paths.proxySocket, ...asked],
          '1000:1000',
        );
        assert.match(after.text, /BAIT$/, after.stderr);
        const model = await output(
          range.engine,
          universe.sandbox,
          ['curl', '-sS', '-m', '10', '--unix-socket', paths.modelSocket, 'http://gateway/'],
          '1000:1000',
        );
        assert.match(model.text, /model gateway/, model.stderr);
      });
    }

    it('what is on the list does arrive', async () => {
      const url = 'http://allowed.example.com/';
      const { text } = await output(
        range.engine,
        universe.sandbox,
        ['curl', '-sS', '-m', '10', '--unix-socket', paths.proxySocket, '--request-target', url, url],
        '1000:1000',
      );
      assert.equal(text, 'BAIT');
    });
  });
}
