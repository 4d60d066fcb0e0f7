import ipaddr from 'ipaddr.js';

/**
 * `public`: may be reached; `private`: only by a rule that says so; `forbidden`: never, because this machine, its
 * neighbours on the link, a cloud's metadata service, or many at once are behind it.
 */
export type AddressClass = 'public' | 'private' | 'forbidden';

export type Classify = (address: string) => AddressClass;

const forbidden = ranges([
  '0.0.0.0/8',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '224.0.0.0/4',
  '240.0.0.0/4',
  // Metadata and agents of clouds outside the link-local range: Alibaba, Azure, Oracle.
  '100.100.100.200/32',
  '168.63.129.16/32',
  '192.0.0.192/32',
  // Unspecified, loopback, and the old forms with an IPv4 address at their end.
  '::/96',
  'fe80::/10',
  'ff00::/8',
  'fd00:ec2::/32',
  'fd20:ce::254/128',
  // Teredo and 6to4 lead to an IPv4 address through a relay of somebody's; nobody needs them any more.
  '2001::/32',
  '2002::/16',
  '192.88.99.0/24',
  // The local NAT64 prefix hides the IPv4 address in a place that only its network knows.
  '64:ff9b:1::/48',
  // Discard, and segment routing identifiers.
  '100::/64',
  '5f00::/16',
]);

const notPublic = ranges([
  '10.0.0.0/8',
  '100.64.0.0/10',
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.168.0.0/16',
  '198.18.0.0/15',
  'fc00::/7',
  'fec0::/10',
  '2001:2::/48',
]);

/** Prefixes with an IPv4 address in the last four bytes: mapped (RFC 4291), translated (RFC 2765), NAT64 (RFC 6052). */
const carriers = ranges(['::ffff:0:0/96', '::ffff:0:0:0/96', '64:ff9b::/96']);

type Range = [ipaddr.IPv4 | ipaddr.IPv6, number];

function ranges(texts: readonly string[]): Range[] {
  return texts.map((text) => ipaddr.parseCIDR(text));
}

/** What kind of address this is. What is no address is `forbidden`. */
export function classify(text: string): AddressClass {
  // A zone (fe80::1%eth0) belongs to link-local addresses only.
  if (!ipaddr.isValid(text) || text.includes('%')) return 'forbidden';
  const address = ipaddr.parse(text);
  if (address.kind() === 'ipv6' && isIn(address, carriers)) {
    return classify(ipaddr.fromByteArray(address.toByteArray().slice(12)).toString());
  }
  if (isIn(address, forbidden)) return 'forbidden';
  return isIn(address, notPublic) ? 'private' : 'public';
}

/** This machine itself. */
export function isLoopback(text: string): boolean {
  return ipaddr.isValid(text) && !text.includes('%') && ipaddr.process(text).range() === 'loopback';
}

function isIn(address: ipaddr.IPv4 | ipaddr.IPv6, list: readonly Range[]): boolean {
  return list.some(([range, bits]) => range.kind() === address.kind() && address.match(range, bits));
}
