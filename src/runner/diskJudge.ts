/** Why a sandbox has to be ended, for people. */
export interface DiskOver {
  /** The sandbox's own limit was reached, or the engine's disk has hardly room, or hardly files, left and this sandbox has its part in it. */
  why: 'limit' | 'engine' | 'files';
  /** How much that is, where it was measured. */
  writtenBytes?: number;
  message: string;
  mend: string;
}

const defaultReserve = 2 * 2 ** 30;
/** Less than this is not worth a look, in bytes. */
const grain = 16 << 20;
/** The longest time between two looks, the longest without the free space as a guide, and the shortest, in milliseconds. */
const heartbeatMs = 15_000;
const blindMs = 1000;
const shortestMs = 50;
/** The sandbox is measured for at most a fifth of the time, unless the disk runs full. */
const patience = 4;

/**
 * Decides when a sandbox is measured again and whether it wrote too much, from two sources: its own size, which is exact
 * and takes the engine long, and the free space of the engine's disk, which is always known and everybody's. Times are
 * milliseconds of a steady clock.
 */
export class DiskJudge {
  private readonly limit: number;
  private readonly reserve: number;
  private written = 0;
  private cost = 0;
  private began = -Infinity;
  private ended = -Infinity;
  /** Free bytes now, when the last look began, and when the one before that did. */
  private now: number | undefined;
  private before: number | undefined;
  /** Free bytes when the watch began: a disk that was nearly full before is not this sandbox's doing. */
  private first: number | undefined;

  constructor(limitBytes: number, reserveBytes = defaultReserve) {
    this.limit = limitBytes;
    this.reserve = reserveBytes;
  }

  /** The free space of the engine's disk, in bytes. */
  free(bytes: number): void {
    this.now = bytes;
    this.first ??= bytes;
    // Room that others made is no room that the sandbox gave back.
    this.before = Math.max(this.before ?? bytes, bytes);
  }

  /** The free space is not known for now. */
  blind(): void {
    this.now = undefined;
    this.before = undefined;
  }

  /** A look begins. What is written from here on may be missing in it. */
  begin(at: number): void {
    this.began = at;
    this.before = this.now;
  }

  /** The look is over, with the size of the sandbox in bytes. */
  measured(written: number, at: number): DiskOver | undefined {
    this.written = written;
    this.ended = at;
    this.cost = at - this.began;
    if (written >= this.limit) return { why: 'limit', writtenBytes: written, ...limitText(this.limit) };
    if (this.isShort() && written >= this.part()) {
      return { why: 'engine', writtenBytes: written, ...engineText(this.now ?? 0) };
    }
    return undefined;
  }

  /** In how many milliseconds the next look is due; zero or less: now. */
  dueIn(at: number): number {
    const short = this.isShort();
    const rest = short ? shortestMs : Math.max(shortestMs, this.cost * patience);
    const longest = Math.max(this.now === undefined ? blindMs : heartbeatMs, rest);
    return this.ended + (short || this.mayBeOver() ? rest : longest) - at;
  }

  /** True when what is gone from the disk, were it all this sandbox's, could have brought it near its limit. */
  private mayBeOver(): boolean {
    if (this.now === undefined || this.before === undefined) return false;
    return this.before - this.now >= Math.max(grain, (this.limit - this.written) / 2);
  }

  private isShort(): boolean {
    return this.now !== undefined && this.now < Math.min(this.reserve, (this.first ?? Infinity) / 2);
  }

  /** What a sandbox must have written to be ended for a full disk: the many that wrote next to nothing are not at fault. */
  private part(): number {
    return Math.max(grain, this.reserve / 8);
  }
}

function limitText(limit: number): Pick<DiskOver, 'message' | 'mend'> {
  return {
    message: `The sandbox wrote more than its disk limit of ${gigabytes(limit)} and was ended.`,
    mend: 'Raise the disk limit in the settings, or ask for less at once.',
  };
}

function engineText(free: number): Pick<DiskOver, 'message' | 'mend'> {
  return {
    message: `The disk of the container engine is nearly full (${gigabytes(free)} left) and the sandbox was writing to it, so it was ended.`,
    mend: "Free some space on the disk that holds the engine's data, then start the task again.",
  };
}

function gigabytes(bytes: number): string {
  return bytes < 2 ** 30 ? `${Math.round(bytes / 2 ** 20)} MiB` : `${(bytes / 2 ** 30).toFixed(1)} GiB`;
}
