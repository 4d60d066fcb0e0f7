import type { Socket } from 'node:net';
import type { NetworkWay } from '../../protocol/control.ts';
import type { Classify } from '../../base/addresses.ts';
import { checkAddresses } from './addresses.ts';
import type { Allowed, Wanted } from './decision.ts';
import type { Limits } from './limits.ts';
import { dial, dialProxy, proxyFor, tunnelThrough, type CompanyProxy } from './networkWay.ts';
import { refusal, type Refusal } from './refusal.ts';
import { resolveWithin, type Resolve } from './resolver.ts';

/** How a host is reached: one of addresses that were checked, or by its name through the company's proxy. */
export type Way = { proxy: CompanyProxy } | { addresses: string[] };

export interface WayOptions {
  network: NetworkWay;
  limits: Pick<Limits, 'resolveMs' | 'connectMs' | 'lastConnectMs'>;
  resolve: Resolve;
  classify: Classify;
}

/** How long the local resolver is waited for where a proxy resolves names anyway, in milliseconds. */
const besideProxyMs = 2_000;

/** How long, in milliseconds, and of how many names it is remembered that only the proxy knows them. */
const unknownMs = 60_000;
const maxUnknown = 1000;

/** Finds ways to hosts, and goes them. Each name is looked up once for a request, and only that answer is used. */
export class WayFinder {
  private readonly options: WayOptions;
  private readonly unknown = new Map<string, number>();

  /** Throws `invalid_input` for a proxy that cannot be used. */
  constructor(options: WayOptions) {
    this.options = options;
    proxyFor({ ...options.network, noProxy: '' }, 'example.com', 443);
  }

  async find({ host, port }: Wanted, allowed: Allowed): Promise<Way | Refusal> {
    const { network, limits, resolve, classify } = this.options;
    const proxy = proxyFor(network, host, port);
    if (proxy !== undefined && (this.unknown.get(host) ?? 0) > Date.now()) return { proxy };
    const limitMs = proxy === undefined ? limits.resolveMs : Math.min(besideProxyMs, limits.resolveMs);
    let addresses: string[];
    try {
      addresses = await resolveWithin(resolve, host, limitMs);
      if (addresses.length === 0) throw Object.assign(new Error('No address'), { code: 'ENODATA' });
    } catch (error) {
      if (proxy === undefined) {
        return refusal('unresolved', `The name ${host} has no address that could be found${codeOf(error)}.`);
      }
      if (this.unknown.size >= maxUnknown) this.unknown.clear();
      this.unknown.set(host, Date.now() + unknownMs);
      return { proxy };
    }
    const refused = checkAddresses(host, addresses, allowed.private, classify);
    if (refused !== undefined) return refused;
    return proxy === undefined ? { addresses } : { proxy };
  }

  /**
   * Goes it: a connection to the host, or for plain HTTP through a proxy to that proxy. Resolves to a refusal when nobody
   * answers; rejects with AbortError at the signal.
   */
  async go(way: Way, { kind, host, port }: Wanted, signal: AbortSignal): Promise<Socket | Refusal> {
    try {
      if ('addresses' in way) return await this.dialOneOf(way.addresses, port, signal);
      return kind === 'tunnel'
        ? await tunnelThrough(way.proxy, host, port, signal)
        : await dialProxy(way.proxy, signal);
    } catch (error) {
      signal.throwIfAborted();
      const text =
        error instanceof Error && codeOf(error) === ' (EPROXY)' ? `: ${error.message}` : codeOf(error);
      return refusal('unreachable', `${host}:${port} could not be reached${text}.`);
    }
  }

  private async dialOneOf(addresses: readonly string[], port: number, signal: AbortSignal): Promise<Socket> {
    const { connectMs, lastConnectMs } = this.options.limits;
    let failure: unknown;
    for (const [index, address] of addresses.entries()) {
      const limitMs = index === addresses.length - 1 ? lastConnectMs : connectMs;
      try {
        return await dial(address, port, signal, limitMs);
      } catch (error) {
        signal.throwIfAborted();
        failure = error;
      }
    }
    throw failure;
  }
}

/** The code of a system's error, in brackets; its text could hold an address. */
function codeOf(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  return /^[A-Z_0-9]+$/.test(code) ? ` (${code})` : '';
}
