import { readFileSync } from 'node:fs';
import * as http from 'node:http';
import * as https from 'node:https';
import { connect as connectTcp, isIP, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { connect as connectTls, createSecureContext, rootCertificates, type SecureContext } from 'node:tls';
import ipaddr from 'ipaddr.js';
import { SallyportError } from '../../base/errors.ts';
import type { NetworkWay } from '../../protocol/control.ts';

/** How long a connection, and a proxy's answer to CONNECT, may take, in milliseconds. */
const connectMs = 20_000;

/** Longest head of a proxy's answer to CONNECT, in bytes. */
const maxAnswerBytes = 16 << 10;

/** A proxy of the user's company, as `NetworkWay.proxy` names it. */
export interface CompanyProxy {
  secure: boolean;
  host: string;
  port: number;
  /** Value of `Proxy-Authorization`, where the URL holds a user. Never in an error or a log. */
  authorization?: string;
}

/** The system's authorities, in the image: those of a company's proxy are among them, which Node.js does not know. */
const systemAuthorities = '/etc/ssl/certs/ca-certificates.crt';

/** All that this gateway trusts: the public authorities, and those of the system. PEM. */
export function authorities(path = systemAuthorities): string[] {
  try {
    return [...rootCertificates, readFileSync(path, 'utf8')];
  } catch {
    return [...rootCertificates];
  }
}

/**
 * The proxy through which `host` is reached, or undefined for the direct way. Throws `invalid_input` when the proxy's URL
 * is none that can be used.
 */
export function proxyFor(network: NetworkWay, host: string, port: number): CompanyProxy | undefined {
  if (network.proxy === undefined || isExempt(network.noProxy ?? '', host, port)) return undefined;
  return readProxy(network.proxy);
}

function readProxy(text: string): CompanyProxy {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  // The text is not quoted: it can hold a password.
  if (url === undefined || !['http:', 'https:'].includes(url.protocol) || url.hostname === '') {
    throw new SallyportError(
      'invalid_input',
      'The proxy of the network settings cannot be used.',
      'Give it as http://host:port or https://host:port, with user:password@ before the host where it wants them.',
    );
  }
  const secure = url.protocol === 'https:';
  const proxy: CompanyProxy = {
    secure,
    host: url.hostname.replace(/^\[|\]$/g, ''),
    port: url.port === '' ? (secure ? 443 : 80) : Number(url.port),
  };
  if (url.username !== '' || url.password !== '') {
    const user = `${unescaped(url.username)}:${unescaped(url.password)}`;
    proxy.authorization = `Basic ${Buffer.from(user).toString('base64')}`;
  }
  return proxy;
}

function unescaped(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/**
 * True when NO_PROXY names the host: `example.com` and `.example.com` stand for the name and all below it, `host:port` for
 * one port, an address or a range (`10.0.0.0/8`) for hosts that are given as addresses, `*` for everything.
 */
function isExempt(noProxy: string, host: string, port: number): boolean {
  const name = host.toLowerCase();
  return noProxy
    .toLowerCase()
    .split(/[\s,]+/)
    .some((entry) => {
      if (entry === '') return false;
      if (entry === '*') return true;
      if (isIP(name) !== 0) return isInRange(entry, name);
      const [, pattern = '', only] = /^([^:]*)(?::(\d+))?$/.exec(entry) ?? [];
      const suffix = pattern.replace(/^\*?\./, '');
      if (suffix === '' || (only !== undefined && Number(only) !== port)) return false;
      return name === suffix || name.endsWith(`.${suffix}`);
    });
}

function isInRange(entry: string, address: string): boolean {
  const host = ipaddr.parse(address);
  if (ipaddr.isValidCIDR(entry)) {
    const [range, bits] = ipaddr.parseCIDR(entry);
    return range.kind() === host.kind() && host.match(range, bits);
  }
  return ipaddr.isValid(entry) && ipaddr.parse(entry).toNormalizedString() === host.toNormalizedString();
}

/** A connection to an address or name, without any proxy. Rejects with the system's error, or ETIMEDOUT. */
export function dial(
  host: string,
  port: number,
  signal?: AbortSignal,
  timeoutMs = connectMs,
): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connectTcp({ host, port, noDelay: true, allowHalfOpen: true });
    const settle = (error?: Error): void => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', abort);
      socket.removeAllListeners();
      if (error === undefined) {
        resolve(socket);
        return;
      }
      socket.on('error', () => undefined);
      socket.destroy();
      reject(error);
    };
    const abort = (): void => settle(new DOMException('Aborted', 'AbortError'));
    const timer = setTimeout(() => settle(lateError()), timeoutMs);
    socket.once('connect', () => settle());
    socket.once('error', settle);
    if (signal?.aborted === true) abort();
    else signal?.addEventListener('abort', abort, { once: true });
  });
}

function lateError(): Error {
  return Object.assign(new Error('No answer in time'), { code: 'ETIMEDOUT' });
}

/** A connection to the company's proxy itself; over TLS where its URL says https. */
export async function dialProxy(proxy: CompanyProxy, signal?: AbortSignal): Promise<Socket> {
  const socket = await dial(proxy.host, proxy.port, signal);
  if (!proxy.secure) return socket;
  const name = isIP(proxy.host) === 0 ? { servername: proxy.host } : {};
  const secure = connectTls({ socket, ca: authorities(), host: proxy.host, ...name });
  await settled(secure, 'secureConnect', signal);
  return secure;
}

/**
 * A tunnel through the company's proxy. Rejects with the system's error, or with an Error of code `EPROXY` whose message
 * is a sentence without a full stop and holds nothing of the proxy's but its status.
 */
export async function tunnelThrough(
  proxy: CompanyProxy,
  host: string,
  port: number,
  signal?: AbortSignal,
): Promise<Socket> {
  const socket = await dialProxy(proxy, signal);
  const target = isIP(host) === 6 ? `[${host}]:${port}` : `${host}:${port}`;
  const authorization =
    proxy.authorization === undefined ? '' : `Proxy-Authorization: ${proxy.authorization}\r\n`;
  socket.write(`CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n${authorization}\r\n`);
  try {
    const status = await connectStatus(socket, signal);
    if (status >= 200 && status < 300) return socket;
    throw proxyError(`The network's proxy answered ${status}`);
  } catch (error) {
    socket.on('error', () => undefined);
    socket.destroy();
    throw error;
  }
}

function proxyError(message: string): Error {
  return Object.assign(new Error(message), { code: 'EPROXY' });
}

/** Reads the head of the answer to CONNECT, and leaves what comes after it in the socket. */
async function connectStatus(socket: Socket, signal?: AbortSignal): Promise<number> {
  let head = Buffer.alloc(0);
  for (;;) {
    const chunk = socket.read() as Buffer | null;
    if (chunk === null) {
      if (socket.readableEnded || socket.destroyed) throw proxyError("The network's proxy hung up");
      await settled(socket, 'readable', signal);
      continue;
    }
    head = Buffer.concat([head, chunk]);
    const end = head.indexOf('\r\n\r\n');
    if (end === -1) {
      if (head.length > maxAnswerBytes)
        throw proxyError("The network's proxy gave no answer that can be read");
      continue;
    }
    const status = /^HTTP\/1\.[01] (\d{3})(?: |\r)/.exec(head.subarray(0, end + 2).toString('latin1'))?.[1];
    if (status === undefined) throw proxyError("The network's proxy gave no answer that can be read");
    const rest = head.subarray(end + 4);
    if (rest.length > 0) socket.unshift(rest);
    return Number(status);
  }
}

/** Resolves at the event; rejects at an error, the end, the signal, or when it takes too long. */
function settled(socket: Socket, event: string, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const settle = (error?: Error): void => {
      clearTimeout(timer);
      socket.off(event, good).off('error', settle).off('close', gone).off('end', ended);
      signal?.removeEventListener('abort', abort);
      if (error === undefined) {
        resolve();
        return;
      }
      socket.on('error', () => undefined);
      socket.destroy();
      reject(error);
    };
    const good = (): void => settle();
    const gone = (): void => settle(proxyError("The network's proxy hung up"));
    // Who waits for something to read learns of the end by reading.
    const ended = event === 'readable' ? good : gone;
    const abort = (): void => settle(new DOMException('Aborted', 'AbortError'));
    const timer = setTimeout(() => settle(lateError()), connectMs);
    socket.once(event, good).once('error', settle).once('close', gone).once('end', ended);
    if (signal?.aborted === true) abort();
    else signal?.addEventListener('abort', abort, { once: true });
  });
}

/**
 * A connection to `host` the way that the network settings say: direct, or as a tunnel through the company's proxy. For
 * the gateway's own requests, to hosts that the user configured: the address is not checked. Rejects with the system's
 * error (`code`), `EPROXY` when the proxy refuses, `invalid_input` for a proxy that cannot be used.
 */
export async function connectThrough(
  network: NetworkWay,
  host: string,
  port: number,
  signal?: AbortSignal,
): Promise<Socket> {
  const proxy = proxyFor(network, host, port);
  const socket = await (proxy === undefined
    ? dial(host, port, signal)
    : tunnelThrough(proxy, host, port, signal));
  // An HTTP client takes the end of the other side for the end of the connection.
  socket.allowHalfOpen = false;
  return socket;
}

/**
 * An agent for `http.request` or `https.request` that reaches every host by `connectThrough`. A TLS server's name is
 * checked against `ca`. Connections are kept for `keepMs` milliseconds.
 */
export function agentThrough(
  network: NetworkWay,
  secure: boolean,
  options: { ca?: string[]; keepMs?: number } = {},
): http.Agent {
  const settings = { keepAlive: true, timeout: options.keepMs ?? 600_000 };
  const agent = secure ? new https.Agent(settings) : new http.Agent(settings);
  // Reading some hundred certificates takes a tenth of a second and megabytes: once, and not before it is needed.
  let context: SecureContext | undefined;
  agent.createConnection = (target, done): undefined => {
    const host = target.host ?? 'localhost';
    connectThrough(network, host, Number(target.port)).then(
      (socket) => {
        if (!secure) {
          // A kept connection that the server ends must not be used again.
          socket.allowHalfOpen = false;
          done?.(null, socket);
          return;
        }
        context ??= createSecureContext({ ca: options.ca ?? authorities() });
        const name = isIP(host) === 0 ? { servername: host } : {};
        const tls = connectTls({
          socket,
          host,
          secureContext: context,
          ...name,
          ALPNProtocols: ['http/1.1'],
        });
        done?.(null, tls);
      },
      (error: unknown) => done?.(error instanceof Error ? error : new Error(String(error)), noStream),
    );
    return undefined;
  };
  return agent;
}

/** Never read: stands beside an error. */
const noStream = undefined as unknown as Duplex;
