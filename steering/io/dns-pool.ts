/**
 * DNS on one thread (this one) or on several that share the port: the kernel spreads queries over them.
 *
 * Each thread has its own counters and rate limits; the prefix table lies in memory that they share, the rest of a
 * world is small and sent to each.
 */
import { readFileSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import type { Clock } from '#base/clock.ts';
import type { Logger } from '#base/log.ts';
import { messageOf } from '#base/outcome.ts';
import type { FleetSnapshot } from '#control-plane/contract.ts';
import type { World } from '../candidates.ts';
import { openCountryTable, type CountryTable } from '../country-table.ts';
import { CookieJar } from '../dns/cookie.ts';
import { RATE_LIMITS, RateLimit, type RateLimits } from '../dns/rate-limit.ts';
import { Responder } from '../dns/responder.ts';
import type { DnsCounters } from '../dns/tally.ts';
import { createZone, type ZoneOptions } from '../dns/zone.ts';
import type { Fleet } from '../fleet.ts';
import type { LoadFrame } from '../load.ts';
import type { PrefixTable } from '../place.ts';
import { DnsServer } from './dns-server.ts';

export interface DnsPlan {
  readonly address: string;
  readonly port: number;
  readonly zone: ZoneOptions;
  readonly cookieSecret: Uint8Array;
  readonly countryFile?: string | null; // each thread reads it
  readonly rateLimited: boolean;
  readonly seed: number;
  readonly sharesPort: boolean;
}

/** What a thread needs of a world: no titles, no holdings, prefixes only as the table. */
export type PoolMessage =
  | { readonly kind: 'fleet'; readonly snapshot: FleetSnapshot; readonly prefixes: PrefixTable }
  | { readonly kind: 'frame'; readonly frame: LoadFrame }
  | { readonly kind: 'stop' };

export type WorkerMessage =
  | { readonly kind: 'listening'; readonly port: number }
  | { readonly kind: 'failed'; readonly message: string; readonly code: string }
  | { readonly kind: 'counters'; readonly counters: DnsCounters }
  | { readonly kind: 'fault'; readonly detail: string };

const FAULTS_LOGGED_MAX = 10;
const NO_COUNTERS: DnsCounters = {
  queries: 0,
  answered: 0,
  quick: 0,
  ignored: 0,
  malformed: 0,
  truncated: 0,
  slipped: 0,
  dropped: 0,
  goodCookies: 0,
  byRcode: {},
};

/** Throws with what to do where the file is no such database. */
export function readCountries(file: string | null): CountryTable | null {
  if (file === null) return null;
  try {
    return openCountryTable(readFileSync(file));
  } catch (thrown) {
    throw new Error(
      `cannot read the country database ${file}: ${messageOf(thrown)}; give a MaxMind DB (mmdb) in countryFile, or null`,
      { cause: thrown },
    );
  }
}

export function createResponder(plan: DnsPlan, limits: RateLimits = RATE_LIMITS): Responder {
  return new Responder({
    zone: createZone(plan.zone, readCountries(plan.countryFile ?? null)),
    cookies: new CookieJar(plan.cookieSecret),
    rateLimit: plan.rateLimited ? new RateLimit(limits, plan.seed) : null,
  });
}

export class DnsPool {
  readonly #plan: DnsPlan;
  readonly #threads: number;
  readonly #log: Logger;
  readonly #responder: Responder;
  readonly #server: DnsServer;
  readonly #workers: Worker[] = [];
  readonly #counters = new Map<Worker, DnsCounters>();
  #world: World | null = null;
  #sentFleet: Fleet | null = null;
  #faults = 0;

  /** `linux`: null takes the portable socket on this thread; absent: the fastest that this machine has. */
  constructor(
    plan: Omit<DnsPlan, 'sharesPort'>,
    threads: number,
    clock: Clock,
    log: Logger,
    linux?: null,
  ) {
    this.#plan = { ...plan, sharesPort: threads > 1 };
    this.#threads = threads;
    this.#log = log;
    this.#responder = createResponder(this.#plan);
    this.#server = new DnsServer({
      ...this.#plan,
      responder: this.#responder,
      world: () => this.#world,
      clock,
      onFault: (detail) => this.#report(detail),
      ...(linux === undefined ? {} : { linux }),
    });
  }

  async start(): Promise<number> {
    if (this.#threads <= 1) return this.#server.start();
    let { port } = this.#plan;
    for (let at = 0; at < this.#threads; at++) {
      port = await this.#startWorker({ ...this.#plan, port, seed: this.#plan.seed + at });
    }
    if (this.#world !== null) this.offer(this.#world);
    return port;
  }

  async stop(): Promise<void> {
    await this.#server.stop();
    await Promise.all(
      this.#workers.splice(0).map(
        (worker) =>
          new Promise<void>((resolve) => {
            worker.once('exit', () => resolve());
            this.#post(worker, { kind: 'stop' });
          }),
      ),
    );
  }

  /** A new world for all threads. */
  offer(world: World): void {
    this.#world = world;
    if (this.#workers.length === 0) return;
    const { fleet, load } = world;
    if (fleet !== this.#sentFleet) {
      this.#sentFleet = fleet;
      const { snapshot, prefixes } = fleet;
      const clusters = snapshot.clusters.map((cluster) => ({
        ...cluster,
        prefixes: [],
        learned: [],
      }));
      const appliances = fleet.appliances.map(({ entry }) => entry);
      const small: FleetSnapshot = {
        ...snapshot,
        kind: 'full',
        appliances,
        titles: [],
        holdings: [],
        clusters,
      };
      for (const worker of this.#workers) {
        this.#post(worker, { kind: 'fleet', snapshot: small, prefixes });
      }
    }
    for (const worker of this.#workers) this.#post(worker, { kind: 'frame', frame: load });
  }

  /** The sum over all threads; of other threads up to a second old. */
  get counters(): DnsCounters {
    const all = [this.#responder.counters, ...this.#counters.values()];
    const sum = { ...NO_COUNTERS, byRcode: {} as Record<string, number> };
    for (const one of all) {
      for (const [name, value] of Object.entries(one)) {
        if (typeof value === 'number') sum[name as Exclude<keyof DnsCounters, 'byRcode'>] += value;
      }
      for (const [rcode, count] of Object.entries(one.byRcode)) {
        sum.byRcode[rcode] = (sum.byRcode[rcode] ?? 0) + count;
      }
    }
    return sum;
  }

  #startWorker(plan: DnsPlan): Promise<number> {
    const worker = new Worker(new URL('./dns-worker.ts', import.meta.url), { workerData: plan });
    return new Promise((resolve, reject) => {
      worker.on('message', (message: WorkerMessage) => {
        if (message.kind === 'counters') this.#counters.set(worker, message.counters);
        else if (message.kind === 'fault') this.#report(message.detail);
        else if (message.kind === 'listening') {
          this.#workers.push(worker);
          resolve(message.port);
        } else {
          reject(Object.assign(new Error(message.message), { code: message.code }));
        }
      });
      // A thread that dies of a bug takes the process with it: the supervisor restarts all of it, whole.
      worker.on('error', (error) => {
        if (this.#workers.includes(worker)) throw error;
        reject(error);
      });
    });
  }

  #post(worker: Worker, message: PoolMessage): void {
    worker.postMessage(message);
  }

  #report(detail: string): void {
    this.#faults++;
    if (this.#faults <= FAULTS_LOGGED_MAX) this.#log.error({ event: 'dns-fault' }, detail);
  }
}
