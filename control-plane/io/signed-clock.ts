/**
 * The time, signed: one signature a second whatever the size of the fleet.
 */
import type { Clock } from '#base/clock.ts';
import { signCompact, type SigningKey } from '#base/jws.ts';
import { SECOND_MS } from '#base/units.ts';
import { JWS_TYPE } from '../contract.ts';

export class SignedClock {
  readonly #key: SigningKey;
  readonly #clock: Clock;
  #second = -1;
  #text: Promise<string> | null = null;
  #signed: string | null = null; // of this second

  constructor(key: SigningKey, clock: Clock) {
    this.#key = key;
    this.#clock = clock;
  }

  /** Up to a second old: a box that takes it as the time is late by that much, never early. */
  now(): Promise<string> {
    const nowMs = this.#clock.wallMs();
    const second = Math.floor(nowMs / SECOND_MS);
    if (this.#text === null || second !== this.#second) {
      this.#second = second;
      this.#signed = null;
      this.#text = signCompact(this.#key, JWS_TYPE.time, { nowMs });
      void this.#text.then((text) => {
        if (this.#second === second) this.#signed = text;
      });
    }
    return this.#text;
  }

  /** The same where this second's is signed already: without waiting, for all but the first of a second. */
  atOnce(): string | null {
    return Math.floor(this.#clock.wallMs() / SECOND_MS) === this.#second ? this.#signed : null;
  }
}
