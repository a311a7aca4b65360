/**
 * Reads the head of the plain common request: GET or HEAD of a path over HTTP/1.1, no body, nothing unusual in it.
 *
 * Everything else is not refused here but handed to node:http with the bytes already read: there must never be a request
 * that this parser takes for another one than node:http would. So it knows little and is strict about it.
 *
 * Shape:      (bytes, start, end) -> length of the head, its fields in the request | INCOMPLETE | NOT_PLAIN
 * Errors:     none
 * Invariants: (1) what is plain is plain for node:http too, with the same method, target and fields
 *             (2) a prefix of a plain head is INCOMPLETE, never NOT_PLAIN
 *             (3) work is linear in end - start; nothing is allocated but the strings of known fields
 * Source:     RFC 9112 2.2, 3, 5, 6.1, 9.3; RFC 9110 5.5, 5.6.2
 */
import type { RequestView } from './sender.ts';

export const INCOMPLETE = 0;
export const NOT_PLAIN = -1;

const CR = 13;
const LF = 10;
const SPACE = 32;
const TAB = 9;
const COLON = 58;
const SLASH = 47;

/** Remembering a first line costs a comparison; a short one is read as quickly. */
const REMEMBERED_BYTES_MIN = 48;
const REMEMBERED_BYTES_MAX = 4096;

const TOKEN = byteTable((byte) => /[!#$%&'*+\-.^_`|~0-9A-Za-z]/.test(String.fromCharCode(byte)));
const VALUE = byteTable((byte) => byte === TAB || (byte >= 0x20 && byte !== 0x7f));
const TARGET = byteTable((byte) => byte > 0x20 && byte < 0x7f);

const GET = Buffer.from('GET ', 'latin1');
const HEAD = Buffer.from('HEAD ', 'latin1');
const VERSION = Buffer.from(' HTTP/1.1\r\n', 'latin1');

type Field =
  | 'host'
  | 'range'
  | 'ifRange'
  | 'ifMatch'
  | 'ifNoneMatch'
  | 'authorization'
  | 'purpose'
  | 'possession';

/** Names that mean something here. `null`: a request with this field is not plain; `connection` only with keep-alive. */
const NAMES: readonly { readonly name: Buffer; readonly field: Field | 'connection' | null }[] = (
  [
    ['host', 'host'],
    ['range', 'range'],
    ['if-range', 'ifRange'],
    ['if-match', 'ifMatch'],
    ['if-none-match', 'ifNoneMatch'],
    ['authorization', 'authorization'],
    ['nightfill-purpose', 'purpose'],
    ['nightfill-possession', 'possession'],
    ['connection', 'connection'],
    ['proxy-connection', null],
    ['content-length', null],
    ['transfer-encoding', null],
    ['expect', null],
    ['upgrade', null],
  ] as const
).map(([name, field]) => ({ name: Buffer.from(name, 'latin1'), field }));
const NAMES_BY_LENGTH = Array.from({ length: 32 }, (_, length) =>
  NAMES.filter(({ name }) => name.length === length),
);

/** One per connection, used again for each of its requests. */
export class PlainRequest implements RequestView {
  method = 'GET';
  target = '/';
  host = '';
  range: string | undefined;
  ifRange: string | undefined;
  ifMatch: string | undefined;
  ifNoneMatch: string | undefined;
  authorization: string | undefined;
  purpose: string | undefined;
  possession: string | undefined;
  readonly remoteAddress: string;
  readonly secure = false;
  #firstLine: Buffer | null = null;

  constructor(remoteAddress: string) {
    this.remoteAddress = remoteAddress;
  }

  /** The first line of the request before: a player asks for one file many times, and its target is mostly token. */
  get firstLine(): Buffer | null {
    return this.#firstLine;
  }

  remember(firstLine: Buffer | null): void {
    this.#firstLine = firstLine;
  }
}

/** Reads the head that begins at `start` of `bytes`, of which [start, end) have been received. */
export function parsePlainRequest(
  bytes: Buffer,
  start: number,
  end: number,
  into: PlainRequest,
): number {
  const afterLine = readFirstLine(bytes, start, end, into);
  if (afterLine <= 0) return afterLine;
  into.range = undefined;
  into.ifRange = undefined;
  into.ifMatch = undefined;
  into.ifNoneMatch = undefined;
  into.authorization = undefined;
  into.purpose = undefined;
  into.possession = undefined;
  let hasHost = false;
  let at = afterLine;
  for (;;) {
    if (at >= end) return INCOMPLETE;
    if (bytes[at] === CR) {
      if (at + 1 >= end) return INCOMPLETE;
      if (bytes[at + 1] !== LF || !hasHost) return NOT_PLAIN;
      return at + 2 - start;
    }
    const nameStart = at;
    while (at < end && TOKEN[bytes[at]] === 1) at++;
    if (at >= end) return INCOMPLETE;
    if (bytes[at] !== COLON || at === nameStart) return NOT_PLAIN;
    const nameLength = at - nameStart;
    const valueStart = at + 1;
    at = valueStart;
    while (at < end && VALUE[bytes[at]] === 1) at++;
    if (at + 1 >= end) return at >= end || bytes[at] === CR ? INCOMPLETE : NOT_PLAIN;
    if (bytes[at] !== CR || bytes[at + 1] !== LF) return NOT_PLAIN;
    const known = nameLength < 32 ? lookUp(bytes, nameStart, nameLength) : undefined;
    if (known !== undefined) {
      if (known.field === null) return NOT_PLAIN;
      const value = textOf(bytes, valueStart, at);
      if (known.field === 'connection') {
        if (value.toLowerCase() !== 'keep-alive') return NOT_PLAIN;
      } else if (known.field === 'host') {
        if (hasHost) return NOT_PLAIN;
        hasHost = true;
        if (into.host !== value) into.host = value;
      } else {
        if (into[known.field] !== undefined) return NOT_PLAIN;
        into[known.field] = value;
      }
    }
    at += 2;
  }
}

/** Where the first field begins, INCOMPLETE or NOT_PLAIN. */
function readFirstLine(bytes: Buffer, start: number, end: number, into: PlainRequest): number {
  const known = into.firstLine;
  if (
    known !== null &&
    end - start >= known.length &&
    bytes.compare(known, 0, known.length, start, start + known.length) === 0
  ) {
    return start + known.length;
  }
  const methodEnd =
    matches(bytes, start, end, GET) ?? matches(bytes, start, end, HEAD) ?? NOT_PLAIN;
  if (methodEnd <= 0) return methodEnd;
  let at = methodEnd;
  if (at >= end) return INCOMPLETE;
  if (bytes[at] !== SLASH) return NOT_PLAIN;
  while (at < end && TARGET[bytes[at]] === 1) at++;
  const lineEnd = matches(bytes, at, end, VERSION);
  if (lineEnd === null) return NOT_PLAIN;
  if (lineEnd === INCOMPLETE) return INCOMPLETE;
  into.method = bytes[start] === GET[0] ? 'GET' : 'HEAD';
  into.target = bytes.toString('latin1', methodEnd, at);
  const length = lineEnd - start;
  const isKept = length >= REMEMBERED_BYTES_MIN && length <= REMEMBERED_BYTES_MAX;
  into.remember(isKept ? Buffer.from(bytes.subarray(start, lineEnd)) : null);
  return lineEnd;
}

/** The end of `wanted` at `at`; INCOMPLETE where only its beginning is here; null where it is something else. */
function matches(bytes: Buffer, at: number, end: number, wanted: Buffer): number | null {
  const length = Math.min(wanted.length, end - at);
  for (let i = 0; i < length; i++) if (bytes[at + i] !== wanted[i]) return null;
  return length === wanted.length ? at + length : INCOMPLETE;
}

function lookUp(bytes: Buffer, start: number, length: number): (typeof NAMES)[number] | undefined {
  const candidates = NAMES_BY_LENGTH[length];
  for (const candidate of candidates) {
    const { name } = candidate;
    let i = 0;
    // Token bytes that become a letter or "-" by this bit are the upper case of that letter, or "-" itself.
    while (i < length && (bytes[start + i] | 0x20) === name[i]) i++;
    if (i === length) return candidate;
  }
  return undefined;
}

/** A field value without the optional white space around it. */
function textOf(bytes: Buffer, start: number, end: number): string {
  let from = start;
  let to = end;
  while (from < to && (bytes[from] === SPACE || bytes[from] === TAB)) from++;
  while (to > from && (bytes[to - 1] === SPACE || bytes[to - 1] === TAB)) to--;
  return bytes.toString('latin1', from, to);
}

function byteTable(holds: (byte: number) => boolean): Uint8Array {
  return Uint8Array.from({ length: 256 }, (_, byte) => (holds(byte) ? 1 : 0));
}
