// `node scripts/demoRepository.mjs DIR`: the demonstration repository, in a folder of one's choice.
import { resolve } from 'node:path';
import { createDemoRepository } from './lib/demoRepository.mjs';
import { main, Refusal } from './lib/say.mjs';

await main(async () => {
  const [folder] = process.argv.slice(2);
  if (folder === undefined) throw new Refusal('Name the folder.', 'node scripts/demoRepository.mjs DIR', 2);
  const path = resolve(folder);
  console.log(`${path}: ${await createDemoRepository(path)}`);
});
