import type { LedgerEntry } from './gatewayEvent.ts';
import { safeLine } from './safeText.ts';
import type { TaskEvent } from './taskEvent.ts';
import type { Usage } from './usage.ts';

/** One request of a sandbox, as the ledger shows it. All strings were chosen by the sandbox: text, and nothing else. */
export interface LedgerRow {
  /** Number of the event that the row came with first; stays the same when the request is over. */
  key: number;
  kind: LedgerEntry['kind'];
  verdict: LedgerEntry['verdict'] | 'waiting';
  host: string;
  port: number;
  method?: string;
  path?: string;
  status?: number;
  reason?: string;
  /** Of a refusal: a rule would let it through. */
  askable: boolean;
  bytesOut: number;
  bytesIn: number;
  /** Milliseconds since the epoch; the end of one that waits is when it is given up. */
  started: number;
  ended: number;
  /** What a request to the model has used. */
  spend?: { model: string; usage: Usage; usd: number; estimated: boolean };
}

/** A call of a tool, between what the agent said when it began and its result. */
export interface ToolCall {
  /** Number of its event. */
  n: number;
  name: string;
  input: unknown;
  /** Milliseconds since the epoch; without an end while it runs. */
  start: number;
  end: number | undefined;
}

export interface LedgerTotals {
  allowed: number;
  blocked: number;
  failed: number;
  waiting: number;
  model: number;
  bytesOut: number;
  bytesIn: number;
}

/** The requests of a task, folded from its events, in the order in which they were first heard of. */
export class Ledger {
  readonly rows: LedgerRow[] = [];
  readonly totals: LedgerTotals = noTotals();
  private readonly byId = new Map<number, LedgerRow>();
  /** By their start. */
  private readonly tools: ToolCall[] = [];
  private readonly openTools = new Map<string, ToolCall>();
  /** Of requests that are not over. */
  private readonly spends = new Map<number, NonNullable<LedgerRow['spend']>>();

  clear(): void {
    this.rows.length = 0;
    this.tools.length = 0;
    this.byId.clear();
    this.openTools.clear();
    this.spends.clear();
    Object.assign(this.totals, noTotals());
  }

  /** Takes the next event; true when the rows are other ones than before. */
  push(event: TaskEvent): boolean {
    switch (event.type) {
      case 'request_waiting': {
        const { id, until } = event;
        const row = rowOf(event.n, { ...event, bytesOut: 0, bytesIn: 0, started: event.t, ended: until });
        this.rows.push(row);
        this.byId.set(id, row);
        this.totals.waiting += 1;
        return true;
      }
      case 'request':
        this.over(event);
        return true;
      case 'spend': {
        const { request, model, usage, usd, estimated } = event;
        const spend = { model, usage, usd, estimated };
        const row = this.byId.get(request);
        if (row !== undefined) row.spend = spend;
        // What an answer has used is known before its last byte is passed on.
        else this.spends.set(request, spend);
        return row !== undefined;
      }
      case 'tool_use':
        this.began(
          { n: event.n, name: event.name, input: event.input, start: event.t, end: undefined },
          event.id,
        );
        return false;
      case 'tool_result': {
        const tool = this.openTools.get(event.id);
        if (tool !== undefined) tool.end = event.t;
        this.openTools.delete(event.id);
        return false;
      }
      case 'prepared_anew':
        // The new gateway numbers its requests from 1 again.
        this.giveUp('The sandbox was prepared anew before there was an answer.', event.t);
        this.byId.clear();
        this.spends.clear();
        return true;
      case 'ended':
        for (const tool of this.openTools.values()) tool.end = event.t;
        this.openTools.clear();
        return this.giveUp('The task ended before there was an answer.', event.t);
      default:
        return false;
    }
  }

  /** The calls during which a request began, the newest first: tools can run side by side, or within each other. */
  toolsAt(time: number): ToolCall[] {
    const found: ToolCall[] = [];
    for (let at = this.firstAfter(time) - 1; at >= 0; at--) {
      const tool = this.tools[at];
      if (tool !== undefined && (tool.end === undefined || tool.end > time)) found.push(tool);
    }
    return found;
  }

  private over(event: LedgerEntry & { n: number; t: number }): void {
    const waiting = this.byId.get(event.id);
    const row = rowOf(waiting?.key ?? event.n, { ...event, ended: event.t });
    const spend = this.spends.get(event.id);
    if (spend !== undefined) row.spend = spend;
    this.spends.delete(event.id);
    if (waiting?.verdict === 'waiting') {
      this.totals.waiting -= 1;
      this.rows[this.rows.lastIndexOf(waiting)] = row;
    } else this.rows.push(row);
    this.byId.set(event.id, row);
    this.totals[event.verdict] += 1;
    if (event.kind === 'model') this.totals.model += 1;
    this.totals.bytesOut += event.bytesOut;
    this.totals.bytesIn += event.bytesIn;
  }

  private giveUp(reason: string, at: number): boolean {
    if (this.totals.waiting === 0) return false;
    for (const row of this.rows) {
      if (row.verdict !== 'waiting') continue;
      Object.assign(row, { verdict: 'failed', reason, ended: at });
      this.totals.failed += 1;
    }
    this.totals.waiting = 0;
    return true;
  }

  private began(tool: ToolCall, id: string): void {
    this.tools.splice(this.firstAfter(tool.start), 0, tool);
    this.openTools.set(id, tool);
  }

  /** Index of the first tool that begins after `time`. */
  private firstAfter(time: number): number {
    let low = 0;
    for (let high = this.tools.length; low < high;) {
      const middle = (low + high) >> 1;
      if ((this.tools[middle]?.start ?? 0) <= time) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

function noTotals(): LedgerTotals {
  return { allowed: 0, blocked: 0, failed: 0, waiting: 0, model: 0, bytesOut: 0, bytesIn: 0 };
}

function rowOf(
  key: number,
  event: Pick<LedgerEntry, 'kind' | 'host' | 'port' | 'bytesOut' | 'bytesIn' | 'started'> & {
    ended: number;
    method?: string | undefined;
    path?: string | undefined;
    verdict?: LedgerEntry['verdict'];
    status?: number | undefined;
    reason?: string | undefined;
    askable?: boolean | undefined;
  },
): LedgerRow {
  const { kind, host, port, method, path, status, reason } = event;
  const { bytesOut, bytesIn, started, ended } = event;
  return {
    key,
    kind,
    verdict: event.verdict ?? 'waiting',
    host,
    port,
    ...(method === undefined ? {} : { method }),
    ...(path === undefined ? {} : { path }),
    ...(status === undefined ? {} : { status }),
    ...(reason === undefined ? {} : { reason }),
    askable: event.askable ?? event.verdict === undefined,
    bytesOut,
    bytesIn,
    started,
    ended,
  };
}

/** Which requests are shown: those of a kind, and those with some words in them. */
export interface LedgerFilter {
  show: 'all' | 'allowed' | 'blocked' | 'model';
  /** Requests to the model are left out, except where they are asked for. */
  withoutModel: boolean;
  words: string;
}

export function passes(row: LedgerRow, filter: LedgerFilter): boolean {
  const model = row.kind === 'model';
  if (filter.show === 'model' ? !model : model && filter.withoutModel) return false;
  if (filter.show === 'allowed' && row.verdict !== 'allowed') return false;
  if (filter.show === 'blocked' && row.verdict !== 'blocked' && row.verdict !== 'waiting') return false;
  const words = filter.words.trim().toLowerCase();
  if (words === '') return true;
  const text = [
    row.verdict,
    row.method ?? '',
    `${row.host}:${row.port}${row.path ?? ''}`,
    row.status ?? '',
    row.reason ?? '',
  ];
  return text.join(' ').toLowerCase().includes(words);
}

/** `example.com`, with the port where it is not the usual one of its kind. */
export function hostAndPort({ host, port, kind }: Pick<LedgerRow, 'host' | 'port' | 'kind'>): string {
  const usual = kind === 'http' ? 80 : 443;
  const name = safeLine(host, 260);
  return port === usual ? name : `${name}:${port}`;
}

const columns = [
  'started',
  'milliseconds',
  'verdict',
  'kind',
  'method',
  'host',
  'port',
  'path',
  'status',
  'bytesOut',
  'bytesIn',
  'tool',
  'model',
  'usd',
  'reason',
] as const;

type Exported = Record<(typeof columns)[number], string | number>;

function exported(row: LedgerRow, ledger: Ledger): Exported {
  return {
    started: new Date(row.started).toISOString(),
    milliseconds: Math.max(0, row.ended - row.started),
    verdict: row.verdict,
    kind: row.kind,
    method: row.method ?? '',
    host: row.host,
    port: row.port,
    path: row.path ?? '',
    status: row.status ?? '',
    bytesOut: row.bytesOut,
    bytesIn: row.bytesIn,
    tool: ledger.toolsAt(row.started)[0]?.name ?? '',
    model: row.spend?.model ?? '',
    usd: row.spend?.usd ?? '',
    reason: row.reason ?? '',
  };
}

/** One object a request, in ASCII: what cannot be seen is escaped. */
export function ledgerJson(rows: readonly LedgerRow[], ledger: Ledger): string {
  const text = JSON.stringify(
    rows.map((row) => exported(row, ledger)),
    undefined,
    2,
  );
  return `${text.replace(/[^\n\x20-\x7e]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)}\n`;
}

/**
 * A table for a spreadsheet (RFC 4180). Every text is made visible, and one that a spreadsheet would take for a formula
 * gets an apostrophe in front, which marks it as text there.
 */
export function ledgerCsv(rows: readonly LedgerRow[], ledger: Ledger): string {
  const lines = rows.map((row) => {
    const values = exported(row, ledger);
    return columns.map((column) => csvCell(values[column])).join(',');
  });
  return `${[columns.join(','), ...lines].join('\r\n')}\r\n`;
}

function csvCell(value: string | number): string {
  if (typeof value === 'number') return String(value);
  const text = safeLine(value, 1000);
  const harmless = /^[=+\-@|%\uff0b\uff0d\uff1d\uff20]/.test(text) ? `'${text}` : text;
  return /[",\r\n']/.test(harmless) ? `"${harmless.replaceAll('"', '""')}"` : harmless;
}
