// The image of the runner's server, built by the product's own code: also where no registry answers.
import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { hostAuthorities } from '../../src/engine/hostAuthorities.ts';
import { proxyArguments } from '../../src/engine/imageRecipe.ts';
import { root } from './bootstrap.mjs';

export const runnerTag = 'sallyport/runner:0.1.0';

/** What container/runner.Dockerfile takes from the checkout; the bundles have to be built. */
export async function runnerRecipe(tag = runnerTag) {
  const dockerfile = await readFile(join(root, 'container', 'runner.Dockerfile'), 'utf8');
  const files = [...(await filesOf('dist')), ...(await filesOf('container'))];
  const authorities = hostAuthorities(process.env).map((pem, index) => ({
    path: `container/ca/host-${index + 1}.crt`,
    content: Buffer.from(pem),
  }));
  return {
    tag,
    base: /^ARG BASE=(\S+)$/m.exec(dockerfile)[1],
    dockerfile,
    files: [...files, ...authorities],
    buildArgs: proxyArguments(process.env),
  };
}

async function filesOf(folder) {
  const entries = await readdir(join(root, folder), { recursive: true, withFileTypes: true });
  return await Promise.all(
    entries
      .filter((entry) => entry.isFile() && entry.name !== '.built')
      .map(async (entry) => {
        const path = join(entry.parentPath, entry.name);
        return { path: path.slice(root.length + 1), content: await readFile(path), mode: 0o444 };
      }),
  );
}
