// `npm run bench [-- names…]`: measures the real product, and writes docs/benchmarks.md when it measured everything;
// `npm run bench -- runner` and `npm run bench -- review` measure what has a page of its own, such as docs/benchmarks-runner.md.
import { join } from 'node:path';
import { bootstrap, root } from './lib/bootstrap.mjs';

await bootstrap();
const { main, say } = await import('./lib/say.mjs');
const { ensureDocker } = await import('./lib/engine.mjs');
const { ensureBuilt, ensurePackaged, vsix } = await import('./lib/build.mjs');
const { ensureImage } = await import('./lib/image.mjs');
const { ensureCodeServer } = await import('./lib/codeServer.mjs');
const { ensureChromium } = await import('./lib/chromium.mjs');
const { inExtensionHost } = await import('./lib/hostTests.mjs');
const { sandboxRecipe } = await import('../src/engine/imageRecipe.ts');
const { isApart, measure, measureApart } = await import('../bench/main.ts');

await main(async () => {
  const words = process.argv.slice(2);
  const names = words.filter((name) => name !== '--quick');
  const quick = words.includes('--quick');
  if (isApart(names)) {
    await measureApart({ root, quick, say }, names);
    return;
  }
  const { address } = await ensureDocker({ log: say, onlyDocker: true });
  process.env.DOCKER_HOST = address.startsWith('/') ? `unix://${address}` : address;
  await ensureBuilt();
  await ensureImage();
  await ensureCodeServer();
  await ensureChromium();
  const { tag } = await sandboxRecipe(join(root, 'dist'), join(root, 'container'));
  const tools = {
    root,
    engine: process.env.DOCKER_HOST,
    image: tag,
    vsix,
    quick,
    say,
    ensurePackaged,
    buildHost,
    inExtensionHost,
  };
  await measure(tools, names);
});

/** Bundles the bench's part in the extension host. */
async function buildHost() {
  const { build } = await import('esbuild');
  const outfile = join(root, 'out', 'bench', 'host.cjs');
  await build({
    entryPoints: [join(root, 'bench', 'host.ts')],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'cjs',
    target: 'node22',
    external: ['vscode', 'cpu-features'],
    loader: { '.node': 'empty' },
    logLevel: 'warning',
  });
  return outfile;
}
