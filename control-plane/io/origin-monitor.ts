/**
 * Asks the origin's /status every two seconds: what it sent is half of every offload figure.
 */
import { Type } from 'typebox';
import type { Clock, Timer } from '#base/clock.ts';
import { checker } from '#base/config.ts';
import { callJsonOk } from '#base/io/http-client.ts';
import type { Logger } from '#base/log.ts';
import { SECOND_MS } from '#base/units.ts';
import type { OriginView } from '../dashboard/fleet-view.ts';
import type { OriginCounters } from '../dashboard/traffic.ts';

const PERIOD_MS = 2 * SECOND_MS;
const DEADLINE_MS = 1500; // below the period: no two questions overlap
const UNANSWERED_ALARM = 5; // questions in a row: an origin that is still starting is no alarm
const STATUS_BYTES_MAX = 1024 * 1024;

const count = Type.Number({ minimum: 0 });
const checkStatus = checker(
  Type.Object({ serveBytes: count, fillBytes: count, viewerBytes: count }),
);

export interface OriginEvents {
  counters(counters: OriginCounters, atMs: number): void;
  /** Once per outage. */
  lost(why: string): void;
}

export interface OriginState {
  readonly status: OriginView['status'];
  readonly answeredAtMs: number | null;
  readonly serveBytes: number;
  readonly fillBytes: number;
}

export class OriginMonitor {
  readonly #adminUrl: string;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #events: OriginEvents;
  #unanswered = 0;
  #state: OriginState = { status: 'unknown', answeredAtMs: null, serveBytes: 0, fillBytes: 0 };
  #timer: Timer | null = null;

  constructor(adminUrl: string, clock: Clock, log: Logger, events: OriginEvents) {
    this.#adminUrl = adminUrl;
    this.#clock = clock;
    this.#log = log;
    this.#events = events;
  }

  get state(): OriginState {
    return this.#state;
  }

  start(): void {
    void this.#ask();
    this.#timer = this.#clock.every(PERIOD_MS, () => void this.#ask());
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = null;
  }

  async #ask(): Promise<void> {
    const outcome = await callJsonOk({
      method: 'GET',
      url: `${this.#adminUrl}/status`,
      deadlineMs: DEADLINE_MS,
      answerBytesMax: STATUS_BYTES_MAX,
    });
    const checked = outcome.ok ? checkStatus(outcome.value) : null;
    if (checked?.ok === true) {
      const atMs = this.#clock.wallMs();
      const { serveBytes, fillBytes } = checked.value;
      if (this.#state.status !== 'up')
        this.#log.info({ url: this.#adminUrl }, 'the origin answers');
      this.#state = { status: 'up', answeredAtMs: atMs, serveBytes, fillBytes };
      this.#unanswered = 0;
      this.#events.counters(checked.value, atMs);
      return;
    }
    const why = outcome.ok
      ? 'its /status is not what is expected of an origin'
      : outcome.failure.detail;
    if (this.#state.status !== 'down') {
      this.#log.warn({ url: this.#adminUrl, why }, 'the origin does not answer');
    }
    this.#state = { ...this.#state, status: 'down' };
    if (++this.#unanswered === UNANSWERED_ALARM) this.#events.lost(why);
  }
}
