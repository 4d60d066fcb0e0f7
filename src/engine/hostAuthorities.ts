import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as tls from 'node:tls';

/** Where administrators put authorities on Debian, Fedora and openSUSE. */
const folders = [
  '/usr/local/share/ca-certificates',
  '/etc/pki/ca-trust/source/anchors',
  '/etc/pki/trust/anchors',
];
/** More than this is a whole store and not a company's own few. */
const most = 50;

/**
 * Certificates (PEM) of the authorities that this machine trusts on top of the public ones. They are public data; without
 * them a build behind a company's proxy reaches nothing.
 */
export function hostAuthorities(env: Readonly<Record<string, string | undefined>>): string[] {
  const extra = env['NODE_EXTRA_CA_CERTS'];
  const texts = [
    ...folders.flatMap(filesOf),
    ...(extra === undefined ? [] : readIfThere(extra)),
    ...systemStore(),
  ];
  const known = new Set(tls.rootCertificates.map(normal));
  const found = new Set<string>();
  for (const text of texts) {
    for (const [pem] of text.matchAll(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g)) {
      const certificate = normal(pem);
      if (!known.has(certificate)) found.add(certificate);
    }
  }
  return [...found]
    .sort()
    .slice(0, most)
    .map((certificate) => `${certificate}\n`);
}

const normal = (pem: string): string => pem.trim().replaceAll('\r', '');

function filesOf(folder: string): string[] {
  try {
    return readdirSync(folder, { recursive: true, encoding: 'utf8' })
      .filter((name) => /\.(crt|pem|cer)$/.test(name))
      .flatMap((name) => readIfThere(join(folder, name)));
  } catch {
    return [];
  }
}

function readIfThere(path: string): string[] {
  try {
    return [readFileSync(path, 'utf8')];
  } catch {
    return [];
  }
}

/** The keychain of macOS and the store of Windows; on Linux the folders above are the source. */
function systemStore(): string[] {
  if (process.platform === 'linux') return [];
  try {
    return tls.getCACertificates('system');
  } catch {
    return [];
  }
}
