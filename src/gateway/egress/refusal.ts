/** Why a request is not passed on; where it was blocked, stands in the answer's header `x-sallyport-blocked`. */
export type RefusalCode =
  | 'malformed'
  | 'host'
  | 'ip_literal'
  | 'scheme'
  | 'host_mismatch'
  | 'closed'
  | 'not_listed'
  | 'port'
  | 'method'
  | 'path'
  | 'user_refused'
  | 'rule_removed'
  | 'address'
  | 'private_address'
  | 'not_tls'
  | 'no_sni'
  | 'sni'
  | 'ech'
  | 'too_slow'
  | 'too_many'
  | 'unresolved'
  | 'unreachable'
  | 'client_left'
  | 'gateway_ended';

/** A request that is not passed on, or not to its end. */
export interface Refusal {
  code: RefusalCode;
  /** For the agent, its user, and the ledger: a whole sentence without the prefix. */
  sentence: string;
  /** A rule would let it through. */
  askable: boolean;
  /** HTTP status of the answer. */
  status: number;
  /** `blocked` by a decision, or `failed` on the way. */
  verdict: 'blocked' | 'failed';
}

const failures: ReadonlySet<RefusalCode> = new Set([
  'too_slow',
  'unresolved',
  'unreachable',
  'client_left',
  'gateway_ended',
]);

const statuses: Partial<Record<RefusalCode, number>> = {
  malformed: 400,
  too_slow: 408,
  too_many: 503,
  unresolved: 502,
  unreachable: 502,
  gateway_ended: 503,
};

export function refusal(code: RefusalCode, sentence: string, askable = false): Refusal {
  const verdict = failures.has(code) ? 'failed' : 'blocked';
  return { code, sentence, askable, status: statuses[code] ?? 403, verdict };
}

export function isRefusal(value: object): value is Refusal {
  return 'code' in value && 'sentence' in value && 'verdict' in value;
}

/** What a client chose, as text that can be shown: no control characters, nothing beyond ASCII, not long. */
export function shown(text: string, length = 120): string {
  const plain = text.replace(/[^\x20-\x7e]/g, '?');
  return plain.length <= length ? plain : `${plain.slice(0, length)}…`;
}

/** The sentence as the agent reads it. */
function told({ verdict, sentence }: Refusal): string {
  return verdict === 'blocked' ? `Blocked by Sallyport: ${sentence}` : `Sallyport's gateway: ${sentence}`;
}

/**
 * The whole answer to a refused request. The reason phrase speaks too: it is all that many clients show of the answer to
 * CONNECT.
 */
export function refusalAnswer(refused: Refusal): string {
  const body = `${told(refused)}\n`;
  const { status, code } = refused;
  const lines = [
    `HTTP/1.1 ${status} ${refused.verdict === 'blocked' ? 'Blocked by Sallyport' : 'Failed at the gateway of Sallyport'}`,
    'content-type: text/plain; charset=utf-8',
    `content-length: ${Buffer.byteLength(body)}`,
    ...(refused.verdict === 'blocked' ? [`x-sallyport-blocked: ${code}`] : []),
    'connection: close',
  ];
  return `${lines.join('\r\n')}\r\n\r\n${body}`;
}
