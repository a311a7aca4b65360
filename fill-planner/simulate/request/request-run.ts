/**
 * A request-level run: real keys, the planner's own forecast and cuts, the appliance's own admission and eviction.
 *
 * What each unit serves of each day is measured and put into the same rows as the fluid engine's; the hours of the network are then
 * worked out alike. New boxes and catalogue events of a calendar that change a cluster's make-up are the fluid engine's alone.
 *
 * Invariants: (1) same scenario, seed and sample, same rows
 */
import { seededRandom } from '#base/random.ts';
import type { FleetCluster, FleetDescription, RegionRollup } from '../../fleet/fleet-files.ts';
import { regionOrderOf, worldSharesOf, type WorldShares } from '../../fleet/region-demand.ts';
import { createLru } from '../cache/policies/lru.ts';
import { createNightfill } from '../cache/policies/nightfill.ts';
import type { CachePolicy } from '../cache/policy.ts';
import { ROW, ROW_LENGTH } from '../fluid/country-run.ts';
import { HISTORY_DAYS } from '../fluid/night-forecast.ts';
import type { Calendar } from '../network/calendar.ts';
import type { Network, Unit } from '../network/units.ts';
import type { Scenario } from '../scenario.ts';
import { nameKey, normal } from '../workload/chance.ts';
import { hourFactors, type Diurnal } from '../workload/day-curve.ts';
import { CountryViewing, Moods } from '../workload/popularity.ts';
import type { Cell } from '../workload/programmes.ts';
import type { Keys } from './keys.ts';
import { keyOrderOf, PlannedCluster } from './planned-cluster.ts';
import { dayOfViews } from './viewers.ts';

const DAY_MS = 86_400_000;
const DAY_SECONDS = 86_400;
const OLD_DAYS = 1000;
const PURPOSE = 81;

export interface RequestInput {
  readonly scenario: Scenario;
  readonly network: Network;
  readonly calendar: Calendar;
  readonly cells: readonly Cell[];
  readonly keys: Keys;
  readonly diurnal: Diurnal;
  readonly seed: number;
  readonly viewsOf: (country: string) => number;
}

interface RegionState {
  readonly country: string;
  readonly viewing: CountryViewing;
  readonly units: readonly UnitState[];
}

interface UnitState {
  readonly unit: Unit;
  readonly at: number;
  readonly planned: PlannedCluster;
  readonly reactive: readonly CachePolicy[];
}

export class RequestRun {
  readonly rows: Float32Array;
  readonly #input: RequestInput;
  readonly #regions: readonly RegionState[];
  readonly #clusterOfSite = new Map<number, PlannedCluster>();
  readonly #titleViews = new Map<string, Float64Array>();

  constructor(input: RequestInput) {
    this.#input = input;
    const { network, scenario, cells, seed } = input;
    this.rows = new Float32Array(network.units.length * scenario.days * ROW_LENGTH);
    const moods = new Moods(cells, seed, -HISTORY_DAYS);
    const countries = [...new Set(network.sites.map((site) => site.country))].sort();
    this.#regions = countries.map((country) => {
      const viewing = new CountryViewing(cells, seed, country, moods);
      const ofCells = viewing.on(0).titleViews;
      const titleViews = Float64Array.from(input.keys.cellOfTitle, (cell) => ofCells[cell]);
      const viewSeconds = viewSecondsOf(titleViews, input.keys);
      const units = network.units.flatMap((unit, at) =>
        network.sites[unit.site].country === country
          ? [this.#unitState(unit, at, viewSeconds)]
          : [],
      );
      return { country, viewing, units };
    });
    if (scenario.fleet.start === 'filled' && scenario.policy.placement === 'planned') {
      this.#plans(0, true);
    }
  }

  /** One night and the day after it. */
  day(day: number): void {
    if (this.#input.scenario.policy.placement === 'planned') this.#plans(day, false);
    for (const region of this.#regions) {
      const titleViews = this.#truth(region, day);
      for (const state of region.units) this.#views(state, day, titleViews);
    }
  }

  /** What a unit's cluster holds: what tests compare with the planner's own expansion. */
  clusterAt(unit: number): PlannedCluster | undefined {
    return this.#regions.flatMap(({ units }) => units).find((state) => state.at === unit)?.planned;
  }

  #unitState(unit: Unit, at: number, viewSeconds: number): UnitState {
    const { keys, scenario, network } = this.#input;
    const { policy } = scenario;
    const share = keys.sampleShare;
    const planned = policy.placement === 'planned' ? 1 - policy.reactiveShare : 0;
    const { siteId } = network.sites[unit.site];
    const cluster: FleetCluster = {
      clusterId: `${siteId}/${at}`,
      siteId,
      parentId: null,
      boxes: Array.from({ length: unit.boxes }, (_, box) => ({
        applianceId: `${siteId}/${at}/${String(box).padStart(3, '0')}`,
        applianceClass: unit.kind === 'flash' ? 'flash' : 'storage',
        storageBytes: Math.floor(unit.storageBytes * planned * share),
        servingBps: unit.servingBps * share,
        fillBytes: Math.floor((unit.fillBps / 8) * policy.fillWindow.hours * 3600 * share),
      })),
      viewsPerDay: this.#fileViews(unit, viewSeconds),
      previous: null,
    };
    const state = new PlannedCluster(cluster, keys);
    const known = this.#clusterOfSite.get(unit.site);
    const bytes = (of: FleetCluster): number =>
      of.boxes.reduce((sum, box) => sum + box.storageBytes, 0);
    if (known === undefined || bytes(known.cluster) < bytes(cluster)) {
      this.#clusterOfSite.set(unit.site, state);
    }
    const capacityBytes = Math.floor(unit.storageBytes * (1 - planned) * share);
    const create = policy.admission === 'lru' ? createLru : createNightfill;
    return {
      unit,
      at,
      planned: state,
      reactive:
        capacityBytes < 1
          ? []
          : cluster.boxes.map(() =>
              create({
                objects: keys.rows.length,
                capacityBytes,
                nextAt: () => new Int32Array(0),
                secondsAt: (seconds) => seconds,
              }),
            ),
    };
  }

  #plans(day: number, isFirstFill: boolean): void {
    const { scenario, keys, calendar, seed } = this.#input;
    const { policy } = scenario;
    const fleet = this.#fleet(day);
    const world = this.#world(fleet, day);
    for (const region of this.#regions) {
      const order = keyOrderOf(regionOrderOf(fleet, world, this.#rollup(region, day)), keys);
      for (const { planned, unit, at } of region.units) {
        const fillShare = isFirstFill ? Infinity : (calendar.bySite.get(unit.site)?.fill[day] ?? 1);
        const { filled, deleted } = planned.night(
          order,
          fillShare,
          isFirstFill ? 0 : policy.churnShare,
          policy.fillWindow.hours,
          seed + day,
        );
        if (isFirstFill) continue;
        const row = this.rows.subarray((at * scenario.days + day) * ROW_LENGTH);
        row[ROW.fillBytes] = (unit.clusters * filled) / keys.sampleShare;
        row[ROW.deletedBytes] = (unit.clusters * deleted) / keys.sampleShare;
        row[ROW.gap] = NaN;
      }
    }
  }

  #views(state: UnitState, day: number, titleViews: Float64Array): void {
    const { keys, scenario, network, seed } = this.#input;
    const site = network.sites[state.unit.site];
    const viewSeconds = viewSecondsOf(titleViews, keys);
    const tiers = site.tiers.map((tier) => this.#clusterOfSite.get(tier) ?? null);
    const found = dayOfViews({
      keys,
      cluster: state.planned,
      reactive: state.reactive,
      titleViews,
      fileViews: this.#fileViews(state.unit, viewSeconds),
      dayCurve: hourFactors(),
      windowStartHour: scenario.policy.fillWindow.startLocalHour,
      day,
      tiers,
      random: seededRandom(
        (nameKey(state.planned.cluster.clusterId) ^ Math.imul(seed + 1, 0x9e3779b1)) + day,
      ),
    });
    const row = this.rows.subarray((state.at * scenario.days + day) * ROW_LENGTH);
    const share = (part: number): number => (found.bytes > 0 ? part / found.bytes : 0);
    const planned = share(found.plannedHitBytes);
    row[ROW.heldBefore] = planned;
    row[ROW.heldAfter] = planned;
    row[ROW.planned] = planned;
    row[ROW.reactive] = planned < 1 ? share(found.reactiveHitBytes) / (1 - planned) : 0;
    row[ROW.tier1] = share(found.tier1Bytes);
    row[ROW.tier2] = share(found.tier2Bytes);
  }

  // ------------------------------------------------------------ what is watched, and what was counted

  #truth(region: RegionState, day: number): Float64Array {
    const key = `${region.country} ${day}`;
    let views = this.#titleViews.get(key);
    if (views === undefined) {
      const ofCells = region.viewing.on(day).titleViews;
      views = Float64Array.from(this.#input.keys.cellOfTitle, (cell) => ofCells[cell]);
      this.#titleViews.set(key, views);
      this.#titleViews.delete(`${region.country} ${day - HISTORY_DAYS - 2}`);
    }
    return views;
  }

  #rollup(region: RegionState, day: number): RegionRollup {
    const { keys, seed } = this.#input;
    const { titles } = keys.catalogue;
    const all = this.#input.viewsOf(region.country);
    const key = nameKey(region.country) ^ PURPOSE;
    const views = new Float32Array(titles * HISTORY_DAYS);
    for (let back = 0; back < HISTORY_DAYS; back++) {
      const of = day - HISTORY_DAYS + back;
      const truth = this.#truth(region, of);
      for (let title = 0; title < titles; title++) {
        const mean = truth[title] * all;
        if (mean === 0) continue;
        const noise = Math.sqrt(mean) * normal(seed, title, key, of + 1000);
        views[title * HISTORY_DAYS + back] = Math.max(0, mean + noise);
      }
    }
    return {
      views,
      variants: keys.shares.map((share) => share * all),
      placeable: new Uint8Array(titles).fill(1),
      pins: null,
      previous: null,
    };
  }

  #world(fleet: FleetDescription, day: number): WorldShares {
    const { keys, cells, scenario } = this.#input;
    const { titles } = keys.catalogue;
    const views = new Float32Array(titles * HISTORY_DAYS);
    for (const region of this.#regions) {
      const all = this.#input.viewsOf(region.country);
      for (let back = 0; back < HISTORY_DAYS; back++) {
        const truth = this.#truth(region, day - HISTORY_DAYS + back);
        for (let title = 0; title < titles; title++) {
          views[title * HISTORY_DAYS + back] += truth[title] * all;
        }
      }
    }
    const firstDay = Math.round(Date.parse(scenario.startDate) / DAY_MS);
    return worldSharesOf(fleet, {
      views,
      variants: keys.shares,
      released: Int32Array.from(
        keys.cellOfTitle,
        (cell) => firstDay + (cells[cell].releaseDay ?? -OLD_DAYS),
      ),
      classes: Uint8Array.from(keys.cellOfTitle, (cell) =>
        cells[cell].releaseDay === null ? 0 : 1,
      ),
    });
  }

  #fleet(day: number): FleetDescription {
    const { keys, scenario } = this.#input;
    return {
      planDate: new Date(Date.parse(scenario.startDate) + day * DAY_MS).toISOString().slice(0, 10),
      epoch: 1,
      titles: keys.catalogue.titles,
      variants: keys.catalogue.variants,
      days: HISTORY_DAYS,
      regions: [],
    };
  }

  /** File views of one cluster a day: its bytes over what a view weighs. */
  #fileViews(unit: Unit, viewSeconds: number): number {
    const { diurnal, keys } = this.#input;
    const bytes = (unit.peakBps / unit.clusters / diurnal.peakToMean / 8) * DAY_SECONDS;
    return bytes / (viewSeconds * keys.bytesPerViewSecond);
  }
}

function viewSecondsOf(titleViews: Float64Array, keys: Keys): number {
  let seconds = 0;
  for (let title = 0; title < titleViews.length; title++) {
    seconds += titleViews[title] * keys.seconds[title];
  }
  return seconds;
}
