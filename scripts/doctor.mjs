// `npm run doctor`: what Sallyport needs, what there is of it, and how to mend the rest.
import { join } from 'node:path';
import { bootstrap, root } from './lib/bootstrap.mjs';

await bootstrap();
const { main } = await import('./lib/say.mjs');
const { ensureBuilt } = await import('./lib/build.mjs');
const { run } = await import('./lib/processes.mjs');

await main(async () => {
  await ensureBuilt();
  return await run([process.execPath, join(root, 'dist', 'runner.js'), 'doctor', ...process.argv.slice(2)]);
});
