/**
 * Whether a volume is only slow: a disk that answers late makes viewers wait where a disk that fails would not.
 *
 * Shape:      probe durations per volume, window by window -> volumes that were slow against their siblings
 * Units:      milliseconds of one chunk's read
 * Invariants: (1) a volume without a sibling is never called slow by comparison
 *             (2) one slow window is chance: SLOW_WINDOWS in a row are a disk
 */
export const PROBES_PER_WINDOW = 32;
const SLOW_WINDOWS = 3;
const SLOW_FACTOR = 8;
/** Faster than this no disk is slow, whatever its siblings do: memory against flash. */
const SLOW_MS_MIN = 100;

export interface VolumeSpeed {
  readonly probesMs: readonly number[]; // of the window under way
  readonly lastP90Ms: number | null; // of the last full window
  readonly slowWindows: number;
}

export const UNPROBED: VolumeSpeed = { probesMs: [], lastP90Ms: null, slowWindows: 0 };

/** Adds a probe; `siblingsP90Ms`: the last full windows of the other volumes that are up. */
export function noteProbe(
  speed: VolumeSpeed,
  durationMs: number,
  siblingsP90Ms: readonly number[],
): VolumeSpeed {
  const probesMs = [...speed.probesMs, durationMs];
  if (probesMs.length < PROBES_PER_WINDOW) return { ...speed, probesMs };
  const sorted = probesMs.toSorted((a, b) => a - b);
  const p90Ms = sorted[Math.floor(sorted.length * 0.9)];
  return {
    probesMs: [],
    lastP90Ms: p90Ms,
    slowWindows: isSlowWindow(p90Ms, siblingsP90Ms) ? speed.slowWindows + 1 : 0,
  };
}

export function isSlowDisk(speed: VolumeSpeed): boolean {
  return speed.slowWindows >= SLOW_WINDOWS;
}

function isSlowWindow(p90Ms: number, siblingsP90Ms: readonly number[]): boolean {
  if (siblingsP90Ms.length === 0 || p90Ms < SLOW_MS_MIN) return false;
  const sorted = siblingsP90Ms.toSorted((a, b) => a - b);
  const median = sorted[Math.floor((sorted.length - 1) / 2)];
  return p90Ms > median * SLOW_FACTOR;
}
