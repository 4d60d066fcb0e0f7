import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { SallyportError } from '../../src/base/errors.ts';
import { sandboxRecipe } from '../../src/engine/imageRecipe.ts';
import type { Isolation } from '../../src/protocol/task.ts';
import { examine, type DoctorOptions } from '../../src/runner/doctor.ts';
import { labelNames } from '../../src/runner/sandboxNames.ts';
import type { DoctorCheck, ResolvedModel } from '../../src/runner/taskService.ts';
import { defaultPolicy } from '../../src/runner/userPolicy.ts';
import { engineKinds, engines, realEngine } from '../support/engines.ts';

const root = resolve(import.meta.dirname, '..', '..');
const [dist, container] = [join(root, 'dist'), join(root, 'container')];
const demonstration: ResolvedModel = {
  label: 'demonstration model',
  demonstration: true,
  upstream: { kind: 'demonstration' },
};
const real: ResolvedModel = {
  label: 'API key of the test',
  demonstration: false,
  upstream: {
    kind: 'anthropic',
    baseUrl: 'http://127.0.0.1:9',
    auth: { type: 'api_key', value: 'sk-ant-test-0000' },
  },
};

let data: string;

function optionsOf(setting: string, change: Partial<DoctorOptions> & { isolation?: Isolation } = {}) {
  const { isolation = defaultPolicy.isolation, ...rest } = change;
  return {
    dataFolder: data,
    distFolder: dist,
    containerFolder: container,
    engineSetting: () => setting,
    credentials: () => Promise.resolve(demonstration),
    policy: () => ({ ...defaultPolicy, isolation }),
    ...rest,
  } satisfies DoctorOptions;
}

function row(checks: readonly DoctorCheck[], name: string): DoctorCheck {
  const found = checks.find((check) => check.name === name);
  assert.ok(found, `no row "${name}" among ${checks.map((check) => check.name).join(', ')}`);
  return found;
}

describe('doctor', function () {
  this.timeout(600_000);
  before(async () => (data = await mkdtemp(join(tmpdir(), 'sallyport-doctor-test-'))));
  after(() => rm(data, { recursive: true }));

  for (const kind of engineKinds) {
    describe(`on ${kind}`, () => {
      let address: string;
      before(async () => {
        address = (await engines())[kind];
        const engine = await realEngine(kind);
        await engine.ensureImage(await sandboxRecipe(dist, container), () => undefined);
        engine.dispose();
      });

      async function remains(): Promise<number> {
        const engine = await realEngine(kind);
        const mine = { [labelNames.home]: 'doctor' };
        const all = [...(await engine.list(mine)), ...(await engine.listVolumes(mine))];
        engine.dispose();
        return all.length;
      }

      for (const readonlyRoot of [false, true]) {
        it(`finds everything in order, ${readonlyRoot ? 'with a read-only root' : 'by really trying'}, and leaves nothing`, async () => {
          const checks = await examine(optionsOf(address, { isolation: { readonlyRoot } }));
          const troubles = checks.filter(({ ok }) => ok !== true);
          assert.deepEqual(
            troubles.map(({ name }) => name),
            ['Credentials'],
            JSON.stringify(troubles),
          );
          assert.match(row(checks, 'Gateway').detail, /Claude Code \d+\.\d+\.\d+ .* had an answer/);
          assert.match(row(checks, 'Sandbox closed').detail, /^[1-9]\d* ways out .* none is open/);
          assert.match(
            row(checks, 'Egress proxy').detail,
            /Refused a host .* 6 private and metadata addresses/,
          );
          assert.match(row(checks, 'Engine disk').detail, /^\d+\.\d GiB free/);
          assert.equal(await remains(), 0);
        });
      }

      it('tells a runtime that the engine does not have, and that nothing was tried with it', async () => {
        const isolation = { readonlyRoot: false, runtime: 'no-such-runtime' };
        const checks = await examine(optionsOf(address, { isolation }));
        assert.equal(row(checks, 'Runtime').ok, false);
        assert.match(row(checks, 'Runtime').detail, /no-such-runtime/);
        assert.equal(row(checks, 'Gateway').ok, false);
        assert.equal(await remains(), 0);
      });

      it('removes everything when it is broken off', async () => {
        const stopping = new AbortController();
        const examining = examine(optionsOf(address), { signal: stopping.signal });
        for (let left = 200; (await remains()) === 0 && left > 0; left--)
          await new Promise((done) => setTimeout(done, 20));
        stopping.abort();
        await assert.rejects(examining, { name: 'AbortError' });
        assert.equal(await remains(), 0);
      });
    });
  }

  it('works without an engine, and tells all the rest', async () => {
    const checks = await examine(optionsOf(`unix://${data}/none.sock`));
    const engine = row(checks, 'Engine');
    assert.equal(engine.ok, false);
    assert.ok((engine.mend ?? '').length > 10);
    for (const name of ['Git', 'Disk', 'Versions', 'Proxy and CA']) assert.equal(row(checks, name).ok, true);
    assert.ok(!checks.some(({ name }) => name === 'Gateway'));
  });

  it('calls the model only when asked to, and tells what the service says', async () => {
    const calls: unknown[] = [];
    const change: Partial<DoctorOptions> = {
      credentials: () => Promise.resolve(real),
      modelSources: {
        list: () =>
          Promise.resolve([
            { id: 'login', purpose: 'model', label: 'Claude login', state: 'expired', detail: 'since May' },
          ]),
        check: (_, options) => {
          calls.push(options?.deep);
          return Promise.reject(new SallyportError('auth_refused', 'The key was refused.', 'Take another.'));
        },
      },
    };
    const nowhere = optionsOf(`unix://${data}/none.sock`, change);
    const quiet = row(await examine(nowhere), 'Credentials');
    assert.deepEqual([quiet.ok, calls], [true, []]);
    assert.match(quiet.detail, /API key of the test; not usable: Claude login: expired, since May/);
    const asked = row(await examine(nowhere, { callModel: true }), 'Credentials');
    assert.deepEqual(
      [asked.ok, asked.detail, asked.mend, calls],
      [false, 'The key was refused.', 'Take another.', [true]],
    );
  });
});
