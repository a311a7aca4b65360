/**
 * DNS cookies: a client that shows the cookie it was given holds its address, and is not rate-limited.
 *
 * A server cookie is 01 000000, 32-bit time, SipHash-2-4 over (client cookie, those 8 bytes, client address). The
 * secret is derived from one shared by all steering nodes and from the day, so that it rolls over without anybody's
 * doing: cookies are made with today's, and taken from yesterday's, today's and tomorrow's (nodes' clocks differ).
 *
 * Shape:      jar.look(cookie option, client address, now) -> verdict and the option to answer with
 * Units:      seconds
 * Source:     RFC 7873, RFC 9018 4
 */
import { hkdfSync } from 'node:crypto';
import { sipHashInto, sipKey } from './siphash.ts';

export const CLIENT_COOKIE_BYTES = 8;
const SERVER_COOKIE_BYTES = 16;
/** What an answer carries: the client's cookie and ours. */
export const COOKIE_BYTES = CLIENT_COOKIE_BYTES + SERVER_COOKIE_BYTES;
const HEAD_BYTES = 8; // of a server cookie: version, reserved, time
const AGE_SECONDS_MAX = 3600;
const FUTURE_SECONDS_MAX = 300;
const RENEW_AFTER_SECONDS = 1800;
const DAY_SECONDS = 86_400;
const DAYS_TAKEN = [0, -1, 1] as const;

export interface CookieVerdict {
  readonly isGood: boolean;
  readonly answer: Uint8Array; // what the response's option holds: client cookie, server cookie
}

export class CookieJar {
  readonly #shared: Uint8Array;
  readonly #secrets = new Map<number, Int32Array>();
  readonly #hashed = new Uint8Array(CLIENT_COOKIE_BYTES + HEAD_BYTES + 16);
  readonly #expected = new Uint8Array(8);

  constructor(shared: Uint8Array) {
    this.#shared = shared;
  }

  look(option: Uint8Array, address: Uint8Array, nowSeconds: number): CookieVerdict {
    const answer = new Uint8Array(COOKIE_BYTES);
    const isGood = this.lookInto(
      option,
      0,
      option.length,
      address,
      0,
      address.length,
      nowSeconds,
      answer,
      0,
    );
    return { isGood, answer };
  }

  /** The same for an option and an address that lie somewhere in memory; writes what to answer with and allocates nothing. */
  lookInto(
    option: Uint8Array,
    optionAt: number,
    optionBytes: number,
    address: Uint8Array,
    addressAt: number,
    addressBytes: number,
    nowSeconds: number,
    out: Uint8Array,
    outAt: number,
  ): boolean {
    const hashed = this.#hashed;
    const shownAt = optionAt + CLIENT_COOKIE_BYTES;
    for (let at = 0; at < CLIENT_COOKIE_BYTES; at++) {
      hashed[at] = option[optionAt + at];
      out[outAt + at] = option[optionAt + at];
    }
    for (let at = 0; at < addressBytes; at++) {
      hashed[CLIENT_COOKIE_BYTES + HEAD_BYTES + at] = address[addressAt + at];
    }
    const now = Math.floor(nowSeconds) >>> 0;
    const today = Math.floor(nowSeconds / DAY_SECONDS);
    if (optionBytes === COOKIE_BYTES && option[shownAt] === 1) {
      for (let at = 0; at < HEAD_BYTES; at++) {
        hashed[CLIENT_COOKIE_BYTES + at] = option[shownAt + at];
      }
      const age = (now - secondsAt(option, shownAt + 4)) | 0; // serial arithmetic: right also across 2106
      if (age <= AGE_SECONDS_MAX && age >= -FUTURE_SECONDS_MAX) {
        for (const day of DAYS_TAKEN) {
          if (!this.#isOurs(today + day, addressBytes, option, shownAt + HEAD_BYTES)) continue;
          if (age < RENEW_AFTER_SECONDS) {
            for (let at = 0; at < SERVER_COOKIE_BYTES; at++) {
              out[outAt + CLIENT_COOKIE_BYTES + at] = option[shownAt + at];
            }
          } else {
            this.#bake(today, now, addressBytes, out, outAt + CLIENT_COOKIE_BYTES);
          }
          return true;
        }
      }
    }
    this.#bake(today, now, addressBytes, out, outAt + CLIENT_COOKIE_BYTES);
    return false;
  }

  /** Compares all bytes whatever the first ones are: how long it takes tells nothing. */
  #isOurs(day: number, addressBytes: number, shown: Uint8Array, shownAt: number): boolean {
    const expected = this.#expected;
    const length = CLIENT_COOKIE_BYTES + HEAD_BYTES + addressBytes;
    sipHashInto(this.#secretOf(day), this.#hashed, length, expected, 0);
    let difference = 0;
    for (let at = 0; at < expected.length; at++) difference |= expected[at] ^ shown[shownAt + at];
    return difference === 0;
  }

  #bake(today: number, now: number, addressBytes: number, out: Uint8Array, outAt: number): void {
    const hashed = this.#hashed;
    hashed.fill(0, CLIENT_COOKIE_BYTES, CLIENT_COOKIE_BYTES + HEAD_BYTES);
    hashed[CLIENT_COOKIE_BYTES] = 1;
    for (let at = 0; at < 4; at++) hashed[CLIENT_COOKIE_BYTES + 4 + at] = now >>> (24 - at * 8);
    for (let at = 0; at < HEAD_BYTES; at++) out[outAt + at] = hashed[CLIENT_COOKIE_BYTES + at];
    const length = CLIENT_COOKIE_BYTES + HEAD_BYTES + addressBytes;
    sipHashInto(this.#secretOf(today), hashed, length, out, outAt + HEAD_BYTES);
  }

  #secretOf(day: number): Int32Array {
    let secret = this.#secrets.get(day);
    if (secret === undefined) {
      if (this.#secrets.size > 8) this.#secrets.clear();
      const bytes = new Uint8Array(hkdfSync('sha256', this.#shared, '', `dns cookie ${day}`, 16));
      secret = sipKey(bytes);
      this.#secrets.set(day, secret);
    }
    return secret;
  }
}

function secondsAt(bytes: Uint8Array, at: number): number {
  return ((bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3]) >>> 0;
}

/** `head`: version, reserved, time: 8 bytes. */
export function serverCookie(
  secret: Uint8Array,
  client: Uint8Array,
  head: Uint8Array,
  address: Uint8Array,
): Buffer {
  const message = Buffer.concat([client, head, address]);
  const out = Buffer.alloc(SERVER_COOKIE_BYTES);
  out.set(head);
  sipHashInto(sipKey(secret), message, message.length, out, HEAD_BYTES);
  return out;
}
