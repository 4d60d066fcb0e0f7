import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { temporaryFolder } from './gitRepo.ts';

export interface Certificate {
  key: string;
  cert: string;
}

/** A certificate for these names that signs itself, made by openssl. */
export function certificateFor(...names: string[]): Certificate {
  const folder = temporaryFolder();
  try {
    const [key, cert] = [join(folder.path, 'key.pem'), join(folder.path, 'cert.pem')];
    const options = ['-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'];
    const named = ['-subj', `/CN=${names[0] ?? ''}`];
    const extension = ['-addext', `subjectAltName=${names.map((name) => `DNS:${name}`).join(',')}`];
    execFileSync('openssl', ['req', ...options, ...named, ...extension, '-keyout', key, '-out', cert], {
      stdio: 'ignore',
    });
    return { key: readFileSync(key, 'utf8'), cert: readFileSync(cert, 'utf8') };
  } finally {
    folder.dispose();
  }
}
