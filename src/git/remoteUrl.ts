import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import { classify, isLoopback } from '../base/addresses.ts';
import { SallyportError } from '../base/errors.ts';
import { isHostName, readRule } from '../protocol/egress.ts';

/** All addresses of a name. Rejects with the system's error, such as ENOTFOUND. */
export type Resolve = (host: string) => Promise<string[]>;

const systemResolver: Resolve = async (host) =>
  (await lookup(host, { all: true })).map(({ address }) => address);

/** A repository's address that was read. */
export interface RemoteUrl {
  /** Without a slash at its end. */
  base: URL;
  /** The operator has named the host: it may be in a private network, and be spoken to without TLS. */
  trusted: boolean;
}

const maxUrlLength = 2000;

/**
 * Reads the address of a repository: https, or http for a host among `privateHosts` (egress rules, or addresses with or
 * without a port). Throws `invalid_input`, which quotes nothing of it: it could hold a password. Pure.
 */
export function readRemoteUrl(text: string, privateHosts: readonly string[]): RemoteUrl {
  // What a program could take for an option, for another protocol or for a helper never gets further.
  if (text.length > maxUrlLength || !/^https?:\/\/[\x21-\x7e]+$/.test(text) || text.includes('\\'))
    throw wrong('It has to begin with https://, and to hold no spaces.');
  const base = URL.canParse(text) ? new URL(text) : undefined;
  if (base === undefined) throw wrong('It cannot be read.');
  if (base.username !== '' || base.password !== '')
    throw wrong('It holds a user or a password, and those do not belong there.');
  if (base.search !== '' || base.hash !== '' || /[?#]/.test(text))
    throw wrong('It holds a query or a fragment.');
  const host = hostOf(base);
  if (!isHostName(host) && isIP(host) === 0) throw wrong('Its host is no name that can be looked up.');
  const trusted = privateHosts.some((entry) => names(entry, host, portOf(base)));
  if (base.protocol === 'http:' && !trusted)
    throw wrong('It has to begin with https://: without TLS anybody on the way could change what comes.');
  base.pathname = base.pathname.replace(/\/+$/, '');
  if (base.pathname === '/' || base.pathname === '') throw wrong('It names a host, and no repository there.');
  return { base, trusted };
}

function wrong(what: string): SallyportError {
  return new SallyportError(
    'invalid_input',
    `The address of the repository cannot be used. ${what}`,
    'Give it as https://example.com/owner/name.',
  );
}

export function hostOf(url: URL): string {
  return url.hostname.replace(/^\[|\]$/g, '');
}

export function portOf(url: URL): number {
  return url.port === '' ? (url.protocol === 'https:' ? 443 : 80) : Number(url.port);
}

function names(entry: string, host: string, port: number): boolean {
  const text = entry.trim().toLowerCase();
  if (isIP(host) !== 0) {
    const literal = isIP(host) === 6 ? `[${host}]` : host;
    return text === host || text === literal || text === `${literal}:${port}`;
  }
  const rule = readRule(entry.trim());
  if (typeof rule === 'string' || (rule.port !== undefined && rule.port !== port)) return false;
  return rule.subdomains ? host.endsWith(`.${rule.host}`) : host === rule.host;
}

/**
 * The addresses of the host, each of them one that may be connected to: public, or for a trusted host private or this
 * machine's own; a link's and a cloud's never. Throws `repository_unreachable`.
 */
export async function addressesOf(
  { base, trusted }: RemoteUrl,
  resolve: Resolve = systemResolver,
): Promise<string[]> {
  const host = hostOf(base);
  const found = isIP(host) === 0 ? await lookUp(host, resolve) : [host];
  for (const address of found) {
    const kind = classify(address);
    if (kind === 'public' || (trusted && (kind === 'private' || isLoopback(address)))) continue;
    throw new SallyportError(
      'repository_unreachable',
      `${host} stands for an address in a private network, or one of this machine's own, which is not connected to.`,
      "Take a public address of the repository; or the runner's administrator names the host in SALLYPORT_PRIVATE_FORGES.",
    );
  }
  return found;
}

async function lookUp(host: string, resolve: Resolve): Promise<string[]> {
  const found = await resolve(host).catch((thrown: unknown) => {
    throw unknownHost(host, thrown);
  });
  if (found.length === 0) throw unknownHost(host, undefined);
  return found;
}

function unknownHost(host: string, cause: unknown): SallyportError {
  return new SallyportError(
    'repository_unreachable',
    `The host ${host} could not be found.`,
    "Check the repository's address, and the runner's network.",
    { cause },
  );
}
