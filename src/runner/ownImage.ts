import { SallyportError } from '../base/errors.ts';
import { pause } from '../base/pause.ts';
import type { ContainerSpec, Engine, ImageFacts } from '../engine/engine.ts';
import { paths } from '../protocol/control.ts';
import type { TaskSpec } from '../protocol/task.ts';
import { ownRecipe } from './ownRecipe.ts';
import {
  homeVolumeName,
  labelNames,
  labels,
  type OwnPlace,
  volumeName,
  workVolumeName,
} from './sandboxNames.ts';

/** Names whose values in an image would change our programs or the C library below them. */
const loaderNames = /^(?:LD_.*|NODE_OPTIONS|NODE_PATH|NODE_EXTRA_CA_CERTS|GLIBC_TUNABLES|BASH_ENV|ENV)$/;
const defaultPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
/** How often tools that are not whole are looked at, and the time between, in milliseconds. */
const maxTries = 6;
const retryMs = 2000;
/** In an image volumes there would lie on top of what is ours. */
const reserved = [paths.tools, paths.shared, '/proc', '/sys', '/dev'];

/**
 * Makes all that a sandbox in an image of the user's needs: the image, the volume with our tools, and volumes for
 * workspace and home that belong to the agent. They are filled from our own image, because an engine fills an empty volume
 * with what is at its mount point, with owner and mode.
 * Errors: `image_base_unavailable`, `image_build_failed`, `sandbox_failed`, those of the engine.
 */
export async function makeOwnPlace(
  engine: Engine,
  spec: TaskSpec,
  options: { home: string; ourImage: string; report: (line: string) => void; signal: AbortSignal },
): Promise<OwnPlace> {
  const facts = await bringImage(engine, spec, options);
  const problem = problemWithImage(facts, engine.info.platform);
  if (problem !== undefined) throw new SallyportError('image_build_failed', problem.message, problem.mend);
  const tools = toolsVolumeName(options.ourImage);
  for (
    let tries = 1;
    !(await oneByOne(tools, () => fillVolumes(engine, spec, { ...options, tools })));
    tries++
  ) {
    options.signal.throwIfAborted();
    if (tries === maxTries) throw notWhole(tools);
    // Another process may be filling it. If it was ended in the middle, the rest never comes.
    await pause(retryMs, options.signal);
    if (tries === maxTries - 1) await engine.removeVolume(tools).catch(() => undefined);
  }
  return { image: facts.id, tools, env: environmentOf(facts) };
}

function notWhole(tools: string): SallyportError {
  return new SallyportError(
    'sandbox_failed',
    `The volume ${tools} does not hold what the sandbox needs.`,
    'Remove it when no task runs in an image of its own (docker volume rm), then start the task again.',
  );
}

/** Work of this process on a volume that an engine fills when it is first used. */
const busy = new Map<string, Promise<unknown>>();

function oneByOne<T>(name: string, work: () => Promise<T>): Promise<T> {
  const mine = (busy.get(name) ?? Promise.resolve()).then(work, work);
  busy.set(
    name,
    mine.catch(() => undefined),
  );
  return mine;
}

/** The user's image by its id: a tag that moves meanwhile changes nothing. */
async function bringImage(
  engine: Engine,
  { isolation }: TaskSpec,
  { report, signal }: { report: (line: string) => void; signal: AbortSignal },
): Promise<ImageFacts> {
  let reference: string;
  if (isolation?.dockerfile !== undefined) {
    const recipe = await ownRecipe(isolation.dockerfile, process.env);
    await engine.ensureImage(recipe, report, signal);
    reference = recipe.tag;
  } else {
    reference = wholeReference(isolation?.image ?? '');
    if ((await engine.imageFacts(reference)) === undefined) await engine.pull(reference, report, signal);
  }
  const facts = await engine.imageFacts(reference);
  if (facts !== undefined) return facts;
  throw new SallyportError(
    'image_base_unavailable',
    `The image ${reference} is not on the engine.`,
    'Start the task again.',
  );
}

/** Without a tag engines would pull all there are; of tag and digest the digest says it all. */
export function wholeReference(reference: string): string {
  const [name = '', digest] = reference.split('@');
  const hasTag = /:[^/]*$/.test(name);
  if (digest !== undefined) return `${hasTag ? name.replace(/:[^/:]*$/, '') : name}@${digest}`;
  return hasTag ? name : `${name}:latest`;
}

/** Why an image cannot be a sandbox's, as far as that can be seen from outside. */
export function problemWithImage(
  { platform, volumes }: Pick<ImageFacts, 'platform' | 'volumes'>,
  enginePlatform: string,
): { message: string; mend: string } | undefined {
  if (platform !== enginePlatform)
    return {
      message: `The image is for ${platform}, and the engine runs ${enginePlatform}.`,
      mend: `Name or build an image for ${enginePlatform}.`,
    };
  const taken = volumes
    .map((path) => path.replace(/(?<=.)\/+$/, ''))
    .find((path) =>
      reserved.some((one) => path === one || path.startsWith(`${one}/`) || one.startsWith(`${path}/`)),
    );
  if (taken !== undefined)
    return {
      message: `The image declares a volume at ${taken}, which is a place that the sandbox itself needs.`,
      mend: 'Take the VOLUME out of its Dockerfile.',
    };
  return undefined;
}

/** Of an image's own environment what would bend our programs is emptied; our tools come last on its path. */
export function environmentOf({ env }: Pick<ImageFacts, 'env'>): Record<string, string> {
  const emptied = Object.keys(env).filter((name) => loaderNames.test(name));
  const path = env['PATH'] === undefined || env['PATH'] === '' ? defaultPath : env['PATH'];
  return {
    ...Object.fromEntries(emptied.map((name) => [name, ''])),
    PATH: `${path}:${paths.toolsBin}`,
    HOME: paths.home,
  };
}

/** Named by our image, so that tools of another version are another volume. */
function toolsVolumeName(ourImage: string): string {
  return `sallyport-tools-${ourImage.slice(ourImage.lastIndexOf(':') + 1)}`;
}

/** Resolves to false where the tools are not whole. */
async function fillVolumes(
  engine: Engine,
  spec: TaskSpec,
  { home, ourImage, tools }: { home: string; ourImage: string; tools: string },
): Promise<boolean> {
  const own = labels(spec, home);
  await engine.createVolume(tools, { [labelNames.tools]: ourImage });
  for (const name of [volumeName(spec), workVolumeName(spec), homeVolumeName(spec)])
    await engine.createVolume(name, own);
  const id = await engine.create(fillingContainer(spec, home, ourImage, tools));
  try {
    await engine.start(id);
    await engine.wait(id);
    return (await engine.inspect(id))?.exitCode === 0;
  } finally {
    await engine.remove(id);
  }
}

function fillingContainer(spec: TaskSpec, home: string, image: string, tools: string): ContainerSpec {
  const volume = (name: string, target: string) => ({ name, target, readonly: false });
  return {
    name: `sallyport-${spec.id}-volumes`,
    image,
    command: [
      'bash',
      '-c',
      `cd ${paths.tools} && stat -c '%s %n' bin/* lib/* *.crt | cmp -s - sizes && test -s supervisor.js`,
    ],
    user: '1000:1000',
    env: {},
    labels: labels(spec, home, 'volumes'),
    network: 'none',
    limits: { memoryBytes: 64 * 2 ** 20, cpus: 1, pids: 32 },
    volumes: [
      volume(tools, paths.tools),
      volume(volumeName(spec), paths.shared),
      volume(workVolumeName(spec), paths.workspace),
      volume(homeVolumeName(spec), paths.home),
    ],
    workingDir: '/',
    readonlyRoot: true,
    syscalls: 'service',
  };
}
