/**
 * A scenario's events as what each site can do in each hour.
 *
 * Units:      hours UTC from the scenario's first; shares of what is usual, 1 where nothing happens
 * Invariants: (1) a site without events costs no memory
 */
import type { Scenario } from '../scenario.ts';
import type { ScenarioEvent } from '../events.ts';
import { hashOf, nameKey } from '../workload/chance.ts';
import type { Network, Site } from './units.ts';

export interface SiteHours {
  readonly serving: Float32Array; // of what its boxes can serve
  readonly reachable: Float32Array; // of what they hold: the rest is a health miss
  readonly held: Float32Array; // of what they hold: the rest left the holdings, a content miss
  readonly demand: Float32Array;
  readonly peering: Float32Array;
  readonly transit: Float32Array;
  readonly fill: Float32Array; // per day: of the night's allowance
  /** Boxes that come empty: on which day, how many. */
  readonly newBoxes: { readonly day: number; readonly count: number }[];
}

export interface Calendar {
  readonly bySite: ReadonlyMap<number, SiteHours>;
  readonly origin: Float32Array; // per hour
  readonly listed: readonly {
    readonly kind: string;
    readonly fromHour: number;
    readonly untilHour: number;
    readonly what: string;
    readonly sites: number;
  }[];
}

const PURPOSE = 51;

export function calendarOf(scenario: Scenario, network: Network, seed: number): Calendar {
  const hours = scenario.days * 24;
  const bySite = new Map<number, SiteHours>();
  const origin = new Float32Array(hours).fill(1);
  const boxesOf = siteBoxes(network);
  const listed = scenario.events.map((event, at) => {
    const fromHour = event.day * 24 + Math.floor(event.hour);
    const lasting = 'hours' in event ? Math.ceil(event.hours) : Infinity;
    const untilHour = Math.min(hours, fromHour + lasting);
    const sites = 'place' in event ? placedAt(event.place, network, seed, at) : [];
    if (event.kind === 'outage' && event.what === 'origin') origin.fill(0, fromHour, untilHour);
    else
      for (const site of sites)
        apply(event, hoursOf(bySite, site, scenario.days), fromHour, untilHour, boxesOf[site]);
    return { kind: event.kind, fromHour, untilHour, what: describe(event), sites: sites.length };
  });
  return { bySite, origin, listed };
}

function siteBoxes(network: Network): readonly number[] {
  const boxes = network.sites.map(() => 0);
  for (const unit of network.units) boxes[unit.site] += unit.clusters * unit.boxes;
  return boxes;
}

function hoursOf(bySite: Map<number, SiteHours>, site: number, days: number): SiteHours {
  const known = bySite.get(site);
  if (known !== undefined) return known;
  const ones = (length: number): Float32Array => new Float32Array(length).fill(1);
  const hours = days * 24;
  const fresh: SiteHours = {
    serving: ones(hours),
    reachable: ones(hours),
    held: ones(hours),
    demand: ones(hours),
    peering: ones(hours),
    transit: ones(hours),
    fill: ones(days),
    newBoxes: [],
  };
  bySite.set(site, fresh);
  return fresh;
}

function apply(
  event: ScenarioEvent,
  site: SiteHours,
  from: number,
  until: number,
  boxes: number,
): void {
  const times = (values: Float32Array, factor: number): void => {
    for (let hour = from; hour < until; hour++) values[hour] *= factor;
  };
  switch (event.kind) {
    case 'outage': {
      const lost = Math.min(1, event.count / boxes);
      if (event.what === 'site') {
        times(site.serving, 0);
        times(site.reachable, 0);
      } else if (event.what === 'appliance') {
        times(site.serving, 1 - lost);
        times(site.reachable, 1 - lost);
      } else if (event.what === 'disk') {
        times(site.held, 1 - lost * event.diskShare);
      } else if (event.what === 'peering') times(site.peering, 0);
      return;
    }
    case 'maintenance':
      times(site.serving, event.servingShare);
      times(site.reachable, event.servingShare > 0 ? 1 : 0);
      return;
    case 'link-upgrade':
      times(
        event.link === 'peering'
          ? site.peering
          : event.link === 'transit'
            ? site.transit
            : site.serving,
        event.factor,
      );
      return;
    case 'surge':
      times(site.demand, event.factor);
      return;
    case 'fill-window':
      for (let day = Math.floor(from / 24); day < Math.ceil(until / 24); day++) {
        site.fill[day] *= event.factor;
      }
      return;
    case 'new-box':
      site.newBoxes.push({ day: event.day, count: event.count });
      return;
    case 'release':
      return; // titles, not places: the workload knows it
  }
}

type Place = Extract<ScenarioEvent, { place: unknown }>['place'];

/** Which sites an event is about; none where no such site exists, which the result's list of events shows. */
function placedAt(place: Place, network: Network, seed: number, event: number): readonly number[] {
  const { sites } = network;
  let found = sites.flatMap((site, at) => (matches(place, site, sites) ? [at] : []));
  if (place.largestOf !== undefined) {
    const boxes = siteBoxes(network);
    const inCountry = found.filter(
      (at) => sites[at].country === place.largestOf && !sites[at].isExchange,
    );
    inCountry.sort((a, b) => boxes[b] - boxes[a] || a - b);
    found = inCountry.slice(0, 1);
  }
  if (place.share >= 1) return found;
  return found.filter(
    (at) => hashOf(seed, nameKey(sites[at].siteId), PURPOSE, event) < place.share * 2 ** 32,
  );
}

function matches(place: Place, site: Site, sites: readonly Site[]): boolean {
  if (place.site !== undefined && site.siteId !== place.site) return false;
  if (place.country !== undefined && site.country !== place.country) return false;
  if (place.exchange === undefined) return true;
  return site.tiers[0] !== -1 && sites[site.tiers[0]].siteId === place.exchange;
}

function describe(event: ScenarioEvent): string {
  switch (event.kind) {
    case 'release':
      return `${event.name}: ${event.episodes} episodes, ${Math.round(event.firstWeekShare * 100)} % of its first week, planned for ${event.forecastFactor} of it`;
    case 'outage':
      return event.what === 'site' || event.what === 'peering' || event.what === 'origin'
        ? `${event.what} out`
        : `${event.count} ${event.what}${event.count > 1 ? 's' : ''} out`;
    case 'maintenance':
      return `maintenance, ${Math.round(event.servingShare * 100)} % left`;
    case 'link-upgrade':
      return `${event.link} x ${event.factor}`;
    case 'surge':
      return `demand x ${event.factor}`;
    case 'fill-window':
      return `fill x ${event.factor}`;
    case 'new-box':
      return `${event.count} empty new box${event.count > 1 ? 'es' : ''}`;
  }
}
