/**
 * Keeps the operator's budget of one box: what was sent this month, whether it is paused, how far it yields. Answers how
 * fast the fill may go.
 *
 * Invariants: (1) a pause outlives a restart: it is written before it is acknowledged
 *             (2) the month's samples are on disk after each of them: a power cut forgets five minutes at most
 *             (3) time is trusted time: a wall clock that is off moves no window and no sample
 */
import { Type } from 'typebox';
import { checker } from '#base/config.ts';
import type { Clock } from '#base/clock.ts';
import {
  billedBps,
  billingMonthAt,
  burstsUsed,
  NO_USAGE,
  SAMPLE_MS,
  withBytes,
  type BillingMonth,
  type LinkUsage,
} from './billing.ts';
import { budgetLimit, hourlyBps, type FillBudget, type LineLimit } from './budget.ts';
import type { FillPace, PaceLine } from './fill-pace.ts';
import { stepYield, type Heat } from './fill-yield.ts';

const LIMIT_LIFE_MS = 250;
const USAGE_FILE = 'link-usage.json';
const PAUSE_FILE = 'fill-pause.json';

const checkUsage = checker(
  Type.Object({
    monthStartMs: Type.Number(),
    bytes: Type.Array(Type.Number({ minimum: 0 }), { maxItems: 9000 }),
  }),
);
const checkPause = checker(Type.Object({ isPaused: Type.Boolean(), sinceMs: Type.Number() }));

export interface BudgetDeskDeps {
  readonly clock: Clock;
  readonly nowMs: () => number; // trusted time
  readonly keep: (name: string, text: string) => void;
  readonly kept: (name: string) => unknown;
}

export interface BudgetSettings {
  readonly budget: FillBudget;
  readonly rateBpsMax: number | null;
  readonly servingBps: number;
}

/** What an operator is told. */
export interface BudgetState {
  readonly isPaused: boolean;
  readonly pausedSinceMs: number | null;
  readonly limits: Readonly<Record<PaceLine, LineLimit>>;
  readonly yieldShare: number;
  readonly month: {
    readonly startMs: number;
    readonly endMs: number;
    readonly billedBps: number; // if nothing more were sent
    readonly bpsMax: number;
    readonly burstsUsed: number;
    readonly burstsForgiven: number;
  } | null;
  readonly hourlyBps: readonly (number | null)[];
}

export class BudgetDesk implements FillPace {
  readonly #deps: BudgetDeskDeps;
  #settings: BudgetSettings;
  #usage: LinkUsage = NO_USAGE;
  #countedBytes: number | null = null;
  #keptSample = -1;
  #pause: { readonly isPaused: boolean; readonly sinceMs: number };
  #yieldShare = 1;
  #limits: {
    readonly limits: Readonly<Record<PaceLine, LineLimit>>;
    readonly untilMs: number;
  } | null = null;

  constructor(deps: BudgetDeskDeps, settings: BudgetSettings) {
    this.#deps = deps;
    this.#settings = settings;
    const usage = checkUsage(deps.kept(USAGE_FILE));
    if (usage.ok) this.#usage = usage.value;
    const pause = checkPause(deps.kept(PAUSE_FILE));
    this.#pause = pause.ok ? pause.value : { isPaused: false, sinceMs: 0 };
  }

  limit(line: PaceLine): LineLimit {
    const nowMs = this.#deps.clock.monotonicMs();
    if (this.#limits === null || nowMs >= this.#limits.untilMs) {
      this.#limits = { limits: this.#decide(), untilMs: nowMs + LIMIT_LIFE_MS };
    }
    return this.#limits.limits[line];
  }

  set(settings: BudgetSettings): void {
    this.#settings = settings;
    this.#limits = null;
  }

  pause(isPaused: boolean): void {
    if (this.#pause.isPaused !== isPaused) {
      this.#pause = { isPaused, sinceMs: Math.floor(this.#deps.nowMs()) };
      this.#deps.keep(PAUSE_FILE, JSON.stringify(this.#pause));
    }
    this.#limits = null;
  }

  /** Once a second. `linkBytes`: everything that came from beyond the site so far, since the start. */
  tick(linkBytes: number, heat: Heat): void {
    const before = this.#countedBytes;
    this.#countedBytes = linkBytes;
    this.#yieldShare = stepYield(this.#yieldShare, heat);
    const nowMs = this.#deps.nowMs();
    if (before !== null && linkBytes > before) {
      this.#usage = withBytes(this.#usage, this.#month(), nowMs, linkBytes - before);
    }
    const sample = Math.floor(nowMs / SAMPLE_MS);
    if (sample === this.#keptSample) return;
    this.#keptSample = sample;
    this.#deps.keep(USAGE_FILE, JSON.stringify(this.#usage));
  }

  /** At the end: the sample under way is kept too. */
  close(): void {
    this.#deps.keep(USAGE_FILE, JSON.stringify(this.#usage));
  }

  get hourlyBps(): readonly (number | null)[] {
    return hourlyBps(this.#settings.budget, this.#settings.rateBpsMax);
  }

  state(): BudgetState {
    const { monthly } = this.#settings.budget;
    const month = this.#month();
    const nowMs = this.#deps.nowMs();
    return {
      isPaused: this.#pause.isPaused,
      pausedSinceMs: this.#pause.isPaused ? this.#pause.sinceMs : null,
      limits: { near: this.limit('near'), far: this.limit('far') },
      yieldShare: this.#yieldShare,
      month:
        monthly === null
          ? null
          : {
              startMs: month.startMs,
              endMs: month.endMs,
              billedBps: Math.round(billedBps(this.#usage, month)),
              bpsMax: monthly.percentile95BpsMax,
              burstsUsed: burstsUsed(this.#usage, month, monthly.percentile95BpsMax, nowMs),
              burstsForgiven: month.forgiven,
            },
      hourlyBps: this.hourlyBps,
    };
  }

  #decide(): Readonly<Record<PaceLine, LineLimit>> {
    const { budget, rateBpsMax, servingBps } = this.#settings;
    return budgetLimit(budget, {
      nowMs: this.#deps.nowMs(),
      isPaused: this.#pause.isPaused,
      rateBpsMax,
      usage: this.#usage,
      month: this.#month(),
      yieldShare: this.#yieldShare,
      linkBps: servingBps,
    });
  }

  #month(): BillingMonth {
    const { timeZone, monthly } = this.#settings.budget;
    return billingMonthAt(this.#deps.nowMs(), timeZone, monthly?.firstDay ?? 1);
  }
}
