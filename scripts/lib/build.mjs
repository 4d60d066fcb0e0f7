// Building and packaging, each only when something is newer than the last result.
import { existsSync, readdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './bootstrap.mjs';
import { run } from './processes.mjs';
import { Refusal, say } from './say.mjs';

/** The packaged extension. */
export const vsix = join(root, 'out', 'sallyport.vsix');

const sources = [
  'src',
  'webview',
  'container',
  'esbuild.mjs',
  'importLaw.mjs',
  'package-lock.json',
  'tsconfig.base.json',
];
const packaged = [
  'dist',
  'media',
  'container',
  'package.json',
  'README.md',
  'CHANGELOG.md',
  'LICENSE',
  '.vscodeignore',
];

/** Builds the bundles when a source is newer than they are. */
export async function ensureBuilt() {
  if (newest(sources) <= newest(['dist/.built'])) return say('The bundles in dist/ are up to date.');
  await build();
}

export async function build() {
  say('Building the bundles (esbuild) into dist/.');
  // Pieces of an earlier build have other names, and would be packaged with this one.
  for (const folder of ['webview', 'dashboard'])
    rmSync(join(root, 'dist', folder), { recursive: true, force: true });
  const code = await run([process.execPath, 'esbuild.mjs'], { cwd: root });
  if (code !== 0) throw new Refusal('The build failed.', 'What is wrong stands above.');
}

/** Packages the extension when something in it is newer than the package. */
export async function ensurePackaged() {
  await ensureBuilt();
  if (existsSync(vsix) && newest(packaged) <= statSync(vsix).mtimeMs) return say(`${vsix} is up to date.`);
  const code = await run([process.execPath, join('scripts', 'package.mjs')], { cwd: root });
  if (code !== 0) throw new Refusal('The extension could not be packaged.', 'What is wrong stands above.');
}

/** Time of the newest file under these paths, in milliseconds since the epoch; 0 when there is none. */
function newest(paths) {
  let time = 0;
  const visit = (path) => {
    const stat = statSync(path, { throwIfNoEntry: false });
    if (stat === undefined) return;
    if (stat.isDirectory()) for (const name of readdirSync(path)) visit(join(path, name));
    else time = Math.max(time, stat.mtimeMs);
  };
  for (const path of paths) visit(join(root, path));
  return time;
}

const hostSources = join(root, 'test', 'host');
const hostBundles = join(root, 'out', 'test', 'host');

/** The suite that runs inside the extension host. */
export const hostSuite = join(hostBundles, 'index.cjs');

/** Bundles each file of test/host by itself, with mocha outside, which does not like to be bundled. */
export async function buildHostSuite() {
  const { build: bundle } = await import('esbuild');
  const files = readdirSync(hostSources).filter((file) => file === 'index.ts' || file.endsWith('.test.ts'));
  rmSync(hostBundles, { recursive: true, force: true });
  await bundle({
    entryPoints: files.map((file) => join(hostSources, file)),
    outdir: hostBundles,
    outExtension: { '.js': '.cjs' },
    bundle: true,
    platform: 'node',
    format: 'cjs',
    target: 'node22',
    sourcemap: 'inline',
    external: ['vscode', 'mocha'],
    logLevel: 'warning',
  });
}
