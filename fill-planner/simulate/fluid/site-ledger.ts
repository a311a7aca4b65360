/**
 * What is kept per site while the hours go by: sums by class, peaks, links' hours, what was turned away; and the rows made of it.
 *
 * Invariants: (1) an hour counts once per site and link, however many clusters the site has
 */
import type { Limit, LinkRow, SiteRow } from '../result.ts';
import { ROW, ROW_LENGTH } from './country-run.ts';
import { FLOW, FLOW_LENGTH, type HourFlows } from './flows.ts';
import type { Run } from './gather.ts';

const GBPS = 1e9;
const HOUR_BYTES = 3600 / 8;
const LINKS_MAX = 200;
const LINKS = ['serving', 'peering', 'transit'] as const;

/** Per site and hour, what percentiles need. */
interface SiteHourly {
  readonly peering: Float32Array;
  readonly transit: Float32Array;
  readonly origin: Float32Array;
}

export class SiteLedger {
  readonly #run: Run;
  readonly #sites: SiteHourly[];
  readonly #sums: Float64Array; // (site, FLOW), bytes
  readonly #peak: Float64Array; // (site, 2): demand, home
  readonly #over: Int32Array; // hours, per site
  readonly #lost: Float64Array; // (site, 3) bytes: serving, peering, transit
  readonly #lostHours: Int32Array; // (site, 3)
  readonly #exchangePeak: Float64Array;
  readonly #exchangeHourly = new Map<number, Float32Array>();
  #done = 0;

  constructor(run: Run) {
    this.#run = run;
    const hours = run.scenario.days * 24;
    const sites = run.network.sites.length;
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
  }

  add(hour: number, found: HourFlows): void {
    const { units } = this.#run.network;
    const { flows, wanted } = found;
    const lost = [0, 0, 0];
    for (let at = 0; at < units.length; at++) {
      const { site } = units[at];
      const base = at * FLOW_LENGTH;
      for (let flow = 0; flow < FLOW_LENGTH; flow++) {
        this.#sums[site * FLOW_LENGTH + flow] += flows[base + flow] * HOUR_BYTES;
      }
      const hourly = this.#sites[site];
      hourly.peering[hour] += flows[base + FLOW.tier1];
      hourly.transit[hour] += flows[base + FLOW.tier2] + flows[base + FLOW.origin];
      hourly.origin[hour] += flows[base + FLOW.origin];
      LINKS.forEach((link, index) => {
        lost[index] += wanted[link][at];
      });
      if (at + 1 < units.length && units[at + 1].site === site) continue;
      this.#note(site, lost);
      lost.fill(0);
    }
    this.#peaks(flows);
    this.#exchanges(hour, found);
    this.#done = hour + 1;
  }

  #note(site: number, lost: readonly number[]): void {
    let isOver = false;
    lost.forEach((bps, link) => {
      if (bps <= 1) return;
      isOver = true;
      this.#lost[site * 3 + link] += bps * HOUR_BYTES;
      this.#lostHours[site * 3 + link]++;
    });
    if (isOver) this.#over[site]++;
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

  row(at: number): SiteRow {
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

  /** The links with the most overflow or load; `origin` is a row of its own. */
  links(origin: LinkRow): LinkRow[] {
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
    found.push(origin);
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

/** Nearest rank. */
export function percentile95(values: Float32Array): number {
  if (values.length === 0) return 0;
  const sorted = values.slice().sort();
  return sorted[Math.min(sorted.length - 1, Math.ceil(0.95 * sorted.length) - 1)];
}

export function most(values: Float32Array): number {
  let peak = 0;
  for (const value of values) if (value > peak) peak = value;
  return peak;
}
