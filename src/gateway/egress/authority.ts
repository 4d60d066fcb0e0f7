import { isIP } from 'node:net';
import { isHostName } from '../../protocol/egress.ts';
import { refusal, shown, type Refusal } from './refusal.ts';

/** A host by name, and a port. */
export interface Authority {
  /** Lower case, as `isHostName` has it. */
  host: string;
  port: number;
}

/** Longest host name that DNS knows, in characters. */
const maxHost = 253;

/**
 * Reads `HOST[:PORT]` strictly: what another program could read in another way is refused. Addresses are refused in
 * every spelling, because a rule names hosts; so is a name with a dot at its end, and one that is not ASCII.
 */
export function readAuthority(text: string, defaultPort?: number): Authority | Refusal {
  if (text === '') return refusal('host', 'The request names no host.');
  if (/[^\x21-\x7e]/.test(text)) return refusal('host', `"${shown(text)}" is no host name in plain ASCII.`);
  if (text.includes('@')) return refusal('host', 'A user name before the host is not allowed.');
  if (text.startsWith('[') || text.split(':').length > 2) return literal(text);
  const match = /^([^:]*)(?::([0-9]{1,5}))?$/.exec(text);
  const name = match?.[1] ?? '';
  if (match === null) return refusal('host', `"${shown(text)}" is no host and port.`);
  if (name === '') return refusal('host', 'The request names no host.');
  if (name.length > maxHost) return refusal('host', `The host name is longer than ${maxHost} characters.`);
  const port = match[2] === undefined ? defaultPort : Number(match[2]);
  if (port === undefined) return refusal('host', `"${shown(text)}" names no port.`);
  if (port < 1 || port > 65_535) return refusal('host', `${port} is no port.`);
  const host = name.toLowerCase();
  // A last label that is a number makes an address of the whole, for resolvers and for browsers.
  if (isIP(host) !== 0 || /(?:^|\.)(?:\d+|0x[0-9a-f]*)\.?$/.test(host)) return literal(text);
  if (!isHostName(host)) return refusal('host', `"${shown(name)}" is no host name in plain ASCII.`);
  return { host, port };
}

function literal(text: string): Refusal {
  return refusal('ip_literal', `"${shown(text)}" is an address. Only hosts can be reached, by their names.`);
}
