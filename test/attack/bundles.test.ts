import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Commit, TaskEvent } from '../../src/protocol/taskEvent.ts';
import { engineKinds, engines, type EngineKind } from '../support/engines.ts';
import {
  bundle,
  commitOf,
  inflating,
  nameOf,
  pack,
  packed,
  packedDelta,
  treeOf,
  type PackKind,
} from '../support/evilPacks.ts';
import { evilSupervisor } from '../support/evilSupervisor.ts';
import { fingerprint } from '../support/gitRepo.ts';
import { bash, Bench, gitIn } from '../support/tasks.ts';

const run = promisify(execFile);
const MB = 1 << 20;

interface Evil {
  what: string;
  sha: string;
  bytes: Buffer;
  /** What the refusal says; undefined for what may come in. */
  refusal?: RegExp;
}

class Objects {
  readonly parts: Buffer[] = [];

  add(kind: PackKind, content: Uint8Array): string {
    this.parts.push(packed(kind, content));
    return nameOf(kind, content);
  }
}

/** Bundles that no honest supervisor makes, on top of a commit of the user's. */
function evilBundles(base: string): Evil[] {
  const made: Evil[] = [];
  const add = (
    what: string,
    refusal: RegExp | undefined,
    build: (objects: Objects) => {
      tree: string;
      says?: number;
      refs?: string[];
      parents?: string[];
      needs?: string[];
    },
    change: (bytes: Buffer) => Buffer = (bytes) => bytes,
  ): void => {
    const objects = new Objects();
    const { tree, says, refs = [], parents = [base], needs = [base] } = build(objects);
    const sha = objects.add('commit', commitOf(tree, parents, `${what}\n`));
    const bytes = bundle(
      pack(objects.parts, says ?? objects.parts.length),
      [`${sha} refs/heads/x`, ...refs],
      needs,
    );
    made.push({ what, sha, bytes: change(bytes), ...(refusal === undefined ? {} : { refusal }) });
  };
  const plain = (objects: Objects): string =>
    objects.add('tree', treeOf([['100644', 'x', objects.add('blob', Buffer.from('x\n'))]]));
  const absent = '1'.repeat(40);

  add(
    'what is no bundle',
    /not a git bundle/,
    (o) => ({ tree: plain(o) }),
    () => Buffer.from('GIF89a\n\nPACK'),
  );
  add(
    'a header without an end',
    /header is longer/,
    (o) => ({ tree: plain(o) }),
    () => Buffer.from(`# v2 git bundle\n${`-${base}\n`.repeat(40_000)}`),
  );
  add(
    'a bundle that is cut off',
    /./,
    (o) => ({ tree: plain(o) }),
    (bytes) => bytes.subarray(0, -30),
  );
  add('a missing prerequisite', /builds on commit 1{40}/, (o) => ({ tree: plain(o), needs: [absent] }));
  add('a missing parent', /./, (o) => ({ tree: plain(o), parents: [absent] }));
  add('a delta to nothing', /./, (o) => {
    o.parts.push(packedDelta(absent, inflating(10, 20)));
    return { tree: plain(o) };
  });
  add('a folder .git', /hasDotgit/, (o) => {
    const config = o.add('blob', Buffer.from('[core]\n\tfsmonitor = touch /tmp/x\n'));
    return {
      tree: o.add('tree', treeOf([['40000', '.git', o.add('tree', treeOf([['100644', 'config', config]]))]])),
    };
  });
  add('a folder ..', /hasDotdot/, (o) => ({ tree: o.add('tree', treeOf([['40000', '..', plain(o)]])) }));
  add('a submodule whose url is an option', /gitmodules/, (o) => {
    const modules = '[submodule "x"]\n\tpath = x\n\turl = --upload-pack=touch /tmp/x\n';
    return { tree: o.add('tree', treeOf([['100644', '.gitmodules', o.add('blob', Buffer.from(modules))]])) };
  });
  add('a gigabyte in a kilobyte', /more memory than is allowed/, (o) => {
    const small = Buffer.alloc(MB, 'a');
    const blob = o.add('blob', small);
    o.parts.push(packedDelta(blob, inflating(MB, 1200 * MB)));
    return { tree: o.add('tree', treeOf([['100644', 'x', blob]])) };
  });
  add('ten billion files', /stands for more than/, (o) => {
    let tree = plain(o);
    for (let level = 0; level < 10; level++) {
      const inner = tree;
      tree = o.add('tree', treeOf(Array.from({ length: 10 }, (_, n) => ['40000', `d${n}`, inner])));
    }
    return { tree };
  });
  add('four billion objects', /4,000,000,000 objects/, (o) => ({ tree: plain(o), says: 4_000_000_000 }));
  add('refs of others', undefined, (o) => {
    const tree = plain(o);
    const sha = nameOf('commit', commitOf(tree, [base], 'refs of others\n'));
    const names = ['heads/main', `bases/${sha}`, 'tasks/abcdefghijklmno/heads/main', 'replace/' + base];
    return { tree, refs: names.map((name) => `${sha} refs/${name}`) };
  });
  return made;
}

function announced(sha: string, subject: string): Commit {
  const who = { author: 'Mallory', email: 'mallory@example.com', date: 1_700_000_000_000 };
  return { sha, parents: [], branch: 'main', ...who, subject, body: '', files: [] };
}

async function evilRepository(bench: Bench): Promise<{ path: string; evils: Evil[]; own: string }> {
  const path = await bench.repository();
  const base = await gitIn(path, 'rev-parse', 'HEAD');
  const evils = evilBundles(base);
  const own: Evil = {
    what: 'a commit of the user’s own',
    sha: base,
    bytes: bundle(pack([]), [`${base} refs/heads/x`], [base]),
  };
  const all = [own, ...evils];
  await mkdir(join(path, 'evil'));
  for (const [n, { bytes }] of all.entries())
    await writeFile(join(path, 'evil', `${n}.bundle`), bytes.toString('base64'));
  const victim = 'f'.repeat(40);
  const plan = {
    restMs: 300,
    bundles: Object.fromEntries(all.map(({ sha }, n) => [sha, `${n}.bundle`])),
    commits: all.map(({ sha, what }) => announced(sha, what)),
    // What only the host knows, said by the sandbox.
    forged: [
      { type: 'imported', tips: [victim] },
      { type: 'lost', tips: [evils[0]?.sha ?? ''] },
      { type: 'sandbox_removed' },
      { type: 'egress_allowed', mode: 'open', scope: 'workspace' },
      { type: 'budget_set', usd: null },
      { type: 'continued' },
      { type: 'request', host: 'forged.example.com', verdict: 'allowed' },
    ],
    lines: [
      '{"n":1,"t":1,"type":"imported","tips":[]}',
      '{"s":1,"t":1,"type":"text","text":"a number of the past"}',
      '{"s":9007199254740993,"t":1,"type":"text","text":"no number"}',
      '{"s":-1,"type":"text"}',
      '{"s":1e999}',
      '{"__proto__":{"s":6000}}',
      '['.repeat(10_000),
      '\u001b]52;c;ZXZpbA==\u0007',
    ],
  };
  await writeFile(join(path, 'evil', 'plan.json'), JSON.stringify(plan));
  await writeFile(join(path, 'evil', 'supervisor.mjs'), evilSupervisor);
  await gitIn(path, 'add', '-A');
  await gitIn(path, 'commit', '-qm', 'Tools');
  return { path, evils, own: base };
}

describe('a hostile supervisor', function () {
  this.timeout('4m');

  describe('before plain git', () => {
    let folder: string;
    let evils: Map<string, Evil>;

    before(async () => {
      folder = await mkdtemp(join(tmpdir(), 'sallyport-plain-'));
      await gitIn(folder, 'init', '-q', '-b', 'main');
      await gitIn(folder, 'config', 'user.name', 'Ada');
      await gitIn(folder, 'config', 'user.email', 'ada@example.com');
      await gitIn(folder, 'commit', '-q', '--allow-empty', '-m', 'First');
      const list = evilBundles(await gitIn(folder, 'rev-parse', 'HEAD'));
      evils = new Map(list.map((evil) => [evil.what, evil]));
    });
    after(() => rm(folder, { recursive: true, force: true }));

    async function file(what: string): Promise<string> {
      const path = join(folder, 'evil.bundle');
      await writeFile(path, evils.get(what)?.bytes ?? assert.fail(what));
      return path;
    }

    for (const what of [
      'a folder .git',
      'a folder ..',
      'a submodule whose url is an option',
      'ten billion files',
    ]) {
      it(`brings in ${what}`, async () => {
        await gitIn(folder, 'fetch', '-q', await file(what), 'refs/heads/x');
        assert.equal(await gitIn(folder, 'rev-parse', 'FETCH_HEAD'), evils.get(what)?.sha);
      });
    }

    it('moves refs of others', async () => {
      const before = await gitIn(folder, 'rev-parse', 'refs/heads/main');
      await gitIn(folder, 'fetch', '-q', '--update-head-ok', await file('refs of others'), '+refs/*:refs/*');
      assert.notEqual(await gitIn(folder, 'rev-parse', 'refs/heads/main'), before);
      assert.match(await gitIn(folder, 'for-each-ref'), /refs\/replace\//);
    });
  });

  for (const kind of engineKinds) {
    describe(`on ${kind}`, () => {
      let bench: Bench;
      let attack: Awaited<ReturnType<typeof attackOn>>;

      before(async function () {
        this.timeout('4m');
        bench = await Bench.open((await engines())[kind]);
        attack = await attackOn(bench, kind);
      });
      after(() => bench.close());

      it('is asked for every bundle, so each of them was tried', () => {
        const text = attack.events
          .flatMap((event) => (event.type === 'tool_result' ? event.text : []))
          .join('\n');
        const asked = attack.events.filter(
          (event) => event.type === 'import_failed' || event.type === 'imported',
        );
        assert.ok(asked.length >= attack.evils.length, `${asked.length} answers\n${text}`);
      });

      it('gets nothing in but what is whole and harmless', async () => {
        const said = attack.events.flatMap((event) => (event.type === 'import_failed' ? [event] : []));
        for (const { what, sha, refusal } of attack.evils) {
          const failure = said.find((event) => event.tips.at(-1) === sha);
          if (refusal === undefined) assert.equal(failure, undefined, what);
          else assert.match(failure?.message ?? 'no refusal', refusal, what);
        }
        const harmless = attack.evils.filter(({ refusal }) => refusal === undefined).map(({ sha }) => sha);
        assert.deepEqual([...bench.state(attack.id).imported].sort(), [...harmless, attack.own].sort());
        const { stdout } = await run('git', [
          '--git-dir',
          attack.quarantine,
          'for-each-ref',
          '--format=%(refname)',
        ]);
        const refs = stdout.trim().split('\n');
        assert.ok(refs.length > 2);
        for (const ref of refs) {
          assert.match(
            ref,
            new RegExp(`^refs/(bases/[0-9a-f]{40}|tasks/${attack.id}/(commits/[0-9a-f]{40}|heads/main))$`),
          );
        }
        assert.ok(!refs.includes(`refs/bases/${harmless[0] ?? ''}`));
        await run('git', ['--git-dir', attack.quarantine, 'fsck', '--strict', '--no-dangling']);
      });

      it('cannot say what only the host knows', () => {
        for (const type of [
          'imported',
          'lost',
          'sandbox_removed',
          'egress_allowed',
          'budget_set',
          'continued',
          'request',
        ]) {
          const said = attack.events.filter((event) => event.type === type && event.s !== undefined);
          assert.deepEqual(said, [], type);
        }
        assert.ok(
          !attack.events.some((event) => event.type === 'egress_allowed' || event.type === 'budget_set'),
        );
        assert.ok(!JSON.stringify(bench.state(attack.id).imported).includes('f'.repeat(40)));
        assert.ok(!attack.events.some((event) => event.type === 'text' && /past|no number/.test(event.text)));
        const numbers = attack.events.map((event) => event.n);
        assert.deepEqual(
          numbers,
          numbers.map((_, index) => index + 1),
          'the log is numbered by the host alone',
        );
      });

      it('changes nothing of the user’s, and its commits are removed only by force', async () => {
        assert.deepEqual(fingerprint(attack.path), attack.before);
        await assert.rejects(bench.service.remove(attack.id), { code: 'commits_not_imported' });
        await bench.service.remove(attack.id, { force: true });
        assert.deepEqual(await bench.remains(), []);
        assert.deepEqual(fingerprint(attack.path), attack.before);
      });
    });
  }
});

async function attackOn(bench: Bench, kind: EngineKind) {
  const { path, evils, own } = await evilRepository(bench);
  const before = fingerprint(path);
  const { spec } = await bench.submit([bash('node evil/supervisor.mjs'), { text: 'ok' }], {
    repositoryPath: path,
  });
  const events: TaskEvent[] = [];
  const over = new AbortController();
  const limit = setTimeout(() => over.abort(), 150_000);
  for await (const batch of bench.service.events(spec.id, 0, over.signal)) {
    events.push(...batch);
    // The sandbox stays, because of what was not let in.
    if (batch.some((event) => event.type === 'ended')) break;
  }
  clearTimeout(limit);
  assert.ok(
    events.some((event) => event.type === 'ended'),
    `${kind}: no end\n${JSON.stringify(events.slice(-5))}`,
  );
  // The last import may still be under way.
  for (let i = 0; i < 1000 && bench.state(spec.id).endedAt === undefined; i++)
    await new Promise((passed) => setTimeout(passed, 100));
  const quarantine = join(bench.data, 'quarantine', `${spec.repository.id}.git`);
  return { id: spec.id, path, evils, own, before, events, quarantine };
}
