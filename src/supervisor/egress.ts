import { createSocket } from 'node:dgram';
import { lookup } from 'node:dns/promises';
import { readFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { networkInterfaces } from 'node:os';

export interface EgressCheck {
  what: string;
  blocked: boolean;
  detail: string;
}

/** How long an attempt may take, in milliseconds: what has not answered by then is taken for blocked. */
const limitMs = 1500;

/** What every attempt ends as: an answer of any kind means that packets got out. */
interface Attempt {
  through: boolean;
  detail: string;
}

/**
 * Tries to get out of the sandbox in every way that a network would offer. Attempts run side by side; without a
 * network they fail at once.
 */
export async function proveEgressClosed(): Promise<EgressCheck[]> {
  const gateway = await defaultGateway();
  const targets: [what: string, attempt: Promise<Attempt>][] = [
    ['network interfaces', Promise.resolve(interfaces())],
    ['TCP to a public IPv4 address (1.1.1.1:443)', tcp('1.1.1.1', 443)],
    ['TCP to a public IPv6 address ([2606:4700:4700::1111]:443)', tcp('2606:4700:4700::1111', 443)],
    ['cloud metadata service (169.254.169.254:80)', tcp('169.254.169.254', 80)],
    ["engine's API on the host (172.17.0.1:2375)", tcp('172.17.0.1', 2375)],
    ['DNS query over UDP (8.8.8.8:53)', dnsQuery('8.8.8.8')],
    ['name lookup (example.com)', nameLookup('example.com')],
  ];
  if (gateway !== undefined) targets.push([`default gateway (${gateway}:80)`, tcp(gateway, 80)]);
  return await Promise.all(
    targets.map(async ([what, attempt]) => {
      const { through, detail } = await attempt;
      return { what, blocked: !through, detail };
    }),
  );
}

function interfaces(): Attempt {
  const outward = Object.entries(networkInterfaces())
    .filter(([, addresses]) => addresses?.some((address) => !address.internal))
    .map(([name]) => name);
  return outward.length === 0
    ? { through: false, detail: 'only the loopback' }
    : { through: true, detail: outward.join(', ') };
}

/** A refusal and a reset are answers too: somebody is there. */
const answers = new Set(['ECONNREFUSED', 'ECONNRESET']);

function tcp(host: string, port: number): Promise<Attempt> {
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    const end = (through: boolean, detail: string): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve({ through, detail });
    };
    const timer = setTimeout(() => end(false, 'no answer'), limitMs);
    socket.on('connect', () => end(true, 'connected'));
    socket.on('error', (error: NodeJS.ErrnoException) =>
      end(answers.has(error.code ?? ''), error.code ?? error.message),
    );
  });
}

/** A query for the root's name servers, as every resolver answers it. */
const rootQuery = Buffer.from('5350010000010000000000000000020001', 'hex');

function dnsQuery(host: string): Promise<Attempt> {
  return new Promise((resolve) => {
    const socket = createSocket('udp4');
    const end = (through: boolean, detail: string): void => {
      clearTimeout(timer);
      socket.close();
      resolve({ through, detail });
    };
    const timer = setTimeout(() => end(false, 'no answer'), limitMs);
    socket.once('message', () => end(true, 'answered'));
    socket.once('error', (error: NodeJS.ErrnoException) => end(false, error.code ?? error.message));
    socket.send(rootQuery, 53, host, (error) => {
      if (error !== null) socket.emit('error', error);
    });
  });
}

async function nameLookup(name: string): Promise<Attempt> {
  const timer = new AbortController();
  const late = new Promise<Attempt>((resolve) => {
    const handle = setTimeout(() => resolve({ through: false, detail: 'no answer' }), limitMs);
    timer.signal.addEventListener('abort', () => clearTimeout(handle));
  });
  const found = lookup(name).then(
    ({ address }): Attempt => ({ through: true, detail: address }),
    (error: unknown): Attempt => ({ through: false, detail: codeOf(error) }),
  );
  try {
    return await Promise.race([found, late]);
  } finally {
    timer.abort();
  }
}

function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? String(error);
}

/** The IPv4 default gateway as the kernel's routing table has it, or undefined. */
async function defaultGateway(): Promise<string | undefined> {
  try {
    return parseDefaultGateway(await readFile('/proc/net/route', 'utf8'));
  } catch {
    return undefined;
  }
}

/** Reads `/proc/net/route`: addresses are hexadecimal, last byte first. */
export function parseDefaultGateway(table: string): string | undefined {
  for (const line of table.split('\n').slice(1)) {
    const [, destination, gateway] = line.split('\t');
    if (destination !== '00000000' || gateway === undefined || !/^[0-9A-F]{8}$/.test(gateway)) continue;
    if (gateway === '00000000') continue;
    return [...Buffer.from(gateway, 'hex')].reverse().join('.');
  }
  return undefined;
}
