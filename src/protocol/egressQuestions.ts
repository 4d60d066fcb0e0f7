import { isHostName, readRule } from './egress.ts';
import { hasEnded, type TaskState, type WaitingRequest } from './taskState.ts';

/** A host that a task wants to reach and no rule lets through: what the user is asked. */
export interface EgressQuestion {
  host: string;
  port: number;
  /** What an answer would allow, in the grammar of rules. */
  rule: string;
  /** Requests that wait right now. */
  waiting: number;
  /** When the first of them is given up, in milliseconds since the epoch; undefined when none waits. */
  until?: number;
  /** How often it was refused already. */
  times: number;
  /** Of a request that waits, where they are visible. */
  method?: string;
  path?: string;
}

/**
 * The narrowest rule that lets a request to this host through: this host, this port, and for plain HTTP its method. Undefined
 * for what no rule can name, such as an address.
 */
export function ruleFor(
  request: Pick<WaitingRequest, 'kind' | 'host' | 'port' | 'method'>,
): string | undefined {
  const host = request.host.toLowerCase().replace(/\.$/, '');
  if (!isHostName(host)) return undefined;
  const usual = request.kind === 'http' ? 80 : 443;
  const method = request.kind === 'http' ? request.method?.toUpperCase() : undefined;
  const methods =
    method !== undefined && /^[A-Z]+$/.test(method) && !['GET', 'HEAD'].includes(method)
      ? ` GET,HEAD,${method}`
      : '';
  const rule = `${host}${request.port === usual ? '' : `:${request.port}`}${methods}`;
  return typeof readRule(rule) === 'string' ? undefined : rule;
}

/** What is to be asked of a task now: first what waits, soonest first, then what was refused, newest first. */
export function egressQuestions(state: TaskState): EgressQuestion[] {
  const { egress } = state;
  const found = new Map<string, EgressQuestion>();
  for (const request of egress.waiting) {
    const rule = ruleFor(request);
    if (rule === undefined || egress.refused.includes(request.host)) continue;
    const key = `${request.host}:${request.port}`;
    const known = found.get(key);
    if (known !== undefined) {
      known.waiting += 1;
      known.until = Math.min(known.until ?? request.until, request.until);
      continue;
    }
    const { host, port, until, method, path } = request;
    found.set(key, {
      host,
      port,
      rule,
      waiting: 1,
      until,
      times: 0,
      ...(method === undefined ? {} : { method }),
      ...(path === undefined ? {} : { path }),
    });
  }
  for (const blocked of egress.blocked.toReversed()) {
    const { host, port, times, askable } = blocked;
    const known = found.get(`${host}:${port}`);
    if (known !== undefined) known.times += times;
    if (known !== undefined || !askable || egress.refused.includes(host)) continue;
    // A request to port 80 is plain HTTP nearly always; all others are tunnels.
    const rule = ruleFor({ kind: port === 80 ? 'http' : 'tunnel', host, port });
    if (rule === undefined || egress.allowed.some((allowed) => covers(allowed, host, port))) continue;
    found.set(`${host}:${port}`, { host, port, rule, waiting: 0, times });
  }
  const all = [...found.values()];
  return [
    ...all.filter(({ waiting }) => waiting > 0).sort((a, b) => (a.until ?? 0) - (b.until ?? 0)),
    ...all.filter(({ waiting }) => waiting === 0),
  ];
}

/** True when a rule that was allowed since means this host and port. */
function covers(text: string, host: string, port: number): boolean {
  const rule = readRule(text);
  if (typeof rule === 'string') return false;
  const name = host.toLowerCase().replace(/\.$/, '');
  const named = rule.subdomains ? name.endsWith(`.${rule.host}`) : name === rule.host;
  return named && (rule.port === undefined ? port === 80 || port === 443 : port === rule.port);
}

/** True when a task cannot go on, or not as it wanted to, without a word of the user's. */
export function needsUser(state: TaskState): boolean {
  if (hasEnded(state)) return false;
  return (
    state.phase === 'waiting' ||
    state.paused !== undefined ||
    egressQuestions(state).some(({ waiting }) => waiting > 0)
  );
}
