/** The value in the middle; of an even number of values the mean of the two. NaN for none. */
export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/** The 95th percentile, between the nearest two values. NaN for none. */
export function p95(values: readonly number[]): number {
  return quantile(values, 0.95);
}

/** The 99th percentile, between the nearest two values. NaN for none. */
export function p99(values: readonly number[]): number {
  return quantile(values, 0.99);
}

function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (sorted.length - 1) * share;
  const low = sorted[Math.floor(at)] ?? Number.NaN;
  const high = sorted[Math.ceil(at)] ?? Number.NaN;
  return low + (high - low) * (at - Math.floor(at));
}

/** Milliseconds for a table: whole above ten. */
export function ms(value: number): string {
  return Number.isNaN(value) ? 'none' : `${value < 10 ? value.toFixed(1) : thousands(value)} ms`;
}

export function ratio(value: number, of: number): string {
  return `${(value / of).toFixed(2)} ×`;
}

export function thousands(value: number): string {
  return Math.round(value).toLocaleString('en');
}

/** Megabytes of 1,000,000 bytes, with one digit behind the point below a hundred. */
export function mega(value: number): string {
  const whole = value / 1e6;
  return whole < 100 ? whole.toFixed(1) : thousands(whole);
}

/** Milliseconds since some fixed moment, finer than a millisecond. */
export function now(): number {
  return performance.timeOrigin + performance.now();
}

export function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
