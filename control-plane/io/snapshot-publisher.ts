/**
 * Pushes the fleet to every steering process: the full snapshot first, then what changed, each signed.
 *
 *   changed('soon') --> published within COALESCE_MS       changed('now') --> published at once
 *
 * Invariants: (1) versions grow by one per publication and never go back, also over a restart and a lost database
 *             (2) one publication at a time: a subscriber that joins gets a full snapshot, then exactly the deltas after it
 *             (3) publishing takes half of the time at most: after a long one it rests as long before the next
 *             (4) a subscriber that does not read is dropped once BACKLOG_BYTES_MAX wait for it: it comes back for a full one
 */
import type { Clock, Timer } from '#base/clock.ts';
import { signCompact, type SigningKey } from '#base/jws.ts';
import type { Logger } from '#base/log.ts';
import { messageOf } from '#base/outcome.ts';
import { MIB, SECOND_MS } from '#base/units.ts';
import { JWS_TYPE, type FleetDelta, type FleetSnapshot } from '../contract.ts';
import { difference, snapshotOf, type FleetParts } from '../snapshot.ts';

const COALESCE_MS = 100;
const LOADS_PERIOD_MS = SECOND_MS;
const KEEPALIVE_MS = 5 * SECOND_MS;
const BACKLOG_BYTES_MAX = 64 * MIB;
const VERSIONS_RESERVED = 1000; // written to disk once per so many
const QUICK_MS = 20; // a publication that took no longer costs nobody anything
const VERSION_TICK_MS = 100; // a lost database starts again at wall time / this, above every version given before

export const SUBSCRIBERS_MAX = 256;

/** Where a subscriber's bytes go. `backlogBytes` is what was written and not yet sent. */
export interface SnapshotSink {
  write(text: string): void;
  close(): void;
  readonly backlogBytes: number;
}

export interface SnapshotPublisherDeps {
  readonly parts: () => FleetParts;
  readonly freezeLoads: () => void;
  readonly key: SigningKey;
  readonly clock: Clock;
  readonly log: Logger;
  readonly reservedVersion: number; // every version up to here may have been given before
  readonly reserveVersions: (upTo: number) => void;
}

export class SnapshotPublisher {
  readonly #deps: SnapshotPublisherDeps;
  readonly #subscribers = new Set<SnapshotSink>();
  readonly #timers: Timer[] = [];
  #current: FleetSnapshot | null = null;
  #version: number;
  #reserved: number;
  #dirty = true;
  #queued = 0;
  #isStopped = false;
  #restsUntilMs = 0; // monotonic
  #turn: Promise<void> = Promise.resolve();

  constructor(deps: SnapshotPublisherDeps) {
    this.#deps = deps;
    this.#reserved = deps.reservedVersion;
    this.#version = Math.max(
      deps.reservedVersion,
      Math.floor(deps.clock.wallMs() / VERSION_TICK_MS),
    );
  }

  get connections(): number {
    return this.#subscribers.size;
  }

  start(): void {
    const { clock } = this.#deps;
    this.#timers.push(
      clock.every(COALESCE_MS, () => {
        if (this.#dirty) this.#publish();
      }),
      clock.every(LOADS_PERIOD_MS, () => {
        this.#deps.freezeLoads();
        this.#dirty = true;
      }),
      clock.every(KEEPALIVE_MS, () => {
        for (const sink of this.#subscribers) sink.write(': keepalive\n\n');
      }),
    );
  }

  /** Resolves once nothing is being published any more. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    for (const timer of this.#timers.splice(0)) timer.cancel();
    for (const sink of this.#subscribers) sink.close();
    this.#subscribers.clear();
    await this.#turn;
  }

  changed(when: 'now' | 'soon'): void {
    this.#dirty = true;
    if (when === 'now') this.#publish();
  }

  /** Sends the full snapshot, then follows. The result ends the subscription. */
  subscribe(sink: SnapshotSink): () => void {
    let isOver = false;
    this.#enqueue(async () => {
      await this.#step(); // so that the full one is as new as it can be
      if (isOver || this.#current === null) return;
      const text = await this.#sign(this.#current);
      if (isOver) return;
      this.#subscribers.add(sink);
      sink.write(text);
    });
    return () => {
      isOver = true;
      this.#subscribers.delete(sink);
    };
  }

  #publish(): void {
    // One waiting publication sees every change made until it runs; one that rests is made up for by the timer.
    if (this.#queued > 1 || this.#deps.clock.monotonicMs() < this.#restsUntilMs) return;
    this.#enqueue(() => {
      // Nobody listens: whoever subscribes next brings the state up to date.
      if (this.#subscribers.size > 0) return this.#step();
      this.#dirty = false;
      return Promise.resolve();
    });
  }

  #enqueue(run: () => Promise<void>): void {
    if (this.#isStopped) return;
    this.#queued++;
    this.#turn = this.#turn
      .then(run)
      .catch((thrown: unknown) => {
        this.#deps.log.error({ why: messageOf(thrown) }, 'a fleet snapshot could not be published');
        this.#current = null; // the next one starts from a full snapshot
        for (const sink of this.#subscribers) sink.close();
        this.#subscribers.clear();
      })
      .finally(() => {
        this.#queued--;
      });
  }

  async #step(): Promise<void> {
    const startMs = this.#deps.clock.monotonicMs();
    await this.#publishChanges();
    const endMs = this.#deps.clock.monotonicMs();
    if (endMs - startMs > QUICK_MS) this.#restsUntilMs = endMs + (endMs - startMs);
  }

  async #publishChanges(): Promise<void> {
    this.#dirty = false;
    const base = this.#subscribers.size === 0 ? null : this.#current;
    const next = snapshotOf(this.#deps.parts(), this.#version + 1, this.#deps.clock.wallMs());
    const delta = base === null ? null : difference(base, next);
    if (base !== null && delta === null) return;
    this.#takeVersion();
    this.#current = next;
    if (delta === null) return;
    const text = await this.#sign(delta);
    for (const sink of this.#subscribers) {
      if (sink.backlogBytes > BACKLOG_BYTES_MAX) {
        this.#deps.log.warn('a steering connection does not read: closed');
        this.#subscribers.delete(sink);
        sink.close();
      } else sink.write(text);
    }
  }

  #takeVersion(): void {
    this.#version++;
    if (this.#version > this.#reserved) {
      this.#reserved = this.#version + VERSIONS_RESERVED;
      this.#deps.reserveVersions(this.#reserved);
    }
  }

  async #sign(message: FleetSnapshot | FleetDelta): Promise<string> {
    const jws = await signCompact(this.#deps.key, JWS_TYPE.snapshot, message);
    return `id: ${message.version}\ndata: ${jws}\n\n`;
  }
}
