/**
 * Hours and rows -> the result that reports read.
 */
import type { Calendar } from '../network/calendar.ts';
import type { Network } from '../network/units.ts';
import {
  HOUR_SERIES,
  type Engine,
  type HourSeries,
  type LinkRow,
  type Night,
  type SimulationResult,
  type Totals,
} from '../result.ts';
import type { Scenario } from '../scenario.ts';
import { MEAN_VIEW_SHARE } from '../workload/parameters.ts';
import { ROW, ROW_LENGTH } from './country-run.ts';
import { FLOW, FLOW_LENGTH, type HourFlows } from './flows.ts';
import { most, percentile95, SiteLedger } from './site-ledger.ts';

const GBPS = 1e9;
const HOUR_BYTES = 3600 / 8;
const MEAN_TITLE_HOURS = 0.9; // of what is watched: seasons' episodes and films, by views

export interface Run {
  readonly scenario: Scenario;
  readonly variant: string;
  readonly network: Network;
  readonly calendar: Calendar;
  readonly rows: Float32Array;
  readonly seed: number;
  readonly engine: Engine;
  readonly files: number;
  readonly streamBps: number;
}

export class Gatherer {
  readonly #run: Run;
  readonly #hours: HourSeries;
  readonly #ledger: SiteLedger;
  #originLost = 0;
  #originLostHours = 0;
  #originOut: Float32Array;
  #originFill: Float32Array;
  #tierOut: Float32Array;
  #done = 0;

  constructor(run: Run) {
    this.#run = run;
    const hours = run.scenario.days * 24;
    this.#hours = Object.fromEntries(
      HOUR_SERIES.map((name) => [name, []]),
    ) as unknown as HourSeries;
    this.#ledger = new SiteLedger(run);
    this.#originOut = new Float32Array(hours);
    this.#originFill = new Float32Array(hours);
    this.#tierOut = new Float32Array(hours);
  }

  add(hour: number, found: HourFlows): void {
    const { units } = this.#run.network;
    const all = new Float64Array(FLOW_LENGTH);
    const { flows, wanted } = found;
    for (let at = 0; at < units.length; at++) {
      const base = at * FLOW_LENGTH;
      for (let flow = 0; flow < FLOW_LENGTH; flow++) {
        all[flow] += flows[base + flow];
      }
    }
    this.#ledger.add(hour, found);
    const hours = this.#hours;
    const bytes = (flow: number): number => all[flow] * HOUR_BYTES;
    const misses = bytes(FLOW.content) + bytes(FLOW.health) + bytes(FLOW.other);
    // Unmet demand is taken off the classes in proportion: what was not carried was not delivered.
    const carried = misses > 0 ? 1 - bytes(FLOW.unmet) / misses : 1;
    hours.homeBytes.push(bytes(FLOW.home));
    hours.contentMissBytes.push(bytes(FLOW.content) * carried);
    hours.healthMissBytes.push(bytes(FLOW.health) * carried);
    hours.otherMissBytes.push(bytes(FLOW.other) * carried);
    hours.tierBytes.push(bytes(FLOW.tier1) + bytes(FLOW.tier2));
    hours.originBytes.push(bytes(FLOW.origin));
    hours.externalBytes.push(bytes(FLOW.external));
    hours.unmetBytes.push(bytes(FLOW.unmet));
    hours.fillBytes.push(found.fillBps * HOUR_BYTES);
    hours.originFillBytes.push(found.originFillBps * HOUR_BYTES);
    this.#originOut[hour] = all[FLOW.origin];
    this.#originFill[hour] = found.originFillBps;
    this.#tierOut[hour] = all[FLOW.tier1] + all[FLOW.tier2];
    const turned = Math.max(0, wanted.origin - all[FLOW.origin]);
    this.#originLost += turned * HOUR_BYTES;
    if (turned > 1) this.#originLostHours++;
    this.#done = hour + 1;
  }

  result(isPartial: boolean): SimulationResult {
    const { scenario, network, variant, seed, engine, files, calendar } = this.#run;
    const totals = this.#totals();
    return {
      format: 1,
      meta: {
        name: scenario.name,
        variant,
        question: scenario.question,
        seed,
        seeds: [seed],
        engine,
        isPartial,
        startDate: scenario.startDate,
        days: scenario.days,
        hoursDone: this.#done,
        sites: network.sites.length,
        appliances: network.units.reduce((sum, unit) => sum + unit.clusters * unit.boxes, 0),
        files,
        bandLevel: 0.9,
        errors: [],
        notes: [...NOTES],
      },
      scenario,
      totals,
      bands: [],
      hours: this.#hours,
      nights: this.#nights(),
      sites: network.sites.map((_, at) => this.#ledger.row(at)),
      links: this.#ledger.links(this.#originLink()),
      events: [...calendar.listed],
      curves: [],
    };
  }

  #totals(): Totals {
    const { scenario, streamBps } = this.#run;
    const sum = (name: keyof HourSeries): number =>
      this.#hours[name].reduce((total, value) => total + value, 0);
    const home = sum('homeBytes');
    const content = sum('contentMissBytes');
    const health = sum('healthMissBytes');
    const other = sum('otherMissBytes');
    const unmet = sum('unmetBytes');
    const tier = sum('tierBytes');
    const origin = sum('originBytes');
    const external = sum('externalBytes');
    const originFill = sum('originFillBytes');
    const fill = sum('fillBytes');
    const demand = home + content + health + other + unmet;
    const of = (bytes: number): number => (demand > 0 ? bytes / demand : 0);
    const streamHourBytes = (streamBps / 8) * 3600;
    const storage = storageOf(this.#run);
    const nights = Math.max(1, this.#done / 24);
    const quality = this.#quality(streamHourBytes);
    const origin95 = percentile95(this.#originOut.subarray(0, this.#done)) / GBPS;
    return {
      demandBytes: demand,
      offloadShare: of(home),
      netOffloadShare: 1 - of(origin + external + originFill),
      contentMissShare: of(content),
      healthMissShare: of(health),
      otherMissShare: of(other),
      unmetShare: of(unmet),
      tierShare: of(tier),
      originShare: of(origin),
      externalShare: of(external),
      contentMissHours: content / streamHourBytes,
      healthMissHours: health / streamHourBytes,
      otherMissHours: other / streamHourBytes,
      originGbps95: origin95,
      tierGbps95: percentile95(this.#tierOut.subarray(0, this.#done)) / GBPS,
      originFillGbps95: percentile95(this.#originFill.subarray(0, this.#done)) / GBPS,
      originPeakGbps: most(this.#originOut.subarray(0, this.#done)) / GBPS,
      demandPeakGbps: this.#demandPeak() / GBPS,
      fillBytes: fill,
      churnShareNight: storage > 0 ? fill / nights / storage : 0,
      ...quality,
      externalUsd: (external / 1e12) * (scenario.network.externalCdn?.usdPerTb ?? 0),
      originUsdMonth: origin95 * 1000 * scenario.network.usdPerMbpsMonth,
    };
  }

  #demandPeak(): number {
    let peak = 0;
    for (let hour = 0; hour < this.#done; hour++) {
      const bytes =
        this.#hours.homeBytes[hour] +
        this.#hours.contentMissBytes[hour] +
        this.#hours.healthMissBytes[hour] +
        this.#hours.otherMissBytes[hour] +
        this.#hours.unmetBytes[hour];
      peak = Math.max(peak, bytes / HOUR_BYTES);
    }
    return peak;
  }

  /** Streams that meet congestion go on at a lower rate; where that is not enough, starts are refused. Whole network, by hour. */
  #quality(streamHourBytes: number): { startsRefused: number; streamHoursDegraded: number } {
    const { degradeTo } = this.#run.scenario.network;
    let refusedHours = 0;
    let degraded = 0;
    for (let hour = 0; hour < this.#done; hour++) {
      const unmet = this.#hours.unmetBytes[hour];
      if (unmet <= 0) continue;
      const missed =
        unmet +
        this.#hours.contentMissBytes[hour] +
        this.#hours.healthMissBytes[hour] +
        this.#hours.otherMissBytes[hour];
      const given = Math.min(unmet, missed * (1 - degradeTo));
      degraded += degradeTo < 1 ? given / (1 - degradeTo) / streamHourBytes : 0;
      refusedHours += (unmet - given) / streamHourBytes;
    }
    return {
      startsRefused: refusedHours / (MEAN_TITLE_HOURS * MEAN_VIEW_SHARE),
      streamHoursDegraded: degraded,
    };
  }

  #nights(): Night[] {
    const { scenario, network, rows } = this.#run;
    const storage = storageOf(this.#run);
    const days = Math.ceil(this.#done / 24);
    return Array.from({ length: days }, (_, day) => {
      let fill = 0;
      let originFill = 0;
      let deleted = 0;
      let planned = 0;
      let peak = 0;
      let gap = 0;
      let proved = 0;
      network.units.forEach((unit, at) => {
        const row = (at * scenario.days + day) * ROW_LENGTH;
        fill += rows[row + ROW.fillBytes];
        originFill += rows[row + ROW.originFill];
        deleted += rows[row + ROW.deletedBytes];
        planned += rows[row + ROW.planned] * unit.peakBps;
        peak += unit.peakBps;
        const found = rows[row + ROW.gap];
        if (!Number.isNaN(found)) {
          gap += found * unit.peakBps;
          proved += unit.peakBps;
        }
      });
      return {
        day,
        fillBytes: fill,
        originFillBytes: originFill,
        deletedBytes: deleted,
        churnShare: storage > 0 ? fill / storage : 0,
        plannedOffloadShare: peak > 0 ? planned / peak : 0,
        gapShare: proved > 0 ? gap / proved : null,
      };
    });
  }

  #originLink(): LinkRow {
    const { network } = this.#run.scenario;
    const out = this.#originOut.subarray(0, this.#done);
    return {
      link: 'origin',
      kind: 'origin',
      capacityGbps: network.originGbps,
      peakGbps: most(out) / GBPS,
      gbps95: percentile95(out) / GBPS,
      overflowBytes: this.#originLost,
      overflowHours: this.#originLostHours,
    };
  }
}

export const NOTES = [
  'A box that is out keeps its plan: what it holds is a health miss until it is back; nothing is planned again for the others.',
  'What a site cannot serve goes to its two nearest exchanges, then to the origin; other sites in ISPs are not asked.',
  'Fill is not taken off the links that viewers use; it is counted by hour, and at the origin it goes first.',
] as const;

function storageOf({ network }: Run): number {
  return network.units.reduce(
    (sum, unit) => sum + unit.clusters * unit.boxes * unit.storageBytes,
    0,
  );
}
