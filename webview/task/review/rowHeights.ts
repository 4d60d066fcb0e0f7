import type { Row } from './fileRows.ts';

/** The rows of one file and how high they are, in pixels: where a row is, and which row is where. */
export class RowHeights {
  rows: readonly Row[] = [];
  private heights = new Float64Array(0);
  /** Sums of the heights before each row; one more than rows. Right up to `upTo`. */
  private tops = new Float64Array(1);
  private upTo = 0;
  private numbers: Map<string, number> | undefined;

  /** Of all rows. */
  get total(): number {
    return this.top(this.rows.length);
  }

  /** Rows that were there before, by their keys, keep their heights. */
  set(rows: readonly Row[], estimate: (row: Row) => number): void {
    if (rows === this.rows) return;
    const before = new Map(this.rows.map((row, index) => [row.key, index]));
    const heights = new Float64Array(rows.length);
    rows.forEach((row, index) => {
      const known = before.get(row.key);
      const old = known === undefined ? undefined : this.rows[known];
      heights[index] =
        known !== undefined && old?.kind === row.kind && row.kind !== 'waiting'
          ? (this.heights[known] ?? 0)
          : estimate(row);
    });
    this.rows = rows;
    this.heights = heights;
    this.tops = new Float64Array(rows.length + 1);
    this.upTo = 0;
    this.numbers = undefined;
  }

  /** The next rows have no known heights. */
  forget(): void {
    this.rows = [];
  }

  /** Of a row, from the top of the rows. */
  top(row: number): number {
    for (; this.upTo < row; this.upTo++)
      this.tops[this.upTo + 1] = (this.tops[this.upTo] ?? 0) + (this.heights[this.upTo] ?? 0);
    return this.tops[row] ?? 0;
  }

  height(row: number): number {
    return this.heights[row] ?? 0;
  }

  setHeight(row: number, height: number): void {
    this.heights[row] = height;
    this.upTo = Math.min(this.upTo, row);
  }

  indexOf(key: string): number {
    this.numbers ??= new Map(this.rows.map((row, index) => [row.key, index]));
    return this.numbers.get(key) ?? -1;
  }

  /** The row at a position: the last one below the end. Undefined above, and where there are no rows. */
  at(y: number): number | undefined {
    const count = this.rows.length;
    if (count === 0 || y < 0) return undefined;
    this.top(count);
    let low = 0;
    let high = count - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((this.tops[middle] ?? 0) <= y) low = middle;
      else high = middle - 1;
    }
    return low;
  }
}
