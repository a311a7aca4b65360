/**
 * Whether a site's fill window is open, and until or from when.
 *
 * The window is meant on the site's own clock: "02:00 for 12 hours" ends when the clocks there show 14:00, because
 * it is the evening's viewers, not the elapsed time, that the fill must stay clear of. On the night the clocks
 * change it is therefore an hour shorter or longer.
 *
 * Shape:      (window, nowMs) -> { open, opensAtMs, closesAtMs }
 * Invariants: (1) open: closesAtMs > nowMs and opensAtMs is null; closed: opensAtMs > nowMs and closesAtMs is null
 *             (2) hours 24: always open, both null
 *             (3) a local time that the clocks skip is the instant they skip it; one that comes twice is its first
 */
import { DAY_MS, HOUR_MS, MINUTE_MS } from '#base/units.ts';
import type { FillWindow } from './contract.ts';

const DAYS_BEFORE = 2; // a window that began the day before yesterday may still run where the clocks jumped
const DAYS_AFTER = 3; // a window that falls whole into a skipped hour does not open that day

export interface WindowState {
  readonly open: boolean;
  readonly opensAtMs: number | null;
  readonly closesAtMs: number | null;
}

/** Throws RangeError on an unknown time zone: sites are checked with `isTimeZone` when they are taken in. */
export function fillWindowAt(window: FillWindow, nowMs: number): WindowState {
  if (window.hours >= 24) return ALWAYS_OPEN;
  const known = lastStates.get(window);
  if (known !== undefined && nowMs >= known.fromMs && nowMs < known.untilMs) return known.state;
  const state = stateAt(window, nowMs);
  const untilMs = state.closesAtMs ?? state.opensAtMs ?? nowMs;
  lastStates.set(window, { state, fromMs: nowMs, untilMs });
  return state;
}

const ALWAYS_OPEN: WindowState = { open: true, opensAtMs: null, closesAtMs: null };

/**
 * The last answer of each window, which holds until it opens or closes: asked with each heartbeat, and some thirty questions to
 * the time zone's table are more than all else that a heartbeat costs. Gone with the window.
 */
const lastStates = new WeakMap<
  FillWindow,
  { readonly state: WindowState; readonly fromMs: number; readonly untilMs: number }
>();

function stateAt(window: FillWindow, nowMs: number): WindowState {
  const today = Math.floor((nowMs + offsetMsAt(window.timeZone, nowMs)) / DAY_MS) * DAY_MS;
  const startOfDayMs = minutesOf(window.startLocal) * MINUTE_MS;
  for (let day = -DAYS_BEFORE; day <= DAYS_AFTER; day++) {
    const localStartMs = today + day * DAY_MS + startOfDayMs;
    const startMs = instantOfLocal(window.timeZone, localStartMs);
    const endMs = instantOfLocal(window.timeZone, localStartMs + window.hours * HOUR_MS);
    if (endMs <= startMs || endMs <= nowMs) continue;
    return startMs <= nowMs
      ? { open: true, opensAtMs: null, closesAtMs: endMs }
      : { open: false, opensAtMs: startMs, closesAtMs: null };
  }
  throw new RangeError(`no fill window within ${DAYS_AFTER} days`);
}

export function isTimeZone(name: string): boolean {
  try {
    formatterOf(name);
    return true;
  } catch {
    return false;
  }
}

/** The hour, 0 to 23, that the clocks of a zone show. */
export function localHourAt(timeZone: string, atMs: number): number {
  return new Date(atMs + offsetMsAt(timeZone, atMs)).getUTCHours();
}

/**
 * The day that an instant falls on in a zone: its instant of 00:00, and that local time as if it were UTC.
 * `local`: `atMs` is itself a local time, given as if it were UTC.
 */
export function startOfLocalDay(
  timeZone: string,
  atMs: number,
  given: 'instant' | 'local' = 'instant',
): { readonly atMs: number; readonly localMs: number } {
  const shown = given === 'local' ? atMs : atMs + offsetMsAt(timeZone, atMs);
  const localMs = Math.floor(shown / DAY_MS) * DAY_MS;
  return { atMs: instantOfLocal(timeZone, localMs), localMs };
}

/** The UTC date of an instant, as plans are dated. */
export function utcDateOf(atMs: number): string {
  return new Date(atMs).toISOString().slice(0, 10);
}

/**
 * The instant at which the clocks of `timeZone` show a local time, given as if it were UTC.
 * The offsets a day before and a day after are the only two that can apply.
 */
function instantOfLocal(timeZone: string, localMs: number): number {
  const before = localMs - offsetMsAt(timeZone, localMs - DAY_MS);
  const after = localMs - offsetMsAt(timeZone, localMs + DAY_MS);
  const shown = [before, after].filter((atMs) => atMs + offsetMsAt(timeZone, atMs) === localMs);
  if (shown.length > 0) return Math.min(...shown);
  // Skipped: `after` lies before the change and `before` behind it. Find the change between them.
  let low = Math.min(before, after);
  let high = Math.max(before, after);
  const lowOffsetMs = offsetMsAt(timeZone, low);
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (offsetMsAt(timeZone, middle) === lowOffsetMs) low = middle;
    else high = middle;
  }
  return high;
}

const formatters = new Map<string, Intl.DateTimeFormat>();

function formatterOf(timeZone: string): Intl.DateTimeFormat {
  let formatter = formatters.get(timeZone);
  if (formatter === undefined) {
    formatter = new Intl.DateTimeFormat('en-US', {
      timeZone,
      hourCycle: 'h23',
      year: 'numeric',
      month: '2-digit',
      day: '2-digit',
      hour: '2-digit',
      minute: '2-digit',
      second: '2-digit',
    });
    formatters.set(timeZone, formatter); // bounded by the number of zones that exist
  }
  return formatter;
}

function offsetMsAt(timeZone: string, atMs: number): number {
  const wholeMs = Math.floor(atMs / 1000) * 1000;
  const parts: Record<string, number> = {};
  for (const { type, value } of formatterOf(timeZone).formatToParts(wholeMs)) {
    if (type !== 'literal') parts[type] = Number(value);
  }
  const { year, month, day, hour, minute, second } = parts;
  return Date.UTC(year, month - 1, day, hour, minute, second) - wholeMs;
}

function minutesOf(startLocal: string): number {
  const [hours, minutes] = startLocal.split(':');
  return Number(hours) * 60 + Number(minutes);
}
