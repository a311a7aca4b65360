/**
 * DNS responses on the wire.
 *
 * Shape:      writeResponse(out, query, response, bytesMax) -> bytes written
 * Invariants: (1) the question is copied byte for byte; names that end as it does point into it
 *             (2) a response is at most `bytesMax` long; one that would be longer is TC=1 with question and OPT only
 *             (3) an OPT record stands in the response exactly when one stood in the query
 * Source:     RFC 1035 4.1.4 (compression), 2181 9 (TC), 6891 7
 */
import {
  CLASS_IN,
  HEADER_BYTES,
  OPTION,
  TYPE,
  UDP_PAYLOAD_MAX,
  UDP_PAYLOAD_NO_EDNS,
  type Query,
  type ResourceRecord,
  type Response,
} from './message.ts';

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
