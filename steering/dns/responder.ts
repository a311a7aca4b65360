/**
 * One DNS message in, one out or none: reading, cookies, the zone's answer, rate limits, writing, and what is counted.
 *
 * Errors:     never throws on any bytes
 * Invariants: (1) nothing is answered to a response or to less than a header
 *             (2) over UDP an answer is at most min(1232, what the client takes), over TCP at most 65,535 bytes
 *             (3) over UDP without a good cookie an answer is at most AMPLIFICATION_MAX times the query
 *             (4) TCP and good cookies are never rate-limited
 */
import type { Milliseconds } from '#base/clock.ts';
import type { World } from '../candidates.ts';
import { hashText } from '../hashing.ts';
import type { CookieJar } from './cookie.ts';
import {
  EMPTY_RESPONSE,
  RCODE,
  readQuery,
  TCP_MESSAGE_MAX,
  type Query,
  type Response,
} from './message.ts';
import { udpBytesMax, writeResponse } from './response.ts';
import type { RateLimit } from './rate-limit.ts';
import { answerQuery, type Zone } from './zone.ts';

const AMPLIFICATION_MAX = 3;
export const TCP_IDLE_MS = 10_000;

export interface DnsCounters {
  queries: number;
  answered: number;
  ignored: number;
  malformed: number;
  truncated: number;
  slipped: number;
  dropped: number;
  goodCookies: number;
  byRcode: Record<string, number>;
}

export interface ResponderDeps {
  readonly zone: Zone;
  readonly cookies: CookieJar | null;
  readonly rateLimit: RateLimit | null;
}

export interface Asking {
  readonly message: Buffer;
  readonly resolver: Uint8Array; // 4 or 16 bytes
  readonly transport: 'udp' | 'tcp';
  readonly wallMs: Milliseconds;
  readonly monotonicMs: Milliseconds;
}

export class Responder {
  readonly #deps: ResponderDeps;
  readonly #out = Buffer.alloc(TCP_MESSAGE_MAX + 1);
  readonly counters: DnsCounters = {
    queries: 0,
    answered: 0,
    ignored: 0,
    malformed: 0,
    truncated: 0,
    slipped: 0,
    dropped: 0,
    goodCookies: 0,
    byRcode: {},
  };

  constructor(deps: ResponderDeps) {
    this.#deps = deps;
  }

  /** The answer lies in a buffer that the next call overwrites. */
  respond(world: World | null, asking: Asking): Buffer | null {
    const { counters } = this;
    const { message, resolver, transport } = asking;
    counters.queries++;
    const reading = readQuery(message);
    if (reading.kind === 'ignore') {
      counters.ignored++;
      return null;
    }
    const { query } = reading;
    if (reading.kind === 'malformed') counters.malformed++;
    let response =
      reading.kind === 'malformed'
        ? { ...EMPTY_RESPONSE, rcode: RCODE.formErr }
        : answerQuery(this.#deps.zone, world, query, resolver);
    const cookie = query.edns?.version === 0 ? query.edns.cookie : null;
    let isProven = transport === 'tcp';
    if (cookie !== null && this.#deps.cookies !== null && reading.kind === 'query') {
      const verdict = this.#deps.cookies.look(cookie, resolver, asking.wallMs / 1000);
      if (verdict.isGood) counters.goodCookies++;
      isProven ||= verdict.isGood;
      response = { ...response, cookie: verdict.answer };
    }
    if (transport === 'tcp' && query.edns?.keepalive === true) {
      response = { ...response, keepaliveTenths: TCP_IDLE_MS / 100 };
    }
    let bytesMax = transport === 'tcp' ? TCP_MESSAGE_MAX : udpBytesMax(query);
    if (!isProven) {
      bytesMax = Math.min(bytesMax, AMPLIFICATION_MAX * message.length);
      const verdict = this.#limit(query, response, asking);
      if (verdict === 'drop') {
        counters.dropped++;
        return null;
      }
      if (verdict === 'slip') {
        counters.slipped++;
        return this.#slip(query, response);
      }
    }
    return this.#write(query, response, bytesMax);
  }

  #limit(query: Query, response: Response, asking: Asking): 'send' | 'slip' | 'drop' {
    const { rateLimit, zone } = this.#deps;
    if (rateLimit === null) return 'send';
    const isPositive = response.rcode === RCODE.noError;
    const kind = isPositive ? 'positive' : response.rcode === RCODE.nxDomain ? 'nxdomain' : 'error';
    // Made-up names are all the same name: else a flood of them would have a bucket each.
    const about = isPositive ? (query.name?.labels ?? []) : zone.labels;
    return rateLimit.take(
      asking.resolver,
      query.edns?.subnet ?? null,
      kind,
      hashText(about.join('.')),
      asking.monotonicMs,
    );
  }

  /** Over the limit: a client that speaks cookies is asked for its cookie, another one to come by TCP. */
  #slip(query: Query, response: Response): Buffer {
    const empty = { ...response, answers: [], authority: [], additional: [], ede: null };
    if (response.cookie !== null) {
      return this.#write(query, { ...empty, rcode: RCODE.badCookie }, udpBytesMax(query));
    }
    const answer = this.#write(query, empty, udpBytesMax(query));
    if ((answer[2] & 0x02) === 0) this.counters.truncated++;
    answer[2] |= 0x02;
    return answer;
  }

  #write(query: Query, response: Response, bytesMax: number): Buffer {
    const { counters } = this;
    const length = writeResponse(this.#out, query, response, bytesMax);
    counters.answered++;
    if ((this.#out[2] & 0x02) !== 0) counters.truncated++;
    const rcode = String(response.rcode);
    counters.byRcode[rcode] = (counters.byRcode[rcode] ?? 0) + 1;
    return this.#out.subarray(0, length);
  }
}
