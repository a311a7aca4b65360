/**
 * Figures as people read them. The same units as the command line: bytes are IEC, rates are SI bits per second.
 */

const BYTE_UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
const RATE_UNITS = ['bit/s', 'kbit/s', 'Mbit/s', 'Gbit/s', 'Tbit/s'];
const NO_BREAK = '\u00a0';
export const UNKNOWN = '–';

/** 1536 -> "1.5 KiB"
 * @param {number} bytes */
export function formatBytes(bytes) {
  return scaled(bytes, 1024, BYTE_UNITS);
}

/** How much of how much, the unit once where it is the same: "391 of 484 GiB".
 * @param {number} part
 * @param {number} whole */
export function formatBytesOf(part, whole) {
  const [figure, unit] = formatBytes(part).split(NO_BREAK);
  const [, wholeUnit] = formatBytes(whole).split(NO_BREAK);
  return `${unit === wholeUnit ? figure : formatBytes(part)} of ${formatBytes(whole)}`;
}

/** One unit, rounded up: what is left to wait for. "9 s", "44 min", "3 h".
 * @param {number} durationMs */
export function formatEta(durationMs) {
  const seconds = Math.ceil(Math.max(0, durationMs) / 1000);
  if (seconds < 60) return `${seconds}${NO_BREAK}s`;
  if (seconds < 90 * 60) return `${Math.ceil(seconds / 60)}${NO_BREAK}min`;
  if (seconds < 48 * 3600) return `${Math.ceil(seconds / 3600)}${NO_BREAK}h`;
  return `${Math.ceil(seconds / 86_400)}${NO_BREAK}d`;
}

/** 2_500_000 -> "2.5 Mbit/s"
 * @param {number} bitsPerSecond */
export function formatBps(bitsPerSecond) {
  return scaled(bitsPerSecond, 1000, RATE_UNITS);
}

/** 48_213 -> "48,213"
 * @param {number} count */
export function formatCount(count) {
  return count.toLocaleString('en-GB');
}

/**
 * 0.9341 -> "93.4 %"; null -> "–". Rounding never makes a share perfect that is not: 0.9999 stays below 100 %.
 * @param {number | null} share
 */
export function formatShare(share) {
  if (share === null || !Number.isFinite(share)) return UNKNOWN;
  const percent = share * 100;
  if (Math.abs(percent) >= 1000) return `${sign(Math.round(percent))}${NO_BREAK}%`;
  const rounded = percent > 99.9 && percent < 100 ? Math.floor(percent * 10) / 10 : percent;
  const text = Math.abs(rounded) < 0.05 ? '0' : rounded.toFixed(rounded === 100 ? 0 : 1);
  return `${sign(text)}${NO_BREAK}%`;
}

/** Two units at most: "48 s", "3 min 20 s", "2 h 5 min", "3 d 4 h".
 * @param {number} durationMs */
export function formatDuration(durationMs) {
  const seconds = Math.max(0, Math.round(durationMs / 1000));
  if (seconds < 60) return `${seconds}${NO_BREAK}s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return pair(minutes, 'min', seconds % 60, 's');
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return pair(hours, 'h', minutes % 60, 'min');
  return pair(Math.floor(hours / 24), 'd', hours % 24, 'h');
}

/** "0.4 s ago" below ten seconds, one whole unit above: "12 s ago", "3 min ago", "2 d ago".
 * @param {number} ageMs */
export function formatAge(ageMs) {
  const age = Math.max(0, ageMs);
  if (age < 10_000) return `${(age / 1000).toFixed(1)}${NO_BREAK}s ago`;
  const minutes = Math.floor(age / 60_000);
  if (minutes < 1) return `${Math.floor(age / 1000)}${NO_BREAK}s ago`;
  if (minutes < 60) return `${minutes}${NO_BREAK}min ago`;
  if (minutes < 48 * 60) return `${Math.floor(minutes / 60)}${NO_BREAK}h ago`;
  return `${Math.floor(minutes / (24 * 60))}${NO_BREAK}d ago`;
}

/** 180 -> "180 ms", 2_400 -> "2.4 s"
 * @param {number} durationMs */
export function formatMilliseconds(durationMs) {
  if (durationMs < 1000) return `${Math.round(durationMs)}${NO_BREAK}ms`;
  return `${(durationMs / 1000).toFixed(1)}${NO_BREAK}s`;
}

/** 75.4 -> "1:15"
 * @param {number} seconds */
export function formatPosition(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor((whole % 3600) / 60);
  const rest = String(whole % 60).padStart(2, '0');
  return hours > 0 ? `${hours}:${String(minutes).padStart(2, '0')}:${rest}` : `${minutes}:${rest}`;
}

/** Wall clock of the viewer of the page, "23:41:07".
 * @param {number} atMs */
export function formatClock(atMs) {
  return new Date(atMs).toLocaleTimeString('en-GB');
}

/** "1 file", "2 files"
 * @param {number} count
 * @param {string} noun */
export function plural(count, noun) {
  return `${formatCount(count)} ${noun}${count === 1 ? '' : 's'}`;
}

/**
 * @param {number} value
 * @param {number} step
 * @param {readonly string[]} units
 */
function scaled(value, step, units) {
  let power = 0;
  let rest = value;
  while (Math.abs(rest) >= step && power < units.length - 1) {
    rest /= step;
    power++;
  }
  const digits = power === 0 || Math.abs(rest) >= 100 ? 0 : 1;
  return `${rest.toFixed(digits)}${NO_BREAK}${units[power]}`;
}

/** @param {string | number} value a true minus sign: a hyphen is too easily overlooked */
function sign(value) {
  return String(value).replace('-', '\u2212');
}

/**
 * @param {number} large
 * @param {string} largeUnit
 * @param {number} small
 * @param {string} smallUnit
 */
function pair(large, largeUnit, small, smallUnit) {
  const head = `${large}${NO_BREAK}${largeUnit}`;
  return small === 0 ? head : `${head}${NO_BREAK}${small}${NO_BREAK}${smallUnit}`;
}
