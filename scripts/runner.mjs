// `npm run runner`: the runner's server on this machine, from a fresh clone, without any configuration.
import { join } from 'node:path';
import { bootstrap, root, userEnvironment } from './lib/bootstrap.mjs';

await bootstrap();
const { headline, main, say } = await import('./lib/say.mjs');
const { ensureBuilt } = await import('./lib/build.mjs');
const { ensureDocker, ensurePackages } = await import('./lib/engine.mjs');
const { ensureImage } = await import('./lib/image.mjs');
const { capture, run } = await import('./lib/processes.mjs');

await main(async () => {
  headline('Container engine');
  if (!(await capture(['git', '--version']).catch(() => undefined))) {
    await ensurePackages(['git'], { why: 'Commits are kept in git repositories', log: say });
  }
  const engine = await ensureDocker({ log: say });
  say(`${engine.kind === 'podman' ? 'Podman' : 'Docker'} answers at ${engine.address}.`);
  headline('Build');
  await ensureBuilt();
  headline('Sandbox image');
  await ensureImage();
  headline('Runner');
  const env = { ...userEnvironment(), SALLYPORT_ENGINE: process.env.SALLYPORT_ENGINE ?? engine.address };
  return await run([process.execPath, join(root, 'dist', 'runner.js'), 'serve', ...process.argv.slice(2)], {
    env,
  });
});
