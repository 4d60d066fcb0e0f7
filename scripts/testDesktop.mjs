// `npm run test:desktop`: the suite of test/host in a desktop VS Code, which is downloaded. On a machine without a
// screen: xvfb-run npm run test:desktop
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { bootstrap, root } from './lib/bootstrap.mjs';

await bootstrap();
const { runTests } = await import('@vscode/test-electron');
const { main, Refusal } = await import('./lib/say.mjs');
const { build, buildHostSuite, hostSuite } = await import('./lib/build.mjs');
const { createDemoRepository } = await import('./lib/demoRepository.mjs');

await main(async () => {
  await build();
  await buildHostSuite();
  const home = mkdtempSync(join(tmpdir(), 'sallyport-desktop-'));
  try {
    await createDemoRepository(join(home, 'demo'));
    const sandbox = process.getuid?.() === 0 ? ['--no-sandbox'] : [];
    const folders = [
      '--user-data-dir',
      join(home, 'user-data'),
      '--extensions-dir',
      join(home, 'extensions'),
    ];
    return await runTests({
      // The oldest version that the extension promises to run in, unless another is named.
      version: process.env.VSCODE_VERSION ?? '1.105.0',
      extensionDevelopmentPath: root,
      extensionTestsPath: hostSuite,
      launchArgs: [
        join(home, 'demo'),
        '--disable-workspace-trust',
        '--disable-extensions',
        ...folders,
        ...sandbox,
      ],
      extensionTestsEnv: { SALLYPORT_HOME: join(home, 'sallyport') },
    });
  } catch (thrown) {
    throw new Refusal(
      `The tests could not be run in a desktop VS Code: ${thrown.message}`,
      'It is downloaded from update.code.visualstudio.com and needs a screen (or xvfb-run). npm run test:host needs neither.',
    );
  } finally {
    rmSync(home, { recursive: true, force: true, maxRetries: 10, retryDelay: 200 });
  }
});
