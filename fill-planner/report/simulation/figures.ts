/**
 * The figures of a simulation as a capacity engineer reads them: a name, a unit, what is better, and how it is printed.
 *
 * One list for the report's table, the terminal and comparisons, so that no two of them disagree about a name.
 */
import type { SimulationResult, Totals } from '../../simulate/result.ts';

export type Better = 'more' | 'less' | 'neither';

export interface Figure {
  readonly metric: keyof Totals;
  readonly label: string;
  readonly better: Better;
  readonly print: (value: number) => string;
  /** A difference, with its sign: shares differ by points, the rest in their own unit. */
  readonly printDifference: (value: number) => string;
}

const percent = (value: number): string => `${(100 * value).toFixed(2)} %`;
const gbps = (value: number): string => `${plain(value)} Gbit/s`;
const hours = (value: number): string => `${plain(value)} h`;
const usd = (value: number): string => `$${plain(value)}`;

const figure = (
  metric: keyof Totals,
  label: string,
  better: Better,
  print: (value: number) => string,
): Figure => ({
  metric,
  label,
  better,
  print,
  printDifference: (value) =>
    print === percent
      ? `${signed(100 * value, 2)} pt`
      : value === 0
        ? print(0)
        : `${sign(value)}${print(Math.abs(value))}`,
});

export const FIGURES: readonly Figure[] = [
  figure('offloadShare', 'Offload: bytes from the client’s own site', 'more', percent),
  figure('netOffloadShare', 'Net offload, fill from the origin counted', 'more', percent),
  figure('contentMissShare', 'Content miss: not held there', 'less', percent),
  figure('healthMissShare', 'Health miss: held, could not be served', 'less', percent),
  figure('otherMissShare', 'Other miss: the way in was cut', 'less', percent),
  figure('unmetShare', 'Carried by nobody', 'less', percent),
  figure('tierShare', 'Misses served by another site', 'neither', percent),
  figure('originShare', 'Misses served by the origin', 'less', percent),
  figure('externalShare', 'Misses served by an external CDN', 'less', percent),
  figure('contentMissHours', 'Hours of viewing: content miss', 'less', hours),
  figure('healthMissHours', 'Hours of viewing: health miss', 'less', hours),
  figure('otherMissHours', 'Hours of viewing: other miss', 'less', hours),
  figure('demandPeakGbps', 'Demand at its peak', 'neither', gbps),
  figure('originGbps95', 'Origin, 95th percentile (what is paid for)', 'less', gbps),
  figure('originPeakGbps', 'Origin at its peak', 'less', gbps),
  figure('tierGbps95', 'Between sites, 95th percentile', 'less', gbps),
  figure('originFillGbps95', 'Fill from the origin, 95th percentile', 'less', gbps),
  figure('fillBytes', 'Filled in all', 'neither', decimalBytes),
  figure('churnShareNight', 'Filled a night, of storage', 'less', percent),
  figure('startsRefused', 'Starts refused', 'less', plain),
  figure('streamHoursDegraded', 'Stream hours at a lower bitrate', 'less', hours),
  figure('originUsdMonth', 'Origin traffic a month', 'less', usd),
  figure('externalUsd', 'External CDN', 'less', usd),
  figure('demandBytes', 'Asked for in all', 'neither', decimalBytes),
];

/** 12345.6 -> "12,346"; 0.01234 -> "0.0123" */
export function plain(value: number): string {
  const size = Math.abs(value);
  if (size >= 1000) return Math.round(value).toLocaleString('en-US');
  if (size >= 10 || Number.isInteger(value)) return trimmed(value.toFixed(1));
  return trimmed(value.toPrecision(3));
}

/** 1.5e13 -> "15 TB": decimal, as links and disks are sold. */
export function decimalBytes(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB', 'PB', 'EB'];
  const power = Math.min(
    units.length - 1,
    bytes === 0 ? 0 : Math.max(0, Math.floor(Math.log10(Math.abs(bytes)) / 3)),
  );
  return `${plain(bytes / 1000 ** power)} ${units[power]}`;
}

export function bandOf(
  result: SimulationResult,
  metric: keyof Totals,
): SimulationResult['bands'][number] | null {
  const band = result.bands.find((entry) => entry.metric === metric);
  return band === undefined || band.values.length < 2 ? null : band;
}

function trimmed(digits: string): string {
  return digits.includes('.') && !digits.includes('e')
    ? digits.replace(/0+$/, '').replace(/\.$/, '')
    : digits;
}

function sign(value: number): string {
  return value < 0 ? '−' : '+';
}

function signed(value: number, digits: number): string {
  const text = Math.abs(value).toFixed(digits);
  return Number(text) === 0 ? text : `${sign(value)}${text}`;
}
