/**
 * What a player says of itself in its request: CMCD version 1, query mode.
 *
 * Only for counting: it is cut off before the target is looked up, and no decision about a request reads it.
 *
 * Shape:      request target -> the few values that are counted, or null where there is no CMCD
 * Errors:     none; what is malformed is left out, what is too long is not looked at
 * Invariants: (1) work is linear in at most CMCD_CHARS_MAX characters
 *             (2) numbers are whole, not negative and at most NUMBER_MAX
 * Source:     CTA-5004 (September 2020), 2 and 3.2: key=value pairs, comma-separated, sorted, strings quoted, true booleans without a value
 */
export const CMCD_CHARS_MAX = 2048;
const NUMBER_MAX = 1e9;
const PARAMETER = 'CMCD=';

export interface Cmcd {
  readonly starved: boolean; // bs: the buffer ran dry since the last request
  readonly bufferMs: number | null; // bl
  readonly bitrateKbps: number | null; // br: of what is asked for
  readonly throughputKbps: number | null; // mtp: as the player measured it
}

/** `queryAt` is the place of the target's "?", -1 without one. */
export function readCmcd(target: string, queryAt: number): Cmcd | null {
  const encoded = parameterOf(target, queryAt);
  if (encoded === null || encoded.length > CMCD_CHARS_MAX) return null;
  let text: string;
  try {
    text = decodeURIComponent(encoded);
  } catch {
    return null;
  }
  let starved = false;
  const numbers: Record<'bl' | 'br' | 'mtp', number | null> = { bl: null, br: null, mtp: null };
  for (const pair of pairsOf(text)) {
    const equals = pair.indexOf('=');
    const key = equals === -1 ? pair : pair.slice(0, equals);
    if (key === 'bs') starved = equals === -1 || pair === 'bs=true';
    else if (key === 'bl' || key === 'br' || key === 'mtp') {
      numbers[key] = numberOf(pair.slice(key.length + 1));
    }
  }
  return {
    starved,
    bufferMs: numbers.bl,
    bitrateKbps: numbers.br,
    throughputKbps: numbers.mtp,
  };
}

function parameterOf(target: string, queryAt: number): string | null {
  if (queryAt === -1) return null;
  for (let at = queryAt + 1; at !== 0;) {
    const next = target.indexOf('&', at);
    if (target.startsWith(PARAMETER, at)) {
      return target.slice(at + PARAMETER.length, next === -1 ? undefined : next);
    }
    at = next + 1;
  }
  return null;
}

/** Split at commas outside of quotes; a quote that is never closed ends with the text. */
function* pairsOf(text: string): Generator<string> {
  let start = 0;
  let isQuoted = false;
  for (let at = 0; at <= text.length; at++) {
    const char = text[at];
    if (char === '\\' && isQuoted) at++;
    else if (char === '"') isQuoted = !isQuoted;
    else if ((char === ',' && !isQuoted) || at === text.length) {
      yield text.slice(start, at);
      start = at + 1;
    }
  }
}

function numberOf(text: string): number | null {
  return /^\d{1,10}$/.test(text) && Number(text) <= NUMBER_MAX ? Number(text) : null;
}
