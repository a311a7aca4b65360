/**
 * Takes the routers' monitoring sessions (BMP) and tells the control plane what they announce.
 *
 *   router --BMP, loopback--> frames -> route table --changes, within TELL_SOON_MS--> POST /v1/routes
 *
 * Errors:     a session that cannot be read is closed with a line in the log, its routes are stale; the router comes back
 * Invariants: (1) at most SESSIONS_MAX sessions; one post at a time
 *             (2) nothing here is needed to serve: with the control plane gone the table waits, bounded
 */
import { randomUUID } from 'node:crypto';
import { createServer, type Server, type Socket } from 'node:net';
import {
  PEERS_PER_POST_MAX,
  ROUTES_PER_POST_MAX,
  ROUTES_PERIOD_MS,
  type Route,
  type RouteBatch,
  type RouteKey,
} from '#appliance/contract.ts';
import type { Clock, Timer } from '#base/clock.ts';
import type { Logger } from '#base/log.ts';
import { failed, messageOf, success, type Outcome } from '#base/outcome.ts';
import { BmpFrames, type BmpMessage } from '../routes/bmp.ts';
import { RouteTable } from '../routes/route-table.ts';

const SESSIONS_MAX = 4;
const TELL_SOON_MS = 100; // a burst of updates is one post
const TELL_RETRY_MS = 1000;
const TICK_MS = 1000;

export interface RouteMonitorOptions {
  readonly listen: { readonly address: string; readonly port: number };
  readonly rib: 'pre-policy' | 'post-policy';
  readonly routesMax: number;
  readonly staleSeconds: number;
}

type RoutesOfPost = {
  readonly announced: readonly Route[];
  readonly withdrawn: readonly RouteKey[];
};

export interface RouteMonitorDeps {
  readonly clock: Clock;
  readonly log: Logger;
  readonly post: (
    batch: RouteBatch,
  ) => Promise<Outcome<{ readonly version: number; readonly resync: boolean }>>;
}

export class RouteMonitor {
  readonly table: RouteTable;
  readonly #options: RouteMonitorOptions;
  readonly #deps: RouteMonitorDeps;
  readonly #tableId = randomUUID();
  readonly #server: Server;
  readonly #sessions = new Set<Socket>();
  readonly #timers: Timer[] = [];
  #tellTimer: Timer | null = null;
  #telling: Promise<void> | null = null;
  #tellAgain = false;
  #toldVersion: number | null = null; // null: the table has to be told whole
  #lastToldMs = -Infinity;
  #isStopped = false;

  constructor(options: RouteMonitorOptions, deps: RouteMonitorDeps) {
    this.#options = options;
    this.#deps = deps;
    this.table = new RouteTable(options.routesMax, options.staleSeconds * 1000);
    this.#server = createServer((socket) => this.#accept(socket));
  }

  get isMonitored(): boolean {
    return this.#sessions.size > 0;
  }

  async listen(): Promise<Outcome<{ readonly address: string; readonly port: number }>> {
    const { address, port } = this.#options.listen;
    const refusal = await new Promise<Error | null>((resolve) => {
      this.#server.once('error', resolve);
      this.#server.listen(port, address, () => resolve(null));
    });
    if (refusal !== null) {
      return failed({
        code: 'bmp-listen',
        source: 'self',
        retry: 'never',
        detail: `cannot listen for BMP on ${address}:${port}: ${refusal.message}`,
      });
    }
    const { clock } = this.#deps;
    this.#timers.push(
      clock.every(TICK_MS, () => {
        this.table.tick(clock.monotonicMs());
        const isDue = clock.monotonicMs() - this.#lastToldMs >= ROUTES_PERIOD_MS;
        if (isDue || this.table.version !== this.#toldVersion) this.#tellSoon(0);
      }),
    );
    const bound = this.#server.address();
    const boundPort = typeof bound === 'object' && bound !== null ? bound.port : port;
    return success({ address, port: boundPort });
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    for (const timer of this.#timers.splice(0)) timer.cancel();
    this.#tellTimer?.cancel();
    for (const socket of this.#sessions) socket.destroy();
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
    });
    await this.#telling;
  }

  #accept(socket: Socket): void {
    const { clock, log } = this.#deps;
    if (this.#sessions.size >= SESSIONS_MAX) {
      log.warn({ event: 'bmp-refused' }, `${SESSIONS_MAX} monitoring sessions are open already`);
      socket.destroy();
      return;
    }
    const frames = new BmpFrames();
    const heard = new Set<string>();
    this.#sessions.add(socket);
    log.info(
      { event: 'bmp-open', from: socket.remoteAddress },
      'a router opened a monitoring session',
    );
    socket.on('data', (bytes: Buffer) => {
      try {
        for (const message of frames.push(bytes)) this.#take(message, heard);
      } catch (thrown) {
        log.warn(
          { event: 'bmp-malformed', why: messageOf(thrown) },
          'a monitoring session cannot be read on: closed, its routes are kept as stale',
        );
        socket.destroy();
        return;
      }
      if (this.table.version !== this.#toldVersion) this.#tellSoon(TELL_SOON_MS);
    });
    socket.on('error', (thrown) => log.debug({ why: messageOf(thrown) }, 'monitoring session'));
    socket.on('close', () => {
      this.#sessions.delete(socket);
      this.table.sessionLost(heard, clock.monotonicMs());
      if (!this.#isStopped)
        log.warn(
          { event: 'bmp-lost' },
          'a monitoring session closed: its routes are kept as stale',
        );
    });
  }

  #take(message: BmpMessage, heard: Set<string>): void {
    const { clock, log } = this.#deps;
    const nowMs = clock.monotonicMs();
    switch (message.type) {
      case 'initiation':
        log.info({ event: 'bmp-initiation', about: message.about }, 'monitored by');
        return;
      case 'termination':
        log.info(
          { event: 'bmp-termination', reason: message.reason },
          'the router ends monitoring',
        );
        return;
      case 'peer-up':
        heard.add(message.peer.name);
        this.table.peerUp(message.peer, message.addsPaths, nowMs);
        if (message.addsPaths) {
          log.warn(
            { event: 'bmp-add-path', peer: message.peer.name },
            'this peer sends several paths a prefix (ADD-PATH) and is not read: switch that off',
          );
        }
        return;
      case 'peer-down':
        this.table.peerDown(message.peer, nowMs);
        return;
      case 'routes':
        // A router may tell what it heard and what its policy left of it: one of the two is the table.
        if (message.peer.rib !== this.#options.rib) return;
        heard.add(message.peer.name);
        this.table.update(message.peer, message.update);
        return;
      case 'statistics':
      case 'other':
    }
  }

  #tellSoon(delayMs: number): void {
    if (this.#isStopped || this.#tellTimer !== null) return;
    if (this.#telling !== null) {
      this.#tellAgain = true;
      return;
    }
    this.#tellTimer = this.#deps.clock.after(delayMs, () => {
      this.#tellTimer = null;
      this.#telling = this.#tell().finally(() => {
        this.#telling = null;
        if (this.#tellAgain) {
          this.#tellAgain = false;
          this.#tellSoon(TELL_SOON_MS);
        }
      });
    });
  }

  /** Tells everything that is not told yet, in as many posts as it takes. */
  async #tell(): Promise<void> {
    for (let isMore = true; isMore && !this.#isStopped;) {
      const changes =
        this.#toldVersion === null
          ? null
          : this.table.changesSince(this.#toldVersion, ROUTES_PER_POST_MAX);
      if (changes === null) {
        if (!(await this.#tellWhole())) return;
      } else {
        const { announced, withdrawn, toVersion } = changes;
        const fromVersion = this.#toldVersion ?? 0;
        const told = await this.#post({
          fromVersion,
          toVersion,
          complete: true,
          announced,
          withdrawn,
        });
        if (told === 'failed') return;
        this.#toldVersion = told === 'resync' ? null : toVersion;
      }
      isMore = this.#toldVersion !== this.table.version;
    }
  }

  async #tellWhole(): Promise<boolean> {
    const toVersion = this.table.version;
    const all = [...this.table.routes()];
    for (let at = 0; at === 0 || at < all.length; at += ROUTES_PER_POST_MAX) {
      const announced: Route[] = all.slice(at, at + ROUTES_PER_POST_MAX);
      const told = await this.#post({
        fromVersion: 0,
        toVersion,
        reset: at === 0 ? 'first' : 'more',
        complete: at + ROUTES_PER_POST_MAX >= all.length,
        announced,
        withdrawn: [],
      });
      if (told !== 'told') return false;
    }
    this.#toldVersion = toVersion;
    return true;
  }

  async #post(
    part: Omit<
      RouteBatch,
      'tableId' | 'monitored' | 'peers' | 'dropped' | 'announced' | 'withdrawn'
    > &
      RoutesOfPost,
  ): Promise<'told' | 'resync' | 'failed'> {
    const { clock, log, post } = this.#deps;
    const outcome = await post({
      tableId: this.#tableId,
      monitored: this.isMonitored,
      peers: this.table.peers().slice(0, PEERS_PER_POST_MAX),
      dropped: this.table.dropped,
      ...part,
      announced: [...part.announced],
      withdrawn: [...part.withdrawn],
    });
    this.#lastToldMs = clock.monotonicMs();
    if (outcome.ok) return outcome.value.resync ? 'resync' : 'told';
    log.debug(
      { event: 'routes-not-told', why: outcome.failure.detail },
      'routes wait for the control plane',
    );
    this.#lastToldMs = clock.monotonicMs() - ROUTES_PERIOD_MS + TELL_RETRY_MS;
    return 'failed';
  }
}
