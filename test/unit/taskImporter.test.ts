import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { decodeFrames, encodeData, encodeFrame } from '../../src/base/frames.ts';
import type { Engine } from '../../src/engine/engine.ts';
import { Quarantine } from '../../src/git/quarantine.ts';
import { openRepository } from '../../src/git/repository.ts';
import { SupervisorRequest } from '../../src/protocol/control.ts';
import { reduce } from '../../src/protocol/foldTask.ts';
import { initialState, type TaskState } from '../../src/protocol/taskState.ts';
import type { TaskEventBody } from '../../src/protocol/taskEvent.ts';
import { Importer } from '../../src/runner/importer.ts';
import { makeBundle } from '../../src/supervisor/bundle.ts';
import { GitRepo } from '../support/gitRepo.ts';
import { aSpec } from '../support/specs.ts';

const signal = new AbortController().signal;
const silent = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};

describe('importer', () => {
  let folder: string;
  let repo: GitRepo;
  let quarantine: Quarantine;
  let state: TaskState;
  let importer: Importer;
  /** What the honest supervisor was asked for. */
  let asked: string[][];
  /** Cuts the next answer short, as a connection that breaks. */
  let breakNext: boolean;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'sallyport-importer-'));
    repo = new GitRepo(join(folder, 'work'));
    repo.write('a.txt', 'a\n');
    const start = repo.commit('Start');
    quarantine = Quarantine.open(join(folder, 'quarantine'), 'a'.repeat(16));
    await quarantine.adopt(await openRepository(repo.path));
    const spec = aSpec();
    state = initialState({ ...spec, snapshot: { ...spec.snapshot, commit: start } }, 1);
    asked = [];
    breakNext = false;
    importer = new Importer(
      () => state,
      quarantine,
      (event) => {
        say(event);
        return Promise.resolve();
      },
      silent,
    );
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  function say(event: TaskEventBody): void {
    state = reduce(state, { ...event, n: state.lastEvent + 1, t: 1 });
  }

  /** A sandbox whose supervisor is honest. */
  const engine = {
    exec: async (_id: string, _argv: string[], options: { stdin?: AsyncIterable<Uint8Array> } = {}) => {
      let request: SupervisorRequest | undefined;
      for await (const frame of decodeFrames(options.stdin ?? (async function* () {})())) {
        if (frame.kind === 'J') request = SupervisorRequest.parse(frame.json);
        break;
      }
      assert.ok(request?.op === 'bundle');
      asked.push(request.want);
      const { data, missing } = await makeBundle(repo.path, request.want, request.have);
      const cut = breakNext;
      breakNext = false;
      const stdout = (async function* () {
        for await (const bytes of encodeData(data ?? (async function* () {})())) {
          yield cut ? bytes.subarray(0, bytes.length - 20) : bytes;
          if (cut) return;
        }
        yield encodeFrame({ kind: 'J', json: { ok: true, missing } });
      })();
      return { stdout, done: Promise.resolve({ exitCode: 1, stderr: 'broken' }) };
    },
  } as unknown as Engine;

  const pull = (): Promise<void> => importer.pull(engine, 'box', signal);

  /** A commit of a tree that git on some machine would take for its own folder. */
  function evil(parent: string): string {
    const blob = repo.raw(['hash-object', '-w', '--stdin'], 'evil').toString().trim();
    const inner = repo.raw(['mktree'], `100644 blob ${blob}\tconfig\n`).toString().trim();
    const tree = repo.raw(['mktree'], `040000 tree ${inner}\t.GIT\n`).toString().trim();
    return repo.git('commit-tree', '-p', parent, '-m', 'Evil', tree);
  }

  function good(parent: string, message: string): string {
    return repo.git('commit-tree', '-p', parent, '-m', message, `${state.spec.snapshot.commit}^{tree}`);
  }

  function announce(sha: string, ...parents: string[]): void {
    const words = { author: 'Ada', email: 'ada@example.com', date: 1, subject: 'x', body: '', files: [] };
    say({ type: 'commit', commit: { sha, parents, ...words } });
  }

  it('brings in what comes after a commit that is refused, on another line of history', async () => {
    const start = state.spec.snapshot.commit;
    const bad = evil(start);
    announce(bad, start);
    await pull();
    assert.equal(state.importFailure?.code, 'import_refused');
    const fine = good(start, 'Fine');
    announce(fine, start);
    await pull();
    assert.deepEqual(state.imported, [fine]);
    assert.deepEqual([state.pendingImports, state.refusedImports], [[bad], [bad]]);
    assert.equal(state.importFailure.code, 'import_refused', 'it is still true');
    assert.deepEqual([await quarantine.has(fine), await quarantine.has(bad)], [true, false]);
    assert.deepEqual(asked.slice(-1), [[fine]]);
  });

  it('finds the good ones among many that are announced at once', async () => {
    const start = state.spec.snapshot.commit;
    const line: string[] = [];
    for (let i = 0; i < 20; i++) line.push(good(line.at(-1) ?? start, `Good ${i}`));
    const bad = evil(line[9] ?? '');
    const [on, side] = [good(bad, 'On top'), good(line[4] ?? '', 'Aside')];
    line.slice(0, 10).forEach((sha, i) => announce(sha, i === 0 ? start : (line[i - 1] ?? '')));
    announce(bad, line[9] ?? '');
    announce(on, bad);
    announce(side, line[4] ?? '');
    line.slice(10).forEach((sha, i) => announce(sha, line[9 + i] ?? ''));
    await pull();
    assert.deepEqual([...state.imported].sort(), [...line, side].sort());
    assert.deepEqual(state.refusedImports, [bad, on]);
    assert.deepEqual(state.pendingImports, [bad, on]);
    for (const sha of [bad, on]) assert.equal(await quarantine.has(sha), false);
  });

  it('does not take in what builds on a refused commit, whatever is said of its parents', async () => {
    const start = state.spec.snapshot.commit;
    const bad = evil(start);
    announce(bad, start);
    await pull();
    const [honest, lying] = [good(bad, 'Honest'), good(bad, 'Lying')];
    announce(honest, bad);
    announce(lying, start);
    await pull();
    assert.deepEqual(state.imported, []);
    assert.deepEqual(state.refusedImports, [bad, honest, lying]);
    for (const sha of [bad, honest, lying]) assert.equal(await quarantine.has(sha), false);
    const before = asked.length;
    await pull();
    assert.equal(asked.length, before, 'what is refused is not asked for again');
  });

  it('asks again for a bundle that broke off on its way', async () => {
    const start = state.spec.snapshot.commit;
    const fine = good(start, 'Fine');
    announce(fine, start);
    breakNext = true;
    await pull();
    assert.deepEqual([state.imported, state.refusedImports, state.importFailure], [[fine], [], undefined]);
    assert.equal(asked.length, 2);
  });
});
