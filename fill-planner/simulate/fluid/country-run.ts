/**
 * The nights and days of one country's clusters: what was counted, what the planner makes of it, what is held, and what of it is watched.
 *
 * Hours are not looked at here: each unit and day gets a row of shares, from which flows.ts makes the hours of the whole network.
 *
 * Invariants: (1) a country's rows depend on nothing but the scenario, the seed and the exchanges' cuts
 */
import type { Calendar } from '../network/calendar.ts';
import type { Network, Unit } from '../network/units.ts';
import type { Scenario } from '../scenario.ts';
import { CountryViewing, type Moods } from '../workload/popularity.ts';
import type { Cell } from '../workload/programmes.ts';
import { binnedOrder, type BinnedOrder, type LadderBins } from './bins.ts';
import { NightPlanner } from './cluster-night.ts';
import { HISTORY_DAYS, type NightForecast } from './night-forecast.ts';
import { reactiveShare } from './reactive.ts';

const DAY_SECONDS = 86_400;
const ANNOUNCED_UNTIL_DAYS = 3; // then what was counted speaks
const DEPTH = 2.6; // of the largest cluster's storage: the reactive part of a disk sees some of what no plan reaches

/** One unit's day. Shares are of the day's view-bytes unless they say otherwise. */
export const ROW = {
  heldBefore: 0, // by what last night left
  heldAfter: 1, // by what tonight brings
  reactive: 2, // of what is not held at home
  tier1: 3, // not held at home, held at the first exchange
  tier2: 4, // nor there, held at the second
  tier1Held: 5, // of what is held at home: held at the first exchange too
  tier2Held: 6, // at the second, not at the first
  fillBytes: 7, // of all clusters of the unit
  deletedBytes: 8,
  planned: 9, // held, as the plan expects
  gap: 10, // NaN where not proved
  perStorage: 11, // bit/s per byte
  perServing: 12, // bit/s per bit/s
  perFill: 13, // bit/s per byte a night
  originFill: 14, // of fillBytes: what no box of the country held
  release: 15, // of view-bytes: titles of the scenario's calendar
} as const;
export const ROW_LENGTH = 16;

export interface FluidInput {
  readonly scenario: Scenario;
  readonly network: Network;
  readonly calendar: Calendar;
  readonly cells: readonly Cell[];
  readonly seconds: Float64Array; // per cell
  readonly ladder: LadderBins;
  readonly peakToMean: number;
  readonly moods: Moods;
  readonly seed: number;
  /** Title views of a country a day: only the noise of counts depends on it. */
  readonly viewsOf: (country: string) => number;
}

/** The truth of one country: views of one title of each cell, from HISTORY_DAYS before the first day. */
export interface Truth {
  titleViews(day: number): Float32Array;
  releaseShare(day: number): number;
}

/** Exchanges' cuts by night, which leaf sites read: (exchange, day, cell). */
export interface ExchangeCuts {
  readonly indexOf: ReadonlyMap<number, number>; // site -> exchange
  readonly cuts: Int16Array;
}

interface Pool {
  boxes: number;
  hashShare: number;
  readonly cuts: Int16Array;
}

interface UnitState {
  readonly unit: Unit;
  readonly at: number; // in network.units
  readonly pools: Pool[];
}

export class CountryRun {
  readonly #input: FluidInput;
  readonly #truth: Truth;
  readonly #forecast: NightForecast;
  readonly #viewing: CountryViewing;
  readonly #states: readonly UnitState[];
  readonly #planner: NightPlanner;
  readonly #countedDays: Float64Array[] = []; // from day -HISTORY_DAYS
  readonly #views: number;
  readonly #previous: Int16Array;
  readonly #depthBytes: number;

  constructor(
    input: FluidInput,
    country: string,
    unitIndices: readonly number[],
    truth: Truth,
    forecast: NightForecast,
  ) {
    this.#input = input;
    this.#truth = truth;
    this.#forecast = forecast;
    const { cells, network } = input;
    this.#viewing = new CountryViewing(cells, input.seed, country, input.moods);
    this.#planner = new NightPlanner(input.ladder, input.seconds);
    this.#states = unitIndices.map((at) => ({
      unit: network.units[at],
      at,
      pools: [{ boxes: network.units[at].boxes, hashShare: 1, cuts: new Int16Array(cells.length) }],
    }));
    this.#views = input.viewsOf(country);
    this.#previous = new Int16Array(cells.length);
    const largest = Math.max(
      ...unitIndices.map((at) => network.units[at].boxes * network.units[at].storageBytes),
    );
    this.#depthBytes = DEPTH * largest;
  }

  /** Runs all days; `rows` is (unit, day, ROW_LENGTH). Only `exchanges` are recorded where `record` is given. */
  run(
    rows: Float32Array | null,
    exchanges: ExchangeCuts,
    record: ((site: number, day: number, cuts: Int16Array) => void) | null,
    isStopped: () => boolean,
  ): void {
    const { scenario } = this.#input;
    if (scenario.fleet.start === 'filled') this.#fillUp();
    for (let day = 0; day < scenario.days && !isStopped(); day++)
      this.#day(day, rows, exchanges, record);
  }

  /** The state that unlimited fill would have brought the night before the first. */
  #fillUp(): void {
    const { policy } = this.#input.scenario;
    if (policy.placement !== 'planned') return;
    const order = this.#orderFor(0);
    for (const { unit, pools } of this.#states) {
      const pool = {
        boxes: unit.boxes,
        storageBytes: unit.storageBytes * (1 - policy.reactiveShare),
        servingBps: unit.servingBps,
        fillBytes: Infinity,
      };
      const night = this.#planner.plan(order, pools[0].cuts, pool, 0, 1, null);
      for (let at = 0; at < order.firstBin.length; at++) {
        pools[0].cuts[at] = this.#cutAt(order, at, night.fillBins);
      }
    }
  }

  #day(
    day: number,
    rows: Float32Array | null,
    exchanges: ExchangeCuts,
    record: ((site: number, day: number, cuts: Int16Array) => void) | null,
  ): void {
    const { scenario, seconds } = this.#input;
    const titleViews = this.#truth.titleViews(day);
    const order = this.#orderFor(day);
    const watched = Float64Array.from(titleViews, (views, at) => views * seconds[at]);
    let total = 0;
    for (const value of watched) total += value;
    this.#markHeld();
    for (const state of this.#states) {
      const row = rows?.subarray(
        (state.at * scenario.days + day) * ROW_LENGTH,
        (state.at * scenario.days + day + 1) * ROW_LENGTH,
      );
      this.#addNewBoxes(state, day);
      this.#unitDay(state, day, order, watched, total, exchanges, row ?? SCRATCH);
      if (row !== undefined) row[ROW.release] = this.#truth.releaseShare(day);
      if (record !== null) record(state.unit.site, day, mainPool(state).cuts);
    }
    if (rows !== null) this.#originFill(day, rows);
  }

  #unitDay(
    state: UnitState,
    day: number,
    order: BinnedOrder,
    watched: Float64Array,
    total: number,
    exchanges: ExchangeCuts,
    row: Float32Array,
  ): void {
    const { scenario, network, ladder, peakToMean, calendar } = this.#input;
    const { unit, pools } = state;
    const { policy } = scenario;
    const site = network.sites[unit.site];
    const isLast = day === scenario.days - 1;
    const clusterPeak = unit.peakBps / unit.clusters;
    const bytesADay = (clusterPeak / peakToMean / 8) * DAY_SECONDS;
    const fileViews = bytesADay / order.viewBytes;
    const factor = (fileViews * 8 * peakToMean) / DAY_SECONDS;
    const fillShare = calendar.bySite.get(unit.site)?.fill[day] ?? 1;
    const windowBytes = (unit.fillBps / 8) * policy.fillWindow.hours * 3600 * fillShare;
    const all = total * ladder.viewBytesTo[ladder.count];
    const one = this.#tierCuts(site.tiers[0], day, exchanges);
    const two = this.#tierCuts(site.tiers[1], day, exchanges);
    row.fill(0);
    row[ROW.gap] = NaN;
    for (const pool of pools) {
      if (policy.placement === 'pull-through') {
        const room = (unit.storageBytes * pool.boxes) / pool.hashShare;
        row[ROW.reactive] +=
          pool.hashShare * reactiveShare(order, order.bytes, fileViews, room, policy.admission, 1);
        continue;
      }
      const planBox = {
        boxes: pool.boxes,
        storageBytes: unit.storageBytes * (1 - policy.reactiveShare),
        servingBps: unit.servingBps,
        fillBytes: windowBytes,
      };
      const night = this.#planner.plan(
        order,
        pool.cuts,
        planBox,
        policy.churnShare,
        pool.hashShare,
        isLast && pool === mainPool(state) ? factor : null,
      );
      if (policy.reactiveShare > 0) {
        const room = unit.storageBytes * policy.reactiveShare * pool.boxes;
        row[ROW.reactive] +=
          pool.hashShare *
          reactiveShare(order, night.beyond, fileViews, room, policy.admission, pool.hashShare);
      }
      row[ROW.planned] += pool.hashShare * night.plannedViews;
      if (night.proof !== null) {
        row[ROW.gap] = night.proof.gapShare;
        row[ROW.perStorage] = night.proof.prices.perStorageByte;
        row[ROW.perServing] = night.proof.prices.perServingBps;
        row[ROW.perFill] = night.proof.prices.perFillByte;
      }
      this.#apply(pool, order, night, watched, all, one, two, unit.clusters, row);
    }
    if (row[ROW.heldAfter] > 0) {
      row[ROW.tier1Held] = Math.min(1, row[ROW.tier1Held] / row[ROW.heldAfter]);
      row[ROW.tier2Held] = Math.min(1, row[ROW.tier2Held] / row[ROW.heldAfter]);
    }
  }

  /** Takes tonight's cuts over, and adds to the row what they bring. */
  #apply(
    pool: Pool,
    order: BinnedOrder,
    night: { readonly fillBins: number; readonly keepBins: number },
    watched: Float64Array,
    all: number,
    one: Int16Array | null,
    two: Int16Array | null,
    clusters: number,
    row: Float32Array,
  ): void {
    const { seconds, ladder } = this.#input;
    const { bytesTo, viewBytesTo } = ladder;
    const { cuts } = pool;
    let before = 0;
    let after = 0;
    let tier1 = 0;
    let tier2 = 0;
    let tier1Held = 0;
    let tier2Held = 0;
    let filled = 0;
    let deleted = 0;
    for (let at = 0; at < cuts.length; at++) {
      const old = cuts[at];
      const first = order.firstBin[at];
      let cut = 0;
      if (first !== -1) {
        const fill = night.fillBins - first;
        const keep = night.keepBins - first;
        cut = Math.max(fill, Math.min(old, keep));
        cut = cut < 0 ? 0 : cut > ladder.count ? ladder.count : cut;
      }
      cuts[at] = cut;
      if (cut > old) filled += seconds[at] * (bytesTo[cut] - bytesTo[old]);
      else if (cut < old) deleted += seconds[at] * (bytesTo[old] - bytesTo[cut]);
      const weight = watched[at];
      if (weight === 0) continue;
      const held = viewBytesTo[cut];
      before += weight * viewBytesTo[old];
      after += weight * held;
      const first1 = one === null ? 0 : one[at];
      const first2 = Math.max(first1, two === null ? 0 : two[at]);
      const at1 = viewBytesTo[first1];
      const at2 = viewBytesTo[first2];
      tier1 += weight * Math.max(0, at1 - held);
      tier2 += weight * (Math.max(0, at2 - held) - Math.max(0, at1 - held));
      tier1Held += weight * Math.min(at1, held);
      tier2Held += weight * (Math.min(at2, held) - Math.min(at1, held));
    }
    const share = pool.hashShare / all;
    row[ROW.heldBefore] += share * before;
    row[ROW.heldAfter] += share * after;
    row[ROW.tier1] += share * tier1;
    row[ROW.tier2] += share * tier2;
    row[ROW.tier1Held] += share * tier1Held;
    row[ROW.tier2Held] += share * tier2Held;
    row[ROW.fillBytes] += clusters * pool.hashShare * filled;
    row[ROW.deletedBytes] += clusters * pool.hashShare * deleted;
  }

  #addNewBoxes(state: UnitState, day: number): void {
    const events = this.#input.calendar.bySite.get(state.unit.site)?.newBoxes ?? [];
    for (const event of events) {
      if (event.day !== day || this.#firstUnitOf(state.unit.site) !== state.at) continue;
      const boxes = state.pools.reduce((sum, pool) => sum + pool.boxes, 0) + event.count;
      state.pools.push({
        boxes: event.count,
        hashShare: 0,
        cuts: new Int16Array(this.#input.cells.length),
      });
      for (const pool of state.pools) pool.hashShare = pool.boxes / boxes;
    }
  }

  #firstUnitOf(site: number): number {
    return this.#input.network.units.findIndex((unit) => unit.site === site);
  }

  #tierCuts(site: number, day: number, exchanges: ExchangeCuts): Int16Array | null {
    const index = site === -1 ? undefined : exchanges.indexOf.get(site);
    if (index === undefined) return null;
    const { days } = this.#input.scenario;
    const { length } = this.#input.cells;
    const at = (index * days + day) * length;
    return exchanges.cuts.subarray(at, at + length);
  }

  /** What some box of the country held before tonight. */
  #markHeld(): void {
    this.#previous.fill(0);
    for (const state of this.#states) {
      const { cuts } = mainPool(state);
      for (let at = 0; at < cuts.length; at++) {
        if (cuts[at] > this.#previous[at]) this.#previous[at] = cuts[at];
      }
    }
  }

  /** Bytes that no box of the country held before and some box holds now come from the origin once; the rest from boxes. */
  #originFill(day: number, rows: Float32Array): void {
    const { seconds, ladder, scenario } = this.#input;
    const now = new Int16Array(this.#previous.length);
    for (const state of this.#states) {
      const { cuts } = mainPool(state);
      for (let at = 0; at < cuts.length; at++) if (cuts[at] > now[at]) now[at] = cuts[at];
    }
    let fresh = 0;
    for (let at = 0; at < now.length; at++) {
      if (now[at] > this.#previous[at]) {
        fresh += seconds[at] * (ladder.bytesTo[now[at]] - ladder.bytesTo[this.#previous[at]]);
      }
    }
    const rowAt = (state: UnitState): number => (state.at * scenario.days + day) * ROW_LENGTH;
    let filled = 0;
    for (const state of this.#states) filled += rows[rowAt(state) + ROW.fillBytes];
    const share = filled > 0 ? Math.min(1, fresh / filled) : 0;
    for (const state of this.#states) {
      rows[rowAt(state) + ROW.originFill] = share * rows[rowAt(state) + ROW.fillBytes];
    }
  }

  #cutAt(order: BinnedOrder, cell: number, bins: number): number {
    if (order.firstBin[cell] === -1) return 0;
    return Math.max(0, Math.min(this.#input.ladder.count, bins - order.firstBin[cell]));
  }

  /** The order of the night before `day`, as the planner forecasts it from what was counted. */
  #orderFor(day: number): BinnedOrder {
    const { scenario, cells, seconds, ladder } = this.#input;
    const truth = this.#truth.titleViews(day);
    if (scenario.policy.forecast === 'oracle' || scenario.policy.placement === 'pull-through') {
      return binnedOrder(truth, seconds, ladder, this.#depthBytes);
    }
    const expected = this.#viewing.announced(day, truth);
    const forecast = this.#forecast.titleViews(day, (before) => this.#counted(before));
    for (let at = 0; at < forecast.length; at++) {
      const age = cells[at].event === null ? null : day - (cells[at].releaseDay ?? 0);
      if (age !== null && age < ANNOUNCED_UNTIL_DAYS) forecast[at] = expected[at]; // planned for as announced
    }
    return binnedOrder(forecast, seconds, ladder, this.#depthBytes);
  }

  #counted(day: number): Float64Array {
    const at = day + HISTORY_DAYS;
    this.#countedDays[at] ??= this.#viewing.counted(day, this.#truth.titleViews(day), this.#views);
    return this.#countedDays[at];
  }
}

const SCRATCH = new Float32Array(ROW_LENGTH);

/** The boxes that hold most of a cluster's files. */
function mainPool(state: UnitState): Pool {
  return state.pools.reduce((best, pool) => (pool.hashShare > best.hashShare ? pool : best));
}
