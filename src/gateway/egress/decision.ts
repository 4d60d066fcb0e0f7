import { readRule, type EgressMode, type EgressPolicy, type EgressRule } from '../../protocol/egress.ts';
import { refusal, shown, type Refusal } from './refusal.ts';

/** A request, as far as it can be seen. */
export interface Wanted {
  kind: 'tunnel' | 'http';
  /** As `isHostName` has it. */
  host: string;
  port: number;
  /** Of plain HTTP. */
  method?: string;
  /** Of plain HTTP: without the query. */
  path?: string;
}

export interface Allowed {
  /** What let it through, for people. */
  reason: string;
  /** The name may stand for a private address. */
  private: boolean;
}

/** A policy whose rules were read. */
export interface ReadPolicy {
  mode: EgressMode;
  rules: { text: string; rule: EgressRule }[];
  /** Hosts to which the user said no: `host`, or `host:port`. */
  refused: ReadonlySet<string>;
}

export function readPolicy(policy: EgressPolicy, refused: readonly string[]): ReadPolicy {
  const rules = policy.rules.flatMap((text) => {
    const rule = readRule(text);
    // The schema of the policy lets no other text through.
    return typeof rule === 'string' ? [] : [{ text, rule }];
  });
  return { mode: policy.mode, rules, refused: new Set(refused.map((host) => host.toLowerCase())) };
}

const readOnly = ['GET', 'HEAD'];

/** Decides by names alone, before anything is looked up. */
export function decide(policy: ReadPolicy, wanted: Wanted): Allowed | Refusal {
  const { host, port } = wanted;
  const place = port === usualPort(wanted) ? host : `${host}:${port}`;
  if (policy.mode === 'closed') return refusal('closed', 'The network of this sandbox is closed.');
  const named = policy.rules.filter(({ rule }) => meansHost(rule, host));
  const onPort = named.filter(({ rule }) => (rule.port ?? usualPort(wanted)) === port);
  const withMethod = onPort.filter(({ rule }) => meansMethod(rule.methods, wanted));
  const matching = withMethod.filter(({ rule }) => meansPath(rule, wanted));
  const [first] = matching;
  if (first !== undefined) {
    return { reason: first.text, private: matching.some(({ rule }) => rule.private) };
  }
  if (policy.mode === 'open' && port === usualPort(wanted) && meansMethod(undefined, wanted)) {
    return { reason: 'The network of this sandbox is open.', private: false };
  }
  if (wasRefused(policy, wanted)) {
    return refusal('user_refused', `The user does not allow ${place}.`, true);
  }
  const askUser = 'Ask the user to allow it.';
  if (withMethod.length > 0) {
    return refusal('path', `This path of ${place} is not on the list of this sandbox. ${askUser}`, true);
  }
  if (onPort.length > 0 || (policy.mode === 'open' && port === usualPort(wanted))) {
    const method = shown(wanted.method ?? '', 32);
    return refusal('method', `${method} to ${place} is not on the list of this sandbox. ${askUser}`, true);
  }
  if (named.length > 0 || policy.mode === 'open') {
    return refusal('port', `Port ${port} of ${host} is not on the list of this sandbox. ${askUser}`, true);
  }
  return refusal('not_listed', `${place} is not on the list of this sandbox. ${askUser}`, true);
}

/** True when the user already said no to where the request goes. */
function wasRefused(policy: ReadPolicy, { host, port }: Wanted): boolean {
  return policy.refused.has(host) || policy.refused.has(`${host}:${port}`);
}

function usualPort({ kind }: Wanted): number {
  return kind === 'tunnel' ? 443 : 80;
}

function meansHost(rule: EgressRule, host: string): boolean {
  return rule.subdomains ? host.endsWith(`.${rule.host}`) : host === rule.host;
}

/** In a tunnel the method is hidden. */
function meansMethod(methods: readonly string[] | undefined, { kind, method = '' }: Wanted): boolean {
  return kind === 'tunnel' || (methods ?? readOnly).includes(method);
}

/** In a tunnel the path is hidden. */
function meansPath({ path: below }: EgressRule, { kind, path = '/' }: Wanted): boolean {
  if (kind === 'tunnel' || below === undefined) return true;
  // Compared as it is written, because servers differ in what they decode; what one of them could see elsewhere is out.
  return decodePath(path) !== undefined && isBelow(path, below);
}

/** `/a` means `/a` and `/a/b`, and not `/ab`. */
function isBelow(path: string, root: string): boolean {
  const whole = path.length === root.length || path[root.length] === '/';
  return path.startsWith(root) && (whole || /(?:\/|%2f)$/i.test(root));
}

/**
 * A path with its percent-encodings resolved; undefined where a server could see another place in it: dot segments, also
 * encoded, with parameters or behind a backslash; encodings of encodings; control characters.
 */
export function decodePath(path: string): string | undefined {
  if (/%(?![0-9a-f]{2})/i.test(path)) return undefined;
  const decoded = path.replace(/%([0-9a-f]{2})/gi, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
  if (/[\x00-\x1f\x7f\\%]/.test(decoded)) return undefined;
  const hidden = decoded.split('/').some((segment) => /^\.{1,2}(?:;|$)/.test(segment));
  return hidden ? undefined : decoded;
}
