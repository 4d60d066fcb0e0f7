/** A piece of a line in one colour. */
export interface Piece {
  /** UTF-16 units. */
  length: number;
  /** A class; empty for the usual colour. */
  colour: string;
}

/** The colours of the lines of one file, as far as they are known. */
export class TextColours {
  private readonly sides = { old: new Map<number, Piece[]>(), new: new Map<number, Piece[]>() };

  set(side: 'old' | 'new', line: number, pieces: Piece[]): void {
    this.sides[side].set(line, pieces);
  }

  get(side: 'old' | 'new', line: number): readonly Piece[] | undefined {
    return this.sides[side].get(line);
  }
}
