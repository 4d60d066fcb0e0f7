import { createHash } from 'node:crypto';
import { readdir, readFile, readlink, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import dockerignore, { type Ignore } from '@balena/dockerignore';
import { isErrno, SallyportError } from '../base/errors.ts';
import type { ImageRecipe } from '../engine/engine.ts';
import { proxyArguments } from '../engine/imageRecipe.ts';

/** Largest build context, in bytes and in files: it is read whole, and its hash names the image. */
const maxContextBytes = 100 << 20;
const maxContextFiles = 20_000;

/**
 * The recipe of a Dockerfile of the user's: its folder is the context, without what `.dockerignore` names and without
 * `.git`, which changes with every commit. The tag is the hash of it all, so that an unchanged folder is built once.
 * Throws `image_build_failed`.
 * @param path absolute
 */
export async function ownRecipe(
  path: string,
  env: Readonly<Record<string, string | undefined>>,
  limits = { bytes: maxContextBytes, files: maxContextFiles },
): Promise<ImageRecipe> {
  const folder = dirname(path);
  const dockerfile = await readText(path);
  if (dockerfile === undefined)
    throw broken(path, `${path} cannot be read`, 'Correct the path of the Dockerfile.');
  const rules =
    (await readText(`${path}.dockerignore`)) ?? (await readText(join(folder, '.dockerignore'))) ?? '';
  const files = await readContext(
    path,
    dockerignore.default().add(['.git', '**/.git', ...rules.split(/\r?\n/)]),
    limits,
  );
  return {
    tag: `localhost/sallyport/own:${hashOf(dockerfile, files)}`,
    dockerfile,
    files,
    buildArgs: proxyArguments(env),
    told: {
      what: `The image of ${path}`,
      mend: 'Correct the Dockerfile, or what its steps need of the network, then start the task again.',
    },
  };
}

async function readContext(
  dockerfile: string,
  rules: Ignore,
  limits: { bytes: number; files: number },
): Promise<ImageRecipe['files']> {
  const folder = dirname(dockerfile);
  const files: ImageRecipe['files'] = [];
  let bytes = 0;
  const walk = async (below: string): Promise<void> => {
    const entries = await readdir(join(folder, below), { withFileTypes: true });
    for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
      if (below === '' && entry.name === '.git') continue;
      const name = below === '' ? entry.name : `${below}/${entry.name}`;
      // A rule that begins with "!" can bring back what is in a folder that is left out, so each file is looked at.
      if (entry.isDirectory()) {
        if (entry.name !== '.git') await walk(name);
        continue;
      }
      if (rules.ignores(name)) continue;
      const full = join(folder, name);
      if (entry.isSymbolicLink()) {
        files.push({ path: name, content: new Uint8Array(), link: await readlink(full) });
      } else if (entry.isFile()) {
        const { size, mode } = await stat(full);
        bytes += size;
        // Before it is read.
        check();
        files.push({ path: name, content: await readFile(full), mode: mode & 0o777 });
      }
      check();
    }
  };
  const check = (): void => {
    if (bytes <= limits.bytes && files.length <= limits.files) return;
    throw broken(
      dockerfile,
      `its folder has more than ${limits.bytes >> 20} MiB or ${limits.files.toLocaleString('en')} files`,
      'Put the Dockerfile into a folder of its own, or name in .dockerignore what the build does not need.',
    );
  };
  try {
    await walk('');
  } catch (thrown) {
    if (!isErrno(thrown, 'EACCES', 'ENOENT', 'EPERM')) throw thrown;
    throw broken(
      dockerfile,
      thrown instanceof Error ? thrown.message : String(thrown),
      'Make its folder readable, and leave it alone while the image is built.',
    );
  }
  return files;
}

async function readText(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (thrown) {
    if (isErrno(thrown, 'ENOENT', 'EACCES', 'EISDIR')) return undefined;
    throw thrown;
  }
}

function hashOf(dockerfile: string, files: ImageRecipe['files']): string {
  const hash = createHash('sha256').update(`${dockerfile.length}\0`).update(dockerfile);
  for (const { path, content, mode, link } of files)
    hash.update(`\0${path}\0${mode ?? 0}\0${link ?? ''}\0${content.length}\0`).update(content);
  return hash.digest('hex').slice(0, 12);
}

function broken(dockerfile: string, what: string, mend: string): SallyportError {
  return new SallyportError(
    'image_build_failed',
    `The image of ${basename(dockerfile)} cannot be built: ${what}.`,
    mend,
  );
}
