/**
 * A run on the terminal: one column a variant, what a capacity engineer looks at first.
 */
import {
  totalsWithMeaning,
  type Band,
  type SimulationResult,
  type SiteRow,
  type Totals,
} from './result.ts';

type Figure = readonly [string, keyof Totals, (value: number) => string];

const percent = (value: number): string => `${(value * 100).toFixed(2)} %`;
const gbps = (value: number): string =>
  `${value >= 100 ? value.toFixed(0) : value.toFixed(2)} Gbit/s`;
const whole = (value: number): string => Math.round(value).toLocaleString('en-US');
const usd = (value: number): string => `$${whole(value)}`;

const FIGURES: readonly Figure[] = [
  ['offload (served at home)', 'offloadShare', percent],
  ['net of fill', 'netOffloadShare', percent],
  ['content misses', 'contentMissShare', percent],
  ['health misses', 'healthMissShare', percent],
  ['carried by nobody', 'unmetShare', percent],
  ['origin, 95th percentile', 'originGbps95', gbps],
  ['other sites, 95th percentile', 'tierGbps95', gbps],
  ['origin fill, 95th percentile', 'originFillGbps95', gbps],
  ['demand at its peak', 'demandPeakGbps', gbps],
  ['filled a night, of storage', 'churnShareNight', percent],
  ['starts refused', 'startsRefused', whole],
  ['stream hours degraded', 'streamHoursDegraded', whole],
  ['external CDN', 'externalUsd', usd],
];
const SITES_SHOWN = 5;

export function summaryOf(results: readonly SimulationResult[]): string {
  const [first] = results;
  const { meta } = first;
  const meant = totalsWithMeaning(meta.engine);
  const lines = [
    `${meta.name}: ${meta.sites} sites, ${meta.appliances} appliances, ${meta.days} days from ${meta.startDate}, ${meta.engine} engine, ${meta.seeds.length === 1 ? `seed ${meta.seed}` : `seeds ${meta.seeds.join(', ')}`}`,
    ...(meta.question === '' ? [] : [meta.question]),
    ...results
      .filter((result) => result.meta.isPartial)
      .map(
        (result) =>
          `PARTIAL: ${result.meta.variant} was stopped after ${result.meta.hoursDone} hours`,
      ),
    ...meta.errors.map(
      (error) =>
        `${error.metric} against ${error.against}: off by ${error.meanPoints.toFixed(2)} points in the mean, ${error.maxPoints.toFixed(2)} at most`,
    ),
    '',
    ...table([
      ['', ...results.map((result) => result.meta.variant)],
      ...FIGURES.filter(([, metric]) => meant.includes(metric)).map(([title, metric, format]) => [
        title,
        ...results.map((result) => cell(result, metric, format)),
      ]),
    ]),
    ...(first.sites.length === 0 ? [] : ['', ...siteLines(first)]),
  ];
  return `${lines.join('\n')}\n`;
}

function cell(
  { totals, bands }: SimulationResult,
  metric: keyof Totals,
  format: (value: number) => string,
): string {
  const band = bands.find((entry: Band) => entry.metric === metric);
  if (band === undefined) return format(totals[metric]);
  return `${format(band.mean)} [${format(Math.max(0, band.low))}, ${format(band.high)}]`;
}

/** Where one more unit helps most, and what breaks first. */
function siteLines({ sites }: SimulationResult): readonly string[] {
  const ranked = (of: (site: SiteRow) => number): string =>
    [...sites]
      .sort((a, b) => of(b) - of(a) || (a.siteId < b.siteId ? -1 : 1))
      .slice(0, SITES_SHOWN)
      .filter((site) => of(site) > 0)
      .map((site) => `${site.siteId} ${of(site).toPrecision(3)}`)
      .join(', ') || 'none';
  const limits = new Map<string, number>();
  for (const { firstLimit } of sites) limits.set(firstLimit, (limits.get(firstLimit) ?? 0) + 1);
  return [
    `Gbit/s per TB of disk:          ${ranked((site) => site.gbpsPerTbStorage)}`,
    `Gbit/s per Gbit/s of serving:   ${ranked((site) => site.gbpsPerGbpsServing)}`,
    `Gbit/s per TB of nightly fill:  ${ranked((site) => site.gbpsPerTbWindow)}`,
    `first limit, by sites:          ${[...limits].map(([limit, count]) => `${limit} ${count}`).join(', ')}`,
  ];
}

function table(rows: readonly (readonly string[])[]): readonly string[] {
  const widths = rows[0].map((_, at) => Math.max(...rows.map((row) => row[at].length)));
  return rows.map((row) =>
    row
      .map((text, at) => (at === 0 ? text.padEnd(widths[at]) : text.padStart(widths[at])))
      .join('   ')
      .trimEnd(),
  );
}
