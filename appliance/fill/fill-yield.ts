/**
 * How far the fill gives way to viewers: less at once where the box is hot, back slowly once it has cooled.
 *
 * Shape:      stepYield(share, heat) once a second -> share of full speed, 0 to 1
 * Invariants: (1) hot: at most half of the share before, and 0 from SHARE_LOWEST down: serving always wins
 *             (2) nobody watches, nobody is yielded to: a busy machine alone is no reason
 *             (3) cool: one tenth more a second; between hot and cool nothing moves, so that it does not swing
 */
export interface Heat {
  readonly viewerRequestsPerSecond: number;
  readonly egressShare: number; // of what the box can serve
  readonly loopDelayMs: number;
  readonly diskReadMs: number | null; // of the slowest disk's reads, 90th percentile; null: not measured
}

const HOT = { egressShare: 0.85, loopDelayMs: 500, diskReadMs: 100 };
const COOL = { egressShare: 0.75, loopDelayMs: 250, diskReadMs: 50 };
const VIEWERS_MIN = 0.2; // requests a second
const SHARE_LOWEST = 0.02;
const SHARE_STEP = 0.1;

export function stepYield(share: number, heat: Heat): number {
  const diskReadMs = heat.diskReadMs ?? 0;
  const isWatched = heat.viewerRequestsPerSecond >= VIEWERS_MIN;
  const isHot =
    isWatched &&
    (heat.egressShare > HOT.egressShare ||
      heat.loopDelayMs > HOT.loopDelayMs ||
      diskReadMs > HOT.diskReadMs);
  if (isHot) return share / 2 < SHARE_LOWEST ? 0 : share / 2;
  const isCool =
    !isWatched ||
    (heat.egressShare < COOL.egressShare &&
      heat.loopDelayMs < COOL.loopDelayMs &&
      diskReadMs < COOL.diskReadMs);
  return isCool ? Math.min(1, share + SHARE_STEP) : share;
}
