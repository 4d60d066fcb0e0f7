import type { Commit, TaskEvent } from '../../src/protocol/taskEvent.ts';
import { toolView } from './toolView.ts';

type EventOf<T extends TaskEvent['type']> = Extract<TaskEvent, { type: T }>;

/** An entry of the structured log. A tool and its result are one entry; progress in a row is one entry. */
export type Entry =
  | { kind: 'prompt'; event: EventOf<'submitted'> }
  | { kind: 'progress'; event: EventOf<'progress'>; lines: EventOf<'progress'>[] }
  | { kind: 'tool'; event: EventOf<'tool_use'>; result?: EventOf<'tool_result'> }
  | { kind: 'event'; event: TaskEvent };

/** What the structured log leaves to the header, the ledger and the raw log. */
const quiet: ReadonlySet<TaskEvent['type']> = new Set([
  'usage',
  'started',
  'sandbox_removed',
  'stopping',
  'request',
  'request_waiting',
  'spend',
  'spend_paused',
  'spend_resumed',
  'inherited',
  'sandbox_kept',
]);

/** Notes of the agent's about itself say nothing to a reader; the raw log has them. */
function isQuiet(event: TaskEvent): boolean {
  if (event.type === 'unknown') return (event.message as { type?: unknown } | null)?.type === 'system';
  if (event.type === 'output')
    return event.stream === 'stderr' && /^\[[\w-]+:\w+\] \{/.test(event.text ?? '');
  // What the user or the agent settled stands in the row of the answer.
  if (event.type === 'settled') return event.by !== 'time';
  return quiet.has(event.type);
}

/** The log as the panel shows it: all events, and the entries made of them. */
export class LogModel {
  readonly events: TaskEvent[] = [];
  readonly entries: Entry[] = [];
  /** What the user said, oldest first. */
  readonly said: string[] = [];
  /** The entries of commits, by object name. */
  private readonly commits = new Map<string, { kind: 'event'; event: EventOf<'commit'> }>();
  private readonly tools = new Map<
    string,
    { kind: 'tool'; event: EventOf<'tool_use'>; result?: EventOf<'tool_result'> }
  >();

  get lastEvent(): number {
    return this.events.at(-1)?.n ?? 0;
  }

  clear(): void {
    this.events.length = 0;
    this.entries.length = 0;
    this.said.length = 0;
    this.commits.clear();
    this.tools.clear();
  }

  /** Events that are in already are left out, so a replay does no harm. */
  push(events: readonly TaskEvent[]): void {
    let last = this.lastEvent;
    for (const event of events) {
      if (event.n <= last) continue;
      last = event.n;
      this.events.push(event);
      this.add(event);
    }
  }

  private add(event: TaskEvent): void {
    if (event.type === 'said' || event.type === 'reopened') this.said.push(event.text);
    else if (event.type === 'submitted') this.said.push(event.spec.prompt);
    switch (event.type) {
      case 'submitted':
        this.entries.push({ kind: 'prompt', event });
        return;
      case 'progress': {
        const open = this.entries.at(-1);
        if (open?.kind === 'progress') open.lines.push(event);
        else this.entries.push({ kind: 'progress', event, lines: [event] });
        return;
      }
      case 'tool_use': {
        const entry = { kind: 'tool' as const, event };
        this.tools.set(event.id, entry);
        this.entries.push(entry);
        return;
      }
      case 'tool_result': {
        const tool = this.tools.get(event.id);
        if (tool === undefined) this.entries.push({ kind: 'event', event });
        else {
          tool.result = event;
          this.tools.delete(event.id);
        }
        return;
      }
      case 'commit': {
        const entry = { kind: 'event' as const, event };
        this.commits.set(event.commit.sha, entry);
        this.entries.push(entry);
        return;
      }
      case 'imported':
        for (const commit of event.commits ?? []) this.correct(commit);
        return;
      default:
        if (!isQuiet(event)) this.entries.push({ kind: 'event', event });
    }
  }

  /** A commit in the quarantine is what git on the host reads, not what the sandbox said. */
  private correct(commit: Commit): void {
    const entry = this.commits.get(commit.sha);
    if (entry === undefined) return;
    const { branch } = entry.event.commit;
    entry.event = { ...entry.event, commit: { ...commit, ...(branch === undefined ? {} : { branch }) } };
  }
}

/** All words of an entry, for the search: what is shown, and what would be shown when it is opened. */
export function entryText(entry: Entry): string {
  switch (entry.kind) {
    case 'prompt':
      return entry.event.spec.prompt;
    case 'progress':
      return entry.lines.map(({ text }) => text).join('\n');
    case 'tool': {
      const { summary, body } = toolView(entry.event.name, entry.event.input);
      return `${entry.event.name}\n${summary}\n${body.text}\n${entry.result?.text ?? ''}`;
    }
    case 'event':
      return eventText(entry.event);
  }
}

function eventText(event: TaskEvent): string {
  switch (event.type) {
    case 'said':
    case 'reopened':
    case 'text':
    case 'thinking':
    case 'notice':
    case 'gateway_notice':
    case 'tool_result':
    case 'result':
      return event.text;
    case 'output':
      return event.text ?? event.base64 ?? '';
    case 'commit':
      return [
        event.commit.subject,
        event.commit.body,
        event.commit.sha,
        ...event.commit.files.map(({ path }) => path),
      ].join('\n');
    case 'leftovers':
      return event.files.map(({ path }) => path).join('\n');
    case 'ended':
      return `${event.message}\n${event.mend ?? ''}`;
    default:
      return JSON.stringify(event);
  }
}

/** Longest line of the raw log that is drawn, in characters. */
const maxRaw = 4000;

/** An event as one line of the raw log: its text with colours where it is output, else its fields. */
export function rawText(event: TaskEvent, max = maxRaw): { text: string; cut: number } {
  if (event.type === 'output' && event.text !== undefined) return cut(event.text, max);
  const { n: _n, t: _t, s: _s, type: _type, ...rest } = event;
  return cut(JSON.stringify(rest), max);
}

/** What the search finds in the raw log, without drawing it. */
export function rawSearchText(event: TaskEvent): string {
  return `${event.type} ${rawText(event, Number.POSITIVE_INFINITY).text}`;
}

function cut(text: string, max: number): { text: string; cut: number } {
  return text.length <= max ? { text, cut: 0 } : { text: text.slice(0, max), cut: text.length - max };
}

/** The first lines of a text, and how many more there are. Never walks through more of it than it shows. */
export function firstLines(text: string, lines: number, characters: number): { text: string; more: number } {
  let at = -1;
  for (let i = 0; i < lines; i++) {
    const next = text.indexOf('\n', at + 1);
    if (next === -1 || next > characters) {
      if (text.length <= characters) return { text, more: 0 };
      return { text: text.slice(0, characters), more: countLines(text, characters) };
    }
    at = next;
  }
  if (at >= text.length - 1) return { text: text.slice(0, at), more: 0 };
  return { text: text.slice(0, at), more: countLines(text, at + 1) };
}

function countLines(text: string, from: number): number {
  let count = 1;
  for (let at = text.indexOf('\n', from); at !== -1 && at < text.length - 1; at = text.indexOf('\n', at + 1))
    count += 1;
  return count;
}

/** How many lines a text takes, up to `lines` of its own and `characters`, when so many characters fit in a line. */
export function wrappedLines(text: string, lines: number, characters: number, perLine: number): number {
  let wrapped = 0;
  let at = 0;
  for (let i = 0; i < lines && at <= text.length && at < characters; i++) {
    const newline = text.indexOf('\n', at);
    const end = Math.min(newline === -1 ? text.length : newline, characters);
    wrapped += Math.max(1, Math.ceil((end - at) / perLine));
    if (newline === -1) break;
    at = newline + 1;
  }
  return Math.max(1, wrapped);
}
