/** Units of the product: bytes are IEC (KiB), rates are SI bits per second, durations are milliseconds. */
export const KIB = 1024;
export const MIB = 1024 * KIB;
export const GIB = 1024 * MIB;
export const TIB = 1024 * GIB;

export const SECOND_MS = 1000;
export const MINUTE_MS = 60 * SECOND_MS;
export const HOUR_MS = 60 * MINUTE_MS;
export const DAY_MS = 24 * HOUR_MS;

const BYTE_UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
const RATE_UNITS = ['bit/s', 'kbit/s', 'Mbit/s', 'Gbit/s', 'Tbit/s'];

/** 1536 -> "1.5 KiB" */
export function formatBytes(bytes: number): string {
  return scaled(bytes, 1024, BYTE_UNITS);
}

/** 2_500_000 -> "2.5 Mbit/s" */
export function formatBps(bitsPerSecond: number): string {
  return scaled(bitsPerSecond, 1000, RATE_UNITS);
}

/** 61_000 -> "1 min 1 s" */
export function formatDuration(durationMs: number): string {
  if (durationMs < SECOND_MS) return `${Math.round(durationMs)} ms`;
  if (durationMs < 10 * SECOND_MS) return `${(durationMs / SECOND_MS).toFixed(1)} s`;
  const seconds = Math.round(durationMs / SECOND_MS);
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
}

/** "48MiB", "3145729", "1.5 GiB" -> bytes; null where the text is no size. */
export function parseBytes(text: string): number | null {
  const match = /^(\d+(?:\.\d+)?)\s*(B|KiB|MiB|GiB|TiB)?$/.exec(text.trim());
  if (match === null) return null;
  const power = BYTE_UNITS.indexOf(match[2] ?? 'B');
  const bytes = Number(match[1]) * 1024 ** power;
  return Number.isSafeInteger(bytes) ? bytes : null;
}

function scaled(value: number, step: number, units: readonly string[]): string {
  let power = 0;
  let rest = value;
  while (Math.abs(rest) >= step && power < units.length - 1) {
    rest /= step;
    power++;
  }
  const digits = power === 0 || rest >= 100 || Number.isInteger(rest) ? 0 : 1;
  return `${rest.toFixed(digits)} ${units[power]}`;
}
