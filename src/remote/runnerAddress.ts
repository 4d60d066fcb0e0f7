import { isIP } from 'node:net';
import { SallyportError } from '../base/errors.ts';

/**
 * The base address of a runner, with a slash at its end. A user, a query and a fragment are refused; so is plain HTTP to
 * another machine, because the token and the code would go over the network for all to read. Throws `invalid_input`.
 */
export function readRunnerAddress(text: string, { plainHttp = false }: { plainHttp?: boolean } = {}): URL {
  const mend = 'It looks like https://runner.example.com.';
  const url = URL.parse(text.trim());
  if (url === null || !/^https?:$/.test(url.protocol) || url.hostname === '')
    throw new SallyportError('invalid_input', 'The address of the runner is no HTTP address.', mend);
  if (url.username !== '' || url.password !== '' || url.search !== '' || url.hash !== '') {
    // The text is not quoted: it can hold a password.
    throw new SallyportError(
      'invalid_input',
      'The address of the runner holds more than a host and a path.',
      `${mend} The token is asked for by itself.`,
    );
  }
  if (url.protocol === 'http:' && !plainHttp && !isLoopback(url.hostname)) {
    throw new SallyportError(
      'invalid_input',
      `${url.origin} is reached without encryption: anybody on the way could read the token and the code.`,
      'Use an https address; the runner takes a certificate of its own, or stands behind a proxy that has one.',
    );
  }
  if (!url.pathname.endsWith('/')) url.pathname += '/';
  return url;
}

/** True for addresses of this very machine; a name other than `localhost` can be anybody's. */
function isLoopback(hostname: string): boolean {
  const host = hostname.replace(/^\[|\]$/g, '');
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
}
