/**
 * Burstable billing: a transit link is charged by the 95th percentile of its 5-minute averages in a billing month.
 *
 * Sorted by rate, the highest twentieth of the month's samples is not charged; the highest of the rest is. So a month of S samples
 * forgives floor(S / 20) of them, whenever they fall, and nothing is forgiven of the next one. Samples that nobody wrote
 * down (the box was off) count as nothing sent.
 *
 * Shape:      billingMonthAt(now, zone, day) -> month; withBytes(usage, ...) -> usage; billedBps, burstsUsed, sampleLimitBps
 * Units:      Unix milliseconds, bytes, bits per second
 * Invariants: (1) a month begins when the clocks of the zone show 00:00 of the day; its samples are 5 minutes of elapsed
 *                 time, so a month in which the clocks change has 12 more or fewer of them
 *             (2) a clock that jumps back never lets more through: bytes are added to the samples that are lived again
 *             (3) bytes of a new month start a new usage: the old one is not looked at again
 * Source:     transit contracts: 5-minute samples, the highest 5 % discarded, the next one charged
 */
import { startOfLocalDay } from '#control-plane/control-plane.ts';

export const SAMPLE_MS = 5 * 60_000;
const FORGIVEN_ONE_IN = 20;

export interface BillingMonth {
  readonly startMs: number;
  readonly endMs: number;
  readonly samples: number;
  readonly forgiven: number; // samples that are not charged
}

/** Bytes of each sample so far; absent ones are 0. Kept on disk as it is. */
export interface LinkUsage {
  readonly monthStartMs: number;
  readonly bytes: readonly number[];
}

export const NO_USAGE: LinkUsage = { monthStartMs: 0, bytes: [] };

export function billingMonthAt(nowMs: number, timeZone: string, firstDay: number): BillingMonth {
  const local = new Date(startOfLocalDay(timeZone, nowMs).localMs);
  const shift = local.getUTCDate() >= firstDay ? 0 : -1;
  const startOf = (months: number): number => {
    const day = Date.UTC(local.getUTCFullYear(), local.getUTCMonth() + shift + months, firstDay);
    return startOfLocalDay(timeZone, day, 'local').atMs;
  };
  const startMs = startOf(0);
  const endMs = startOf(1);
  const samples = Math.round((endMs - startMs) / SAMPLE_MS);
  return { startMs, endMs, samples, forgiven: Math.floor(samples / FORGIVEN_ONE_IN) };
}

export function withBytes(
  usage: LinkUsage,
  month: BillingMonth,
  nowMs: number,
  bytes: number,
): LinkUsage {
  const sample = sampleAt(month, nowMs);
  const known = usage.monthStartMs === month.startMs ? usage.bytes : [];
  const next = known.slice();
  while (next.length <= sample) next.push(0);
  next[sample] += bytes;
  return { monthStartMs: month.startMs, bytes: next };
}

/** What would be charged if nothing more were sent this month. */
export function billedBps(usage: LinkUsage, month: BillingMonth): number {
  if (usage.monthStartMs !== month.startMs) return 0;
  const highest = usage.bytes.toSorted((a, b) => b - a);
  return bpsOf(highest[month.forgiven] ?? 0);
}

/** Samples above a rate, the one under way left out. */
export function burstsUsed(
  usage: LinkUsage,
  month: BillingMonth,
  bpsMax: number,
  nowMs: number,
): number {
  if (usage.monthStartMs !== month.startMs) return 0;
  const current = sampleAt(month, nowMs);
  return usage.bytes.filter((bytes, at) => at !== current && bpsOf(bytes) > bpsMax).length;
}

/**
 * The rate at which the sample under way may go on so that the month is not charged above `bpsMax`.
 * null: no limit, since this sample may be one of the forgiven ones; `isBursting`: whether they are used at all.
 */
export function sampleLimitBps(
  usage: LinkUsage,
  month: BillingMonth,
  nowMs: number,
  bpsMax: number,
  isBursting: boolean,
): number | null {
  const used = burstsUsed(usage, month, bpsMax, nowMs);
  if (isBursting && used < month.forgiven) return null;
  const sample = sampleAt(month, nowMs);
  const sent = usage.monthStartMs === month.startMs ? (usage.bytes[sample] ?? 0) : 0;
  const leftBytes = (bpsMax / 8) * (SAMPLE_MS / 1000) - sent;
  const leftMs = Math.max(1000, month.startMs + (sample + 1) * SAMPLE_MS - nowMs);
  return Math.max(0, Math.min(bpsMax, (leftBytes * 8 * 1000) / leftMs));
}

function sampleAt(month: BillingMonth, nowMs: number): number {
  const at = Math.floor((nowMs - month.startMs) / SAMPLE_MS);
  return Math.min(month.samples - 1, Math.max(0, at));
}

function bpsOf(sampleBytes: number): number {
  return (sampleBytes * 8) / (SAMPLE_MS / 1000);
}
