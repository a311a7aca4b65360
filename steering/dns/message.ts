/**
 * The DNS wire format: queries read. Only what an authoritative server needs; responses are written in response.ts.
 *
 * Shape:      readQuery(bytes) -> query | malformed (answer FORMERR) | ignore (answer nothing)
 * Units:      offsets and lengths in bytes; TTLs in seconds
 * Errors:     never throws on any bytes: what is wrong is a verdict
 * Invariants: (1) reading never goes past the end and never follows a pointer: no loop is possible
 *             (2) the question is kept byte for byte, so that its upper and lower case survive (0x20)
 * Source:     RFC 1035, 2181, 6891 (EDNS0), 7871 (client subnet), 7873 (cookies), 8914 (EDE), 9619 (QDCOUNT)
 */
export const TYPE = {
  A: 1,
  NS: 2,
  SOA: 6,
  HINFO: 13,
  TXT: 16,
  AAAA: 28,
  OPT: 41,
  IXFR: 251,
  AXFR: 252,
  ANY: 255,
} as const;
export const CLASS_IN = 1;
export const RCODE = {
  noError: 0,
  formErr: 1,
  servFail: 2,
  nxDomain: 3,
  notImp: 4,
  refused: 5,
  badVers: 16,
  badCookie: 23,
} as const;
export const OPTION = { subnet: 8, cookie: 10, keepalive: 11, ede: 15 } as const;

/** Large enough for every answer of ours, small enough never to be fragmented. */
export const UDP_PAYLOAD_MAX = 1232;
export const UDP_PAYLOAD_NO_EDNS = 512;
/** Over UDP, times the query, to a client that has not proven its address. */
export const AMPLIFICATION_MAX = 3;
export const TCP_MESSAGE_MAX = 65_535;
export const HEADER_BYTES = 12;
const NAME_BYTES_MAX = 255;
const RECORDS_MAX = 32; // in one query: an OPT, perhaps a TSIG

export interface ClientSubnet {
  readonly family: 1 | 2;
  readonly sourceBits: number;
  readonly address: Uint8Array; // 4 or 16 bytes, zero beyond sourceBits
}

export interface Edns {
  readonly payloadMax: number;
  readonly version: number;
  readonly dnssecOk: boolean;
  readonly subnet: ClientSubnet | null;
  readonly cookie: Uint8Array | null; // 8 (client only) or 16-40 bytes
  readonly keepalive: boolean;
}

export interface Query {
  readonly id: number;
  readonly opcode: number;
  readonly recursionDesired: boolean;
  /** The question as it came; empty where there was none. */
  readonly question: Uint8Array;
  readonly name: Name | null;
  readonly type: number;
  readonly class: number;
  readonly edns: Edns | null;
}

/** A name as it came and in lower case, label by label, as latin1: labels are bytes. */
export interface Name {
  readonly labels: readonly string[];
  readonly bytes: number; // on the wire, with the root
}

export type Reading =
  | { readonly kind: 'query'; readonly query: Query }
  | { readonly kind: 'malformed'; readonly query: Query; readonly why: string }
  | { readonly kind: 'ignore' };

/** Names are absolute, in lower case; what they share with the question is written as a pointer. */
export interface ResourceRecord {
  readonly owner: readonly string[];
  readonly type: number;
  readonly ttl: number;
  readonly names: readonly (readonly string[])[]; // before `data`: of NS and SOA, which may be compressed
  readonly data: Uint8Array;
}

export interface Response {
  readonly rcode: number;
  readonly authoritative: boolean;
  readonly answers: readonly ResourceRecord[];
  readonly authority: readonly ResourceRecord[];
  readonly additional: readonly ResourceRecord[];
  /** Scope for the client subnet option; null: the query had none. */
  readonly scopeBits: number | null;
  readonly cookie: Uint8Array | null;
  readonly ede: number | null;
  readonly keepaliveTenths: number | null;
  /** Answers may be left out from the end, down to one, where they do not fit: any of them is an answer. */
  readonly mayTrim: boolean;
}

export const EMPTY_RESPONSE: Response = {
  rcode: RCODE.noError,
  authoritative: false,
  answers: [],
  authority: [],
  additional: [],
  scopeBits: null,
  cookie: null,
  ede: null,
  keepaliveTenths: null,
  mayTrim: false,
};

// ---------------------------------------------------------------- reading

export function readQuery(bytes: Buffer): Reading {
  if (bytes.length < HEADER_BYTES) return { kind: 'ignore' };
  const flags = bytes.readUInt16BE(2);
  if ((flags & 0x8000) !== 0) return { kind: 'ignore' }; // a response: answering it could loop for ever
  const base = {
    id: bytes.readUInt16BE(0),
    opcode: (flags >>> 11) & 0xf,
    recursionDesired: (flags & 0x0100) !== 0,
    question: bytes.subarray(0, 0),
    name: null,
    type: 0,
    class: 0,
    edns: null,
  };
  const malformed = (why: string, query: Query = base): Reading => ({
    kind: 'malformed',
    query,
    why,
  });
  // What another operation holds is not for us to read: NOTIMP whatever follows.
  if (base.opcode !== 0) return { kind: 'query', query: base };
  const questions = bytes.readUInt16BE(4);
  if (questions > 1) return malformed('more than one question');
  const reader: Reader = { bytes, at: HEADER_BYTES };
  let query: Query = base;
  if (questions === 1) {
    const name = readName(reader, false);
    if (name === null || reader.at + 4 > bytes.length) return malformed('the question is cut off');
    const type = bytes.readUInt16BE(reader.at);
    const kind = bytes.readUInt16BE(reader.at + 2);
    reader.at += 4;
    query = {
      ...base,
      question: bytes.subarray(HEADER_BYTES, reader.at),
      name,
      type,
      class: kind,
    };
  }
  const before = bytes.readUInt16BE(6) + bytes.readUInt16BE(8);
  const additional = bytes.readUInt16BE(10);
  if (before + additional > RECORDS_MAX) return malformed('too many records', query);
  let opt: Edns | null = null;
  for (let record = 0; record < before + additional; record++) {
    const isRoot = bytes[reader.at] === 0;
    if (readName(reader, true) === null || reader.at + 10 > bytes.length) {
      return malformed('a record is cut off', withEdns(query, opt));
    }
    const type = bytes.readUInt16BE(reader.at);
    const end = reader.at + 10 + bytes.readUInt16BE(reader.at + 8);
    if (end > bytes.length) return malformed('a record is cut off', withEdns(query, opt));
    if (type === TYPE.OPT) {
      if (opt !== null) return malformed('two OPT records', withEdns(query, opt));
      const edns = readEdns(bytes, reader.at, end);
      opt = edns.edns;
      if (record < before) return malformed('OPT in the wrong section', withEdns(query, opt));
      if (!isRoot) return malformed('OPT with an owner', withEdns(query, opt));
      // Options of another version may mean anything: BADVERS comes first.
      if (edns.why !== null && opt.version === 0) return malformed(edns.why, withEdns(query, opt));
    }
    reader.at = end;
  }
  const whole = withEdns(query, opt);
  if (questions === 0 && (opt === null || opt.cookie === null)) {
    return malformed('no question', whole);
  }
  return { kind: 'query', query: whole };
}

interface Reader {
  readonly bytes: Buffer;
  at: number;
}

/** Null where the name is cut off, too long, or (in a question) compressed. Of a compressed name only the own labels are read. */
function readName(reader: Reader, mayPoint: boolean): Name | null {
  const { bytes } = reader;
  const labels: string[] = [];
  let length = 1;
  for (;;) {
    if (reader.at >= bytes.length) return null;
    const size = bytes[reader.at];
    if (size === 0) {
      reader.at++;
      return { labels, bytes: length };
    }
    if ((size & 0xc0) === 0xc0) {
      if (!mayPoint || reader.at + 2 > bytes.length) return null;
      reader.at += 2; // not followed: nobody needs that name
      return { labels, bytes: length };
    }
    if ((size & 0xc0) !== 0) return null;
    const end = reader.at + 1 + size;
    length += 1 + size;
    if (end > bytes.length || length > NAME_BYTES_MAX) return null;
    labels.push(lowerCase(bytes.toString('latin1', reader.at + 1, end)));
    reader.at = end;
  }
}

/** ASCII letters only: bytes above 127 are nobody's letters. */
export function lowerCase(label: string): string {
  return /[A-Z]/.test(label) ? label.replace(/[A-Z]/g, (letter) => letter.toLowerCase()) : label;
}

function withEdns(query: Query, edns: Edns | null): Query {
  return { ...query, edns };
}

function readEdns(bytes: Buffer, at: number, end: number): { edns: Edns; why: string | null } {
  let subnet: ClientSubnet | null = null;
  let cookie: Uint8Array | null = null;
  let keepalive = false;
  let why: string | null = null;
  for (let option = at + 10; option < end && why === null;) {
    if (option + 4 > end) {
      why = 'an EDNS option is cut off';
      break;
    }
    const code = bytes.readUInt16BE(option);
    const length = bytes.readUInt16BE(option + 2);
    const data = bytes.subarray(option + 4, option + 4 + length);
    if (option + 4 + length > end) {
      why = 'an EDNS option is cut off';
    } else if (code === OPTION.subnet) {
      const read = readSubnet(data);
      if (typeof read === 'string') why = read;
      else subnet ??= read;
    } else if (code === OPTION.cookie) {
      if (length !== 8 && (length < 16 || length > 40)) why = 'a cookie of a wrong length';
      else cookie ??= data;
    } else if (code === OPTION.keepalive) {
      keepalive = true;
    }
    option += 4 + length;
  }
  return {
    edns: {
      payloadMax: bytes.readUInt16BE(at + 2),
      version: bytes[at + 5],
      dnssecOk: (bytes[at + 6] & 0x80) !== 0,
      subnet,
      cookie,
      keepalive,
    },
    why,
  };
}

/** RFC 7871 6 and 7.1.2: everything that asks for FORMERR. */
function readSubnet(data: Buffer): ClientSubnet | string {
  if (data.length < 4) return 'a client subnet of a wrong length';
  const family = data.readUInt16BE(0);
  const sourceBits = data[2];
  if (family !== 1 && family !== 2) return 'a client subnet of an unknown family';
  const bytesMax = family === 1 ? 4 : 16;
  if (sourceBits > bytesMax * 8) return 'a client subnet with too many bits';
  if (data[3] !== 0) return 'a client subnet with a scope in the query';
  const length = Math.ceil(sourceBits / 8);
  if (data.length - 4 !== length) return 'a client subnet with a wrong number of octets';
  const spare = length * 8 - sourceBits;
  if (spare > 0 && (data[3 + length] & ((1 << spare) - 1)) !== 0) {
    return 'a client subnet with bits beyond its prefix';
  }
  const address = new Uint8Array(bytesMax);
  address.set(data.subarray(4));
  return { family, sourceBits, address };
}
