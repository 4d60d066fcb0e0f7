// `npm test`: everything that is checked, in stages. `npm test -- unit lint` runs only these, and what they need.
// What is imported here exists in Node 18 too; everything else comes after the bootstrap.
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { bootstrap, root } from './lib/bootstrap.mjs';

await bootstrap();
const { dim, duration, green, headline, main, red, Refusal, say } = await import('./lib/say.mjs');
const { run } = await import('./lib/processes.mjs');

const minute = 60_000;
const node = process.execPath;
const tool = (path) => [node, join(root, 'node_modules', path)];
const results = join(root, 'out', 'tests');

/** Where the engines of the tests listen; filled by the stage `engines`, handed on in the environment. */
const engines = {};

/**
 * Without `count` a stage is one test; with it, it is those that mocha wrote down.
 * @type {{ name: string, title: string, needs?: string[], count?: true, go: (counts: string) => Promise<number> }[]}
 */
const stages = [
  check('format', 'Formatting (prettier)', [
    [...tool('prettier/bin/prettier.cjs'), '--check', '--log-level', 'warn', '.'],
  ]),
  check('lint', 'Lint and import law (eslint)', [
    [...tool('eslint/bin/eslint.js'), '--max-warnings', '0', '.'],
  ]),
  check('types', 'Types (tsc)', [
    [...tool('typescript/bin/tsc'), '-p', 'tsconfig.json'],
    [...tool('typescript/bin/tsc'), '-p', 'webview/tsconfig.json'],
  ]),
  check('unused', 'Unused files, exports and packages (knip)', [tool('knip/bin/knip.js')]),
  { name: 'build', title: 'Bundles (esbuild)', go: buildBundles },
  check(
    'package',
    'Package of the extension (vsce), and its size',
    [[node, 'scripts/package.mjs']],
    ['build'],
  ),
  mocha('unit', 'Unit tests', {
    first: ['gitBombs', 'gitAcceptKills', 'remoteUpload', 'remoteServer', 'serverOperation'],
    timeout: '240s',
    attempts: 2,
    limit: 40 * minute,
    before: async () => {
      const { ensurePackages } = await import('./lib/engine.mjs');
      await ensurePackages(['curl'], { why: 'The egress proxy is tried with it', log: say });
      await ensurePackages(['openssh-server'], {
        why: 'Commits are pushed to a server of its own',
        log: say,
      });
      await ensurePackages(['gnupg', 'gpgsm'], { why: 'Commits are signed with it', log: say });
    },
  }),
  { name: 'engines', title: 'Container engines: Docker and Podman', go: startEngines },
  mocha('contract', 'Contract tests on both engines', {
    jobs: 4,
    first: ['runnerOnPodman', 'runnerOnDocker', 'runnerOverNetwork', 'engine', 'conversation', 'diskFull'],
    timeout: '10m',
    attempts: 2,
    limit: 40 * minute,
    needs: ['build', 'engines'],
    before: async () => {
      const { ensurePackages } = await import('./lib/engine.mjs');
      await ensurePackages(['curl', 'python3'], { why: 'Samples are run as they stand', log: say });
      await buildImages();
    },
  }),
  mocha('attack', 'Attacks on the promises', {
    jobs: 4,
    first: [
      'serverKills',
      'kills',
      'broker',
      'reopening',
      'conversation',
      'isolation',
      'credentials',
      'network',
    ],
    alone: ['bombs'],
    timeout: '10m',
    attempts: 2,
    limit: 40 * minute,
    needs: ['build', 'engines'],
    before: async () => {
      const { ensurePackages } = await import('./lib/engine.mjs');
      await ensurePackages(['openssh-server'], {
        why: 'Commits are pushed to a server of its own',
        log: say,
      });
      await buildImages();
    },
  }),
  {
    name: 'host',
    title: "Tests in VS Code's extension host",
    needs: ['build', 'engines'],
    count: true,
    go: (counts) =>
      run([node, 'scripts/hostTests.mjs', counts], { cwd: root, env: environment(), limitMs: 15 * minute }),
  },
  mocha('journey', 'Journeys through the workbench in a browser', {
    folder: 'e2e',
    jobs: 2,
    first: ['review', 'panelReview', 'remote', 'journey'],
    timeout: '10m',
    attempts: 2,
    limit: 40 * minute,
    needs: ['package', 'engines'],
    before: async () => {
      const { ensureCodeServer } = await import('./lib/codeServer.mjs');
      const { ensureChromium } = await import('./lib/chromium.mjs');
      await ensureCodeServer();
      await ensureChromium();
      await buildImages(['docker']);
    },
  }),
].filter((stage) => stage !== undefined);

function check(name, title, commands, needs = []) {
  const go = async () => {
    for (const argv of commands) {
      const code = await run(argv, { cwd: root, limitMs: 10 * minute });
      if (code !== 0) return code;
    }
    return 0;
  };
  return { name, title, needs, go };
}

/**
 * A stage of mocha tests; none when its folder holds no test. What runs on real engines, browsers, servers and git gets a
 * second attempt, because those have bad moments of their own; whatever needed it is named in the last lines.
 */
function mocha(
  name,
  title,
  { folder = name, timeout = '20s', limit, needs = [], before, attempts = 1, first, alone, jobs },
) {
  const path = join(root, 'test', folder);
  const names = existsSync(path) ? readdirSync(path, { recursive: true }).map(String) : [];
  const files = names.filter((file) => file.endsWith('.test.ts')).map((file) => join(path, file));
  if (files.length === 0) return undefined;
  const go = async (counts) => {
    await before?.();
    const { runFiles } = await import('./lib/mochaFiles.mjs');
    const options = ['--timeout', timeout, '--retries', String(attempts - 1)];
    const env = environment();
    const found = await runFiles(files, {
      folder: join(results, name),
      ...{ first, alone, options, jobs, env },
      limitMs: limit,
    });
    writeFileSync(counts, JSON.stringify(found));
    return found.failed.length > 0 ? 1 : 0;
  };
  return { name, title, needs, count: true, go };
}

function environment() {
  return { ...process.env, ...engines };
}

async function buildBundles() {
  const { build } = await import('./lib/build.mjs');
  await build();
  return 0;
}

async function startEngines() {
  const { ensureDocker, ensurePackages, ensurePodmanService } = await import('./lib/engine.mjs');
  await ensurePackages(['mmdebstrap'], {
    why: 'Where no registry answers, the base image is made with it',
    log: say,
  });
  const docker = await ensureDocker({ log: say, onlyDocker: true });
  say(`Docker answers at ${docker.address}.`);
  const podman = await ensurePodmanService({ log: say });
  say(`Podman answers at ${podman.address}.`);
  engines.SALLYPORT_TEST_DOCKER = docker.address;
  engines.SALLYPORT_TEST_PODMAN = podman.address;
  return 0;
}

/** The sandbox image on each engine, before several files of tests want it at once. */
async function buildImages(kinds = ['docker', 'podman']) {
  const { ensureImage } = await import('./lib/image.mjs');
  for (const kind of kinds) {
    await ensureImage({ ...process.env, DOCKER_HOST: engines[`SALLYPORT_TEST_${kind.toUpperCase()}`] });
  }
}

/** The outcome of a stage that counts no tests of its own. */
const nothing = { passed: 0, failed: 0, broken: [], skipped: [], again: [], open: [] };

/** Runs one stage; never throws. */
async function perform(stage) {
  const counts = join(results, `${stage.name}.json`);
  rmSync(counts, { force: true });
  const start = Date.now();
  let code;
  try {
    code = await stage.go(counts);
  } catch (thrown) {
    console.error(
      thrown?.mend === undefined ? String(thrown?.message ?? thrown) : `${thrown.message}\n${thrown.mend}`,
    );
    code = 1;
  }
  const time = Date.now() - start;
  if (stage.count === undefined)
    return { stage, time, ...nothing, passed: code === 0 ? 1 : 0, failed: code === 0 ? 0 : 1 };
  return { stage, time, ...readCounts(counts, code) };
}

/** What mocha wrote down, with the names of what failed. A run that wrote nothing, ran nothing, or failed without a failed test counts as one failure. */
function readCounts(path, code) {
  if (!existsSync(path)) return { ...nothing, failed: 1, note: 'did not come to its end' };
  const counts = JSON.parse(readFileSync(path, 'utf8'));
  const reasons = JSON.parse(readFileSync(join(root, 'test', 'skips.json'), 'utf8'));
  const { again, open, passed, failed: broken } = counts;
  const skipped = counts.pending.map((test) => ({ test, reason: reasons[test] }));
  const failed = broken.length + skipped.filter(({ reason }) => reason === undefined).length;
  const found = { passed, failed, broken, skipped, again, open };
  if (passed + failed === 0) return { ...found, failed: 1, note: 'ran no test' };
  if (code !== 0 && failed === 0) return { ...found, failed: 1, note: `ended with exit code ${code}` };
  return found;
}

/** The named stages with all that they need, in order. */
function choose(names) {
  if (names.length === 0) return stages;
  const wanted = new Set();
  const add = (name) => {
    const stage = stages.find((one) => one.name === name);
    if (stage === undefined) {
      throw new Refusal(
        `There is no stage "${name}".`,
        `There are: ${stages.map((one) => one.name).join(', ')}.`,
        2,
      );
    }
    wanted.add(stage);
    for (const need of stage.needs ?? []) add(need);
  };
  for (const name of names) add(name);
  return stages.filter((stage) => wanted.has(stage));
}

await main(async () => {
  const chosen = choose(process.argv.slice(2));
  mkdirSync(results, { recursive: true });
  let interrupted = false;
  process.on('SIGINT', () => (interrupted = true));
  process.on('SIGTERM', () => (interrupted = true));
  const outcomes = [];
  for (const stage of chosen) {
    headline(stage.title);
    const missing = (stage.needs ?? []).filter((need) =>
      outcomes.some((one) => one.stage.name === need && one.failed > 0),
    );
    const outcome =
      missing.length > 0
        ? { stage, time: 0, ...nothing, failed: 1, note: `not run, because ${missing.join(' and ')} failed` }
        : await perform(stage);
    outcomes.push(outcome);
    const verdict =
      outcome.failed === 0 ? green('passed') : red(`failed${outcome.note ? ` (${outcome.note})` : ''}`);
    say(`${verdict} ${dim(duration(outcome.time))}`);
    if (interrupted) throw new Refusal('Interrupted.', undefined, 130);
  }
  return report(outcomes);
});

function report(outcomes) {
  headline('Result');
  const width = Math.max(...outcomes.map(({ stage }) => stage.name.length));
  for (const { stage, time, passed, failed, note } of outcomes) {
    const mark = failed === 0 ? green('✔') : red('✘');
    const numbers = `${String(passed).padStart(5)} passed ${String(failed).padStart(4)} failed`;
    console.log(
      `  ${mark} ${stage.name.padEnd(width)} ${numbers}  ${duration(time).padStart(12)}${note ? `  ${note}` : ''}`,
    );
  }
  for (const { test, reason } of outcomes.flatMap((outcome) => outcome.skipped)) {
    console.log(
      `  skipped: ${test}: ${reason ?? red('no reason is given in test/skips.json, so it counts as failed')}`,
    );
  }
  for (const { test, error } of outcomes.flatMap((outcome) => outcome.again)) {
    console.log(`  ${red('needed a second attempt')}: ${test}: ${error.split('\n', 1)[0]}`);
  }
  for (const left of outcomes.flatMap((outcome) => outcome.open)) {
    console.log(`  ${red('was ended, because it left something open')}: ${left}`);
  }
  // Last, and with all that was said, so that the end of a long log is enough to go on from.
  for (const { test, error } of outcomes.flatMap((outcome) => outcome.broken)) {
    console.log(
      `  ${red('failed')}: ${test}\n${error.trimEnd().split('\n').slice(0, 40).join('\n').replace(/^/gm, '      ')}`,
    );
  }
  const sum = (key) => outcomes.reduce((total, outcome) => total + outcome[key], 0);
  const passed = sum('passed');
  const failed = sum('failed');
  console.log(`\n${passed} passed, ${failed} failed`);
  return failed > 0 || passed === 0 ? 1 : 0;
}
