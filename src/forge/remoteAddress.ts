import { isIP } from 'node:net';
import { isHostName } from '../protocol/egress.ts';

/** What a remote's address says of where it leads. */
export interface RemoteAddress {
  scheme: 'https' | 'http' | 'ssh';
  /** Lower case; without a port. An IPv6 address stands in brackets. */
  host: string;
  /** Where it is not the usual one of the scheme. */
  port?: number;
  /** Without slashes at its ends, and without `.git`. */
  path: string;
}

const maxLength = 2000;
const usualPorts = { https: 443, http: 80, ssh: 22 };

/**
 * Reads the address of a remote as git does: `https://`, `http://`, `ssh://`, and `user@host:path`. Users and passwords are
 * left out. Undefined for what is anything else: a folder, a bundle, another protocol. Pure.
 */
export function readRemoteAddress(text: string): RemoteAddress | undefined {
  if (text.length > maxLength || /[^\x21-\x7e]|\\/.test(text)) return undefined;
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(text)?.[1]?.toLowerCase();
  return scheme === undefined ? shortForm(text) : longForm(text, scheme);
}

function longForm(text: string, name: string): RemoteAddress | undefined {
  const scheme = name === 'git+ssh' || name === 'ssh+git' ? 'ssh' : name;
  if (scheme !== 'https' && scheme !== 'http' && scheme !== 'ssh') return undefined;
  // Of a scheme that it does not know, URL keeps the host as it is written: so it reads this one as a web address.
  const asWeb = text.replace(/^[^:]+/, scheme === 'ssh' ? 'https' : scheme);
  if (!URL.canParse(asWeb)) return undefined;
  const url = new URL(asWeb);
  if (url.search !== '' || url.hash !== '' || /[?#]/.test(text)) return undefined;
  // A port that is the usual one of https is not the one of ssh.
  const written = /^[^:]+:\/\/[^/]*:(\d{1,5})(?:\/|$)/.exec(text)?.[1];
  const port = written === undefined ? usualPorts[scheme] : Number(written);
  return made(scheme, url.hostname, port, url.pathname);
}

/** `git@example.com:owner/name.git`. With one letter before the colon it is a drive. */
function shortForm(text: string): RemoteAddress | undefined {
  const [, host = '', path = ''] =
    /^(?:[^@/:]+@)?(\[[0-9A-Fa-f:.]+\]|[^@/:[\]]{2,}):(?!:)(.+)$/.exec(text) ?? [];
  if (/[?#]/.test(path)) return undefined;
  return made('ssh', host, usualPorts.ssh, path);
}

function made(
  scheme: RemoteAddress['scheme'],
  name: string,
  port: number,
  rawPath: string,
): RemoteAddress | undefined {
  const host = name.toLowerCase();
  const path = rawPath
    .replace(/^\/+|\/+$/g, '')
    .replace(/\.git$/, '')
    .replace(/\/+$/, '');
  const bare = host.replace(/^\[|\]$/g, '');
  if (path === '' || port < 1 || port > 65_535 || !(isHostName(host) || isIP(bare) !== 0)) return undefined;
  return { scheme, host, path, ...(port === usualPorts[scheme] ? {} : { port }) };
}
