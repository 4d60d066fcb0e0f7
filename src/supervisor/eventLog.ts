import { FdWriter } from '../base/fdWriter.ts';
import { encodeEvent } from '../protocol/wire.ts';
import type { SandboxBody } from '../protocol/taskEvent.ts';

/** Above this much unwritten output the agent is not read any further; below half of it, again. Bytes, about. */
const highWater = 1 << 20;

/** Deepest nesting of a value in an event. JSON.stringify, here and on the host, has a limit of its own further on. */
const maxDepth = 200;

/** Numbers the sandbox's events and prints them. */
export class EventLog {
  private number = 0;
  /** How the agent names its conversation, as it said last. */
  session: string | undefined;
  private readonly writer: FdWriter;

  constructor(fd: number) {
    this.writer = new FdWriter(fd);
  }

  /** Events from now on are numbered from `after` + 1. */
  continueAfter(after: number): void {
    this.number = after;
  }

  emit(body: SandboxBody): void {
    if (body.type === 'session') this.session = body.sessionId;
    const event = { s: ++this.number, t: Date.now(), ...flat(body) };
    for (const line of encodeEvent(event)) this.writer.write(`${line}\n`);
  }

  get backedUp(): boolean {
    return this.writer.pending > highWater;
  }

  /** Resolves when there is room again. */
  room(): Promise<void> {
    return this.writer.drained(highWater / 2);
  }

  /** Resolves when everything is written, or nobody reads any more. */
  flush(): Promise<void> {
    return this.writer.drained();
  }
}

/** A message of the agent's that nests without end is kept as a description: no reader could take it. */
function flat(body: SandboxBody): SandboxBody {
  if (body.type === 'unknown' && isDeep(body.message)) {
    return {
      type: 'notice',
      level: 'warning',
      text: 'A message of the agent was left out: it nests too deep.',
    };
  }
  if (body.type === 'tool_use' && isDeep(body.input))
    return { ...body, input: 'left out: it nests too deep' };
  return body;
}

function isDeep(value: unknown): boolean {
  let level: unknown[] = [value];
  for (let depth = 0; depth < maxDepth; depth++) {
    level = level.flatMap((item) =>
      typeof item === 'object' && item !== null ? (Object.values(item) as unknown[]) : [],
    );
    if (level.length === 0) return false;
  }
  return true;
}
