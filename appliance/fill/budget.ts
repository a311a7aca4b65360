/**
 * What the operator of a link lets the fill take of it, now.
 *
 * Shape:      budgetLimit(budget, facts) -> { far, near }: bits per second and, of 0, why; hourlyBps(budget) -> 24 rates for the planner
 * Units:      bits per second; hours of the site's own clocks
 * Invariants: (1) serving wins: while the box is hot its fill gives way before anything else is asked
 *             (2) `pause` stops both lines at once, whatever the rest says
 *             (3) caps by the hour and the monthly ceiling are for what comes from beyond the site: its own network is not billed
 *             (4) the least of all limits holds, and is named
 */
import { localHourAt } from '#control-plane/control-plane.ts';
import { sampleLimitBps, type BillingMonth, type LinkUsage } from './billing.ts';
import { NO_LIMIT, type PaceLimit, type PaceLine } from './fill-pace.ts';

export const HOURS = 24;

export interface FillBudget {
  readonly timeZone: string;
  /** Per hour of the day: a cap, 0 for "not now", null for none. 24 of them, or none at all. */
  readonly hourlyBpsMax: readonly (number | null)[];
  readonly monthly: {
    readonly percentile95BpsMax: number;
    readonly firstDay: number; // of the billing month
    readonly isBursting: boolean;
  } | null;
}

export interface BudgetFacts {
  readonly nowMs: number; // trusted time
  readonly isPaused: boolean;
  readonly rateBpsMax: number | null;
  readonly usage: LinkUsage;
  readonly month: BillingMonth;
  /** Share of full speed that the box's own load leaves, 1: all. */
  readonly yieldShare: number;
  readonly linkBps: number; // full speed that `yieldShare` is of
}

export type LimitedBy = 'pause' | 'load' | 'hour' | 'month' | 'rate';

export interface LineLimit extends PaceLimit {
  readonly limitedBy: LimitedBy | null;
}

const UNLIMITED: LineLimit = { ...NO_LIMIT, limitedBy: null };

export function budgetLimit(
  budget: FillBudget,
  facts: BudgetFacts,
): Readonly<Record<PaceLine, LineLimit>> {
  if (facts.isPaused) {
    const paused: LineLimit = { bps: 0, why: 'pause', limitedBy: 'pause' };
    return { near: paused, far: paused };
  }
  const near = least(least(UNLIMITED, facts.rateBpsMax, 'rate'), yieldBps(facts), 'load');
  const capped = least(near, hourCap(budget, facts.nowMs), 'hour');
  return { near, far: least(capped, monthCap(budget, facts), 'month') };
}

/** What the fill from beyond the site may take in each hour of the day; null where nothing limits it. */
export function hourlyBps(
  budget: FillBudget,
  rateBpsMax: number | null,
): readonly (number | null)[] {
  return Array.from({ length: HOURS }, (_, hour) => {
    const caps = [
      budget.hourlyBpsMax[hour] ?? null,
      budget.monthly?.percentile95BpsMax ?? null,
      rateBpsMax,
    ].filter((cap) => cap !== null);
    return caps.length === 0 ? null : Math.min(...caps);
  });
}

function hourCap(budget: FillBudget, nowMs: number): number | null {
  if (budget.hourlyBpsMax.length === 0) return null;
  return budget.hourlyBpsMax[localHourAt(budget.timeZone, nowMs)] ?? null;
}

function monthCap(budget: FillBudget, facts: BudgetFacts): number | null {
  if (budget.monthly === null) return null;
  const { percentile95BpsMax, isBursting } = budget.monthly;
  return sampleLimitBps(facts.usage, facts.month, facts.nowMs, percentile95BpsMax, isBursting);
}

function yieldBps({ yieldShare, linkBps }: BudgetFacts): number | null {
  return yieldShare >= 1 ? null : Math.floor(yieldShare * linkBps);
}

function least(limit: LineLimit, bps: number | null, limitedBy: LimitedBy): LineLimit {
  if (bps === null || (limit.bps !== null && limit.bps <= bps)) return limit;
  const why = bps > 0 ? null : limitedBy === 'load' ? 'load' : 'budget';
  return { bps, why, limitedBy };
}
