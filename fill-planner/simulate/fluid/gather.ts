/**
 * Hours and rows -> the result that reports read.
 */
import type { Calendar } from '../network/calendar.ts';
import type { Network } from '../network/units.ts';
import {
  HOUR_SERIES,
  type Engine,
  type HourSeries,
  type Limit,
  type LinkRow,
  type Night,
  type SimulationResult,
  type SiteRow,
  type Totals,
} from '../result.ts';
import type { Scenario } from '../scenario.ts';
import { MEAN_VIEW_SHARE } from '../workload/parameters.ts';
import { ROW, ROW_LENGTH } from './country-run.ts';
import { FLOW, FLOW_LENGTH, type HourFlows } from './flows.ts';

const GBPS = 1e9;
const HOUR_BYTES = 3600 / 8;
const LINKS_MAX = 200;
const MEAN_TITLE_HOURS = 0.9; // of what is watched: seasons' episodes and films, by views

/** Per site and hour, what percentiles need. */
interface SiteHourly {
  readonly peering: Float32Array;
  readonly transit: Float32Array;
  readonly origin: Float32Array;
}

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
  readonly #sites: SiteHourly[];
  readonly #sums: Float64Array; // (site, FLOW), bytes
  readonly #peak: Float64Array; // (site, 2): demand, home
  readonly #over: Int32Array; // hours, per site
  readonly #lost: Float64Array; // (site, 3) bytes: serving, peering, transit
  readonly #lostHours: Int32Array; // (site, 3)
  readonly #exchangePeak: Float64Array;
  readonly #exchangeHourly = new Map<number, Float32Array>();
  #originLost = 0;
  #originLostHours = 0;
  #originOut: Float32Array;
  #originFill: Float32Array;
  #tierOut: Float32Array;
  #done = 0;

  constructor(run: Run) {
    this.#run = run;
    const hours = run.scenario.days * 24;
    const sites = run.network.sites.length;
    this.#hours = Object.fromEntries(
      HOUR_SERIES.map((name) => [name, []]),
    ) as unknown as HourSeries;
    this.#sites = run.network.sites.map(() => ({
      peering: new Float32Array(hours),
      transit: new Float32Array(hours),
      origin: new Float32Array(hours),
    }));
    this.#sums = new Float64Array(sites * FLOW_LENGTH);
    this.#peak = new Float64Array(sites * 2);
    this.#over = new Int32Array(sites);
    this.#lost = new Float64Array(sites * 3);
    this.#lostHours = new Int32Array(sites * 3);
    this.#exchangePeak = new Float64Array(sites);
    this.#originOut = new Float32Array(hours);
    this.#originFill = new Float32Array(hours);
    this.#tierOut = new Float32Array(hours);
  }

  add(hour: number, found: HourFlows): void {
    const { units } = this.#run.network;
    const all = new Float64Array(FLOW_LENGTH);
    const { flows, wanted } = found;
    for (let at = 0; at < units.length; at++) {
      const { site } = units[at];
      const base = at * FLOW_LENGTH;
      for (let flow = 0; flow < FLOW_LENGTH; flow++) {
        all[flow] += flows[base + flow];
        this.#sums[site * FLOW_LENGTH + flow] += flows[base + flow] * HOUR_BYTES;
      }
      const hourly = this.#sites[site];
      hourly.peering[hour] += flows[base + FLOW.tier1];
      hourly.transit[hour] += flows[base + FLOW.tier2] + flows[base + FLOW.origin];
      hourly.origin[hour] += flows[base + FLOW.origin];
      this.#note(site, 0, wanted.serving[at]);
      this.#note(site, 1, wanted.peering[at]);
      this.#note(site, 2, wanted.transit[at]);
      const isOver = wanted.serving[at] + wanted.peering[at] + wanted.transit[at] > 1;
      if (isOver && (at === 0 || units[at - 1].site !== site)) this.#over[site]++;
    }
    this.#peaks(flows);
    this.#exchanges(hour, found);
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

  #note(site: number, link: number, lost: number): void {
    if (lost <= 1) return;
    this.#lost[site * 3 + link] += lost * HOUR_BYTES;
    this.#lostHours[site * 3 + link]++;
  }

  #peaks(flows: Float64Array): void {
    const { units } = this.#run.network;
    let demand = 0;
    let home = 0;
    for (let at = 0; at < units.length; at++) {
      demand += flows[at * FLOW_LENGTH + FLOW.demand];
      home += flows[at * FLOW_LENGTH + FLOW.home];
      if (at + 1 < units.length && units[at + 1].site === units[at].site) continue;
      const { site } = units[at];
      this.#peak[2 * site] = Math.max(this.#peak[2 * site], demand);
      this.#peak[2 * site + 1] = Math.max(this.#peak[2 * site + 1], home);
      demand = home = 0;
    }
  }

  #exchanges(hour: number, found: HourFlows): void {
    const { sites } = this.#run.network;
    for (let site = 0; site < sites.length; site++) {
      if (!sites[site].isExchange) continue;
      let hourly = this.#exchangeHourly.get(site);
      if (hourly === undefined) {
        hourly = new Float32Array(this.#run.scenario.days * 24);
        this.#exchangeHourly.set(site, hourly);
      }
      hourly[hour] = found.exchangeServed[site];
      this.#exchangePeak[site] = Math.max(this.#exchangePeak[site], found.exchangeServed[site]);
    }
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
      sites: network.sites.map((_, at) => this.#siteRow(at)),
      links: this.#links(),
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

  #siteRow(at: number): SiteRow {
    const { network, scenario, rows } = this.#run;
    const site = network.sites[at];
    const units = network.units.flatMap((unit, index) =>
      unit.site === at ? [{ unit, index }] : [],
    );
    const boxes = units.reduce((sum, { unit }) => sum + unit.clusters * unit.boxes, 0);
    const storage = units.reduce(
      (sum, { unit }) => sum + unit.clusters * unit.boxes * unit.storageBytes,
      0,
    );
    const serving = units.reduce(
      (sum, { unit }) => sum + unit.clusters * unit.boxes * unit.servingBps,
      0,
    );
    const sum = (flow: number): number => this.#sums[at * FLOW_LENGTH + flow];
    const demand = sum(FLOW.demand);
    const of = (flow: number): number => (demand > 0 ? sum(flow) / demand : 0);
    const lastDay = Math.max(0, Math.ceil(this.#done / 24) - 1);
    const price = (field: number): number =>
      Math.max(
        0,
        ...units.map(({ index }) => rows[(index * scenario.days + lastDay) * ROW_LENGTH + field]),
      );
    const hourly = this.#sites[at];
    const limit = this.#firstLimit(at, serving);
    return {
      siteId: site.siteId,
      country: site.country,
      exchange: site.tiers[0] === -1 ? '' : network.sites[site.tiers[0]].siteId,
      isExchange: site.isExchange,
      latitude: site.latitude,
      longitude: site.longitude,
      appliances: boxes,
      storageTb: storage / 1e12,
      servingGbps: serving / GBPS,
      demandBytes: demand,
      offloadShare: of(FLOW.home),
      contentMissShare: of(FLOW.content),
      healthMissShare: of(FLOW.health),
      otherMissShare: of(FLOW.other),
      unmetShare: of(FLOW.unmet),
      peakDemandGbps: this.#peak[2 * at] / GBPS,
      peakServedGbps: this.#peak[2 * at + 1] / GBPS,
      peeringGbps95: percentile95(hourly.peering.subarray(0, this.#done)) / GBPS,
      transitGbps95: percentile95(hourly.transit.subarray(0, this.#done)) / GBPS,
      originGbps95: percentile95(hourly.origin.subarray(0, this.#done)) / GBPS,
      gbpsPerTbStorage: price(ROW.perStorage) * 1000,
      gbpsPerGbpsServing: price(ROW.perServing),
      gbpsPerTbWindow: price(ROW.perFill) * 1000,
      ...limit,
      overflowHours: this.#over[at],
    };
  }

  /** Which limit is nearest to being reached as this site's demand grows: load at its peak over capacity, the highest first. */
  #firstLimit(at: number, serving: number): { firstLimit: Limit; headroomShare: number } {
    const { network } = this.#run.scenario;
    const lost = (link: number): number => this.#lost[at * 3 + link];
    const hourly = this.#sites[at];
    const load = (peak: number, capacity: number, turnedAway: number): number =>
      turnedAway > 0
        ? 1 + turnedAway / Math.max(1, capacity * 3600)
        : capacity > 0
          ? peak / capacity
          : 0;
    const loads: readonly (readonly [Limit, number])[] = [
      ['serving', load(this.#peak[2 * at + 1], serving, lost(0))],
      [
        'peering',
        load(most(hourly.peering.subarray(0, this.#done)), serving * network.peeringShare, lost(1)),
      ],
      [
        'transit',
        load(most(hourly.transit.subarray(0, this.#done)), serving * network.transitShare, lost(2)),
      ],
    ];
    const [limit, height] = loads.reduce((best, entry) => (entry[1] > best[1] ? entry : best));
    return height > 0
      ? { firstLimit: limit, headroomShare: 1 / height - 1 }
      : { firstLimit: 'none', headroomShare: 0 };
  }

  #links(): LinkRow[] {
    const { network, scenario } = this.#run;
    const found: LinkRow[] = [];
    const done = this.#done;
    const serving = network.sites.map(() => 0);
    for (const unit of network.units)
      serving[unit.site] += unit.clusters * unit.boxes * unit.servingBps;
    network.sites.forEach((site, at) => {
      const row = (
        kind: LinkRow['kind'],
        link: number,
        capacity: number,
        hourly: Float32Array | null,
        peak: number,
      ): void => {
        found.push({
          link: `${kind} ${site.siteId}`,
          kind,
          capacityGbps: capacity / GBPS,
          peakGbps: peak / GBPS,
          gbps95: hourly === null ? peak / GBPS : percentile95(hourly.subarray(0, done)) / GBPS,
          overflowBytes: link < 0 ? 0 : this.#lost[at * 3 + link],
          overflowHours: link < 0 ? 0 : this.#lostHours[at * 3 + link],
        });
      };
      const { peering, transit } = this.#sites[at];
      row('serving', 0, serving[at], null, this.#peak[2 * at + 1]);
      row(
        'peering',
        1,
        serving[at] * scenario.network.peeringShare,
        peering,
        most(peering.subarray(0, done)),
      );
      row(
        'transit',
        2,
        serving[at] * scenario.network.transitShare,
        transit,
        most(transit.subarray(0, done)),
      );
      const exchange = this.#exchangeHourly.get(at);
      if (exchange !== undefined)
        row('exchange', -1, serving[at], exchange, this.#exchangePeak[at]);
    });
    found.push({
      link: 'origin',
      kind: 'origin',
      capacityGbps: scenario.network.originGbps,
      peakGbps: most(this.#originOut.subarray(0, done)) / GBPS,
      gbps95: percentile95(this.#originOut.subarray(0, done)) / GBPS,
      overflowBytes: this.#originLost,
      overflowHours: this.#originLostHours,
    });
    const load = (row: LinkRow): number =>
      row.capacityGbps > 0 ? row.peakGbps / row.capacityGbps : 0;
    return found
      .sort(
        (a, b) =>
          b.overflowBytes - a.overflowBytes || load(b) - load(a) || (a.link < b.link ? -1 : 1),
      )
      .slice(0, LINKS_MAX);
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

/** Nearest rank. */
export function percentile95(values: Float32Array): number {
  if (values.length === 0) return 0;
  const sorted = values.slice().sort();
  return sorted[Math.min(sorted.length - 1, Math.ceil(0.95 * sorted.length) - 1)];
}

function most(values: Float32Array): number {
  let peak = 0;
  for (const value of values) if (value > peak) peak = value;
  return peak;
}
