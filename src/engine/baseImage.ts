import { spawn } from 'node:child_process';
import { createReadStream } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type Docker from 'dockerode';
import { isAbort, SallyportError } from '../base/errors.ts';
import { engineFailure, isGone, messageOf } from './failures.ts';
import { followProgress } from './progress.ts';

/**
 * Brings the base image: pulled, or, where no registry answers, made from Debian's packages under the same tag. Both
 * engines take such an import for the pulled image. Errors: image_base_unavailable, disk_full, engine_gone.
 */
export async function ensureBase(
  docker: Docker,
  base: string,
  onProgress: (line: string) => void,
  signal: AbortSignal | undefined,
): Promise<void> {
  onProgress(`Pulling ${base}`);
  let refusal: unknown;
  try {
    const options = signal === undefined ? {} : { abortSignal: signal };
    await followProgress(await docker.pull(base, options), onProgress);
    return;
  } catch (thrown) {
    if (isAbort(thrown) || isGone(thrown) || thrown instanceof SallyportError)
      throw engineFailure(thrown, 'pulling an image');
    refusal = thrown;
  }
  const suite = /^(?:docker\.io\/(?:library\/)?)?debian:([a-z]+)(?:-slim)?$/.exec(base)?.[1];
  if (suite === undefined)
    throw unavailable(base, messageOf(refusal), 'Look at the registry, the proxy and the name.', refusal);
  onProgress("No registry answers; making the base from Debian's packages (about a minute)");
  const folder = await mkdtemp(join(tmpdir(), 'sallyport-base-'));
  try {
    const file = join(folder, 'base.tar');
    await bootstrap(suite, file, base, messageOf(refusal), onProgress, signal);
    onProgress(`Importing ${base}`);
    const content = createReadStream(file);
    const importing = docker.importImage(content, {
      repo: base,
      ...(signal === undefined ? {} : { abortSignal: signal }),
    });
    await followProgress(await importing, () => undefined);
  } catch (thrown) {
    throw engineFailure(thrown, 'importing the base image');
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function bootstrap(
  suite: string,
  file: string,
  base: string,
  refusal: string,
  onProgress: (line: string) => void,
  signal: AbortSignal | undefined,
): Promise<void> {
  const argv = ['--variant=minbase', '--include=ca-certificates', '--format=tar', suite, file];
  const child = spawn('mmdebstrap', argv, {
    stdio: ['ignore', 'ignore', 'pipe'],
    ...(signal === undefined ? {} : { signal }),
  });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-4096);
    const line = /^I: (running|downloading|extracting|installing|creating) .*/m.exec(text)?.[0].slice(3);
    if (line !== undefined) onProgress(line);
  });
  const code = await new Promise<number | null>((resolve, reject) => {
    let failure: Error | undefined;
    child.on('error', (error) => (failure = error));
    // The error of an abort comes before the program has cleaned up and ended.
    child.on('close', (exit) => (failure === undefined ? resolve(exit) : reject(failure)));
  }).catch((thrown: unknown) => {
    if (isAbort(thrown)) throw thrown;
    throw unavailable(
      base,
      refusal,
      'Give the engine access to a registry (a proxy or a mirror in its settings), or on Debian and Ubuntu install mmdebstrap, so that the base can be made from packages: sudo apt-get install mmdebstrap',
      thrown,
    );
  });
  if (code === 0) return;
  const last = said.trimEnd().split('\n').slice(-5).join('\n');
  throw unavailable(
    base,
    `${refusal}\nmmdebstrap failed too: ${last}`,
    "Give the engine access to a registry (a proxy or a mirror in its settings), or this machine access to Debian's packages.",
  );
}

function unavailable(base: string, reason: string, mend: string, cause?: unknown): SallyportError {
  return new SallyportError(
    'image_base_unavailable',
    `The base image ${base} cannot be had: ${reason}`,
    mend,
    { cause },
  );
}
