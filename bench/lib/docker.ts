import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Tools } from './measure.ts';
import { now } from './numbers.ts';

/** The environment in which Docker's own command line talks to the engine that is measured. */
function environment({ engine }: Tools): NodeJS.ProcessEnv {
  return { ...process.env, DOCKER_HOST: engine.startsWith('/') ? `unix://${engine}` : engine };
}

export interface Run {
  /** From the start of the command to its end. */
  ms: number;
  /** From its start to the first byte on stdout. */
  firstMs: number;
  /** From the first byte on stdout to the last. */
  streamMs: number;
  bytes: number;
  code: number | null;
}

/** Runs Docker's command line, counts what it prints and lets it go. */
export async function docker(tools: Tools, ...args: string[]): Promise<Run> {
  const start = now();
  const child = spawn('docker', args, { env: environment(tools), stdio: ['ignore', 'pipe', 'ignore'] });
  let bytes = 0;
  let first = Number.NaN;
  let last = Number.NaN;
  child.stdout.on('data', (chunk: Buffer) => {
    last = now();
    if (bytes === 0) first = last;
    bytes += chunk.length;
  });
  const [code] = (await once(child, 'close')) as [number | null];
  return { ms: now() - start, firstMs: first - start, streamMs: last - first, bytes, code };
}

/** As `docker`, for what must not fail. */
export async function dockerOk(tools: Tools, ...args: string[]): Promise<Run> {
  const run = await docker(tools, ...args);
  if (run.code !== 0) throw new Error(`docker ${args.join(' ')} ended with code ${run.code}`);
  return run;
}
