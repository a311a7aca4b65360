/**
 * How much of what steering would send to each box it is sent: the one actor that moves load, every 10 s, in the leader.
 *
 * Steering nodes balance by what they know now; this corrects what they get wrong for longer. A box above its target is sent
 * less, at once; one that has room again gets its share back slowly. The share is of sessions: those that a box is not to
 * have go to the next in their own order, in the same cluster or a further one.
 *
 *              use >= 0.85                           use <= 0.75
 *   admitting -------------> shedding: x (1 + k(0.80 - use)), at least x 0.9 -------------> admitting: + 10 % in 30 s at most
 *
 * A step is a share of that change: as much as of the time passes until it shows (reports and players' TTL). Who acts on old
 * news as fast as on fresh overshoots, and then swings.
 *
 * Shape:      stepWeights(state, boxes, period, settle time) -> state; pure
 * Units:      shares of 1; bits per second; milliseconds
 * Invariants: (1) ADMIT_MIN <= admit <= 1
 *             (2) one step moves at most MOVED_SHARE_MAX of what a region serves
 *             (3) a box that says nothing keeps its share: silence is the health machine's business
 * Source:     standards for load-aware assignment: cut fast, restore slowly, one actor
 */
import type { ApplianceId } from './contract.ts';

export const WEIGHT_PERIOD_MS = 10_000;
/** Reports are a second old and players of a box that is not well ask again after ten: then a step has shown what it did. */
export const SETTLE_MS = 2 * (1000 + 10_000);
export const ADMIT_MIN = 0.05;
export const MOVED_SHARE_MAX = 0.05;
const TARGET_USE = 0.8;
const SHED_FROM_USE = 0.85;
const SHED_UNTIL_USE = 0.75;
const GAIN = 0.5;
const CUT_MIN = 0.9;
const RISE_MAX = 1.05;
const RISE_PER_30_S = 0.1;

export interface WeightBox {
  readonly applianceId: ApplianceId;
  readonly region: string; // boxes that take each other's sessions: a country
  readonly servingBps: number;
  readonly egressBps: number;
  /** False where it serves nobody, or said nothing new since the last step. */
  readonly isHeard: boolean;
}

export interface BoxWeight {
  readonly admit: number;
  readonly isShedding: boolean;
}

export type WeightState = ReadonlyMap<ApplianceId, BoxWeight>;

const FULL: BoxWeight = { admit: 1, isShedding: false };

export function stepWeights(
  state: WeightState,
  boxes: readonly WeightBox[],
  periodMs: number,
  settleMs: number = SETTLE_MS,
): WeightState {
  const share = Math.min(1, periodMs / settleMs);
  const wanted = boxes.map((box) => {
    const before = state.get(box.applianceId) ?? FULL;
    return { box, before, after: wantedOf(box, before, periodMs, share) };
  });
  // What a change moves: the part of a box's sessions that come or go.
  const moved = new Map<string, number>();
  const served = new Map<string, number>();
  for (const { box, before, after } of wanted) {
    const part = Math.abs(after.admit - before.admit) / before.admit;
    moved.set(box.region, (moved.get(box.region) ?? 0) + part * box.egressBps);
    served.set(box.region, (served.get(box.region) ?? 0) + box.egressBps);
  }
  return new Map(
    wanted.map(({ box, before, after }) => {
      const most = MOVED_SHARE_MAX * (served.get(box.region) ?? 0);
      const scale = Math.min(1, most / Math.max(moved.get(box.region) ?? 0, 1e-9));
      const admit = before.admit + (after.admit - before.admit) * scale;
      return [box.applianceId, { admit, isShedding: after.isShedding }];
    }),
  );
}

function wantedOf(
  { servingBps, egressBps, isHeard }: WeightBox,
  { admit, isShedding }: BoxWeight,
  periodMs: number,
  share: number,
): BoxWeight {
  if (!isHeard || servingBps === 0) return { admit, isShedding };
  const use = egressBps / servingBps;
  const sheds = use >= SHED_FROM_USE || (isShedding && use > SHED_UNTIL_USE);
  const change = 1 + GAIN * (TARGET_USE - use);
  if (sheds) {
    const cut = Math.min(1, Math.max(CUT_MIN, change));
    return { admit: Math.max(ADMIT_MIN, admit * (1 - (1 - cut) * share)), isShedding: true };
  }
  const rise = Math.min(RISE_MAX, Math.max(1, change));
  const step = (RISE_PER_30_S * periodMs) / 30_000;
  const risen = Math.min(admit * (1 + (rise - 1) * share), admit + step);
  return { admit: Math.min(1, risen), isShedding: false };
}
