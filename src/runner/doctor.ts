import { statfs } from 'node:fs/promises';
import { asSallyportError } from '../base/errors.ts';
import { connectEngine } from '../engine/connect.ts';
import { sandboxRecipe } from '../engine/imageRecipe.ts';
import { git } from '../git/process.ts';
import type { LocalTaskOptions } from './localTasks.ts';
import type { DoctorCheck } from './taskService.ts';

/** Below this much free space a sandbox with its image does not fit, in bytes. */
const neededBytes = 5 * 2 ** 30;

/** Looks at everything that a task needs on this machine. Each check that fails says what to do. */
export async function examine(options: LocalTaskOptions, signal?: AbortSignal): Promise<DoctorCheck[]> {
  const checks = [
    await check('Git', async () => ({
      ok: true,
      detail: (await git(['--version'])).stdout.toString().trim(),
    })),
    ...(await engineChecks(options)),
    await check('Credentials', async () => {
      const { label, demonstration } = await options.credentials();
      return demonstration
        ? {
            ok: 'warning',
            detail: `The ${label} answers; it follows a script.`,
            mend: 'Set an API key to work with a real model.',
          }
        : { ok: true, detail: label };
    }),
    await check('Disk', () => disk(options.dataFolder)),
  ];
  signal?.throwIfAborted();
  return checks;
}

async function engineChecks(options: LocalTaskOptions): Promise<DoctorCheck[]> {
  const setting = options.engineSetting();
  try {
    const engine = await connectEngine({ env: process.env, ...(setting === undefined ? {} : { setting }) });
    try {
      const { kind, version, source, rootless, platform } = engine.info;
      const name = kind === 'docker' ? 'Docker' : 'Podman';
      const recipe = await sandboxRecipe(options.distFolder, options.containerFolder);
      const built = await engine.hasImage(recipe.tag);
      return [
        {
          name: 'Engine',
          ok: true,
          detail: `${name} ${version}${rootless ? ', rootless' : ''}, ${platform}, found by ${source}`,
        },
        built
          ? { name: 'Sandbox image', ok: true, detail: recipe.tag }
          : {
              name: 'Sandbox image',
              ok: 'warning',
              detail: 'Not built yet.',
              mend: 'The first task builds it; that takes a few minutes.',
            },
      ];
    } finally {
      engine.dispose();
    }
  } catch (thrown) {
    return [failed('Engine', thrown)];
  }
}

async function disk(folder: string): Promise<Omit<DoctorCheck, 'name'>> {
  const { bavail, bsize } = await statfs(folder);
  const free = bavail * bsize;
  const detail = `${(free / 2 ** 30).toFixed(1)} GiB free at ${folder}`;
  return free >= neededBytes
    ? { ok: true, detail }
    : { ok: 'warning', detail, mend: 'Free some space: an image and its sandboxes need about 5 GiB.' };
}

async function check(name: string, look: () => Promise<Omit<DoctorCheck, 'name'>>): Promise<DoctorCheck> {
  try {
    return { name, ...(await look()) };
  } catch (thrown) {
    return failed(name, thrown);
  }
}

function failed(name: string, thrown: unknown): DoctorCheck {
  const error = asSallyportError(thrown);
  return { name, ok: false, detail: error.message, mend: error.mend };
}
