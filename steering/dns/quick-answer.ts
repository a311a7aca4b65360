/**
 * The answer to a common question, written from an image: header, the question as it came, the image, an OPT record with the
 * client subnet and a cookie. Nothing is allocated. Rate limits and cookies are those of the general way.
 *
 * Shape:      quick.answer(world, where the query lies, who sent it, where to write) -> bytes written, or a verdict below 0
 * Errors:     never throws on any bytes
 * Invariants: (1) what it writes is byte for byte what the general way (readQuery, answerQuery, writeResponse) writes
 *             (2) a query that it leaves to the general way has changed nothing: no limit, no counter
 */
import type { Milliseconds } from '#base/clock.ts';
import type { World } from '../candidates.ts';
import { homeOf, lookUpPacked, lookUpV4, lookUpV6, packedCover, packedScope } from '../place.ts';
import type { AnswerImage, AnswerImages } from './answer-images.ts';
import { CommonQuestion } from './common-question.ts';
import { COOKIE_BYTES, type CookieJar } from './cookie.ts';
import {
  AMPLIFICATION_MAX,
  HEADER_BYTES,
  OPTION,
  TYPE,
  UDP_PAYLOAD_MAX,
  UDP_PAYLOAD_NO_EDNS,
} from './message.ts';
import type { RateLimit } from './rate-limit.ts';
import type { DnsTally } from './tally.ts';
import { clientKind, type Zone } from './zone.ts';

/** No answer at all. */
export const DROPPED = 0;
/** A question of another shape, or an answer that has to be cut: the general way answers. */
export const NOT_COMMON = -1;
/** The same, and what it answers is worth learning. */
export const UNKNOWN_NAME = -2;
/** Over the limit, and this one slips out: the general way writes what then goes out. */
export const SLIPPED = -3;

const OPT_BYTES = 11;
const OPTION_HEAD_BYTES = 4;
const EDE_BYTES = 6;

export class QuickAnswers {
  readonly #zone: Zone;
  readonly #cookies: CookieJar | null;
  readonly #rateLimit: RateLimit | null;
  readonly #images: AnswerImages;
  readonly #tally: DnsTally;
  readonly #question = new CommonQuestion();
  readonly #client = Buffer.alloc(16); // the subnet's address, padded
  readonly #cookie = Buffer.alloc(COOKIE_BYTES); // to answer with
  #scopeBits = 0;

  constructor(
    zone: Zone,
    cookies: CookieJar | null,
    rateLimit: RateLimit | null,
    images: AnswerImages,
    tally: DnsTally,
  ) {
    this.#zone = zone;
    this.#cookies = cookies;
    this.#rateLimit = rateLimit;
    this.#images = images;
    this.#tally = tally;
  }

  /** Of the question of the last call. */
  get hash(): number {
    return this.#question.hash;
  }

  answer(
    world: World,
    query: Uint8Array,
    queryAt: number,
    queryBytes: number,
    sender: Uint8Array,
    senderAt: number,
    senderBytes: number,
    out: Uint8Array,
    outAt: number,
    wallMs: Milliseconds,
    monotonicMs: Milliseconds,
  ): number {
    const question = this.#question;
    if (!question.read(query, queryAt, queryBytes)) return NOT_COMMON;
    const { hash, nameBytes, type } = question;
    const known = this.#images.find(
      query,
      queryAt + HEADER_BYTES,
      nameBytes,
      type,
      hash,
      world.fleet,
    );
    if (known === null) return UNKNOWN_NAME;
    this.#scopeBits = 0;
    const image = known.image ?? this.#best(world, query, sender, senderAt, senderBytes);
    if (image === null) return NOT_COMMON;
    const hasCookie = question.cookieBytes > 0 && this.#cookies !== null;
    const isProven =
      hasCookie &&
      this.#cookies.lookInto(
        query,
        question.cookieAt,
        question.cookieBytes,
        sender,
        senderAt,
        senderBytes,
        wallMs / 1000,
        this.#cookie,
        0,
      );
    const length =
      HEADER_BYTES + nameBytes + 4 + image.body.length + this.#optBytes(image, hasCookie);
    const isTooLong =
      length > this.#bytesMax() || (!isProven && length > queryBytes * AMPLIFICATION_MAX);
    if (isTooLong) return NOT_COMMON;
    if (!isProven && this.#rateLimit !== null) {
      const verdict = this.#rateLimit.takeAt(
        sender,
        senderAt,
        senderBytes,
        query,
        question.subnetAt,
        question.sourceBits,
        image.nameHash,
        monotonicMs,
      );
      if (verdict === 'slip') return SLIPPED;
      if (verdict === 'drop') {
        this.#tally.queries++;
        this.#tally.dropped++;
        return DROPPED;
      }
    }
    this.#tally.queries++;
    this.#tally.answered++;
    this.#tally.quick++;
    this.#tally.rcodes[0]++;
    if (isProven) this.#tally.goodCookies++;
    this.#write(image, query, queryAt, hasCookie, out, outAt);
    return length;
  }

  /** The image for the client behind the query, and the scope of that in #scopeBits; null where a country has to be found out. */
  #best(
    world: World,
    query: Uint8Array,
    sender: Uint8Array,
    senderAt: number,
    senderBytes: number,
  ): AnswerImage | null {
    const { prefixes } = world.fleet;
    const { family, sourceBits, subnetAt, type } = this.#question;
    let cover: number;
    let kind: number;
    let scopeBits = 0;
    if (sourceBits > 0) {
      const client = this.#client;
      const octets = (sourceBits + 7) >> 3;
      const size = family === 1 ? 4 : 16;
      for (let at = 0; at < octets; at++) client[at] = query[subnetAt + at];
      for (let at = octets; at < size; at++) client[at] = 0;
      const trie = family === 1 ? prefixes.v4 : prefixes.v6;
      const packed = lookUpPacked(trie, client, 0, size, sourceBits);
      cover = packedCover(packed);
      scopeBits = packedScope(packed);
      kind = clientKind(client, 0, Math.min(scopeBits, sourceBits));
    } else {
      cover =
        senderBytes === 4
          ? lookUpV4(prefixes, numberAt(sender, senderAt))
          : lookUpV6(prefixes, sender, senderAt);
      kind = clientKind(sender, senderAt, senderBytes * 8);
    }
    if (this.#zone.countries !== null && homeOf(prefixes, cover) === null) return null;
    const image = this.#images.best(world, cover, kind, type === TYPE.A ? 4 : 16);
    if (image.isScoped) this.#scopeBits = scopeBits;
    return image;
  }

  #optBytes(image: AnswerImage, hasCookie: boolean): number {
    const { family, hasEdns, sourceBits } = this.#question;
    if (!hasEdns) return 0;
    return (
      OPT_BYTES +
      (family === 0 ? 0 : OPTION_HEAD_BYTES + 4 + ((sourceBits + 7) >> 3)) +
      (hasCookie ? OPTION_HEAD_BYTES + COOKIE_BYTES : 0) +
      (image.ede === null ? 0 : EDE_BYTES)
    );
  }

  #bytesMax(): number {
    const { hasEdns, payloadMax } = this.#question;
    if (!hasEdns || payloadMax < UDP_PAYLOAD_NO_EDNS) return UDP_PAYLOAD_NO_EDNS;
    return payloadMax < UDP_PAYLOAD_MAX ? payloadMax : UDP_PAYLOAD_MAX;
  }

  #write(
    image: AnswerImage,
    query: Uint8Array,
    queryAt: number,
    hasCookie: boolean,
    out: Uint8Array,
    outAt: number,
  ): void {
    const { hasEdns, nameBytes } = this.#question;
    const { additional, answers, authority, body } = image;
    out[outAt] = query[queryAt];
    out[outAt + 1] = query[queryAt + 1];
    out[outAt + 2] = 0x80 | (image.isAuthoritative ? 0x04 : 0) | (query[queryAt + 2] & 0x01);
    out[outAt + 3] = 0;
    out[outAt + 4] = 0;
    out[outAt + 5] = 1;
    writeShort(out, outAt + 6, answers);
    writeShort(out, outAt + 8, authority);
    writeShort(out, outAt + 10, additional + (hasEdns ? 1 : 0));
    let at = outAt + HEADER_BYTES;
    for (let from = queryAt + HEADER_BYTES, end = from + nameBytes + 4; from < end; from++) {
      out[at++] = query[from];
    }
    for (let from = 0; from < body.length; from++) out[at++] = body[from];
    if (hasEdns) this.#writeOpt(image, query, hasCookie, out, at);
  }

  #writeOpt(
    image: AnswerImage,
    query: Uint8Array,
    hasCookie: boolean,
    out: Uint8Array,
    from: number,
  ): void {
    const { dnssecOk, family, sourceBits, subnetAt } = this.#question;
    let at = from;
    out[at] = 0;
    writeShort(out, at + 1, TYPE.OPT);
    writeShort(out, at + 3, UDP_PAYLOAD_MAX);
    out[at + 5] = 0;
    out[at + 6] = 0;
    out[at + 7] = dnssecOk ? 0x80 : 0;
    out[at + 8] = 0;
    writeShort(out, at + 9, this.#optBytes(image, hasCookie) - OPT_BYTES);
    at += OPT_BYTES;
    if (family !== 0) {
      const octets = (sourceBits + 7) >> 3;
      writeShort(out, at, OPTION.subnet);
      writeShort(out, at + 2, 4 + octets);
      writeShort(out, at + 4, family);
      out[at + 6] = sourceBits;
      out[at + 7] = this.#scopeBits;
      at += OPTION_HEAD_BYTES + 4;
      for (let octet = 0; octet < octets; octet++) out[at++] = query[subnetAt + octet];
    }
    if (hasCookie) {
      writeShort(out, at, OPTION.cookie);
      writeShort(out, at + 2, COOKIE_BYTES);
      at += OPTION_HEAD_BYTES;
      for (let byte = 0; byte < COOKIE_BYTES; byte++) out[at++] = this.#cookie[byte];
    }
    if (image.ede !== null) {
      writeShort(out, at, OPTION.ede);
      writeShort(out, at + 2, 2);
      writeShort(out, at + 4, image.ede);
    }
  }
}

function writeShort(out: Uint8Array, at: number, value: number): void {
  out[at] = value >>> 8;
  out[at + 1] = value;
}

function numberAt(bytes: Uint8Array, at: number): number {
  return ((bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3]) >>> 0;
}
