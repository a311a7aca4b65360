/**
 * Decides which bytes of a stored file answer a Range header: the one rule of the origin and of every box.
 *
 * Shape:      (header, sizeBytes) -> whole | part(start, endInclusive) | unsatisfiable
 * Units:      byte offsets from 0; both ends inclusive
 * Errors:     none; a header that is not understood is ignored, as the RFC asks: the answer is the whole file
 * Invariants: (1) a part: 0 <= start <= endInclusive < sizeBytes
 *             (2) a part holds every satisfiable range of the header, and at most RANGE_GAP_BYTES_MAX - 1 bytes
 *                 between two of them that nobody asked for
 *             (3) never more than one part: several ranges that do not join are answered whole, never as multipart
 * Source:     RFC 9110 14.1.1, 14.1.2, 14.2, 15.5.17
 */

/** More ranges than this in one header are not looked at: players send one. */
export const RANGES_MAX = 8;
/** Ranges closer than this are joined: a part's own header would cost more than the gap (RFC 9110 15.3.7.2). */
export const RANGE_GAP_BYTES_MAX = 80;
/** An offset of more digits does not fit a double exactly, and no file is that large. */
const DIGITS_MAX = 15;
/** Room for RANGES_MAX pairs of DIGITS_MAX and their whitespace. */
const HEADER_CHARACTERS_MAX = 512;

export type RangeDecision =
  | { readonly kind: 'whole' }
  | { readonly kind: 'part'; readonly start: number; readonly endInclusive: number }
  | { readonly kind: 'unsatisfiable' };

interface Span {
  readonly start: number;
  readonly endInclusive: number;
}

const WHOLE: RangeDecision = { kind: 'whole' };
const UNSATISFIABLE: RangeDecision = { kind: 'unsatisfiable' };
const SINGLE = /^bytes=(\d{1,15})-(\d{0,15})$/i;
const SPEC = /^(\d*)-(\d*)$/;

export function decideRange(header: string | undefined, sizeBytes: number): RangeDecision {
  if (header === undefined || header.length > HEADER_CHARACTERS_MAX) return WHOLE;
  // What players send; the general form below gives the same answer (the tests compare them).
  const single = SINGLE.exec(header);
  if (single !== null) {
    const span = spanOf(single[1], single[2], sizeBytes);
    if (span === 'invalid') return WHOLE;
    return span === 'unsatisfiable' ? UNSATISFIABLE : partOf(span);
  }
  return decideSeveral(header, sizeBytes);
}

function decideSeveral(header: string, sizeBytes: number): RangeDecision {
  const equalsAt = header.indexOf('=');
  if (equalsAt === -1 || header.slice(0, equalsAt).toLowerCase() !== 'bytes') return WHOLE;
  // An empty list element carries nothing (RFC 9110 5.6.1.2) but counts: a header of commas is not looked through.
  const specs = header.slice(equalsAt + 1).split(',');
  if (specs.length > RANGES_MAX) return WHOLE;
  const spans: Span[] = [];
  let isAnySpec = false;
  for (const text of specs) {
    const spec = text.replace(/^[ \t]+|[ \t]+$/g, '');
    if (spec === '') continue;
    const match = SPEC.exec(spec);
    if (match === null) return WHOLE;
    const span = spanOf(match[1], match[2], sizeBytes);
    if (span === 'invalid') return WHOLE;
    isAnySpec = true;
    if (span !== 'unsatisfiable') spans.push(span);
  }
  if (!isAnySpec) return WHOLE;
  if (spans.length === 0) return UNSATISFIABLE;
  const joined = joinSpans(spans);
  return joined.length === 1 ? partOf(joined[0]) : WHOLE;
}

/** One range-spec, first and last as written: "0-99", "500-", "-500". */
function spanOf(
  first: string,
  last: string,
  sizeBytes: number,
): Span | 'invalid' | 'unsatisfiable' {
  if (first.length > DIGITS_MAX || last.length > DIGITS_MAX) return 'invalid';
  if (first === '') {
    if (last === '') return 'invalid';
    const suffixBytes = Math.min(Number(last), sizeBytes);
    if (suffixBytes === 0) return 'unsatisfiable';
    return { start: sizeBytes - suffixBytes, endInclusive: sizeBytes - 1 };
  }
  const start = Number(first);
  if (last !== '' && Number(last) < start) return 'invalid';
  if (start >= sizeBytes) return 'unsatisfiable';
  const endInclusive = last === '' ? sizeBytes - 1 : Math.min(Number(last), sizeBytes - 1);
  return { start, endInclusive };
}

/** Overlapping and nearly touching spans become one; in order of start. */
function joinSpans(spans: readonly Span[]): readonly Span[] {
  const sorted = spans.toSorted((a, b) => a.start - b.start);
  const joined: Span[] = [sorted[0]];
  for (const span of sorted.slice(1)) {
    const previous = joined[joined.length - 1];
    if (span.start - previous.endInclusive - 1 < RANGE_GAP_BYTES_MAX) {
      const endInclusive = Math.max(previous.endInclusive, span.endInclusive);
      joined[joined.length - 1] = { start: previous.start, endInclusive };
    } else {
      joined.push(span);
    }
  }
  return joined;
}

function partOf(span: Span): RangeDecision {
  return { kind: 'part', start: span.start, endInclusive: span.endInclusive };
}
