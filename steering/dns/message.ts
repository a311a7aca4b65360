/**
 * The DNS wire format: queries read, responses written. Only what an authoritative server needs.
 *
 * Shape:      readQuery(bytes) -> query | malformed (answer FORMERR) | ignore (answer nothing)
 *             writeResponse(out, query, response, bytesMax) -> bytes written
 * Units:      offsets and lengths in bytes; TTLs in seconds
 * Errors:     never throws on any bytes: what is wrong is a verdict
 * Invariants: (1) reading never goes past the end and never follows a pointer: no loop is possible
 *             (2) the question is copied byte for byte, so that its upper and lower case survive (0x20)
 *             (3) a response is at most `bytesMax` long; one that would be longer is TC=1 with question and OPT only
 *             (4) an OPT record stands in the response exactly when one stood in the query
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
export const TCP_MESSAGE_MAX = 65_535;
const HEADER_BYTES = 12;
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

// ---------------------------------------------------------------- writing

/** Writes into `out` (at least TCP_MESSAGE_MAX long); the result is `out.subarray(0, length)`. */
export function writeResponse(
  out: Buffer,
  query: Query,
  response: Response,
  bytesMax: number,
): number {
  const opt = query.edns === null ? null : optRecord(query, response);
  const start = HEADER_BYTES + query.question.length;
  out.set(query.question, HEADER_BYTES);
  const writer: Writer = { out, at: start, limit: bytesMax - (opt?.length ?? 0), query };
  const answers = writeRecords(writer, response.answers, response.mayTrim ? 1 : null);
  const authority = answers === null ? null : writeRecords(writer, response.authority, null);
  const isTruncated = authority === null;
  if (isTruncated) writer.at = start;
  // Additional records are a courtesy: left out without a word where they do not fit.
  const additional = isTruncated ? 0 : (writeRecords(writer, response.additional, 0) ?? 0);
  if (opt !== null) {
    opt.copy(out, writer.at);
    writer.at += opt.length;
  }
  const flags =
    0x8000 |
    (query.opcode << 11) |
    (response.authoritative ? 0x0400 : 0) |
    (isTruncated ? 0x0200 : 0) |
    (query.recursionDesired ? 0x0100 : 0) |
    (response.rcode & 0xf);
  out.writeUInt16BE(query.id, 0);
  out.writeUInt16BE(flags, 2);
  out.writeUInt16BE(query.question.length === 0 ? 0 : 1, 4);
  out.writeUInt16BE(isTruncated ? 0 : (answers ?? 0), 6);
  out.writeUInt16BE(authority ?? 0, 8);
  out.writeUInt16BE(additional + (opt === null ? 0 : 1), 10);
  return writer.at;
}

interface Writer {
  readonly out: Buffer;
  at: number;
  readonly limit: number;
  readonly query: Query;
}

/** How many were written: all of them, or at least `enough`; null where fewer fit than must. */
function writeRecords(
  writer: Writer,
  records: readonly ResourceRecord[],
  enough: number | null,
): number | null {
  for (let written = 0; written < records.length; written++) {
    const before = writer.at;
    if (!writeRecord(writer, records[written])) {
      writer.at = before;
      return enough !== null && written >= enough ? written : null;
    }
  }
  return records.length;
}

/** The largest record of ours: well below, so that the write below cannot pass the end of the buffer. */
const RECORD_BYTES_MAX = 1024;

function writeRecord(writer: Writer, record: ResourceRecord): boolean {
  const { out } = writer;
  if (writer.at + RECORD_BYTES_MAX > out.length) return false;
  writeName(writer, record.owner);
  out.writeUInt16BE(record.type, writer.at);
  out.writeUInt16BE(CLASS_IN, writer.at + 2);
  out.writeUInt32BE(record.ttl, writer.at + 4);
  const lengthAt = writer.at + 8;
  writer.at += 10;
  for (const name of record.names) writeName(writer, name);
  out.set(record.data, writer.at);
  writer.at += record.data.length;
  out.writeUInt16BE(writer.at - lengthAt - 2, lengthAt);
  return writer.at <= writer.limit;
}

/** The labels that the question does not end with, then a pointer to those that it does. */
function writeName(writer: Writer, labels: readonly string[]): void {
  const { out, query } = writer;
  const asked = query.name?.labels ?? [];
  let shared = 0;
  while (
    shared < labels.length &&
    shared < asked.length &&
    labels[labels.length - 1 - shared] === asked[asked.length - 1 - shared]
  ) {
    shared++;
  }
  for (const label of labels.slice(0, labels.length - shared)) {
    out[writer.at] = label.length;
    out.write(label, writer.at + 1, 'latin1');
    writer.at += 1 + label.length;
  }
  if (shared === 0) {
    out[writer.at++] = 0;
    return;
  }
  let offset = HEADER_BYTES;
  for (const label of asked.slice(0, asked.length - shared)) offset += 1 + label.length;
  out.writeUInt16BE(0xc000 | offset, writer.at);
  writer.at += 2;
}

function nameBytes(labels: readonly string[]): number {
  return labels.reduce((sum, label) => sum + 1 + label.length, 1);
}

export function encodeName(labels: readonly string[]): Buffer {
  const out = Buffer.alloc(nameBytes(labels));
  let at = 0;
  for (const label of labels) {
    out[at] = label.length;
    out.write(label, at + 1, 'latin1');
    at += 1 + label.length;
  }
  return out;
}

function optRecord(query: Query, response: Response): Buffer {
  const options: Buffer[] = [];
  const subnet = query.edns?.subnet ?? null;
  if (subnet !== null && response.scopeBits !== null) {
    const octets = Math.ceil(subnet.sourceBits / 8);
    const data = Buffer.alloc(4 + octets);
    data.writeUInt16BE(subnet.family, 0);
    data[2] = subnet.sourceBits;
    data[3] = response.scopeBits;
    data.set(subnet.address.subarray(0, octets), 4);
    options.push(option(OPTION.subnet, data));
  }
  if (response.cookie !== null) options.push(option(OPTION.cookie, response.cookie));
  if (response.keepaliveTenths !== null) {
    const data = Buffer.alloc(2);
    data.writeUInt16BE(response.keepaliveTenths);
    options.push(option(OPTION.keepalive, data));
  }
  if (response.ede !== null) {
    const data = Buffer.alloc(2);
    data.writeUInt16BE(response.ede);
    options.push(option(OPTION.ede, data));
  }
  const body = Buffer.concat(options);
  const record = Buffer.alloc(11 + body.length);
  record.writeUInt16BE(TYPE.OPT, 1);
  record.writeUInt16BE(UDP_PAYLOAD_MAX, 3);
  record[5] = response.rcode >>> 4; // the upper bits of an extended code
  record[6] = 0; // our version
  record[7] = query.edns?.dnssecOk === true ? 0x80 : 0;
  record.writeUInt16BE(body.length, 9);
  body.copy(record, 11);
  return record;
}

function option(code: number, data: Uint8Array): Buffer {
  const out = Buffer.alloc(4 + data.length);
  out.writeUInt16BE(code, 0);
  out.writeUInt16BE(data.length, 2);
  out.set(data, 4);
  return out;
}

/** How long a response over UDP may be for this query. */
export function udpBytesMax(query: Query): number {
  if (query.edns === null) return UDP_PAYLOAD_NO_EDNS;
  return Math.min(UDP_PAYLOAD_MAX, Math.max(UDP_PAYLOAD_NO_EDNS, query.edns.payloadMax));
}
