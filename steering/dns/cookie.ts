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
import { hkdfSync, timingSafeEqual } from 'node:crypto';
import { sipHash24 } from './siphash.ts';

export const CLIENT_COOKIE_BYTES = 8;
const SERVER_COOKIE_BYTES = 16;
const AGE_SECONDS_MAX = 3600;
const FUTURE_SECONDS_MAX = 300;
const RENEW_AFTER_SECONDS = 1800;
const DAY_SECONDS = 86_400;

export interface CookieVerdict {
  readonly isGood: boolean;
  readonly answer: Uint8Array; // what the response's option holds: client cookie, server cookie
}

export class CookieJar {
  readonly #shared: Uint8Array;
  readonly #secrets = new Map<number, Uint8Array>();

  constructor(shared: Uint8Array) {
    this.#shared = shared;
  }

  look(option: Uint8Array, address: Uint8Array, nowSeconds: number): CookieVerdict {
    const client = option.subarray(0, CLIENT_COOKIE_BYTES);
    const shown = option.subarray(CLIENT_COOKIE_BYTES);
    const now = Math.floor(nowSeconds) >>> 0;
    if (shown.length === SERVER_COOKIE_BYTES && shown[0] === 1) {
      const made = Buffer.from(shown).readUInt32BE(4);
      const age = (now - made) | 0; // serial arithmetic: right also across 2106
      if (age <= AGE_SECONDS_MAX && age >= -FUTURE_SECONDS_MAX) {
        const today = Math.floor(nowSeconds / DAY_SECONDS);
        for (const day of [today, today - 1, today + 1]) {
          const expected = serverCookie(this.#secretOf(day), client, shown.subarray(0, 8), address);
          if (!timingSafeEqual(expected, shown)) continue;
          const isFresh = age < RENEW_AFTER_SECONDS;
          return { isGood: true, answer: isFresh ? option : this.#bake(client, address, now) };
        }
      }
    }
    return { isGood: false, answer: this.#bake(client, address, now) };
  }

  #bake(client: Uint8Array, address: Uint8Array, now: number): Uint8Array {
    const head = Buffer.from([1, 0, 0, 0, 0, 0, 0, 0]);
    head.writeUInt32BE(now, 4);
    const secret = this.#secretOf(Math.floor(now / DAY_SECONDS));
    return Buffer.concat([client, serverCookie(secret, client, head, address)]);
  }

  #secretOf(day: number): Uint8Array {
    let secret = this.#secrets.get(day);
    if (secret === undefined) {
      if (this.#secrets.size > 8) this.#secrets.clear();
      secret = new Uint8Array(hkdfSync('sha256', this.#shared, '', `dns cookie ${day}`, 16));
      this.#secrets.set(day, secret);
    }
    return secret;
  }
}

/** `head`: version, reserved, time: 8 bytes. */
export function serverCookie(
  secret: Uint8Array,
  client: Uint8Array,
  head: Uint8Array,
  address: Uint8Array,
): Buffer {
  return Buffer.concat([head, sipHash24(secret, Buffer.concat([client, head, address]))]);
}
