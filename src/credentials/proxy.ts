import { nonEmpty } from './surroundings.ts';
import type { Environment } from './discover.ts';

/**
 * The proxy through which a URL is reached, as HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY say, in either case of
 * letters. Undefined for a direct way; a proxy that is no HTTP(S) URL counts as none.
 */
export function proxyFor(url: URL, env: Environment): URL | undefined {
  const get = (name: string): string | undefined => nonEmpty(env[name]) ?? nonEmpty(env[name.toUpperCase()]);
  const text = get(url.protocol === 'https:' ? 'https_proxy' : 'http_proxy') ?? get('all_proxy');
  if (text === undefined || isExempt(url, get('no_proxy') ?? '')) return undefined;
  const proxy = URL.parse(text.includes('://') ? text : `http://${text}`);
  return proxy !== null && /^https?:$/.test(proxy.protocol) ? proxy : undefined;
}

function isExempt(url: URL, list: string): boolean {
  const host = url.hostname.replace(/^\[|\]$/g, '').toLowerCase();
  if (host === 'localhost' || host === '::1' || /^127\./.test(host)) return true;
  const port = url.port === '' ? (url.protocol === 'https:' ? '443' : '80') : url.port;
  return list
    .split(/[\s,]+/)
    .filter((entry) => entry !== '')
    .some((entry) => {
      if (entry === '*') return true;
      const [, name = '', only] = /^(.*?)(?::(\d+))?$/.exec(entry.toLowerCase()) ?? [];
      if (only !== undefined && only !== port) return false;
      const suffix = name.replace(/^\*?\./, '');
      return suffix !== '' && (host === suffix || host.endsWith(`.${suffix}`));
    });
}
