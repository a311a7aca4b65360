/**
 * Throws Range headers at `decideRange` and sets each answer beside a slow rule that marks single bytes.
 *
 * Shape: (inputs, seed) -> what was seen, and the first input on which the two differ
 */
import { messageOf } from '#base/outcome.ts';
import { seededRandom, type Random } from '#base/random.ts';
import { decideRange, RANGE_GAP_BYTES_MAX, RANGES_MAX, type RangeDecision } from './range.ts';

export interface RangeFuzzReport {
  readonly inputs: number;
  readonly whole: number;
  readonly part: number;
  readonly unsatisfiable: number;
  readonly crashes: number;
  readonly disagreements: number;
  readonly first: string | null;
}

const SIZE_BYTES_MAX = 400; // marked byte by byte
const CHARACTERS_MAX = 512;
const DIGITS_MAX = 15;

export function fuzzRanges(inputs: number, seed: number): RangeFuzzReport {
  const random = seededRandom(seed);
  const seen = { whole: 0, part: 0, unsatisfiable: 0, crashes: 0, disagreements: 0 };
  let first: string | null = null;
  for (let at = 0; at < inputs; at++) {
    const header = randomHeader(random);
    const sizeBytes = 1 + random.below(SIZE_BYTES_MAX);
    let problem: string | null = null;
    try {
      const decision = decideRange(header, sizeBytes);
      seen[decision.kind]++;
      const expected = textOf(decideSlowly(header, sizeBytes));
      if (textOf(decision) !== expected) problem = `${textOf(decision)}, slowly ${expected}`;
      if (problem !== null) seen.disagreements++;
    } catch (thrown) {
      seen.crashes++;
      problem = `threw ${messageOf(thrown)}`;
    }
    first ??=
      problem === null ? null : `input ${at} ${JSON.stringify(header)} of ${sizeBytes}: ${problem}`;
  }
  return { inputs, ...seen, first };
}

function textOf(decision: RangeDecision): string {
  return decision.kind === 'part'
    ? `part ${decision.start}-${decision.endInclusive}`
    : decision.kind;
}

/** RFC 9110 14.1 by the letter, integers of any length, bytes marked one by one; limits as range.ts documents them. */
function decideSlowly(header: string, sizeBytes: number): RangeDecision {
  const whole: RangeDecision = { kind: 'whole' };
  if (header.length > CHARACTERS_MAX || !/^bytes=/i.test(header)) return whole;
  const elements = header.slice('bytes='.length).split(',');
  if (elements.length > RANGES_MAX) return whole;
  const isWanted = new Uint8Array(sizeBytes);
  let isAny = false;
  for (const element of elements) {
    const spec = trimmed(element);
    if (spec === '') continue;
    const [first, last, ...more] = spec.split('-');
    if (last === undefined || more.length > 0 || !/^[0-9]*$/.test(first + last)) return whole;
    if (first === '' && last === '') return whole;
    if (first.length > DIGITS_MAX || last.length > DIGITS_MAX) return whole;
    if (first !== '' && last !== '' && BigInt(last) < BigInt(first)) return whole;
    isAny = true;
    for (let at = 0; at < sizeBytes; at++) {
      const fromEnd = BigInt(sizeBytes - at); // the last byte is 1 from the end
      const isIn =
        first === ''
          ? fromEnd <= BigInt(last)
          : BigInt(at) >= BigInt(first) && (last === '' || BigInt(at) <= BigInt(last));
      if (isIn) isWanted[at] = 1;
    }
  }
  if (!isAny) return whole;
  const start = isWanted.indexOf(1);
  if (start === -1) return { kind: 'unsatisfiable' };
  const endInclusive = isWanted.lastIndexOf(1);
  for (let at = start, gap = 0; at <= endInclusive; at++) {
    gap = isWanted[at] === 1 ? 0 : gap + 1;
    if (gap >= RANGE_GAP_BYTES_MAX) return whole;
  }
  return { kind: 'part', start, endInclusive };
}

function trimmed(text: string): string {
  let from = 0;
  let to = text.length;
  while (from < to && (text[from] === ' ' || text[from] === '\t')) from++;
  while (to > from && (text[to - 1] === ' ' || text[to - 1] === '\t')) to--;
  return text.slice(from, to);
}

function randomHeader(random: Random): string {
  const unit =
    random.below(10) === 0 ? pick(['Bytes=', 'bytes =', 'lines=', ''], random) : 'bytes=';
  const count = random.below(8) === 0 ? random.below(20) : random.below(4);
  const specs = Array.from({ length: count }, () => {
    const low = random.below(SIZE_BYTES_MAX + 20);
    const first = random.below(6) === 0 ? oddNumber(random) : String(low);
    const last = random.below(5) === 0 ? oddNumber(random) : String(low + random.below(150));
    const dash = random.below(12) === 0 ? pick(['', '--', '- '], random) : '-';
    return `${pick(['', '', ' ', '\t'], random)}${first}${dash}${last}${pick(['', '', ' '], random)}`;
  });
  const text = `${unit}${specs.join(',')}`;
  if (random.below(6) !== 0) return text;
  const at = random.below(text.length + 1);
  return `${text.slice(0, at)}${String.fromCharCode(random.below(256))}${text.slice(at + random.below(2))}`;
}

function oddNumber(random: Random): string {
  return pick(
    ['', '', '0', `00${random.below(99)}`, String(random.below(2 ** 30)).repeat(random.below(4))],
    random,
  );
}

function pick<T>(of: readonly T[], random: Random): T {
  return of[random.below(of.length)];
}
