/**
 * The heights of a long list: sums and positions in logarithmic time, also when single heights change. A Fenwick tree
 * over typed arrays, 16 bytes an entry.
 */
export class HeightIndex {
  private tree = new Float64Array(1024);
  private heights = new Float64Array(1024);
  private count = 0;

  get length(): number {
    return this.count;
  }

  get total(): number {
    return this.offset(this.count);
  }

  push(height: number): void {
    if (this.count + 1 >= this.tree.length) this.grow();
    const at = this.count;
    this.heights[at] = height;
    this.count += 1;
    // The new node sums the entries that its range covers.
    let sum = height;
    const node = this.count;
    for (let step = 1; step < (node & -node); step <<= 1) sum += this.tree[node - step] ?? 0;
    this.tree[node] = sum;
  }

  get(index: number): number {
    return this.heights[index] ?? 0;
  }

  set(index: number, height: number): void {
    if (index < 0 || index >= this.count) return;
    const difference = height - this.get(index);
    if (difference === 0) return;
    this.heights[index] = height;
    for (let node = index + 1; node <= this.count; node += node & -node) {
      this.tree[node] = (this.tree[node] ?? 0) + difference;
    }
  }

  /** Sum of the heights before `index`. */
  offset(index: number): number {
    let sum = 0;
    for (let node = Math.min(index, this.count); node > 0; node -= node & -node) sum += this.tree[node] ?? 0;
    return sum;
  }

  /** The entry that covers `y`: the last one below the end, the first above the start. */
  indexAt(y: number): number {
    let node = 0;
    let rest = y;
    for (let step = 1 << Math.floor(Math.log2(Math.max(1, this.count))); step > 0; step >>= 1) {
      const next = node + step;
      const sum = this.tree[next] ?? 0;
      if (next <= this.count && sum <= rest) {
        node = next;
        rest -= sum;
      }
    }
    return Math.max(0, Math.min(node, this.count - 1));
  }

  clear(): void {
    this.count = 0;
  }

  private grow(): void {
    const tree = new Float64Array(this.tree.length * 2);
    tree.set(this.tree);
    this.tree = tree;
    const heights = new Float64Array(this.heights.length * 2);
    heights.set(this.heights);
    this.heights = heights;
  }
}
