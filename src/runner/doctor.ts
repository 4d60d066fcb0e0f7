import { readFile, statfs } from 'node:fs/promises';
import { asSallyportError, isAbort, SallyportError } from '../base/errors.ts';
import { connectEngine, describeCandidates } from '../engine/connect.ts';
import type { Engine } from '../engine/engine.ts';
import { authoritiesOf, hostAuthorities } from '../engine/hostAuthorities.ts';
import { sandboxRecipe } from '../engine/imageRecipe.ts';
import { checkRuntime } from '../engine/runtimes.ts';
import { engineWarnings } from '../engine/warnings.ts';
import { git } from '../git/process.ts';
import { tryOut, type Trial } from './doctorTrial.ts';
import { folderBytes } from './folderBytes.ts';
import type { ModelSources } from './modelSources.ts';
import type { DoctorCheck, ResolvedModel } from './taskService.ts';
import type { Isolation } from '../protocol/task.ts';
import type { UserPolicy } from './userPolicy.ts';

export interface DoctorOptions {
  dataFolder: string;
  distFolder: string;
  containerFolder: string;
  engineSetting: () => string | undefined;
  credentials: () => Promise<ResolvedModel>;
  /** For the list of what was found, and for the call of the model. */
  modelSources?: Pick<ModelSources, 'list' | 'check'> | undefined;
  policy: () => UserPolicy;
}

/** Below this much free space a sandbox with its image does not fit, in bytes. */
const neededBytes = 5 * 2 ** 30;
/** Older images lack too many of Debian's security updates, in days. */
const oldImageDays = 60;
/** The oldest git that can be told to read no configuration but ours (GIT_CONFIG_GLOBAL). */
const oldestGit = [2, 32] as const;
/** How long each part may take, in milliseconds. */
const patience = { credentials: 30_000, trial: 90_000, size: 5000, git: 10_000 };

type Finding = Omit<DoctorCheck, 'name'>;

/**
 * Looks at everything that a task needs on this machine, and tries out what can be tried: a gateway and a sandbox are
 * started for real, and removed. Each check that fails says what to do. Rejects only when `signal` aborts.
 */
export async function examine(
  options: DoctorOptions,
  {
    callModel = false,
    signal = new AbortController().signal,
  }: { callModel?: boolean; signal?: AbortSignal } = {},
): Promise<DoctorCheck[]> {
  const [versions, gitCheck, engine, credentials, disk, network] = await Promise.all([
    check('Versions', () => versionsOf(options)),
    check('Git', () => gitVersion(signal)),
    engineChecks(options, signal),
    check('Credentials', () => credentialState(options, callModel, within(patience.credentials, signal))),
    check('Disk', () => diskState(options.dataFolder)),
    check('Proxy and CA', () => networkWay(options.policy())),
  ]);
  signal.throwIfAborted();
  return [...engine, credentials, gitCheck, disk, network, versions];
}

async function engineChecks(options: DoctorOptions, signal: AbortSignal): Promise<DoctorCheck[]> {
  const setting = options.engineSetting();
  const connection = { env: process.env, ...(setting === undefined ? {} : { setting }) };
  let engine: Engine;
  try {
    engine = await connectEngine(connection);
  } catch (thrown) {
    const looked = await describeCandidates(connection).catch(() => []);
    const tried = looked.filter(({ result }) => result !== 'nothing there').map(({ address }) => address);
    const check = failed('Engine', thrown);
    return tried.length > 1 ? [{ ...check, detail: `${check.detail} Tried: ${tried.join(', ')}.` }] : [check];
  }
  try {
    const { isolation, extraCaFile } = options.policy();
    const recipe = await attempt(() =>
      sandboxRecipe(options.distFolder, options.containerFolder, process.env, extraCaFile),
    );
    const rows = [
      await check('Engine', () => Promise.resolve(engineState(engine))),
      await check('Walls', () => Promise.resolve(walls(engine))),
      await check('Runtime', () => Promise.resolve(runtime(engine, isolation.runtime))),
    ];
    if ('error' in recipe) return [...rows, failed('Sandbox image', recipe.error)];
    const image = await check('Sandbox image', () => imageState(engine, recipe.value.tag));
    if (image.ok === false || (await engine.image(recipe.value.tag)) === undefined)
      return [...rows, image, ...untried];
    const trial = await attempt(() =>
      tryOut(engine, recipe.value.tag, withoutOwn(isolation), within(patience.trial, signal)),
    );
    if ('value' in trial) return [...rows, image, ...trialChecks(trial.value)];
    if (signal.aborted) return [];
    return [...rows, image, failed('Gateway', timely(trial.error, 'a gateway and a sandbox'))];
  } catch (thrown) {
    return [failed('Engine', thrown)];
  } finally {
    engine.dispose();
  }
}

function engineState({ info }: Engine): Finding {
  const { kind, version, source, rootless, platform, cgroupVersion, storageDriver, backingFilesystem } = info;
  const groups = cgroupVersion === undefined ? '' : `, control groups v${cgroupVersion}`;
  const storage = `${storageDriver}${backingFilesystem === undefined ? '' : ` on ${backingFilesystem}`}`;
  return {
    ok: true,
    detail: `${kind === 'docker' ? 'Docker' : 'Podman'} ${version}${rootless ? ', rootless' : ''}, ${platform}${groups}, ${storage}, found by ${source}`,
  };
}

function walls({ info }: Engine): Finding {
  const warnings = engineWarnings(info);
  if (warnings.length === 0) {
    return { ok: true, detail: 'System calls are filtered; memory, processors and processes are limited' };
  }
  return {
    ok: 'warning',
    detail: warnings.map(({ text }) => text).join(' '),
    mend: warnings.map(({ mend }) => mend).join(' '),
  };
}

function runtime({ info }: Engine, wanted: string | undefined): Finding {
  checkRuntime(info, wanted);
  return {
    ok: true,
    detail: wanted ?? `The engine's own (it knows ${info.runtimes.join(', ') || 'no other'})`,
  };
}

async function imageState(engine: Engine, tag: string): Promise<Finding> {
  const image = await engine.image(tag);
  if (image === undefined) {
    return {
      ok: 'warning',
      detail: 'Not built yet.',
      mend: 'The first task builds it; that takes a few minutes.',
    };
  }
  const days = Math.max(0, Math.floor((Date.now() - image.createdAt) / 86_400_000));
  const detail = `${tag}, ${gigabytes(image.bytes)}, ${days === 0 ? 'built today' : days === 1 ? 'a day old' : `${days} days old`}`;
  if (days <= oldImageDays) return { ok: true, detail };
  const command = engine.info.kind === 'docker' ? 'docker' : 'podman';
  return {
    ok: 'warning',
    detail,
    mend: `It lacks the security updates since then. Remove it, and the next task builds it anew: ${command} rmi ${tag}`,
  };
}

const untried: DoctorCheck[] = [
  {
    name: 'Gateway',
    ok: 'warning',
    detail: 'Not tried: there is no sandbox image yet.',
    mend: 'Start a task, and run this again.',
  },
];

/** Failures of a request that was let through. A name that nobody knows was not reached either. */
const onTheWay = new Set(['unreachable', 'too_slow']);

/** What a trial showed, as rows. */
export function trialChecks({ answeredMs, agent, egress, proxy, freeBytes }: Trial): DoctorCheck[] {
  const open = egress.checks.filter(({ blocked }) => !blocked);
  const passed = proxy.filter(
    ({ status, blocked }) => status < 400 || blocked === undefined || onTheWay.has(blocked),
  );
  const free = `${gigabytes(freeBytes)} free where the engine keeps its containers`;
  return [
    {
      name: 'Gateway',
      ok: true,
      detail: `${agent} in a sandbox had an answer of the demonstration model through it after ${(answeredMs / 1000).toFixed(1)} s`,
    },
    egress.closed
      ? {
          name: 'Sandbox closed',
          ok: true,
          detail: `${egress.checks.length} ways out of a sandbox were tried; none is open`,
        }
      : {
          name: 'Sandbox closed',
          ok: false,
          detail: `Ways out of a sandbox are open: ${open.map(({ what, detail }) => `${what} (${detail})`).join(', ')}`,
          mend: 'Do not run tasks on this engine. Look for settings or plugins of it that give every container a network.',
        },
    passed.length === 0
      ? {
          name: 'Egress proxy',
          ok: true,
          detail: `Refused a host that is on no list, and ${proxy.length - 1} private and metadata addresses with the network open`,
        }
      : {
          name: 'Egress proxy',
          ok: false,
          detail: `Not refused: ${passed.map(({ target, status }) => `${target} (${status === 0 ? 'no answer' : status})`).join(', ')}`,
          mend: 'Do not run tasks with this version; install Sallyport again, and report this.',
        },
    freeBytes >= neededBytes
      ? { name: 'Engine disk', ok: true, detail: free }
      : {
          name: 'Engine disk',
          ok: 'warning',
          detail: free,
          mend: 'Free some space, for example with: docker system prune',
        },
  ];
}

async function credentialState(
  { credentials, modelSources }: DoctorOptions,
  callModel: boolean,
  signal: AbortSignal,
): Promise<Finding> {
  const model = await race(credentials(), signal, 'the credentials');
  const others = (await modelSources?.list()) ?? [];
  const trouble = others.filter(({ purpose, state }) => purpose === 'model' && state !== 'ready');
  const aside = trouble.map(
    ({ label, state, detail }) => `${label}: ${state}${detail === '' ? '' : `, ${detail}`}`,
  );
  const also = aside.length === 0 ? '' : `; not usable: ${aside.join('; ')}`;
  if (model.demonstration) {
    return {
      ok: 'warning',
      detail: `The ${model.label} answers; it follows a script${also}`,
      mend: 'Set an API key, or log in with Claude Code, to work with a real model.',
    };
  }
  if (!callModel || modelSources === undefined) return { ok: true, detail: `${model.label}${also}` };
  await race(modelSources.check(model, { deep: true, signal }), signal, 'the model');
  return { ok: true, detail: `${model.label}; the model answered a request for one token${also}` };
}

async function gitVersion(signal: AbortSignal): Promise<Finding> {
  const { stdout } = await git(['--version'], { signal, timeoutMs: patience.git });
  const detail = stdout.toString().trim();
  const [major = 0, minor = 0] = (/(\d+)\.(\d+)/.exec(detail) ?? []).slice(1).map(Number);
  const [needsMajor, needsMinor] = oldestGit;
  const enough = major > needsMajor || (major === needsMajor && minor >= needsMinor);
  if (enough) return { ok: true, detail };
  return {
    ok: false,
    detail: `${detail} is too old: what keeps a hostile repository's configuration out needs ${oldestGit.join('.')}.`,
    mend: 'Install a newer git.',
  };
}

async function diskState(folder: string): Promise<Finding> {
  const { bavail, bsize } = await statfs(folder);
  const free = bavail * bsize;
  const used = await folderBytes(folder, patience.size);
  const detail = `${gigabytes(free)} free at ${folder}, where logs and quarantines take ${used.whole ? '' : 'more than '}${gigabytes(used.bytes)}`;
  return free >= 2 ** 30
    ? { ok: true, detail }
    : { ok: 'warning', detail, mend: 'Free some space, or remove tasks that are not needed any more.' };
}

/** The trial is of our own image, and of no folder of the user's. */
function withoutOwn({ readonlyRoot, runtime }: UserPolicy['isolation']): Isolation {
  return { readonlyRoot, ...(runtime === undefined ? {} : { runtime }) };
}

function networkWay({ network, extraCaFile }: UserPolicy): Promise<Finding> {
  const parts = [];
  const named = ['HTTPS_PROXY', 'https_proxy', 'HTTP_PROXY', 'http_proxy'].find((name) => process.env[name]);
  const proxy = network.proxy ?? (named === undefined ? undefined : process.env[named]);
  parts.push(
    proxy === undefined
      ? 'no proxy'
      : `proxy ${withoutPassword(proxy)} (${network.proxy === undefined ? (named ?? '') : 'setting'})`,
  );
  if (extraCaFile !== undefined)
    parts.push(`${count(authoritiesOf(extraCaFile).length)} from ${extraCaFile}`);
  const own = hostAuthorities(process.env).length;
  if (own > 0) parts.push(`${count(own)} of this machine's own`);
  return Promise.resolve({ ok: true, detail: parts.join(', ') });
}

const count = (number: number): string =>
  number === 1 ? 'one further authority' : `${number} further authorities`;

function withoutPassword(text: string): string {
  if (!URL.canParse(text)) return 'that is no URL';
  const url = new URL(text);
  return `${url.protocol}//${url.username === '' ? '' : '…@'}${url.host}`;
}

async function versionsOf({ containerFolder }: DoctorOptions): Promise<Finding> {
  const own = await readFile(`${containerFolder}/../package.json`, 'utf8').catch(() => '{}');
  const version = /"version":\s*"([^"]+)"/.exec(own)?.[1] ?? 'of unknown version';
  return {
    ok: true,
    detail: `Sallyport ${version}, Node.js ${process.versions.node}, ${process.platform} ${process.arch}`,
  };
}

async function check(name: string, look: () => Promise<Finding>): Promise<DoctorCheck> {
  try {
    return { name, ...(await look()) };
  } catch (thrown) {
    return failed(name, thrown);
  }
}

async function attempt<T>(action: () => Promise<T>): Promise<{ value: T } | { error: unknown }> {
  try {
    return { value: await action() };
  } catch (error) {
    return { error };
  }
}

function within(ms: number, signal: AbortSignal): AbortSignal {
  return AbortSignal.any([signal, AbortSignal.timeout(ms)]);
}

/** For what takes no signal, or does not heed it. */
async function race<T>(work: Promise<T>, signal: AbortSignal, what: string): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const late = (): void => reject(tooLate(what));
  if (signal.aborted) late();
  signal.addEventListener('abort', late, { once: true });
  try {
    return await Promise.race([work, promise]);
  } finally {
    signal.removeEventListener('abort', late);
    promise.catch(() => undefined);
    work.catch(() => undefined);
  }
}

function timely(thrown: unknown, what: string): unknown {
  const isTimeout = thrown instanceof Error && thrown.name === 'TimeoutError';
  return isTimeout || isAbort(thrown) ? tooLate(what) : thrown;
}

function tooLate(what: string): Error {
  return new SallyportError(
    'internal',
    `It took too long to ask ${what}.`,
    'Look whether this machine is very busy, then run this again.',
  );
}

function failed(name: string, thrown: unknown): DoctorCheck {
  const error = asSallyportError(thrown);
  return { name, ok: false, detail: error.message, mend: error.mend };
}

function gigabytes(bytes: number): string {
  return bytes < 2 ** 30 ? `${Math.round(bytes / 2 ** 20)} MiB` : `${(bytes / 2 ** 30).toFixed(1)} GiB`;
}
