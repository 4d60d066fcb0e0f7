import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { ContainerSpec } from '../../src/engine/engine.ts';
import type { Tools } from './measure.ts';

const run = promisify(execFile);

/** How much is said: this many bytes of text, in events of `size` bytes of text each. */
export interface Load {
  bytes: number;
  size: number;
}

/** Numbered text of exactly `size` characters; in the containers it is called `textOf`. */
const textOf = `const filler = Array.from({ length: 8192 }, (_, i) => i % 11 === 10 ? ' ' : String.fromCharCode(97 + (i * 7 + (i >> 5)) % 26)).join('');
const textOf = (number, size) => { const head = number + ' '; const from = number % 1000; let text = head; while (text.length < size) text += filler.slice(from, from + size - text.length); return text; };`;

const printAll = `const printAll = async (lines, total) => { for (let i = 0; i < total;) {
  let batch = ''; while (i < total && batch.length < 65536) batch += lines(++i);
  if (!process.stdout.write(batch)) await new Promise((resolve) => process.stdout.once('drain', resolve)); } };`;

/** Prints events in the wire format as fast as it can: what a supervisor prints, without the supervisor. */
const wireScript = `${textOf}
${printAll}
const [bytes, size] = process.argv.slice(1).map(Number);
const t = Date.now();
printAll((s) => '{"s":' + s + ',"t":' + t + ',"type":"text","text":"' + textOf(s, size) + '"}\\n', Math.floor(bytes / size));`;

/** In the place of the agent: the messages of Claude Code's command line, as fast as it can. */
const agentScript = `#!/usr/bin/env node
${textOf}
${printAll}
const say = (message) => JSON.stringify(message) + '\\n';
let prompt = '';
process.stdin.on('data', (chunk) => (prompt += chunk)).on('end', async () => {
  const [bytes, size] = prompt.match(/\\d+/g).map(Number);
  process.stdout.write(say({ type: 'system', subtype: 'init', session_id: 'flood', model: 'flood', claude_code_version: '0', tools: [] }));
  await new Promise((resolve) => setTimeout(resolve, 5000));
  await printAll((i) => '{"type":"assistant","message":{"id":"m' + i + '","content":[{"type":"text","text":"' + textOf(i, size) + '"}]}}\\n', Math.floor(bytes / size));
  process.stdout.write(say({ type: 'result', subtype: 'success', is_error: false, result: 'Done.', duration_ms: 1, total_cost_usd: 0, num_turns: 1 }));
});
`;

/** A container that prints a load in the wire format when it is started; hardened and logged as a sandbox is. */
export function flooder(tools: Tools, { bytes, size }: Load, name: string): ContainerSpec {
  return {
    name,
    image: tools.image,
    command: ['node', '-e', wireScript, String(bytes), String(size)],
    env: {},
    labels: { 'sallyport.bench': 'yes' },
    network: 'none',
    limits: { memoryBytes: 2 ** 30, cpus: 2, pids: 64 },
    volumes: [],
  };
}

/** The container folder of an image in whose place of `claude` the flood is. Everything else of it is the product's. */
export async function floodImage(tools: Tools): Promise<{ folder: string; dispose: () => Promise<void> }> {
  const folder = await mkdtemp(join(tmpdir(), 'sallyport-flood-'));
  const dockerfile = await readFile(join(tools.root, 'container', 'Dockerfile'), 'utf8');
  const script = Buffer.from(agentScript).toString('base64');
  const place = '"$(command -v claude)"';
  const instead = `USER root\nRUN place=${place} && rm "$place" && echo ${script} | base64 -d > "$place" && chmod 0755 "$place"\nUSER agent\n`;
  await writeFile(join(folder, 'Dockerfile'), `${dockerfile}\n${instead}`);
  return {
    folder,
    dispose: async () => {
      const { sandboxRecipe } = await import('../../src/engine/imageRecipe.ts');
      const { tag } = await sandboxRecipe(join(tools.root, 'dist'), folder);
      await run('docker', ['rmi', tag], { env: { ...process.env, DOCKER_HOST: tools.engine } }).catch(
        () => undefined,
      );
      await rm(folder, { recursive: true, force: true });
    },
  };
}
