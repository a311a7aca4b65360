/**
 * One DNS message in, one out or none: reading, the zone's answer, writing, and what is counted.
 *
 * Errors:     never throws on any bytes
 * Invariants: (1) nothing is answered to a response or to less than a header
 *             (2) over UDP an answer is at most min(1232, what the client takes), over TCP at most 65,535 bytes
 */
import type { World } from '../candidates.ts';
import {
  EMPTY_RESPONSE,
  RCODE,
  readQuery,
  TCP_MESSAGE_MAX,
  udpBytesMax,
  writeResponse,
} from './message.ts';
import { answerQuery, type Zone } from './zone.ts';

export interface DnsCounters {
  queries: number;
  answered: number;
  ignored: number;
  malformed: number;
  truncated: number;
  byRcode: Record<string, number>;
}

export class Responder {
  readonly #zone: Zone;
  readonly #out = Buffer.alloc(TCP_MESSAGE_MAX);
  readonly counters: DnsCounters = {
    queries: 0,
    answered: 0,
    ignored: 0,
    malformed: 0,
    truncated: 0,
    byRcode: {},
  };

  constructor(zone: Zone) {
    this.#zone = zone;
  }

  /** The answer lies in a buffer that the next call overwrites. */
  respond(
    world: World | null,
    message: Buffer,
    resolver: Uint8Array,
    transport: 'udp' | 'tcp',
  ): Buffer | null {
    const { counters } = this;
    counters.queries++;
    const reading = readQuery(message);
    if (reading.kind === 'ignore') {
      counters.ignored++;
      return null;
    }
    const { query } = reading;
    const response =
      reading.kind === 'malformed'
        ? { ...EMPTY_RESPONSE, rcode: RCODE.formErr }
        : answerQuery(this.#zone, world, query, resolver);
    if (reading.kind === 'malformed') counters.malformed++;
    const bytesMax = transport === 'udp' ? udpBytesMax(query) : TCP_MESSAGE_MAX;
    const length = writeResponse(this.#out, query, response, bytesMax);
    counters.answered++;
    if ((this.#out[2] & 0x02) !== 0) counters.truncated++;
    const rcode = String(response.rcode);
    counters.byRcode[rcode] = (counters.byRcode[rcode] ?? 0) + 1;
    return this.#out.subarray(0, length);
  }
}
