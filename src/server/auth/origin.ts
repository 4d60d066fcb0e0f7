import type { FastifyRequest } from 'fastify';
import ipaddr from 'ipaddr.js';
import { SallyportError } from '../../base/errors.ts';
import type { ServerConfig } from '../config.ts';
import { isLoopbackName } from '../operation/readConfig.ts';

type Names = Pick<ServerConfig, 'publicUrl' | 'allowedHosts' | 'host' | 'port' | 'tls'>;

/** Where a connection came in. */
interface Came {
  localPort?: number | undefined;
  localAddress?: string | undefined;
}

/** Asked by load balancers and engines under whatever name they have; it says nothing of anybody's. */
const answersToAnyName: readonly (string | undefined)[] = ['/health', '/health/live'];
const safeMethods = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE']);

/**
 * True when the request calls the server by a name of its own. A page of a foreign site whose name was made to lead here
 * calls it by the foreign name.
 */
export function isOwnName(config: Names, host: string, { localPort, localAddress = '' }: Came): boolean {
  const called = partsOf(host);
  if (called === undefined) return false;
  const known = new URL(config.publicUrl);
  const knownPort = known.port === '' ? defaultPort(known.protocol) : Number(known.port);
  const secure = known.protocol === 'https:' || config.tls !== undefined;
  const calledPort = called.port ?? defaultPort(secure ? 'https:' : 'http:');
  if (calledPort === knownPort) {
    if (called.name === known.hostname) return true;
    // Published from a container on the loopback, it goes by all names of the loopback.
    if (isLoopbackName(known.hostname) && isLoopbackName(called.name)) return true;
  }
  // Over the loopback, such as the health check inside a container, it goes by these names wherever else it listens.
  const overLoopback = isLoopbackName(config.host) || isLoopbackName(plainAddress(localAddress));
  if (overLoopback && isLoopbackName(called.name) && calledPort === (localPort ?? config.port)) return true;
  return config.allowedHosts.some((allowed) => {
    const own = partsOf(allowed.toLowerCase());
    if (own === undefined || own.name !== called.name) return false;
    return own.port === undefined || own.port === calledPort;
  });
}

/** Throws `forbidden` for a request that calls the server by a foreign name; false for one that may only ask whether it is well. */
export function checkHost(config: Names, request: FastifyRequest): boolean {
  if (isOwnName(config, request.host, request.socket)) return true;
  if (answersToAnyName.includes(request.routeOptions.url)) return false;
  throw new SallyportError(
    'forbidden',
    'This server does not go by the name that the request calls it by.',
    `Use ${config.publicUrl}, or name the other host in SALLYPORT_ALLOWED_HOSTS.`,
  );
}

/** True for what changes something, and for what would become a WebSocket: that is what a foreign page could do with a browser's cookies. */
export function isGuarded(request: FastifyRequest): boolean {
  return !safeMethods.has(request.method) || request.headers.upgrade !== undefined;
}

/**
 * Throws `forbidden` unless the request comes from a page of this server. Without a session an origin need not be told,
 * because programs tell none; browsers always do.
 */
export function checkOrigin(config: Names, request: FastifyRequest, hasSession: boolean): void {
  const { origin } = request.headers;
  if (origin === undefined ? !hasSession : isOwnOrigin(config, origin, request)) return;
  throw new SallyportError(
    'forbidden',
    origin === undefined
      ? 'With the session of a browser, a request has to say from which page it comes.'
      : 'The request comes from a page of another site.',
    'Use the dashboard of this server, or an API token.',
  );
}

/** A page of this server is of the very host that the request goes to. */
function isOwnOrigin(config: Names, origin: string, request: FastifyRequest): boolean {
  const page = URL.canParse(origin) ? new URL(origin) : undefined;
  if (page === undefined || page.origin !== origin) return false;
  const known = new URL(config.publicUrl);
  if (sameHost(known, request.host)) return origin === known.origin;
  return origin === `${request.protocol}://${request.host.toLowerCase()}`;
}

function sameHost(page: URL, host: string): boolean {
  const called = partsOf(host);
  const port = page.port === '' ? defaultPort(page.protocol) : Number(page.port);
  return called?.name === page.hostname && (called.port ?? defaultPort(page.protocol)) === port;
}

function defaultPort(protocol: string): number {
  return protocol === 'https:' ? 443 : 80;
}

/** Name and port of a Host header; undefined for what is none. */
function partsOf(host: string): { name: string; port: number | undefined } | undefined {
  const [, name, port] = /^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::(\d{1,5}))?$/.exec(host) ?? [];
  return name === undefined
    ? undefined
    : { name: name.toLowerCase(), port: port === undefined ? undefined : Number(port) };
}

/** The address of who asks, an IPv4 address as such. */
export function plainAddress(address: string): string {
  return ipaddr.isValid(address) ? ipaddr.process(address).toString() : address.slice(0, 100);
}

/** What one person may have many addresses of counts as one: 64 bits of IPv6. */
export function networkOf(address: string): string {
  if (!ipaddr.isValid(address)) return address;
  const parsed = ipaddr.process(address);
  if (!(parsed instanceof ipaddr.IPv6)) return parsed.toString();
  return parsed.parts
    .slice(0, 4)
    .map((part) => part.toString(16))
    .join(':');
}
