import { readAuthority, type Authority } from './authority.ts';
import { isRefusal, refusal, shown, type Refusal } from './refusal.ts';

/** Longest head of a request: its first line and its headers, in bytes. */
export const maxHeadBytes = 32 << 10;

const maxHeaders = 100;

/** The body that follows a head. */
export type BodyFraming = { kind: 'none' } | { kind: 'length'; bytes: number } | { kind: 'chunked' };

/** A request that was read whole and without doubt. */
export type RequestHead =
  | { kind: 'tunnel'; authority: Authority }
  | {
      kind: 'http';
      authority: Authority;
      method: string;
      /** With the query; begins with a slash. */
      target: string;
      /** Without the query. */
      path: string;
      version: '1.0' | '1.1';
      /** What is passed on, without host and framing. */
      headers: [name: string, value: string][];
      body: BodyFraming;
      expectsContinue: boolean;
    };

/** What is known of a request that was refused while it was read, for the ledger. */
export interface PartlyRead {
  refusal: Refusal;
  kind: 'tunnel' | 'http';
  host: string;
  port: number;
  method?: string;
  path?: string;
}

/** Headers of one connection, which end at a proxy (RFC 9110, 7.6.1), and those that speak to a proxy. */
const hopByHop = new Set([
  'connection',
  'http2-settings',
  'keep-alive',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

/** True for a header that no proxy passes on; `named` are those that the Connection header names. */
export function endsHere(name: string, named: ReadonlySet<string>): boolean {
  return hopByHop.has(name) || name.startsWith('proxy-') || named.has(name);
}

/** The names that Connection headers list, in lower case. */
export function connectionNames(values: readonly string[]): Set<string> {
  return new Set(
    values
      .flatMap((value) => value.toLowerCase().split(','))
      .map((name) => name.trim())
      .filter((name) => name !== ''),
  );
}

/**
 * Where the head ends: the number of its bytes with the empty line, undefined while more has to come, or a refusal of
 * what can be no head any more. A line ends with CR and LF, and neither stands alone.
 */
export function headLength(bytes: Buffer): number | undefined | Refusal {
  const end = bytes.indexOf('\r\n\r\n');
  const head = end === -1 ? bytes : bytes.subarray(0, end + 4);
  if (head.length > maxHeadBytes) {
    return refusal('malformed', `The head of the request is longer than ${maxHeadBytes} bytes.`);
  }
  const text = head.toString('latin1');
  // The last byte may be the first half of a line's end.
  const bare = /(?<!\r)\n|\r(?!\n|$)/.exec(text);
  if (bare !== null) return refusal('malformed', 'A line of the request ends with CR or LF alone.');
  const control = /[^\t\r\n\x20-\x7e\x80-\xff]/.exec(text);
  if (control !== null) return refusal('malformed', 'The head of the request holds control characters.');
  return end === -1 ? undefined : end + 4;
}

const token = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

/** Reads a whole head, which ends with an empty line. */
export function readHead(bytes: Buffer): RequestHead | PartlyRead {
  const [first = '', ...lines] = bytes.toString('latin1').slice(0, -4).split('\r\n');
  const match = /^(\S+) (\S+) HTTP\/(\d\.\d)$/.exec(first);
  const [, method = '', target = '', version = ''] = match ?? [];
  const partly: Omit<PartlyRead, 'refusal'> = {
    kind: method === 'CONNECT' ? 'tunnel' : 'http',
    host: '',
    port: 0,
  };
  const refuse = (refused: Refusal): PartlyRead => ({ ...partly, refusal: refused });
  if (match === null || !token.test(method)) {
    return refuse(refusal('malformed', 'The first line is no request line of HTTP.'));
  }
  if (method.length > 32) return refuse(refusal('malformed', 'The method is longer than 32 characters.'));
  if (partly.kind === 'http') partly.method = method;
  if (version !== '1.1' && version !== '1.0') {
    return refuse(refusal('malformed', `HTTP/${version} is not spoken here.`));
  }
  const headers: [string, string][] = [];
  for (const line of lines) {
    const header = /^([^:\s]+):[\t ]*(.*?)[\t ]*$/.exec(line);
    if (header === null || !token.test(header[1] ?? '')) {
      return refuse(refusal('malformed', 'A header is no name with a colon and a value on one line.'));
    }
    headers.push([header[1] ?? '', header[2] ?? '']);
  }
  if (headers.length > maxHeaders) {
    return refuse(refusal('malformed', `The request has more than ${maxHeaders} headers.`));
  }
  const where = readTarget(method, target);
  Object.assign(partly, where.known);
  if (where.refused !== undefined) return refuse(where.refused);
  const { authority, path, query } = where.found;
  const body = readFraming(method, version, headers);
  if (isRefusal(body)) return refuse(body);
  if (method === 'CONNECT') {
    if (body.kind !== 'none') return refuse(refusal('malformed', 'CONNECT has no body.'));
    return { kind: 'tunnel', authority };
  }
  const wrong = checkHost(version, headers, authority) ?? checkExpectation(headers);
  if (wrong !== undefined) return refuse(wrong);
  const named = connectionNames(valuesOf(headers, 'connection'));
  return {
    kind: 'http',
    authority,
    method,
    target: path + query,
    path,
    version,
    headers: headers.filter(([name]) => {
      const lower = name.toLowerCase();
      return !ours.has(lower) && !endsHere(lower, named);
    }),
    body,
    expectsContinue: version === '1.1' && valuesOf(headers, 'expect').length > 0,
  };
}

/** Written anew for the onward request. */
const ours = new Set(['host', 'content-length', 'expect']);

interface Target {
  authority: Authority;
  path: string;
  query: string;
}

type ReadTarget = { known: Partial<PartlyRead> } & (
  { refused: Refusal; found?: undefined } | { refused?: undefined; found: Target }
);

/** The request's target: an authority for CONNECT, else a whole URL (absolute-form), as clients give it to a proxy. */
function readTarget(method: string, target: string): ReadTarget {
  if (method === 'CONNECT') {
    const authority = readAuthority(target);
    if (!isRefusal(authority)) return { known: authority, found: { authority, path: '', query: '' } };
    return { known: guess(target), refused: authority };
  }
  const url = /^([a-z][a-z0-9+.-]*):\/\/([^/?#]*)([^?#]*)(\?[^#]*)?(#.*)?$/i.exec(target);
  if (url === null) {
    return {
      known: { path: target },
      refused: refusal(
        'scheme',
        'This is an HTTP proxy. A request names a whole URL, as in GET http://example.com/, or asks for a tunnel with CONNECT.',
      ),
    };
  }
  const [, scheme = '', host = '', path = '', query = '', fragment] = url;
  const known: Partial<PartlyRead> = { ...guess(host, 80), path };
  if (scheme.toLowerCase() !== 'http') {
    const how = scheme.toLowerCase() === 'https' ? ' For https, ask for a tunnel with CONNECT.' : '';
    return {
      known,
      refused: refusal('scheme', `The scheme ${shown(scheme, 20)} is not passed on.${how}`),
    };
  }
  const authority = readAuthority(host, 80);
  if (isRefusal(authority)) return { known, refused: authority };
  Object.assign(known, authority);
  if (fragment !== undefined || /[^\x21-\x7e]/.test(target)) {
    return { known, refused: refusal('malformed', 'The URL holds characters that no request may hold.') };
  }
  return { known, found: { authority, path: path === '' ? '/' : path, query } };
}

/** Host and port of a target that was refused, as well as they can be told. */
function guess(text: string, port = 0): Pick<PartlyRead, 'host' | 'port'> {
  const match = /^(.*?)(?::(\d{1,5}))?$/.exec(text);
  return { host: match?.[1] ?? text, port: Number(match?.[2] ?? port) };
}

function valuesOf(headers: readonly [string, string][], wanted: string): string[] {
  return headers.filter(([name]) => name.toLowerCase() === wanted).map(([, value]) => value);
}

/** One way only to tell where the body ends, so that nobody reads another request in it. */
function readFraming(method: string, version: string, headers: [string, string][]): BodyFraming | Refusal {
  const lengths = valuesOf(headers, 'content-length');
  const codings = valuesOf(headers, 'transfer-encoding');
  if (lengths.length + codings.length > 1) {
    return refusal('malformed', 'The length of the body is given more than once.');
  }
  const [length] = lengths;
  const [coding] = codings;
  let body: BodyFraming = { kind: 'none' };
  if (coding !== undefined) {
    if (version === '1.0' || coding.toLowerCase() !== 'chunked') {
      return refusal('malformed', 'The only transfer coding that is passed on is chunked, of HTTP/1.1.');
    }
    body = { kind: 'chunked' };
  } else if (length !== undefined) {
    if (!/^\d{1,15}$/.test(length)) return refusal('malformed', 'The content length is no number.');
    body = { kind: 'length', bytes: Number(length) };
  }
  const empty = body.kind === 'none' || (body.kind === 'length' && body.bytes === 0);
  if (!empty && (method === 'GET' || method === 'HEAD')) {
    return refusal('malformed', `${method} with a body is not passed on.`);
  }
  return empty && method === 'CONNECT' ? { kind: 'none' } : body;
}

function checkHost(version: string, headers: [string, string][], authority: Authority): Refusal | undefined {
  const [host, ...further] = valuesOf(headers, 'host');
  if (further.length > 0) return refusal('malformed', 'The request has several Host headers.');
  if (host === undefined) {
    return version === '1.0' ? undefined : refusal('malformed', 'The request has no Host header.');
  }
  const named = readAuthority(host, 80);
  if (!isRefusal(named) && named.host === authority.host && named.port === authority.port) return undefined;
  return refusal('host_mismatch', `The Host header names another host than the URL (${authority.host}).`);
}

function checkExpectation(headers: [string, string][]): Refusal | undefined {
  const all = valuesOf(headers, 'expect');
  if (all.length === 0 || (all.length === 1 && all[0]?.toLowerCase() === '100-continue')) return undefined;
  return refusal('malformed', 'The only expectation that is known is 100-continue.');
}
