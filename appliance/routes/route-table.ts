/**
 * The routes that this box's routers announced to it: what is in force, what is stale, and what changed since it was told on.
 *
 *   unknown --announced--> fresh --peer down | session lost--> stale --announced--> fresh
 *                            |                                  | End-of-RIB | staleMsMax over
 *                            '--withdrawn--> gone <-------------'
 *
 * A flap of the BGP or the monitoring session therefore withdraws nothing: the clients behind those prefixes have not
 * moved. What the router does not announce again once it is back goes with its End-of-RIB, the rest after `staleMsMax`.
 *
 * Invariants: (1) at most `routesMax` routes; what comes beyond is counted, not kept
 *             (2) applying all changes since version v to the table of version v gives the table now
 */
import type { Route, RouteKey } from '#appliance/contract.ts';
import type { Update } from './bgp-update.ts';
import type { BmpPeer } from './bmp.ts';

/** Changes kept for whoever follows; older ones are forgotten and the table is told whole. */
const CHANGES_MAX = 50_000;

interface Kept {
  readonly route: Route;
  staleSinceMs: number | null;
}

interface Peer {
  readonly name: string;
  readonly as: number;
  isUp: boolean;
  addsPaths: boolean;
  readonly routes: Map<string, Kept>;
}

export interface PeerView {
  readonly peer: string;
  readonly as: number;
  readonly up: boolean;
  readonly routes: number;
  readonly stale: number;
}

export interface RouteChanges {
  readonly toVersion: number;
  readonly announced: readonly Route[];
  readonly withdrawn: readonly RouteKey[];
}

export class RouteTable {
  readonly #routesMax: number;
  readonly #staleMsMax: number;
  readonly #peers = new Map<string, Peer>();
  readonly #changes = new Map<string, { version: number; key: RouteKey }>();
  #count = 0;
  #version = 0;
  #forgottenVersion = 0; // changes up to here are not known one by one any more
  #dropped = 0;

  constructor(routesMax: number, staleMsMax: number) {
    this.#routesMax = routesMax;
    this.#staleMsMax = staleMsMax;
  }

  get version(): number {
    return this.#version;
  }

  get size(): number {
    return this.#count;
  }

  /** Announcements that found no room. */
  get dropped(): number {
    return this.#dropped;
  }

  peers(): readonly PeerView[] {
    return [...this.#peers.values()].map(({ name, as, isUp, routes }) => {
      let stale = 0;
      for (const kept of routes.values()) if (kept.staleSinceMs !== null) stale++;
      return { peer: name, as, up: isUp, routes: routes.size, stale };
    });
  }

  *routes(): Generator<Route> {
    for (const { routes } of this.#peers.values())
      for (const { route } of routes.values()) yield route;
  }

  peerUp(peer: BmpPeer, addsPaths: boolean, nowMs: number): void {
    const known = this.#peer(peer);
    // A new session without a Peer Down in between: the old one's routes are of the past as well.
    this.#markStale(known, nowMs);
    known.isUp = true;
    known.addsPaths = addsPaths;
  }

  peerDown(peer: BmpPeer, nowMs: number): void {
    const known = this.#peer(peer);
    known.isUp = false;
    this.#markStale(known, nowMs);
  }

  /** A monitoring session is gone: nothing is heard of its peers. */
  sessionLost(names: Iterable<string>, nowMs: number): void {
    for (const name of names) {
      const peer = this.#peers.get(name);
      if (peer === undefined) continue;
      peer.isUp = false;
      this.#markStale(peer, nowMs);
    }
  }

  /** False where the peer sends several paths a prefix: such a session is not read. */
  update(peer: BmpPeer, update: Update): boolean {
    const known = this.#peer(peer);
    if (known.addsPaths) return false;
    for (const prefix of update.withdrawn) this.#remove(known, prefix);
    for (const prefix of update.announced) this.#announce(known, prefix, update);
    if (update.endOfRib !== null)
      this.#sweep(
        known,
        (kept, family) => family === update.endOfRib && kept.staleSinceMs !== null,
      );
    return true;
  }

  /** Stale for too long: gone. */
  tick(nowMs: number): void {
    for (const [name, peer] of this.#peers) {
      this.#sweep(
        peer,
        ({ staleSinceMs }) => staleSinceMs !== null && nowMs - staleSinceMs >= this.#staleMsMax,
      );
      if (!peer.isUp && peer.routes.size === 0) this.#peers.delete(name);
    }
  }

  /** Up to `max` changes after `version`, oldest first; null where they are not known one by one. */
  changesSince(version: number, max: number): RouteChanges | null {
    if (version < this.#forgottenVersion || version > this.#version) return null;
    const announced: Route[] = [];
    const withdrawn: RouteKey[] = [];
    let toVersion = this.#version;
    let taken = 0;
    for (const change of this.#changes.values()) {
      if (change.version <= version) continue;
      if (taken++ === max) break;
      toVersion = change.version;
      const { peer, prefix } = change.key;
      const kept = this.#peers.get(peer)?.routes.get(prefix);
      if (kept === undefined) withdrawn.push(change.key);
      else announced.push(kept.route);
    }
    return { toVersion: taken > max ? toVersion : this.#version, announced, withdrawn };
  }

  #peer({ name, as }: BmpPeer): Peer {
    let peer = this.#peers.get(name);
    if (peer === undefined) {
      peer = { name, as, isUp: true, addsPaths: false, routes: new Map() };
      this.#peers.set(name, peer);
    }
    return peer;
  }

  #announce(peer: Peer, prefix: string, { attributes }: Update): void {
    const before = peer.routes.get(prefix);
    const route: Route = {
      peer: peer.name,
      prefix,
      // An empty path is the neighbour's own, from inside its AS.
      originAs: attributes.asPathLength === 0 ? peer.as : (attributes.originAs ?? 0),
      asPathLength: Math.min(attributes.asPathLength, 255),
      origin: attributes.origin,
      med: attributes.med,
    };
    if (before !== undefined && sameRoute(before.route, route)) {
      before.staleSinceMs = null;
      return;
    }
    if (before === undefined) {
      if (this.#count >= this.#routesMax) {
        this.#dropped++;
        return;
      }
      this.#count++;
    }
    peer.routes.set(prefix, { route, staleSinceMs: null });
    this.#changed({ peer: peer.name, prefix });
  }

  #remove(peer: Peer, prefix: string): void {
    if (!peer.routes.delete(prefix)) return;
    this.#count--;
    this.#changed({ peer: peer.name, prefix });
  }

  #markStale(peer: Peer, nowMs: number): void {
    for (const kept of peer.routes.values()) kept.staleSinceMs ??= nowMs;
  }

  #sweep(peer: Peer, isOver: (kept: Kept, family: 4 | 6) => boolean): void {
    for (const [prefix, kept] of peer.routes) {
      if (isOver(kept, prefix.includes(':') ? 6 : 4)) this.#remove(peer, prefix);
    }
  }

  /** The last change of a prefix stands for all earlier ones of it. */
  #changed(key: RouteKey): void {
    const name = `${key.peer}|${key.prefix}`;
    this.#changes.delete(name);
    this.#changes.set(name, { version: ++this.#version, key });
    if (this.#changes.size <= CHANGES_MAX) return;
    const [oldest, { version }] = this.#changes.entries().next().value!;
    this.#changes.delete(oldest);
    this.#forgottenVersion = version;
  }
}

function sameRoute(a: Route, b: Route): boolean {
  return (
    a.originAs === b.originAs &&
    a.asPathLength === b.asPathLength &&
    a.origin === b.origin &&
    a.med === b.med
  );
}
