/** Why a sandbox has to be ended, for people. */
export interface DiskOver {
  /** The sandbox's own limit was reached, or the engine's disk has hardly room, or hardly files, left and this sandbox has its part in it. */
  why: 'limit' | 'engine' | 'files';
  writtenBytes: number;
  message: string;
  mend: string;
}

const defaultReserve = 2 * 2 ** 30;
/** Many file systems hold a fixed number of files, full or empty. What has to stay free of it: a tenth, and at most so many. */
const mostReservedFiles = 500_000;
const reservedShare = 10;
/** At this part of the reserve there is no time left to count whose files they are. */
const lastPart = 4;
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
  /** The files that the disk has room for, now and when the watch began, and how many are to stay free. */
  private files: number | undefined;
  private firstFiles: number | undefined;
  private reserveFiles: number | undefined;

  constructor(limitBytes: number, reserveBytes = defaultReserve, reserveFiles?: number) {
    this.limit = limitBytes;
    this.reserve = reserveBytes;
    this.reserveFiles = reserveFiles;
  }

  /**
   * The files that the engine's disk still has room for, of `all`. When hardly any is left it is over for every sandbox that
   * was there while they went: an engine that cannot make a file cannot end anything any more.
   */
  freeFiles(free: number, all: number): DiskOver | undefined {
    // Such as btrfs, which has no such number.
    if (all <= 0) return undefined;
    this.firstFiles ??= free;
    this.files = free;
    this.reserveFiles ??= Math.min(mostReservedFiles, all / reservedShare);
    return free < this.leastFiles() / lastPart ? this.overFiles() : undefined;
  }

  /** True when files run short, and the sandbox's own have to be counted. */
  isShortOfFiles(): boolean {
    return this.files !== undefined && this.files < this.leastFiles();
  }

  /** The sandbox's own files were counted. */
  counted(files: number): DiskOver | undefined {
    return this.isShortOfFiles() && files >= (this.reserveFiles ?? 0) / 8 ? this.overFiles() : undefined;
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
    this.files = undefined;
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
    const short = this.isShort() || this.isShortOfFiles();
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

  private leastFiles(): number {
    return Math.min(this.reserveFiles ?? 0, (this.firstFiles ?? Infinity) / 2);
  }

  private overFiles(): DiskOver {
    const left = Math.round(this.files ?? 0).toLocaleString('en');
    return {
      why: 'files',
      writtenBytes: this.written,
      message: `The disk of the container engine has room for only ${left} more files and the sandbox was making many, so it was ended.`,
      mend: "Delete some files on the disk that holds the engine's data, then ask for fewer files at once.",
    };
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
