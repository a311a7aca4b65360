/**
 * What an operator must hear of: kept on disk, logged once, shown on the fleet page with what to do.
 *
 * The same alarm at the same place is raised once per REPEAT_MS: a box that fails each second is one line.
 */
import { LRUCache } from 'lru-cache';
import type { Clock } from '#base/clock.ts';
import type { Logger } from '#base/log.ts';
import { MINUTE_MS } from '#base/units.ts';
import { ALARMS_SHOWN_MAX, type Alarm } from '../dashboard/fleet-view.ts';
import type { Store } from './store.ts';

const REPEAT_MS = MINUTE_MS;
const TEXT_MAX = 500;

export class Alarms {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #raisedAtMs = new LRUCache<string, number>({ max: 1000 });
  #newest: readonly Alarm[];

  constructor(store: Store, clock: Clock, log: Logger) {
    this.#store = store;
    this.#clock = clock;
    this.#log = log;
    this.#newest = store.alarms(ALARMS_SHOWN_MAX);
  }

  /** `word`: the stable word of what happened, for whoever filters the log. */
  raise(what: string, where: string, todo: string, word?: string): void {
    const key = `${what}\n${where}`;
    const nowMs = this.#clock.monotonicMs();
    const before = this.#raisedAtMs.get(key);
    if (before !== undefined && nowMs - before < REPEAT_MS) return;
    this.#raisedAtMs.set(key, nowMs);
    const alarm: Alarm = {
      atMs: this.#clock.wallMs(),
      what: what.slice(0, TEXT_MAX),
      where: where.slice(0, TEXT_MAX),
      todo: todo.slice(0, TEXT_MAX),
    };
    this.#log.error({ event: 'alarm', what, where, todo, word }, `alarm: ${what}`);
    this.#store.addAlarm(alarm);
    this.#newest = [alarm, ...this.#newest].slice(0, ALARMS_SHOWN_MAX);
  }

  newest(): readonly Alarm[] {
    return this.#newest;
  }
}
