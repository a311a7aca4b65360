/**
 * In which order the sources of one file are asked.
 *
 * The control plane's order of kinds stands (the site, then another site, then the origin): it is what the bytes cost. Among
 * sources of one kind, two are drawn and the one that promises the bytes sooner goes first: by its measured speed, shared
 * with what is under way from there. Two choices are enough to spread the load without everybody running to the same best one.
 *
 * Shape:      (sources as ranked, what is known of each, random) -> the same sources, in the order in which they are tried
 * Units:      bytes per second
 * Invariants: (1) nothing is left out and no kind overtakes another
 *             (2) a source that was never measured is tried before one that is known to be slow
 * Source:     Mitzenmacher, The Power of Two Choices in Randomized Load Balancing (2001)
 */
import type { FillSource } from '#control-plane/contract.ts';
import type { Random } from '#base/random.ts';

export interface SourcePace {
  readonly bytesPerSecond: number | null; // null: never measured
  readonly underWay: number; // runs that this box has open there
}

export const UNKNOWN_PACE: SourcePace = { bytesPerSecond: null, underWay: 0 };

/** How fast a source is taken to be until it was measured: neither preferred to a good one nor passed over for a bad one. */
const ASSUMED_BYTES_PER_SECOND = 4e6;
const SPEED_WEIGHT_NEW = 0.3;
/** A run shorter than this says more about latency than about speed. */
export const MEASURED_BYTES_MIN = 256 * 1024;

export function chooseOrder(
  sources: readonly FillSource[],
  paceOf: (sourceId: string) => SourcePace,
  random: Random,
): readonly FillSource[] {
  const left = [...sources];
  const order: FillSource[] = [];
  while (left.length > 0) {
    let alike = 1; // sources of the kind that is next
    while (alike < left.length && left[alike].kind === left[0].kind) alike++;
    let pick = 0;
    if (alike > 1) {
      const one = random.below(alike);
      const other = (one + 1 + random.below(alike - 1)) % alike;
      const isOtherSooner = promise(paceOf(left[other].id)) > promise(paceOf(left[one].id));
      pick = isOtherSooner ? other : one;
    }
    order.push(...left.splice(pick, 1));
  }
  return order;
}

/** Bytes per second that one more run may hope for. */
function promise({ bytesPerSecond, underWay }: SourcePace): number {
  return (bytesPerSecond ?? ASSUMED_BYTES_PER_SECOND) / (underWay + 1);
}

/** The measured speed after one more run. `bytesPerSecond` of a run counts times what ran beside it: that is the source's. */
export function paced(pace: SourcePace, bytes: number, elapsedMs: number): SourcePace {
  if (bytes < MEASURED_BYTES_MIN || elapsedMs <= 0) return pace;
  const measured = (bytes / elapsedMs) * 1000 * Math.max(1, pace.underWay);
  const before = pace.bytesPerSecond;
  const bytesPerSecond =
    before === null ? measured : before + SPEED_WEIGHT_NEW * (measured - before);
  return { ...pace, bytesPerSecond };
}
