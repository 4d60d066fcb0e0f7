import * as z from 'zod/mini';

/**
 * What a sandbox may reach besides its model. One grammar of rules for settings, for answers to a blocked request and
 * for the gateway, which decides by them.
 */

/** `list`: what a rule names; `open`: every public host; `closed`: nothing. */
export const EgressMode = z.enum(['list', 'open', 'closed']);
export type EgressMode = z.infer<typeof EgressMode>;

/** One rule that was read. */
export interface EgressRule {
  /** Lower case, without a trailing dot; with `subdomains` the name below which every name is meant. */
  host: string;
  /** `*.example.com`: names below it, not the name itself. */
  subdomains: boolean;
  /** Undefined: 80 for plain HTTP, 443 for a tunnel. */
  port?: number;
  /**
   * Begins with a slash; stands for itself and all below it, segment by segment (`/a` is not `/ab`), where the path is
   * visible: in a tunnel it is not. Undefined: every path.
   */
  path?: string;
  /** Upper case; matched where the method is visible: in a tunnel it is not. Undefined: GET and HEAD. */
  methods?: string[];
  /** The name may stand for a private address. Loopback, link-local and metadata addresses are refused even so. */
  private: boolean;
}

const label = /^(?!-)[a-z0-9_-]{1,63}(?<!-)$/;

/**
 * True for a DNS host name in ASCII (RFC 1123, and the underscore that names in use have): lower case, no trailing dot,
 * no address. A last label of digits only, or of hexadecimal with `0x`, is what some resolvers take for an address.
 */
export function isHostName(name: string): boolean {
  if (name.length === 0 || name.length > 253) return false;
  const labels = name.split('.');
  if (!labels.every((part) => label.test(part))) return false;
  return !/^(?:\d+|0x[0-9a-f]*)$/.test(labels.at(-1) ?? '');
}

function isPlain(text: string): boolean {
  return /^[\x21-\x7e]*$/.test(text);
}

/** A path that leads where it seems to lead. */
function isPlainPath(path: string): boolean {
  if (!isPlain(path) || /[?#\\]|%(?![0-9a-f]{2})|%(?:[01]|2[5e]|5c|7f)/i.test(path)) return false;
  return !path.split(/\/|%2f/i).some((segment) => /^\.{1,2}(?:;|$)/.test(segment));
}

const ruleGrammar = /^(\*\.)?([^\s/:*]+)(?::(\d{1,5}))?(\/\S*)?$/;

/**
 * Reads a rule: `HOST[:PORT][/PATH] [METHODS] [private]`, as in `registry.example.com`, `*.example.com:8443`,
 * `mirror.example.com/debian/ GET,HEAD`, `api.example.com GET,POST private`. Returns a sentence for one that is wrong.
 */
export function readRule(text: string): EgressRule | string {
  const [target = '', ...options] = text.trim().split(/\s+/);
  const match = ruleGrammar.exec(target);
  if (match === null) return `"${text}" is no rule: it begins with a host name, as in registry.example.com.`;
  const name = match[2] ?? '';
  const host = name.toLowerCase().replace(/\.$/, '');
  // Some letters outside ASCII have lower-case forms within it.
  if (!isHostName(host) || !isPlain(name))
    return `"${name}" is no host name. Addresses cannot be named in a rule.`;
  const subdomains = match[1] !== undefined;
  if (subdomains && !host.includes('.')) return `"${target}" would mean a whole top-level domain.`;
  const port = match[3] === undefined ? undefined : Number(match[3]);
  if (port !== undefined && (port < 1 || port > 65_535)) return `${port} is no port.`;
  const rule: EgressRule = { host, subdomains, private: false };
  if (port !== undefined) rule.port = port;
  if (match[4] !== undefined) {
    if (!isPlainPath(match[4]))
      return `"${match[4]}" is no path: it is plain, without dots as a segment, ? or #.`;
    rule.path = match[4];
  }
  for (const option of options) {
    if (option === 'private') rule.private = true;
    else if (/^[A-Z]+(,[A-Z]+)*$/.test(option)) rule.methods = option.split(',');
    else return `"${option}" is neither methods, such as GET,HEAD, nor the word private.`;
  }
  return rule;
}

/** A rule as text that can be read. */
export const EgressRuleText = z.string().check(
  z.maxLength(600),
  z.refine((text) => typeof readRule(text) === 'object', { error: 'not a rule for the network' }),
);

export const EgressPolicy = z.object({
  mode: EgressMode,
  /** Rules, in the grammar of `readRule`. In mode `open` they still give ports, methods and private addresses. */
  rules: z.array(EgressRuleText).check(z.maxLength(2000)),
});
export type EgressPolicy = z.infer<typeof EgressPolicy>;

/**
 * The public package registries, read-only: npm, PyPI, crates.io, Go, Debian and Ubuntu, RubyGems, Maven. With a tunnel
 * the method is hidden, so there "read-only" is what these hosts offer without a credential.
 */
export const registryRules: readonly string[] = [
  'registry.npmjs.org',
  'pypi.org',
  'files.pythonhosted.org',
  'index.crates.io',
  'static.crates.io',
  'crates.io',
  'proxy.golang.org',
  'sum.golang.org',
  'deb.debian.org',
  'security.debian.org',
  'archive.ubuntu.com',
  'security.ubuntu.com',
  'ports.ubuntu.com',
  'rubygems.org',
  'index.rubygems.org',
  'repo.maven.apache.org',
  'repo1.maven.org',
];

export const defaultEgress: EgressPolicy = { mode: 'list', rules: [...registryRules] };
