/**
 * How many bytes a box may fetch in one window: its class's rate, or less in the hours in which its operator caps the link.
 *
 * Shape:      (bps, window, caps by the hour or none) -> bytes
 * Units:      bits per second; hours of the site's own clocks, as the window is meant
 * Invariants: (1) a cap never raises the rate
 *             (2) part of an hour counts in part: a window may begin at 22:30 and last 5.5 hours
 */
import type { FillWindow } from '#control-plane/contract.ts';

const MINUTES_PER_DAY = 24 * 60;

export type HourlyCaps = readonly (number | null)[];

export function fillAllowance(
  bps: number,
  window: Pick<FillWindow, 'startLocal' | 'hours'>,
  caps: HourlyCaps | null,
): number {
  if (caps === null) return Math.floor((bps / 8) * window.hours * 3600);
  const [hours, minutes] = window.startLocal.split(':').map(Number);
  let bytes = 0;
  let at = hours * 60 + minutes;
  let left = window.hours * 60;
  while (left > 0) {
    const part = Math.min(left, 60 - (at % 60));
    const cap = caps[Math.floor((at % MINUTES_PER_DAY) / 60)] ?? null;
    bytes += ((cap === null ? bps : Math.min(cap, bps)) / 8) * part * 60;
    at += part;
    left -= part;
  }
  return Math.floor(bytes);
}
