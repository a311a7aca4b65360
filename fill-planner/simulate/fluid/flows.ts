/**
 * The hours of the whole network: who serves what each site's viewers ask for, in steering's order, and which limit breaks.
 *
 * home cluster -> first exchange (over the site's peering link) -> second exchange, origin (over its transit link) -> external CDN
 * -> nobody. Exchanges serve their own viewers first; what they have left is shared out in proportion. The origin fills first.
 *
 * Units:      bit/s, means over an hour
 * Invariants: (1) home + tier + origin + external + unmet = demand, per unit and hour
 *             (2) no box, link or origin carries more than its limit
 */
import type { Calendar } from '../network/calendar.ts';
import type { Network } from '../network/units.ts';
import type { Scenario } from '../scenario.ts';
import type { Diurnal } from '../workload/day-curve.ts';
import { OTHER_SHARE, RELEASE_LIFT } from '../workload/parameters.ts';
import { ROW, ROW_LENGTH } from './country-run.ts';

/** Per unit, so many numbers each hour. */
export const FLOW = {
  demand: 0,
  home: 1,
  content: 2,
  health: 3,
  other: 4,
  tier1: 5, // over the peering link
  tier2: 6, // with origin over the transit link
  origin: 7,
  external: 8,
  unmet: 9,
} as const;
export const FLOW_LENGTH = 10;

export interface HourFlows {
  /** (unit, FLOW) of one hour: valid until the next. */
  readonly flows: Float64Array;
  readonly fillBps: number;
  readonly originFillBps: number;
  readonly wanted: {
    readonly origin: number;
    /** Per unit: what links turned away. */
    readonly peering: Float64Array;
    readonly transit: Float64Array;
    readonly serving: Float64Array;
  };
  /** Per site: what an exchange was asked for by others, and served. */
  readonly exchangeWanted: Float64Array;
  readonly exchangeServed: Float64Array;
}

export class Flows {
  readonly #scenario: Scenario;
  readonly #network: Network;
  readonly #calendar: Calendar;
  readonly #diurnal: Diurnal;
  readonly #rows: Float32Array;
  readonly #flows: Float64Array;
  readonly #want1: Float64Array;
  readonly #want2: Float64Array;
  readonly #peeringLost: Float64Array;
  readonly #transitLost: Float64Array;
  readonly #servingLost: Float64Array;
  readonly #spare: Float64Array;
  readonly #asked: Float64Array;
  readonly #served: Float64Array;
  readonly #sitePeak: Float64Array;
  readonly #curves: readonly Float64Array[]; // per unit

  constructor(
    scenario: Scenario,
    network: Network,
    calendar: Calendar,
    diurnal: Diurnal,
    rows: Float32Array,
  ) {
    this.#scenario = scenario;
    this.#network = network;
    this.#calendar = calendar;
    this.#diurnal = diurnal;
    this.#rows = rows;
    const units = network.units.length;
    this.#flows = new Float64Array(units * FLOW_LENGTH);
    this.#want1 = new Float64Array(units);
    this.#want2 = new Float64Array(units);
    this.#peeringLost = new Float64Array(units);
    this.#transitLost = new Float64Array(units);
    this.#servingLost = new Float64Array(units);
    this.#spare = new Float64Array(network.sites.length);
    this.#asked = new Float64Array(network.sites.length);
    this.#served = new Float64Array(network.sites.length);
    this.#sitePeak = new Float64Array(units);
    const curves = new Map<string, Float64Array>();
    this.#curves = network.units.map((unit) => {
      const { country, offsetHours } = network.sites[unit.site];
      const key = `${country} ${offsetHours}`;
      let curve = curves.get(key);
      if (curve === undefined) {
        curve = diurnal.hours(scenario.days, offsetHours, country);
        curves.set(key, curve);
      }
      return curve;
    });
    network.units.forEach((unit, at) => {
      this.#sitePeak[at] = unit.clusters * unit.boxes * unit.servingBps;
    });
  }

  hour(hour: number): HourFlows {
    this.#spare.fill(0);
    this.#asked.fill(0);
    this.#served.fill(0);
    const fill = this.#homes(hour);
    this.#tier(hour, 0);
    this.#tier(hour, 1);
    const origin = this.#beyond(hour, fill.originFillBps);
    return {
      flows: this.#flows,
      ...fill,
      wanted: {
        origin,
        peering: this.#peeringLost,
        transit: this.#transitLost,
        serving: this.#servingLost,
      },
      exchangeWanted: this.#asked,
      exchangeServed: this.#served,
    };
  }

  /** What home boxes serve, and what is left for whom. */
  #homes(hour: number): { readonly fillBps: number; readonly originFillBps: number } {
    const { units, sites } = this.#network;
    const { days, policy } = this.#scenario;
    const day = Math.floor(hour / 24);
    const flows = this.#flows;
    let fillBps = 0;
    let originFillBps = 0;
    for (let at = 0; at < units.length; at++) {
      const unit = units[at];
      const site = sites[unit.site];
      const events = this.#calendar.bySite.get(unit.site);
      const row = (at * days + day) * ROW_LENGTH;
      const rows = this.#rows;
      const demand =
        (unit.peakBps / this.#diurnal.peakToMean) *
        this.#curves[at][hour] *
        (events?.demand[hour] ?? 1) *
        (1 + RELEASE_LIFT * rows[row + ROW.release]);
      const done = fillProgress(hour + site.offsetHours, policy.fillWindow);
      const gone = events?.held[hour] ?? 1;
      const planned =
        (rows[row + ROW.heldBefore] * (1 - done) + rows[row + ROW.heldAfter] * done) * gone;
      const held = planned + (1 - planned) * rows[row + ROW.reactive] * gone;
      const other = OTHER_SHARE * demand;
      const mine = (demand - other) * held;
      const limit = unit.clusters * unit.boxes * unit.servingBps * (events?.serving[hour] ?? 1);
      const home = Math.min(mine * (events?.reachable[hour] ?? 1), limit);
      const health = mine - home;
      const content = demand - other - mine;
      const base = at * FLOW_LENGTH;
      flows[base + FLOW.demand] = demand;
      flows[base + FLOW.home] = home;
      flows[base + FLOW.content] = content;
      flows[base + FLOW.health] = health;
      flows[base + FLOW.other] = other;
      flows.fill(0, base + FLOW.tier1, base + FLOW_LENGTH);
      this.#servingLost[at] = Math.max(0, mine - limit);
      this.#peeringLost[at] = 0;
      this.#transitLost[at] = 0;
      this.#spare[unit.site] += limit - home;
      // What exchanges hold of it: of content misses a share of all that is not held, of the others a share of what is.
      const missing = Math.max(1e-9, 1 - rows[row + ROW.heldAfter]);
      const one = Math.min(1, rows[row + ROW.tier1] / missing);
      const two = Math.min(1 - one, rows[row + ROW.tier2] / missing);
      const elsewhere = health + other;
      this.#want1[at] = content * one + elsewhere * rows[row + ROW.tier1Held];
      this.#want2[at] = content * two + elsewhere * rows[row + ROW.tier2Held];
      const share = windowShare(hour + site.offsetHours, policy.fillWindow);
      fillBps += (rows[row + ROW.fillBytes] * share * 8) / 3600;
      originFillBps += (rows[row + ROW.originFill] * share * 8) / 3600;
    }
    return { fillBps, originFillBps };
  }

  /** First exchange over the peering link, second over transit; what the first cannot take is asked of the second where it holds it. */
  #tier(hour: number, tier: 0 | 1): void {
    const { units, sites } = this.#network;
    const wants = tier === 0 ? this.#want1 : this.#want2;
    const flow = tier === 0 ? FLOW.tier1 : FLOW.tier2;
    const asked = this.#asked;
    asked.fill(0);
    for (let at = 0; at < units.length; at++) {
      const exchange = sites[units[at].site].tiers[tier];
      if (exchange === -1) wants[at] = 0;
      if (wants[at] <= 0) continue;
      const room = this.#linkRoom(at, hour, tier);
      const lost = Math.max(0, wants[at] - room);
      if (tier === 0) this.#peeringLost[at] += lost;
      else this.#transitLost[at] += lost;
      const passed = wants[at] - lost;
      if (tier === 0) this.#want2[at] += lost;
      wants[at] = passed;
      asked[exchange] += passed;
    }
    for (let at = 0; at < units.length; at++) {
      const exchange = sites[units[at].site].tiers[tier];
      if (exchange === -1 || wants[at] <= 0) continue;
      const share = asked[exchange] > 0 ? Math.min(1, this.#spare[exchange] / asked[exchange]) : 0;
      const served = wants[at] * share;
      this.#flows[at * FLOW_LENGTH + flow] = served;
      this.#served[exchange] += served;
      if (tier === 0) this.#want2[at] += wants[at] - served;
    }
    if (tier === 0) {
      for (let site = 0; site < this.#spare.length; site++) {
        this.#spare[site] = Math.max(0, this.#spare[site] - this.#served[site]);
      }
    }
  }

  /** Origin over what transit has left, then an external CDN, then nobody. Returns what was wanted of the origin. */
  #beyond(hour: number, originFillBps: number): number {
    const { units } = this.#network;
    const { network } = this.#scenario;
    const flows = this.#flows;
    let wanted = 0;
    for (let at = 0; at < units.length; at++) {
      const base = at * FLOW_LENGTH;
      const left =
        flows[base + FLOW.content] +
        flows[base + FLOW.health] +
        flows[base + FLOW.other] -
        flows[base + FLOW.tier1] -
        flows[base + FLOW.tier2];
      const room = Math.max(0, this.#linkRoom(at, hour, 1) - flows[base + FLOW.tier2]);
      this.#transitLost[at] += Math.max(0, left - room);
      flows[base + FLOW.origin] = Math.min(left, room);
      wanted += flows[base + FLOW.origin];
      flows[base + FLOW.unmet] = left - flows[base + FLOW.origin];
    }
    const origin = Math.max(
      0,
      network.originGbps * 1e9 * this.#calendar.origin[hour] - originFillBps,
    );
    const share = wanted > 0 ? Math.min(1, origin / wanted) : 1;
    let unmet = 0;
    for (let at = 0; at < units.length; at++) {
      const base = at * FLOW_LENGTH;
      const cut = flows[base + FLOW.origin] * (1 - share);
      flows[base + FLOW.origin] -= cut;
      flows[base + FLOW.unmet] += cut;
      unmet += flows[base + FLOW.unmet];
    }
    const cdn = network.externalCdn;
    if (cdn === undefined || unmet <= 0) return wanted;
    const taken = Math.min(1, (cdn.gbpsMax * 1e9) / unmet);
    for (let at = 0; at < units.length; at++) {
      const base = at * FLOW_LENGTH;
      flows[base + FLOW.external] = flows[base + FLOW.unmet] * taken;
      flows[base + FLOW.unmet] -= flows[base + FLOW.external];
    }
    return wanted;
  }

  #linkRoom(at: number, hour: number, tier: 0 | 1): number {
    const { network } = this.#scenario;
    const events = this.#calendar.bySite.get(this.#network.units[at].site);
    const share = tier === 0 ? network.peeringShare : network.transitShare;
    const state = tier === 0 ? events?.peering[hour] : events?.transit[hour];
    return this.#sitePeak[at] * share * (state ?? 1);
  }
}

interface Window {
  readonly startLocalHour: number;
  readonly hours: number;
}

/** How much of tonight's fill is in by the middle of this hour; the night of a UTC day ends with it. */
function fillProgress(localHour: number, window: Window): number {
  if (window.hours === 0) return 1;
  const since = (((localHour + 0.5 - window.startLocalHour) % 24) + 24) % 24;
  return Math.min(1, since / window.hours);
}

/** Share of the night's bytes that come in this hour. */
function windowShare(localHour: number, window: Window): number {
  if (window.hours === 0) return 0;
  const since = (((localHour - window.startLocalHour) % 24) + 24) % 24;
  return Math.max(0, Math.min(1, window.hours - since)) / window.hours;
}
