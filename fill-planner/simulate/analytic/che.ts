/**
 * Che's approximation: hit ratios of a cache from its files' rates alone, without a single request.
 *
 * A file leaves an LRU cache when as many bytes of others were asked for since its last request as the cache holds. For
 * many files that takes nearly the same time T for all of them, the *characteristic time*; so a file of rate r is there
 * with probability 1 - exp(-r T), and T follows from the capacity.
 *
 * Shape:      popularity (rates, sizes, how many files of each) + policy + capacity -> object and byte hit ratio
 * Units:      rates in requests a day (any unit: only their ratios matter), sizes and capacity in bytes
 * Errors:     throws RangeError for rates or sizes that are no numbers, negative, or all zero
 * Invariants: (1) hit ratios lie in [0, 1], grow with the capacity, and reach 1 when everything fits
 *             (2) `best` (the densest files, placed beforehand) is at least every other policy's byte hit ratio
 * Limits:     requests are independent (no file is hotter today than its rate says): real traces, which have bursts, hit more
 * Source:     Che, Tung, Wang (JSAC 2002); Fricker, Robert, Roberts (ITC 2012); FIFO and two-stage admission: Martina,
 *             Garetto, Leonardi (INFOCOM 2014)
 */
export interface Popularity {
  readonly ratesPerDay: ArrayLike<number>;
  readonly sizesBytes: ArrayLike<number>;
  /** Files that share a rate and a size: a density bin. Left out: one each. */
  readonly counts?: ArrayLike<number>;
}

export const ANALYTIC_POLICIES = ['lru', 'fifo', 'second-hit', 'best'] as const;
export type AnalyticPolicy = (typeof ANALYTIC_POLICIES)[number];

export interface AnalyticHit {
  readonly objectHitRatio: number;
  readonly byteHitRatio: number;
  readonly characteristicDays: number | null; // null: everything fits, or nothing has to be thrown out
}

/** How likely a file of this rate is there, T after T. */
type Presence = (rate: number, time: number) => number;

const lruPresence: Presence = (rate, time) => -Math.expm1(-rate * time);
const fifoPresence: Presence = (rate, time) => 1 / (1 + 1 / (rate * time)); // also where time has no end
const HALVINGS = 100;

/**
 * `ghostFiles`: for `second-hit`, how many file ids the history holds (an LRU list of what was refused or asked for once).
 */
export function analyticHit(
  popularity: Popularity,
  policy: AnalyticPolicy,
  capacityBytes: number,
  ghostFiles = Number.POSITIVE_INFINITY,
): AnalyticHit {
  check(popularity, capacityBytes);
  if (policy === 'best') return densestFirst(popularity, capacityBytes);
  const presence =
    policy === 'lru'
      ? lruPresence
      : policy === 'fifo'
        ? fifoPresence
        : secondHitPresence(popularity, ghostFiles);
  const time = characteristicTime(popularity, presence, (_, size) => size, capacityBytes);
  return {
    ...ratios(popularity, (rate) => presence(rate, time)),
    characteristicDays: finite(time),
  };
}

/** A hit ratio over several capacities, which share the work of checking. */
export function analyticCurve(
  popularity: Popularity,
  policy: AnalyticPolicy,
  capacitiesBytes: readonly number[],
  ghostFiles?: number,
): readonly AnalyticHit[] {
  return capacitiesBytes.map((capacity) => analyticHit(popularity, policy, capacity, ghostFiles));
}

/**
 * Two LRU lists one after the other: ids only, then content. A file is let in when its id was still on the first list.
 * With p its probability to be found, h that of its id: p = (p + (1 - p) h)(1 - exp(-r T)), solved for p.
 */
function secondHitPresence(popularity: Popularity, ghostFiles: number): Presence {
  const ghostTime = characteristicTime(popularity, lruPresence, () => 1, ghostFiles);
  return (rate, time) => {
    const known = lruPresence(rate, ghostTime);
    const stays = lruPresence(rate, time);
    const denominator = 1 - (1 - known) * stays;
    return denominator === 0 ? 1 : (known * stays) / denominator;
  };
}

/** Infinity where everything fits. */
function characteristicTime(
  { ratesPerDay, sizesBytes, counts }: Popularity,
  presence: Presence,
  weightOf: (rate: number, size: number) => number,
  capacity: number,
): number {
  const filled = (time: number): number => {
    let sum = 0;
    for (let at = 0; at < ratesPerDay.length; at++) {
      const [rate, count] = [ratesPerDay[at], counts?.[at] ?? 1];
      if (rate > 0) sum += count * weightOf(rate, sizesBytes[at]) * presence(rate, time);
    }
    return sum;
  };
  if (capacity <= 0) return 0;
  if (filled(Number.POSITIVE_INFINITY) <= capacity) return Number.POSITIVE_INFINITY;
  let [low, high] = [0, 1];
  while (filled(high) < capacity && high < Number.MAX_VALUE / 4) high *= 2;
  for (let step = 0; step < HALVINGS && high - low > high * 1e-12; step++) {
    const middle = (low + high) / 2;
    if (filled(middle) < capacity) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}

/** What a plan that knew the rates would hold: the most requests a byte first, the last bin in part. */
function densestFirst(popularity: Popularity, capacityBytes: number): AnalyticHit {
  const held = densestHeld(popularity, capacityBytes);
  return { ...ratios(popularity, (_, at) => held[at]), characteristicDays: null };
}

/** Share of each entry that is held where the densest files fill the capacity. */
export function densestHeld(popularity: Popularity, capacityBytes: number): Float64Array {
  const { ratesPerDay, sizesBytes, counts } = popularity;
  // Byte hits per byte of disk: rate x size / size. Files of a rate are alike, whatever their size.
  const order = Array.from(ratesPerDay, (_, at) => at).sort(
    (a, b) => ratesPerDay[b] - ratesPerDay[a],
  );
  const held = new Float64Array(ratesPerDay.length);
  let room = capacityBytes;
  for (const at of order) {
    const bytes = sizesBytes[at] * (counts?.[at] ?? 1);
    held[at] = bytes === 0 ? 1 : Math.min(1, room / bytes);
    room = Math.max(0, room - bytes);
  }
  return held;
}

function ratios(
  { ratesPerDay, sizesBytes, counts }: Popularity,
  hitOf: (rate: number, at: number) => number,
): { objectHitRatio: number; byteHitRatio: number } {
  let [requests, hits, bytes, hitBytes] = [0, 0, 0, 0];
  for (let at = 0; at < ratesPerDay.length; at++) {
    const rate = ratesPerDay[at];
    if (rate === 0) continue;
    const weight = rate * (counts?.[at] ?? 1);
    const hit = hitOf(rate, at);
    requests += weight;
    hits += weight * hit;
    bytes += weight * sizesBytes[at];
    hitBytes += weight * sizesBytes[at] * hit;
  }
  return { objectHitRatio: hits / requests, byteHitRatio: hitBytes / bytes };
}

function check({ ratesPerDay, sizesBytes, counts }: Popularity, capacityBytes: number): void {
  if (!(capacityBytes >= 0)) throw new RangeError(`a capacity of ${capacityBytes} bytes`);
  if (ratesPerDay.length !== sizesBytes.length) {
    throw new RangeError(`${ratesPerDay.length} rates, ${sizesBytes.length} sizes`);
  }
  let requests = 0;
  for (let at = 0; at < ratesPerDay.length; at++) {
    const [rate, size, count] = [ratesPerDay[at], sizesBytes[at], counts?.[at] ?? 1];
    const isSound = rate >= 0 && rate < Infinity && size > 0 && size < Infinity && count >= 0;
    if (!isSound) {
      throw new RangeError(`entry ${at}: rate ${rate}, size ${size}, count ${count}`);
    }
    requests += rate * count;
  }
  if (!(requests > 0)) throw new RangeError('nothing is ever asked for');
}

function finite(time: number): number | null {
  return Number.isFinite(time) ? time : null;
}
