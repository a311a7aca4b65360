/**
 * Counts of values in buckets that double: bucket 0 holds values below 1, bucket i those in [2^(i-1), 2^i), the last one all above.
 *
 * Adding costs one array write; nothing is allocated after construction.
 */

/** By bucket, as one thread tells another. */
export interface HistogramCounts {
  readonly counts: readonly number[];
  readonly sum: number;
}

export class LogHistogram {
  readonly counts: Float64Array; // exact to 2^53, where a Uint32Array would wrap after a busy month
  sum = 0;

  constructor(buckets: number) {
    this.counts = new Float64Array(buckets);
  }

  add(value: number): void {
    this.counts[bucketOf(value, this.counts.length)]++;
    this.sum += value;
  }

  /** What was counted, and is from now on counted elsewhere. */
  take(): HistogramCounts {
    const taken = { counts: [...this.counts], sum: this.sum };
    this.counts.fill(0);
    this.sum = 0;
    return taken;
  }

  /** Adds what another histogram of as many buckets counted. */
  addAll({ counts, sum }: HistogramCounts): void {
    for (let at = 0; at < this.counts.length; at++) this.counts[at] += counts[at];
    this.sum += sum;
  }

  get count(): number {
    return this.counts.reduce((total, count) => total + count, 0);
  }
}

/** `value` is 0 or more; beyond 2^31 it is in the last bucket. */
export function bucketOf(value: number, buckets: number): number {
  return Math.min(buckets - 1, 32 - Math.clz32(Math.min(value, 0x7fffffff)));
}

/** Prometheus text of a histogram: cumulative buckets with their upper bounds. */
export function histogramText(name: string, help: string, histogram: LogHistogram): string {
  const lines = [`# HELP ${name} ${help}`, `# TYPE ${name} histogram`];
  let total = 0;
  histogram.counts.forEach((count, at) => {
    total += count;
    const bound = at === histogram.counts.length - 1 ? '+Inf' : String(2 ** at);
    lines.push(`${name}_bucket{le="${bound}"} ${total}`);
  });
  lines.push(`${name}_sum ${histogram.sum}`, `${name}_count ${total}`, '');
  return lines.join('\n');
}
