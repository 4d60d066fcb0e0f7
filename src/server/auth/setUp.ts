import { digestOf, randomText, sameText } from './secretText.ts';

/** The secret that makes the first administrator: a new one at each start, while there is none. Kept in memory only. */
export class SetUp {
  private secret: string | undefined;
  private readonly isNeeded: () => boolean;

  constructor(isNeeded: () => boolean) {
    this.isNeeded = isNeeded;
  }

  /** The secret stands in the fragment: no browser sends that to a server, nor tells it to another page. */
  link(publicUrl: string): string | undefined {
    if (!this.isNeeded()) return undefined;
    this.secret ??= randomText();
    return `${publicUrl}/setup#${this.secret}`;
  }

  /** False also while nobody was told a secret. */
  fits(secret: string): boolean {
    return this.secret !== undefined && sameText(digestOf(secret), digestOf(this.secret));
  }

  done(): void {
    this.secret = undefined;
  }
}
