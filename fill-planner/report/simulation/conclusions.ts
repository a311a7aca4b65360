/**
 * What a capacity engineer would say after reading the tables: a few sentences, each with its figure.
 */
import type { SimulationResult, SiteRow } from '../../simulate/result.ts';
import { comparisonOf, type Difference } from './comparison.ts';
import { decimalBytes, plain } from './figures.ts';

const MOVED_SHARE_MIN = 0.05;
const MOVED_MAX = 3;

export function conclusionsOf(results: readonly SimulationResult[]): readonly string[] {
  const [base, ...variants] = results;
  return [
    ...missLine(base),
    ...limitLines(base),
    ...linkLine(base),
    ...priceLine(base),
    ...variants.map((variant) => variantLine(base, variant)),
  ];
}

function missLine({ totals }: SimulationResult): readonly string[] {
  const misses = [
    ['is not held at the home site', totals.contentMissShare],
    ['is held there, but the site cannot serve it', totals.healthMissShare],
    ['left because the way in was cut', totals.otherMissShare],
    ['is carried by nobody', totals.unmetShare],
  ] as const;
  const [largest] = [...misses].sort((a, b) => b[1] - a[1]);
  return largest[1] < 0.0005
    ? ['Less than 0.05 % of the bytes left their home site.']
    : [
        `Of what leaves the home site most ${largest[0]}: ${(100 * largest[1]).toFixed(2)} % of all bytes.`,
      ];
}

function limitLines({ sites }: SimulationResult): readonly string[] {
  const over = sites.filter((site) => site.overflowHours > 0);
  if (over.length === 0)
    return sites.length === 0 ? [] : ['No site went over a limit in any hour.'];
  const byLimit = new Map<string, SiteRow[]>();
  for (const site of over) {
    byLimit.set(site.firstLimit, [...(byLimit.get(site.firstLimit) ?? []), site]);
  }
  const [[limit, broken]] = [...byLimit].sort(
    ([a, x], [b, y]) => y.length - x.length || (a < b ? -1 : 1),
  );
  return [
    `${plain(over.length)} of ${plain(sites.length)} sites went over a limit; at ${plain(broken.length)} of them ${limit} is what breaks first.`,
  ];
}

function linkLine({ links }: SimulationResult): readonly string[] {
  const [worst] = [...links].sort((a, b) => b.overflowBytes - a.overflowBytes);
  return worst === undefined || worst.overflowBytes === 0
    ? []
    : [
        `The worst bottleneck is ${worst.link}: ${decimalBytes(worst.overflowBytes)} turned away in ${worst.overflowHours} hours, ${plain(worst.peakGbps)} Gbit/s wanted of ${plain(worst.capacityGbps)}.`,
      ];
}

function priceLine({ sites }: SimulationResult): readonly string[] {
  const [best] = [...sites].sort((a, b) => b.gbpsPerTbStorage - a.gbpsPerTbStorage);
  return best === undefined || best.gbpsPerTbStorage <= 0
    ? []
    : [
        `One more TB of disk is worth most at ${best.siteId}: ${plain(best.gbpsPerTbStorage)} Gbit/s at the peak.`,
      ];
}

/** Offload always; then what else moved most, by its share of what it was. */
function variantLine(base: SimulationResult, variant: SimulationResult): string {
  const { rows } = comparisonOf(base, variant);
  const moved = rows
    .filter(({ figure }) => figure.better !== 'neither' && figure.metric !== 'offloadShare')
    .map((row) => ({
      row,
      share: Math.abs(row.difference) / Math.max(row.before, row.after, 1e-9),
    }))
    .filter(({ row, share }) => share >= MOVED_SHARE_MIN && isPrinted(row))
    .sort((a, b) => b.share - a.share || (a.row.figure.label < b.row.figure.label ? -1 : 1))
    .slice(0, MOVED_MAX)
    .map(({ row }) => row);
  const offload = rows.filter(({ figure }) => figure.metric === 'offloadShare');
  const words = [...offload, ...moved].map((row) => {
    const name = row.figure.metric === 'offloadShare' ? 'offload' : lowered(row.figure.label);
    const judged = row.interval === null ? '' : ` (${row.verdict})`;
    return `${name} ${row.figure.print(row.after)}, ${row.figure.printDifference(row.difference)}${judged}`;
  });
  return `“${variant.meta.variant}” against “${base.meta.variant}”: ${words.join('; ')}.`;
}

/** A difference that the page would print as nothing is no conclusion. */
function isPrinted({ figure, before, after }: Difference): boolean {
  return figure.print(before) !== figure.print(after);
}

function lowered(label: string): string {
  return label.slice(0, 1).toLowerCase() + label.slice(1);
}
