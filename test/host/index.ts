import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import Mocha from 'mocha';
import { version } from 'vscode';
import CountingReporter from '../../scripts/lib/countingReporter.mjs';

/** Called by VS Code inside its extension host: runs every `*.test.ts` of this folder, each a bundle beside this one. */
export async function run(): Promise<void> {
  // The launcher shows what comes from this line on (scripts/lib/hostTests.mjs).
  console.log(`Running in VS Code ${version}`);
  const mocha = new Mocha({
    ui: 'bdd',
    color: process.env['FORCE_COLOR'] === '1',
    timeout: 120_000,
    retries: 1,
    forbidOnly: true,
    reporter: CountingReporter,
  });
  for (const file of readdirSync(__dirname).sort()) {
    if (file.endsWith('.test.cjs')) mocha.addFile(join(__dirname, file));
  }
  const failures = await new Promise<number>((done) => mocha.run(done));
  if (failures > 0) throw new Error(`${failures} failed`);
}
