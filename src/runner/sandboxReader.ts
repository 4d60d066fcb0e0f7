import type { Engine } from '../engine/engine.ts';
import { WireDecoder, type WireItem } from '../protocol/wire.ts';
import { eventBatches } from './eventBatches.ts';
import type { TaskJournal } from './taskJournal.ts';
import type { UnnumberedEvent } from './taskLog.ts';

export interface ReaderOptions {
  journal: TaskJournal;
  /** Ends with the present look at the task. */
  attempt: () => AbortSignal;
  /** There may be something to bring in. */
  onWork: (engine: Engine, container: string) => void;
}

/** How long a log may be silent before it counts as read to its end, in milliseconds. */
const silence = 1000;
/** Longest line of a sandbox, in bytes. */
const maxLineBytes = 32 << 10;
const openingBrace = 0x7b;
/** Events that come with commits. */
const work: ReadonlySet<string> = new Set(['commit', 'leftovers', 'checkpoint']);

/** Copies what a sandbox says to its task's log. */
export class SandboxReader {
  private readonly options: ReaderOptions;
  private reading: { id: string; done: Promise<void> } | undefined;

  constructor(options: ReaderOptions) {
    this.options = options;
  }

  /** Begins to read as `read` does, for whoever takes the reading up. */
  begin(engine: Engine, id: string): void {
    const done = this.read(engine, id, 'live');
    done.catch(() => undefined);
    this.reading = { id, done };
  }

  isReading(id: string): boolean {
    return this.reading?.id === id;
  }

  /** The reading that was begun, which is nobody else's then. */
  takeUp(): { id: string; done: Promise<void> } | undefined {
    const { reading } = this;
    this.reading = undefined;
    return reading;
  }

  /** Waits for the end of what was begun. */
  async settle(): Promise<void> {
    await this.reading?.done.catch(() => undefined);
    this.reading = undefined;
  }

  /**
   * `live`: until the agent's work is over and that is copied, or the container has ended. `past`: what is there now, which is
   * known by a silence.
   */
  async read(engine: Engine, id: string, until: 'live' | 'past'): Promise<void> {
    const { journal, attempt, onWork } = this.options;
    const enough = new AbortController();
    const signal = AbortSignal.any([enough.signal, attempt()]);
    const decoder = new WireDecoder(journal.state.lastSandboxEvent);
    const eventsOf = (line: Uint8Array): UnnumberedEvent[] => {
      // Of a flood only what can be an event is looked at.
      if (journal.verdict?.kind === 'log_limit' && line[0] !== openingBrace) return [];
      return decoder
        .push(line)
        .map((item) =>
          item.kind === 'event'
            ? item.event
            : { type: 'notice', level: 'warning', text: describe(item), t: Date.now() },
        );
    };
    const idle = until === 'past' ? setTimeout(() => enough.abort(), silence) : undefined;
    try {
      for await (const events of eventBatches(engine.logs(id, signal), maxLineBytes, eventsOf)) {
        await journal.append(events);
        if (events.some(({ type }) => work.has(type))) onWork(engine, id);
        if (events.some(({ type }) => type === 'ended')) return;
        idle?.refresh();
      }
    } catch (thrown) {
      if (!enough.signal.aborted) throw thrown;
    } finally {
      clearTimeout(idle);
      enough.abort();
    }
  }
}

/** What is no event is told as it came, so that nothing that a sandbox printed is lost without a word. */
function describe(item: Exclude<WireItem, { kind: 'event' }>): string {
  if (item.kind === 'gap') return `Events ${item.from} to ${item.to} of the sandbox did not come.`;
  return `The sandbox printed a line that is no event: ${new TextDecoder().decode(item.malformed.subarray(0, 2048))}`;
}
