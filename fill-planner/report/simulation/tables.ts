/**
 * The tables of a simulation report. Each is plain text in cells, so that it can be copied into a sheet.
 */
import { totalsWithMeaning, type SimulationResult, type SiteRow } from '../../simulate/result.ts';
import type { Comparison } from './comparison.ts';
import { bandOf, decimalBytes, FIGURES, plain } from './figures.ts';

export interface Table {
  readonly id: string;
  readonly title: string;
  readonly note: string;
  readonly columns: readonly { readonly title: string; readonly isNumber: boolean }[];
  readonly rows: readonly (readonly string[])[];
}

const ROWS_MAX = 200;

export function tablesOf(results: readonly SimulationResult[]): readonly Table[] {
  const [base] = results;
  return [
    totalsTable(results),
    ...(base.sites.length > 0 ? [sitesTable(base), pricesTable(base)] : []),
    ...(base.links.some((link) => link.overflowBytes > 0) ? [linksTable(base)] : []),
    ...(base.events.length > 0 ? [eventsTable(base)] : []),
    ...(base.nights.length > 0 ? [nightsTable(base)] : []),
  ];
}

function totalsTable(results: readonly SimulationResult[]): Table {
  const hasBands = results[0].meta.seeds.length > 1;
  const level = Math.round(100 * results[0].meta.bandLevel);
  return {
    id: 'totals',
    title: results.length > 1 ? 'All figures, each variant' : 'All figures',
    note: hasBands
      ? `Mean over ${results[0].meta.seeds.length} seeds; in brackets the band that ${level} % of further seeds should fall in.`
      : 'One seed: run with --seeds to see how much of it is chance.',
    columns: [text('Figure'), ...results.map((result) => number(result.meta.variant))],
    rows: FIGURES.filter(({ metric }) =>
      totalsWithMeaning(results[0].meta.engine).includes(metric),
    ).map(({ metric, label, print }) => [
      label,
      ...results.map((result) => {
        const band = bandOf(result, metric);
        return band === null
          ? print(result.totals[metric])
          : `${print(band.mean)} [${print(band.low)}, ${print(band.high)}]`;
      }),
    ]),
  };
}

function sitesTable(result: SimulationResult): Table {
  const worst = [...result.sites].sort(
    (a, b) => lostBytes(b) - lostBytes(a) || (a.siteId < b.siteId ? -1 : 1),
  );
  return {
    id: 'sites',
    title: 'Sites, most bytes lost to the home site first',
    note: counted(result.sites.length, 'sites'),
    columns: [
      text('Site'),
      text('Country'),
      ...[
        'Boxes',
        'Disk TB',
        'Gbit/s',
        'Peak asked',
        'Offload',
        'Content',
        'Health',
        'Other',
        'Unmet',
      ].map(number),
      text('Breaks first'),
      number('Room to grow'),
      number('Hours over'),
    ],
    rows: worst
      .slice(0, ROWS_MAX)
      .map((site) => [
        site.siteId,
        site.country,
        String(site.appliances),
        plain(site.storageTb),
        plain(site.servingGbps),
        plain(site.peakDemandGbps),
        percent(site.offloadShare),
        percent(site.contentMissShare),
        percent(site.healthMissShare),
        percent(site.otherMissShare),
        percent(site.unmetShare),
        site.firstLimit,
        percent(site.headroomShare),
        String(site.overflowHours),
      ]),
  };
}

function pricesTable(result: SimulationResult): Table {
  const ranked = [...result.sites].sort(
    (a, b) => b.gbpsPerTbStorage - a.gbpsPerTbStorage || (a.siteId < b.siteId ? -1 : 1),
  );
  return {
    id: 'prices',
    title: 'What one more unit would serve at the peak, by site',
    note: `${counted(result.sites.length, 'sites')} The planner’s multipliers: small changes only; a second box is a scenario of its own.`,
    columns: [
      text('Site'),
      number('Gbit/s per TB of disk'),
      number('per Gbit/s of serving'),
      number('per TB of nightly fill'),
      number('Peering, 95th'),
      number('Transit, 95th'),
      number('Origin, 95th'),
    ],
    rows: ranked
      .slice(0, ROWS_MAX)
      .map((site) => [
        site.siteId,
        plain(site.gbpsPerTbStorage),
        plain(site.gbpsPerGbpsServing),
        plain(site.gbpsPerTbWindow),
        plain(site.peeringGbps95),
        plain(site.transitGbps95),
        plain(site.originGbps95),
      ]),
  };
}

function linksTable(result: SimulationResult): Table {
  const over = result.links
    .filter((link) => link.overflowBytes > 0)
    .sort((a, b) => b.overflowBytes - a.overflowBytes || (a.link < b.link ? -1 : 1));
  return {
    id: 'links',
    title: 'Links that were too small',
    note: counted(over.length, 'links with overflow'),
    columns: [
      text('Link'),
      text('Kind'),
      ...['Capacity', 'Peak', '95th percentile'].map((title) => number(`${title}, Gbit/s`)),
      number('Turned away'),
      number('Hours'),
    ],
    rows: over
      .slice(0, ROWS_MAX)
      .map((link) => [
        link.link,
        link.kind,
        plain(link.capacityGbps),
        plain(link.peakGbps),
        plain(link.gbps95),
        decimalBytes(link.overflowBytes),
        String(link.overflowHours),
      ]),
  };
}

function eventsTable(result: SimulationResult): Table {
  return {
    id: 'events',
    title: 'What happened',
    note: counted(result.events.length, 'events'),
    columns: [
      text('Event'),
      text('What'),
      number('From hour'),
      number('Until hour'),
      number('Sites'),
    ],
    rows: result.events
      .slice(0, ROWS_MAX)
      .map((event) => [
        event.kind,
        event.what,
        plain(event.fromHour),
        plain(event.untilHour),
        String(event.sites),
      ]),
  };
}

function nightsTable(result: SimulationResult): Table {
  return {
    id: 'nights',
    title: 'Nights',
    note: 'The gap is how far the plan is from a proven upper bound; empty where it was not proved that night.',
    columns: [
      'Night',
      'Filled',
      'from the origin',
      'Deleted',
      'of storage',
      'Planned offload',
      'Gap',
    ].map(number),
    rows: result.nights
      .slice(0, 366)
      .map((night) => [
        String(night.day),
        decimalBytes(night.fillBytes),
        decimalBytes(night.originFillBytes),
        decimalBytes(night.deletedBytes),
        percent(night.churnShare),
        percent(night.plannedOffloadShare),
        night.gapShare === null ? '' : `${(100 * night.gapShare).toFixed(4)} %`,
      ]),
  };
}

export function comparisonTable(
  { rows, how, seeds }: Comparison,
  names: readonly [string, string],
): Table {
  const notes = {
    'one seed':
      'One seed on a side: differences of these very runs, not judged. Run both with --seeds 5 or more.',
    'paired by seed': `Compared seed by seed, ${seeds} seeds: 95 % interval of the difference (paired t).`,
    'independent seeds': `Different seeds, at least ${seeds} a side: 95 % interval of the difference (Welch).`,
  } as const;
  return {
    id: 'comparison',
    title: `${names[1]} against ${names[0]}`,
    note: notes[how],
    columns: [
      text('Figure'),
      number(names[0]),
      number(names[1]),
      number('Difference'),
      number('95 % interval'),
      text('Verdict'),
    ],
    rows: rows.map((row) => [
      row.figure.label,
      row.figure.print(row.before),
      row.figure.print(row.after),
      row.figure.printDifference(row.difference),
      row.interval === null
        ? ''
        : `[${row.interval.map((edge) => row.figure.printDifference(edge)).join(', ')}]`,
      row.verdict,
    ]),
  };
}

function lostBytes(site: SiteRow): number {
  return (1 - site.offloadShare) * site.demandBytes;
}

function counted(count: number, what: string): string {
  return count > ROWS_MAX
    ? `The first ${ROWS_MAX} of ${plain(count)} ${what}; all are in the JSON file beside this one.`
    : `${plain(count)} ${what}.`;
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}

function text(title: string): { title: string; isNumber: boolean } {
  return { title, isNumber: false };
}

function number(title: string): { title: string; isNumber: boolean } {
  return { title, isNumber: true };
}
