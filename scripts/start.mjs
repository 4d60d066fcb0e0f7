// `npm start`: from a fresh clone to VS Code with the extension in it, or to a task in the terminal.
// What is imported here exists in Node 18 too; everything else comes after the bootstrap.
import { bootstrap } from './lib/bootstrap.mjs';
import { readOptions, usage } from './lib/startOptions.mjs';

const options = readOptions(process.argv.slice(2));
if (options.help) {
  console.log(usage);
} else if (options.problem !== undefined) {
  console.error(`${options.problem}\nnpm start -- --help shows what there is.`);
  process.exitCode = 2;
} else {
  await bootstrap();
  const { main } = await import('./lib/say.mjs');
  const { start } = await import('./lib/start.mjs');
  await main(() => start(options));
}
