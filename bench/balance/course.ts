/**
 * What a control loop made of a sudden loss: from the use of each box, or cluster, second by second after it.
 *
 *   use
 *    |  . shock: what players themselves brought, before any weight could act
 *    |  |\\
 *    |  | \\____/\\____ settles     overshoot: beyond the shock AND what it settles at, above or below either
 *    |__|                        swing: up and down again (or down and up) by as much, in the last third
 *
 * A dead box's sessions go to the next in their lists at once: no loop can prevent that, and so it is told apart. What the loop does
 * afterwards may neither carry a box further than the shock did, nor further down than it comes to rest. A slow way to rest is no swing.
 *
 * Shape:      courseOf(after, before) -> the worst of all; `after` and `before`: the use of each, by seconds after and before the loss
 * Units:      shares of what it settles at; `swing` and `swingByChance`: of its limit
 */
export interface Course {
  readonly shock: number; // above what it settles at, over the first 10 s
  readonly overshoot: number; // either way
  readonly above: number;
  readonly below: number;
  readonly swing: number; // over a minute
  /** The same of the time before the loss, when nothing happened: what viewers who come and go make by chance. */
  readonly byChance: number;
  readonly swingByChance: number;
}

type Series = readonly number[];

const SHOCK_SECONDS = 10;
const MINUTE_SECONDS = 60;

export function courseOf(after: readonly Series[], before: readonly Series[]): Course {
  const each = after.map(oneCourse);
  const quiet = before.map((series) => {
    const uses = smooth(series, SHOCK_SECONDS);
    const usual = mean(series);
    return Math.max(Math.max(...uses) / usual - 1, 1 - Math.min(...uses) / usual);
  });
  const worst = (values: readonly number[]): number => round(Math.max(0, ...values));
  const above = worst(each.map((one) => one.above));
  const below = worst(each.map((one) => one.below));
  return {
    shock: worst(each.map((one) => one.shock)),
    overshoot: Math.max(above, below),
    above,
    below,
    swing: worst(after.map((series) => reversalOf(lastThird(smooth(series, MINUTE_SECONDS))))),
    byChance: worst(quiet),
    swingByChance: worst(before.map((series) => reversalOf(smooth(series, MINUTE_SECONDS)))),
  };
}

function oneCourse(series: Series): {
  readonly shock: number;
  readonly above: number;
  readonly below: number;
} {
  const settled = mean(series.slice(-Math.floor(series.length / 4)));
  const shock = mean(series.slice(0, SHOCK_SECONDS));
  const later = smooth(series.slice(SHOCK_SECONDS), SHOCK_SECONDS);
  return {
    shock: shock / settled - 1,
    above: Math.max(...later) / Math.max(settled, shock) - 1,
    below: 1 - Math.min(...later) / Math.min(settled, shock),
  };
}

/** The largest way up that was followed by as long a way down, or the other way round: 0 for whatever only rises or only falls. */
export function reversalOf(series: Series): number {
  return Math.max(peakOf(series), peakOf(series.map((value) => -value)));
}

function peakOf(series: Series): number {
  const lowestAfter = series.slice();
  for (let at = series.length - 2; at >= 0; at--) {
    lowestAfter[at] = Math.min(series[at], lowestAfter[at + 1]);
  }
  let lowest = Infinity;
  let largest = 0;
  for (let at = 0; at < series.length; at++) {
    lowest = Math.min(lowest, series[at]);
    largest = Math.max(largest, Math.min(series[at] - lowest, series[at] - lowestAfter[at]));
  }
  return largest;
}

function lastThird(series: Series): Series {
  return series.slice(-Math.floor(series.length / 3));
}

/** Means over `seconds`, each second anew. */
export function smooth(series: Series, seconds: number): number[] {
  const smoothed: number[] = [];
  let sum = 0;
  for (let at = 0; at < series.length; at++) {
    sum += series[at] - (at >= seconds ? series[at - seconds] : 0);
    if (at >= seconds - 1) smoothed.push(sum / seconds);
  }
  return smoothed;
}

export function mean(values: Series): number {
  return values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
}

export function round(value: number): number {
  return Math.round(value * 1000) / 1000;
}
