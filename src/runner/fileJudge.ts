import type { DiskOver } from './diskJudge.ts';

/** Many file systems hold a fixed number of files, full or empty. What has to stay free of it: a tenth, and at most so many. */
const mostReservedFiles = 500_000;
const reservedShare = 10;
/** A sandbox that has made this part of what is still free has its part in it; and so far it falls until they are counted again. */
const part = 8;
/** At this part of the reserve a sandbox is ended whose files cannot be counted. */
const lastPart = 4;

/**
 * Decides when a sandbox has to stand still until its files are counted, and whether it made too many. Counting takes the
 * engine the longer the more files there are, in which a loop could make all that the disk has room for.
 */
export class FileJudge {
  /** The files that the disk has room for, now and when the watch began, and how many are to stay free. */
  private files: number | undefined;
  private first: number | undefined;
  private reserve: number | undefined;
  /** What was free when the sandbox was counted last, and found innocent. */
  private cleared: number | undefined;
  private countable: boolean;

  /** @param countable false where a sandbox can make files that the engine does not count */
  constructor(options: { reserve?: number | undefined; countable: boolean }) {
    this.reserve = options.reserve;
    this.countable = options.countable;
  }

  /**
   * The files that the engine's disk still has room for, of `all`. When hardly any is left it is over for a sandbox whose
   * files cannot be counted: an engine that cannot make a file cannot end anything any more.
   */
  free(files: number, all: number): DiskOver | undefined {
    // Such as btrfs, which has no such number.
    if (all <= 0) return undefined;
    this.first ??= files;
    this.reserve ??= Math.min(mostReservedFiles, all / reservedShare);
    this.files = files;
    // Room that others made and take again is no reason to stop it once more.
    if (this.cleared !== undefined) this.cleared = Math.max(this.cleared, files);
    return this.lastWord();
  }

  /** The number of free files is not known for now. */
  blind(): void {
    this.files = undefined;
  }

  /** True when the sandbox has to stand still, and its files have to be counted. */
  isDue(): boolean {
    if (this.files === undefined || this.files >= this.least()) return false;
    return this.cleared === undefined || this.files <= this.cleared - Math.max(1, this.cleared / part);
  }

  /** Its files were counted while it stood still: it is over for it, or it may go on. */
  counted(files: number): DiskOver | undefined {
    const free = this.files;
    if (free === undefined) return undefined;
    if (free < this.least() && files >= Math.max(1, free / part)) return this.over(free);
    this.cleared = free;
    return undefined;
  }

  /** It cannot be held, or its files cannot be counted; nothing stands between it and the last file but its end. */
  cannotCount(): DiskOver | undefined {
    this.countable = false;
    this.cleared = this.files;
    return this.lastWord();
  }

  private lastWord(): DiskOver | undefined {
    if (this.countable || this.files === undefined) return undefined;
    return this.files < this.least() / lastPart ? this.over(this.files) : undefined;
  }

  /** A disk that was nearly full before is not this sandbox's doing. */
  private least(): number {
    return Math.min(this.reserve ?? 0, (this.first ?? Infinity) / 2);
  }

  private over(free: number): DiskOver {
    const left = Math.round(free).toLocaleString('en');
    return {
      why: 'files',
      message: `The disk of the container engine has room for only ${left} more files and the sandbox was making many, so it was ended.`,
      mend: "Delete some files on the disk that holds the engine's data, then ask for fewer files at once.",
    };
  }
}
