/**
 * One DNS message in, one out or none: reading, cookies, the zone's answer, rate limits, writing, and what is counted.
 *
 * Common questions over UDP are answered from images (quick-answer.ts); everything else, and what is to be learned for
 * them, goes the general way.
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
import { isMapped } from '../place.ts';
import { AnswerImages } from './answer-images.ts';
import type { CookieJar } from './cookie.ts';
import {
  AMPLIFICATION_MAX,
  EMPTY_RESPONSE,
  RCODE,
  readQuery,
  TCP_MESSAGE_MAX,
  type Query,
  type Response,
} from './message.ts';
import { NOT_COMMON, QuickAnswers, SLIPPED, UNKNOWN_NAME } from './quick-answer.ts';
import { udpBytesMax, writeResponse } from './response.ts';
import type { RateLimit } from './rate-limit.ts';
import { DnsTally, type DnsCounters } from './tally.ts';
import { answerQuery, type Zone } from './zone.ts';

export const TCP_IDLE_MS = 10_000;

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
  readonly #tally = new DnsTally();
  readonly #images: AnswerImages;
  readonly #quick: QuickAnswers;

  constructor(deps: ResponderDeps) {
    this.#deps = deps;
    this.#images = new AnswerImages(deps.zone);
    this.#quick = new QuickAnswers(
      deps.zone,
      deps.cookies,
      deps.rateLimit,
      this.#images,
      this.#tally,
    );
  }

  get counters(): DnsCounters {
    return this.#tally.counters();
  }

  /**
   * One datagram that lies at `queryAt`, its answer at `roomAt`: how many bytes that has, 0 for none. `sender` is an address
   * of 4 or 16 bytes; an IPv4-mapped one counts as the IPv4 address that it carries. The room takes UDP_PAYLOAD_MAX bytes.
   */
  respondInto(
    world: World | null,
    query: Buffer,
    queryAt: number,
    queryBytes: number,
    sender: Uint8Array,
    senderAt: number,
    senderBytes: number,
    room: Buffer,
    roomAt: number,
    wallMs: Milliseconds,
    monotonicMs: Milliseconds,
  ): number {
    const isCarried = senderBytes === 16 && isMapped(sender, senderAt);
    const addressAt = isCarried ? senderAt + 12 : senderAt;
    const addressBytes = isCarried ? 4 : senderBytes;
    let verdict: number = NOT_COMMON;
    if (world !== null) {
      verdict = this.#quick.answer(
        world,
        query,
        queryAt,
        queryBytes,
        sender,
        addressAt,
        addressBytes,
        room,
        roomAt,
        wallMs,
        monotonicMs,
      );
      if (verdict >= 0) return verdict;
    }
    const asking: Asking = {
      message: query.subarray(queryAt, queryAt + queryBytes),
      resolver: sender.subarray(addressAt, addressAt + addressBytes),
      transport: 'udp',
      wallMs,
      monotonicMs,
    };
    const answer = this.#respond(world, asking, verdict);
    return answer === null ? 0 : answer.copy(room, roomAt);
  }

  /** The general way. The answer lies in a buffer that the next call overwrites. */
  respond(world: World | null, asking: Asking): Buffer | null {
    return this.#respond(world, asking, NOT_COMMON);
  }

  /** `quick`: what the quick way said. */
  #respond(world: World | null, asking: Asking, quick: number): Buffer | null {
    const tally = this.#tally;
    const { message, resolver, transport } = asking;
    tally.queries++;
    const reading = readQuery(message);
    if (reading.kind === 'ignore') {
      tally.ignored++;
      return null;
    }
    const { query } = reading;
    if (reading.kind === 'malformed') tally.malformed++;
    let response =
      reading.kind === 'malformed'
        ? { ...EMPTY_RESPONSE, rcode: RCODE.formErr }
        : answerQuery(this.#deps.zone, world, query, resolver);
    if (quick === UNKNOWN_NAME && world !== null) {
      this.#images.learn(this.#quick.hash, query, response, world.fleet);
    }
    const cookie = query.edns?.version === 0 ? query.edns.cookie : null;
    let isProven = transport === 'tcp';
    if (cookie !== null && this.#deps.cookies !== null && reading.kind === 'query') {
      const verdict = this.#deps.cookies.look(cookie, resolver, asking.wallMs / 1000);
      if (verdict.isGood) tally.goodCookies++;
      isProven ||= verdict.isGood;
      response = { ...response, cookie: verdict.answer };
    }
    if (transport === 'tcp' && query.edns?.keepalive === true) {
      response = { ...response, keepaliveTenths: TCP_IDLE_MS / 100 };
    }
    let bytesMax = transport === 'tcp' ? TCP_MESSAGE_MAX : udpBytesMax(query);
    if (!isProven) {
      bytesMax = Math.min(bytesMax, AMPLIFICATION_MAX * message.length);
      // The quick way has asked the limits already where it says that this one slips out.
      const verdict = quick === SLIPPED ? 'slip' : this.#limit(query, response, asking);
      if (verdict === 'drop') {
        tally.dropped++;
        return null;
      }
      if (verdict === 'slip') {
        tally.slipped++;
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
    if ((answer[2] & 0x02) === 0) this.#tally.truncated++;
    answer[2] |= 0x02;
    return answer;
  }

  #write(query: Query, response: Response, bytesMax: number): Buffer {
    const tally = this.#tally;
    const length = writeResponse(this.#out, query, response, bytesMax);
    tally.answered++;
    if ((this.#out[2] & 0x02) !== 0) tally.truncated++;
    tally.rcodes[response.rcode]++;
    return this.#out.subarray(0, length);
  }
}
