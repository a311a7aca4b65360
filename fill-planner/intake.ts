/**
 * Takes in one night's input: every record that does not fit is named and left out, the rest is planned.
 *
 * Shape:      any JSON -> the input without its bad records, and what was wrong | why nothing can be planned
 * Errors:     only what leaves nothing to plan is a refusal: no epoch, no plan date, a list that is no list
 * Invariants: (1) every ordinal of demand, holdings and titles belongs to a listed file of the input's epoch
 *             (2) at most one record per (ordinal, home, day), none after the plan date
 *             (3) every appliance is of a listed site and cluster, each once
 */
import { Value } from 'typebox/value';
import { checker } from '#base/config.ts';
import type { Outcome } from '#base/outcome.ts';
import { HOME_UNKNOWN } from '#control-plane/contract.ts';
import { PlannerInputSchema, type PlannerInput } from './contract.ts';

export const PROBLEM_LENGTH_MAX = 300;
const PROBLEMS_PER_KIND_MAX = 20; // a broken feed repeats itself: the count says the rest
const BYTES_PER_DAY_MAX = 1e18; // an exabyte of one file at one cluster in a day: no network carries it
const STARTS_PER_DAY_MAX = 1e12;

const shapes = PlannerInputSchema.properties;
const checks = {
  sites: checker(shapes.sites.items),
  appliances: checker(shapes.appliances.items),
  titles: checker(shapes.titles.items),
  demand: checker(shapes.demand.items),
  holdings: checker(shapes.holdings.items),
};
type Section = keyof typeof checks;
const SECTIONS = Object.keys(checks) as readonly Section[];

export interface Intake {
  readonly input: PlannerInput;
  readonly problems: readonly string[];
}

export function takeIn(value: unknown): Outcome<Intake, string> {
  if (typeof value !== 'object' || value === null) {
    return refused('the planner input is no JSON object');
  }
  const given = value as Record<string, unknown>;
  if (!Value.Check(shapes.epoch, given['epoch'])) {
    return refused(
      `/epoch is ${print(given['epoch'])}: a catalogue epoch is a whole number from 1`,
    );
  }
  if (!Value.Check(shapes.planDate, given['planDate']) || Number.isNaN(dayOf(given['planDate']))) {
    return refused(
      `/planDate is ${print(given['planDate'])}: a plan date is a UTC date, YYYY-MM-DD`,
    );
  }
  if (!Value.Check(shapes.cutAtMs, given['cutAtMs'])) {
    return refused(
      `/cutAtMs is ${print(given['cutAtMs'])}: the time of the cut is Unix milliseconds`,
    );
  }
  const problems = new ProblemList();
  const lists = {} as Record<Section, unknown[]>;
  for (const section of SECTIONS) {
    const list = given[section];
    if (!Array.isArray(list)) return refused(`/${section} is no list`);
    lists[section] = list.filter((record, at) => {
      const outcome = checks[section](record);
      if (!outcome.ok) problems.add(section, `${section}[${at}]: ${outcome.failure[0]}`);
      return outcome.ok;
    });
  }
  const input = {
    epoch: given['epoch'],
    planDate: given['planDate'],
    cutAtMs: given['cutAtMs'],
    ...lists,
  } as PlannerInput;
  return { ok: true, value: { input: related(input, problems), problems: problems.all() } };
}

/** Keeps what fits together: first the fleet and the catalogue, then what refers to them. */
function related(input: PlannerInput, problems: ProblemList): PlannerInput {
  const sites = firstOfEach(
    input.sites,
    (site) => site.siteId,
    (id) => {
      problems.add('sites', `site ${id} is listed twice: the first is taken`);
    },
  );
  const clusterSites = new Map<string, string>();
  for (const site of sites) {
    for (const cluster of site.clusters) {
      const taken = clusterSites.get(cluster.clusterId);
      if (taken === undefined) clusterSites.set(cluster.clusterId, site.siteId);
      else {
        problems.add('sites', `cluster ${cluster.clusterId} is of ${taken} and of ${site.siteId}`);
      }
    }
  }
  const appliances = firstOfEach(
    input.appliances,
    (box) => box.applianceId,
    (id) => {
      problems.add('appliances', `appliance ${id} is listed twice: the first is taken`);
    },
  ).filter((box) => {
    if (clusterSites.get(box.clusterId) === box.siteId) return true;
    problems.add(
      'appliances',
      `appliance ${box.applianceId}: site ${box.siteId} has no cluster ${box.clusterId}: not planned`,
    );
    return false;
  });
  const titles = knownTitles(input, problems);
  const ordinals = new Set(titles.flatMap((title) => title.ordinals));
  const populated = new Set(appliances.map((box) => box.siteId));
  for (const site of sites) {
    if (!populated.has(site.siteId)) {
      problems.add(
        'sites',
        `site ${site.siteId} has no appliance: its viewers are served elsewhere`,
      );
    }
  }
  return {
    ...input,
    sites,
    appliances,
    titles,
    demand: knownDemand({ ...input, sites }, ordinals, clusterSites, problems),
    holdings: knownHoldings(
      input,
      ordinals,
      new Set(appliances.map((b) => b.applianceId)),
      problems,
    ),
  };
}

function knownTitles(input: PlannerInput, problems: ProblemList): PlannerInput['titles'] {
  const fileOfOrdinal = new Map<number, string>();
  return firstOfEach(
    input.titles,
    (title) => title.listing.titleId,
    (id) => {
      problems.add('titles', `title ${id} is listed twice: the first is taken`);
    },
  ).filter(({ listing, ordinals }) => {
    if (listing.files.length !== ordinals.length) {
      problems.add(
        'titles',
        `title ${listing.titleId} has ${listing.files.length} files and ${ordinals.length} ordinals: not planned`,
      );
      return false;
    }
    for (let at = 0; at < ordinals.length; at++) {
      const other = fileOfOrdinal.get(ordinals[at]);
      if (other !== undefined && other !== listing.files[at].fileId) {
        problems.add(
          'titles',
          `title ${listing.titleId}: ordinal ${ordinals[at]} already names another file: not planned`,
        );
        return false;
      }
    }
    ordinals.forEach((ordinal, at) => fileOfOrdinal.set(ordinal, listing.files[at].fileId));
    return true;
  });
}

function knownDemand(
  input: PlannerInput,
  ordinals: ReadonlySet<number>,
  clusters: ReadonlyMap<string, string>,
  problems: ProblemList,
): PlannerInput['demand'] {
  const seen = new Set<string>();
  const planDay = dayOf(input.planDate);
  const unknownHomes = new Set<string>();
  return input.demand.filter((record) => {
    const { ordinal, home, day, bytes, starts } = record;
    const name = `view record of ordinal ${ordinal}, home ${home}, day ${day}`;
    const refuse = (why: string): boolean => {
      problems.add('demand', `${name}: ${why}`);
      return false;
    };
    if (Number.isNaN(dayOf(day))) return refuse('no such day');
    if (dayOf(day) > planDay) {
      return refuse(`after the plan date ${input.planDate}: days are UTC, not local`);
    }
    if (bytes > BYTES_PER_DAY_MAX) return refuse(`${bytes} bytes in a day cannot be: left out`);
    if (starts > STARTS_PER_DAY_MAX) return refuse(`${starts} starts in a day cannot be: left out`);
    if (!ordinals.has(ordinal)) {
      return refuse(`no listed file has this ordinal in epoch ${input.epoch}`);
    }
    const key = `${ordinal} ${home} ${day}`;
    if (seen.has(key)) return refuse('given twice: the first is taken');
    seen.add(key);
    if (home !== HOME_UNKNOWN && !clusters.has(home) && !unknownHomes.has(home)) {
      unknownHomes.add(home);
      problems.add('homes', `home ${home} is no cluster: its views count for the fleet only`);
    }
    return true;
  });
}

function knownHoldings(
  input: PlannerInput,
  ordinals: ReadonlySet<number>,
  appliances: ReadonlySet<string>,
  problems: ProblemList,
): PlannerInput['holdings'] {
  return firstOfEach(
    input.holdings,
    (entry) => entry.applianceId,
    (id) => {
      problems.add('holdings', `holdings of ${id} are listed twice: the first is taken`);
    },
  )
    .filter((entry) => {
      if (appliances.has(entry.applianceId)) return true;
      problems.add('holdings', `holdings of ${entry.applianceId}, which is not planned: left out`);
      return false;
    })
    .map((entry) => {
      const known = [...new Set(entry.ordinals)].filter((ordinal) => ordinals.has(ordinal));
      const unknown = new Set(entry.ordinals).size - known.length;
      if (unknown > 0) {
        problems.add(
          'holdings',
          `${entry.applianceId} holds ${unknown} ordinals that no listed file of epoch ${input.epoch} has: treated as absent`,
        );
      }
      return { applianceId: entry.applianceId, ordinals: known };
    });
}

/** UTC day number of a date; NaN where there is no such day (2026-02-30). */
export function dayOf(date: string): number {
  const ms = Date.parse(`${date}T00:00:00Z`);
  return new Date(ms).toString() !== 'Invalid Date' &&
    new Date(ms).toISOString().slice(0, 10) === date
    ? Math.floor(ms / 86_400_000)
    : Number.NaN;
}

/** Problems by kind, a few of each, then their number. */
class ProblemList {
  readonly #byKind = new Map<string, string[]>();
  readonly #counts = new Map<string, number>();

  add(kind: string, problem: string): void {
    const listed = this.#byKind.get(kind) ?? [];
    if (listed.length < PROBLEMS_PER_KIND_MAX) listed.push(problem.slice(0, PROBLEM_LENGTH_MAX));
    this.#byKind.set(kind, listed);
    this.#counts.set(kind, (this.#counts.get(kind) ?? 0) + 1);
  }

  all(): readonly string[] {
    return [...this.#byKind].flatMap(([kind, listed]) => {
      const more = (this.#counts.get(kind) ?? 0) - listed.length;
      return more > 0 ? [...listed, `${kind}: ${more} more like these`] : listed;
    });
  }
}

function firstOfEach<T>(
  list: readonly T[],
  key: (entry: T) => string,
  onDouble: (key: string) => void,
): T[] {
  const seen = new Set<string>();
  return list.filter((entry) => {
    const name = key(entry);
    if (!seen.has(name)) {
      seen.add(name);
      return true;
    }
    onDouble(name);
    return false;
  });
}

function refused(failure: string): { readonly ok: false; readonly failure: string } {
  return { ok: false, failure };
}

function print(value: unknown): string {
  return (JSON.stringify(value) ?? 'missing').slice(0, 60);
}
