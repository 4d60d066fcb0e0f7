import aws4 from 'aws4';
import type { Upstream } from '../protocol/control.ts';

type Keys = Extract<Extract<Upstream, { kind: 'bedrock' }>['auth'], { type: 'keys' }>;

export interface SignedRequest {
  method: string;
  /** With the port, where it is not the scheme's own. */
  host: string;
  /** Percent-encoded, as it is sent. */
  path: string;
  headers: Record<string, string>;
  body: Buffer;
}

/** What stands for itself on the way and would break a signature when somebody changed it. */
const signed = /^(accept|content-type|anthropic-[a-z-]+)$/;

/**
 * The headers that make a request one of the account's (Signature Version 4, service `bedrock`), and the signed ones among
 * its own. As every service but S3 wants it, the path is encoded once more for the signature.
 * @param date for tests: ISO 8601 basic, as in `20260102T030405Z`
 */
export function signForBedrock(
  request: SignedRequest,
  region: string,
  keys: Omit<Keys, 'type'>,
  date?: string,
): Record<string, string> {
  const headers: Record<string, string> = { host: request.host };
  for (const [name, value] of Object.entries(request.headers)) if (signed.test(name)) headers[name] = value;
  if (date !== undefined) headers['X-Amz-Date'] = date;
  const { method, path, body } = request;
  const options = {
    service: 'bedrock',
    region,
    method,
    path,
    body,
    headers,
    extraHeadersToIgnore: { 'content-length': true },
  };
  const { accessKeyId, secretAccessKey, sessionToken } = keys;
  const session = sessionToken === undefined ? {} : { sessionToken };
  const { headers: result = {} } = aws4.sign(options, { accessKeyId, secretAccessKey, ...session });
  const all: Record<string, string> = { ...request.headers };
  for (const [name, value] of Object.entries(result)) all[name.toLowerCase()] = String(value);
  return all;
}
