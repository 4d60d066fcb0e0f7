import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { SallyportError } from '../base/errors.ts';
import type { ImageRecipe } from './engine.ts';
import { authoritiesOf, hostAuthorities } from './hostAuthorities.ts';

/** Programs of ours in the image, as the bundler leaves them. */
const programs = ['supervisor.js', 'gateway.js'];

const proxyNames = ['HTTP_PROXY', 'HTTPS_PROXY', 'NO_PROXY', 'http_proxy', 'https_proxy', 'no_proxy'];

/**
 * The recipe of the sandbox image, from `container/Dockerfile` and the two bundles that run in it. The tag's hash
 * is of what makes the image what it is; proxies and authorities of this machine only help to build it, and do not count:
 * else the editor and a terminal, whose environments differ, would build two images. A certificate file that the user
 * names counts: the gateway and the sandbox are to trust it. Errors: `image_build_failed`, `invalid_input`.
 */
export async function sandboxRecipe(
  distFolder: string,
  containerFolder: string,
  env: Readonly<Record<string, string | undefined>> = process.env,
  extraCaFile?: string,
): Promise<ImageRecipe> {
  const dockerfile = (await readPart(join(containerFolder, 'Dockerfile'))).toString('utf8');
  const files = await Promise.all(
    programs.map(async (path) => ({ path, content: await readPart(join(distFolder, path)), mode: 0o444 })),
  );
  const base = /^ARG BASE=(\S+)$/m.exec(dockerfile)?.[1];
  if (base === undefined) throw broken('container/Dockerfile names no base image');
  const named = authoritiesOfUser(extraCaFile);
  const authorities = [
    ...named,
    ...hostAuthorities(env).map((pem, index) => ({
      path: `ca/host-${String(index + 1).padStart(3, '0')}.crt`,
      content: Buffer.from(pem),
    })),
  ];
  // A folder that is always there, so that COPY finds it.
  const note = { path: 'ca/README', content: Buffer.from('Authorities that the building machine trusts.\n') };
  return {
    tag: `localhost/sallyport/sandbox:${hashOf(dockerfile, [...files, ...named])}`,
    base,
    dockerfile,
    files: [...files, note, ...authorities],
    buildArgs: proxyArguments(env),
  };
}

function authoritiesOfUser(file: string | undefined): { path: string; content: Uint8Array }[] {
  if (file === undefined) return [];
  return authoritiesOf(file).map((pem, index) => ({
    path: `ca/user-${String(index + 1).padStart(3, '0')}.crt`,
    content: Buffer.from(pem),
  }));
}

async function readPart(path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (cause) {
    throw broken(`${path} cannot be read`, cause);
  }
}

function broken(what: string, cause?: unknown): SallyportError {
  return new SallyportError(
    'image_build_failed',
    `The sandbox image cannot be built: ${what}.`,
    'Build or install Sallyport again.',
    { cause },
  );
}

function hashOf(dockerfile: string, files: { path: string; content: Uint8Array }[]): string {
  const hash = createHash('sha256').update(dockerfile);
  for (const { path, content } of files) hash.update(`\0${path}\0${content.length}\0`).update(content);
  return hash.digest('hex').slice(0, 12);
}

/** Proxy variables are build arguments that engines know by themselves and do not keep in the image. */
export function proxyArguments(env: Readonly<Record<string, string | undefined>>): Record<string, string> {
  const set = proxyNames.map((name) => [name, env[name]] as const);
  return Object.fromEntries(set.filter((pair): pair is [string, string] => !!pair[1]));
}
