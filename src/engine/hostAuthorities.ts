import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as tls from 'node:tls';
import { SallyportError } from '../base/errors.ts';

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
  return certificatesOf(texts).slice(0, most);
}

/** Certificates (PEM) of a file that the user named. Throws `invalid_input` when it holds none, or cannot be read. */
export function authoritiesOf(path: string): string[] {
  const [text] = readIfThere(path);
  const mend = 'Name a file with certificates in PEM form, or clear the setting.';
  if (text === undefined) {
    throw new SallyportError('invalid_input', `The certificate file ${path} cannot be read.`, mend);
  }
  const found = certificatesOf([text]).slice(0, most);
  if (found.length > 0 || pemBlocks(text).length > 0) return found;
  throw new SallyportError('invalid_input', `The file ${path} holds no certificate.`, mend);
}

/** Without the public ones, each once, in a fixed order. */
function certificatesOf(texts: readonly string[]): string[] {
  const known = new Set(tls.rootCertificates.map(normal));
  const found = new Set(texts.flatMap(pemBlocks).filter((certificate) => !known.has(certificate)));
  return [...found].sort().map((certificate) => `${certificate}\n`);
}

function pemBlocks(text: string): string[] {
  const blocks = text.matchAll(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g);
  return [...blocks].map(([pem]) => normal(pem));
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
