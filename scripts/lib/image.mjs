// The sandbox image, made by the product's own code, so that the first task does not wait for it.
import { join } from 'node:path';
import { connectEngine } from '../../src/engine/connect.ts';
import { sandboxRecipe } from '../../src/engine/imageRecipe.ts';
import { root } from './bootstrap.mjs';
import { ensurePackages } from './engine.mjs';
import { dim, duration, say } from './say.mjs';

/** How often a line of the build is shown where lines cannot be overwritten, in milliseconds. */
const pace = 3000;

/** Builds the image on the engine that this environment leads to, unless it is there. */
export async function ensureImage(env = process.env) {
  const engine = await connectEngine({ env });
  const stopping = new AbortController();
  const stop = () => stopping.abort();
  process.once('SIGINT', stop);
  const start = Date.now();
  try {
    const recipe = await sandboxRecipe(join(root, 'dist'), join(root, 'container'));
    if (await engine.hasImage(recipe.tag)) return say(`${recipe.tag} is there.`);
    say('Building the sandbox image: Debian with git, build tools and the agent. A few minutes, once.');
    await build(engine, recipe, shower(start), stopping.signal);
    if (process.stdout.isTTY) process.stdout.write('\r\x1b[2K');
    say(`${recipe.tag} is built (${duration(Date.now() - start)}).`);
  } finally {
    process.off('SIGINT', stop);
    engine.dispose();
  }
}

/** Where no registry answers, the base is made from Debian's packages, and the tool for that is installed. */
async function build(engine, recipe, show, signal) {
  try {
    await engine.ensureImage(recipe, show, signal);
  } catch (thrown) {
    if (thrown.code !== 'image_base_unavailable') throw thrown;
    await ensurePackages(['mmdebstrap'], { why: 'The base of the sandbox image is made with it', log: say });
    await engine.ensureImage(recipe, show, signal);
  }
}

/** One line that is overwritten on a terminal; elsewhere a line now and then. */
function shower(start) {
  let last = 0;
  return (line) => {
    // eslint-disable-next-line no-control-regex
    const text = line.replaceAll(/[\x00-\x1f\x7f]+/g, ' ').trim();
    if (text === '') return;
    const time = duration(Date.now() - start);
    if (process.stdout.isTTY) {
      const width = Math.max(20, (process.stdout.columns ?? 80) - 14);
      process.stdout.write(`\r\x1b[2K  ${dim(`${time.padStart(10)}  ${text.slice(0, width)}`)}`);
    } else if (Date.now() - last > pace) {
      last = Date.now();
      say(dim(`${time.padStart(10)}  ${text.slice(0, 160)}`));
    }
  };
}
