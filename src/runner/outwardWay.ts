import { proxyFor } from '../credentials/proxy.ts';
import { trusted } from '../credentials/reach.ts';
import { authoritiesOf, hostAuthorities } from '../engine/hostAuthorities.ts';
import type { UserPolicy } from './userPolicy.ts';

/** How a host outside is reached from this machine. */
export interface OutwardWay {
  /** Undefined is the direct way. */
  proxy: URL | undefined;
  /** Options for TLS: further authorities, where there are any. */
  trust: { ca?: string[] };
}

/**
 * The way that the user's settings say, and where they say nothing, the environment. Throws `invalid_input` for a file
 * of authorities that cannot be read.
 */
export function outwardWay(
  url: URL,
  { network, extraCaFile }: Pick<UserPolicy, 'network' | 'extraCaFile'>,
  env: Readonly<Record<string, string | undefined>>,
): OutwardWay {
  const { proxy, noProxy } = network;
  const asked =
    proxy === undefined
      ? env
      : { https_proxy: proxy, http_proxy: proxy, ...(noProxy && { no_proxy: noProxy }) };
  return {
    proxy: proxyFor(url, asked),
    trust: trusted([
      ...hostAuthorities(env),
      ...(extraCaFile === undefined ? [] : authoritiesOf(extraCaFile)),
    ]),
  };
}
