import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ServerConfig } from '../config.ts';

/**
 * Puts the certificates for the engine, where they came as variables, into files for this user only. Resolves to what says
 * so in the environment, as every program that speaks to an engine reads it; to nothing when there are none.
 */
export async function engineCertificates({
  dataFolder,
  engineTls,
}: Pick<ServerConfig, 'dataFolder' | 'engineTls'>): Promise<Record<string, string>> {
  if (engineTls === undefined) return {};
  const folder = join(dataFolder, 'engine-tls');
  await mkdir(folder, { recursive: true, mode: 0o700 });
  for (const [name, text] of Object.entries(engineTls))
    await writeFile(join(folder, `${name}.pem`), text, { mode: 0o600 });
  return { DOCKER_TLS_VERIFY: '1', DOCKER_CERT_PATH: folder };
}
