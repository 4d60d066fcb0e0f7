// `npm run package`: the extension as out/sallyport.vsix, made without the network.
import { mkdirSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { bootstrap, root } from './lib/bootstrap.mjs';

/** The promise about the size of the extension, in bytes. */
const maxBytes = 2_000_000;

await bootstrap();
const { main, Refusal, say } = await import('./lib/say.mjs');
const { ensureBuilt, vsix } = await import('./lib/build.mjs');
const { createVSIX } = await import('@vscode/vsce');

await main(async () => {
  await ensureBuilt();
  mkdirSync(dirname(vsix), { recursive: true });
  say('Packaging the extension (vsce).');
  // Everything is bundled, so no dependency goes in.
  await createVSIX({ cwd: root, packagePath: vsix, dependencies: false, skipLicense: true }).catch(
    (error) => {
      throw new Refusal(`vsce could not package the extension: ${error.message}`);
    },
  );
  const { size } = statSync(vsix);
  say(`${vsix}: ${size.toLocaleString('en')} bytes.`);
  if (size >= maxBytes) {
    throw new Refusal(
      `The package has ${size.toLocaleString('en')} bytes; the limit is ${maxBytes.toLocaleString('en')}.`,
      'List what is in it with: node_modules/.bin/vsce ls --tree',
    );
  }
});
