/**
 * The routes that every box hears, as far as they are known, and what they come to under the policy. One owner of this state.
 *
 *   unknown --reset first--> filling --complete--> followed --change after change--> followed
 *      ^                                              | a gap, another table id
 *      '----------------- resync asked ---------------'
 *
 * A table stays in force until another one of its box is complete: neither a lost connection nor a restart of box or
 * control plane moves a client. It goes when the box is removed.
 *
 * Invariants: (1) `judge` alone changes what is accepted
 *             (2) a box has at most BOX_ROUTES_MAX routes; a batch beyond is refused
 */
import type { Route, RouteBatch } from '#appliance/contract.ts';
import type { ApplianceId, ClusterId, Site, SiteId } from '../contract.ts';
import {
  incumbentKey,
  judgeRoutes,
  type AcceptedRoute,
  type BoxTable,
  type QuarantinedRoute,
  type RoutePolicy,
} from './policy.ts';

export const BOX_ROUTES_MAX = 2_000_000;
/** Boxes of one cluster hear the same within this, or something is wrong with a session. */
const DIFFERENCE_MS_MAX = 30_000;

/** After a box's start its old table stands until the routers have told the new one: this long after their first word. */
const INITIAL_DUMP_MS = 30_000;
/** As long as the box itself keeps routes of a session that is gone. */
const LEFTOVER_MS_MAX = 1_200_000;

/** A box's table as it is kept on disk. */
export interface KeptTable {
  readonly routes: readonly Route[];
  readonly accepted: readonly string[]; // prefixes
}

interface Table {
  readonly applianceId: ApplianceId;
  tableId: string;
  version: number | null; // null: to be told whole
  monitored: boolean;
  peers: RouteBatch['peers'];
  dropped: number;
  routes: Map<string, Route>;
  filling: { readonly tableId: string; readonly routes: Map<string, Route> } | null;
  leftover: Map<string, Route>; // of the table before this one, in force beside it for a while
  leftoverUntilMs: number;
  serial: number; // grows with each change of `routes`
}

export interface Owner {
  readonly siteId: SiteId;
  readonly clusterId: ClusterId;
}

export interface RouteNews {
  readonly quarantined: readonly QuarantinedRoute[]; // that were not before
  readonly isChanged: boolean; // of what is accepted
}

export interface ClusterDifference {
  readonly clusterId: ClusterId;
  readonly applianceIds: readonly ApplianceId[];
  readonly prefixes: readonly string[]; // heard by some, not by all
}

export type Learned = ReadonlyMap<ClusterId, readonly (readonly [prefix: string, rank: number])[]>;

export class RouteBook {
  readonly #tables = new Map<ApplianceId, Table>();
  #incumbents: Set<string> = new Set();
  #accepted: readonly AcceptedRoute[] = [];
  #quarantined: readonly QuarantinedRoute[] = [];
  #shape = '';
  readonly #differsSinceMs = new Map<ClusterId, number>();

  get accepted(): readonly AcceptedRoute[] {
    return this.#accepted;
  }

  get quarantined(): readonly QuarantinedRoute[] {
    return this.#quarantined;
  }

  restore(applianceId: ApplianceId, siteId: SiteId, kept: KeptTable): void {
    const table = emptyTable(applianceId);
    for (const route of kept.routes) table.routes.set(keyOf(route), route);
    table.serial = 1;
    this.#tables.set(applianceId, table);
    for (const prefix of kept.accepted) this.#incumbents.add(incumbentKey(siteId, prefix));
  }

  /** What a box told. `isChanged`: its table is another one now. */
  take(
    applianceId: ApplianceId,
    batch: RouteBatch,
    nowMs: number,
  ): { readonly version: number; readonly resync: boolean; readonly isChanged: boolean } {
    const table = this.#tables.get(applianceId) ?? emptyTable(applianceId);
    this.#tables.set(applianceId, table);
    table.monitored = batch.monitored;
    table.peers = batch.peers;
    table.dropped = batch.dropped;
    const isChanged =
      batch.reset === undefined ? takeChanges(table, batch) : takeWhole(table, batch, nowMs);
    if (table.leftover.size > 0 && batch.monitored && table.routes.size > 0) {
      table.leftoverUntilMs = Math.min(table.leftoverUntilMs, nowMs + INITIAL_DUMP_MS);
    }
    if (isChanged) table.serial++;
    const resync = batch.reset === undefined && table.version === null;
    return { version: table.version ?? 0, resync, isChanged };
  }

  /** Old tables whose time is over. True where something went. */
  tick(nowMs: number): boolean {
    let isChanged = false;
    for (const table of this.#tables.values()) {
      if (table.leftover.size === 0 || nowMs < table.leftoverUntilMs) continue;
      table.leftover = new Map();
      table.serial++;
      isChanged = true;
    }
    return isChanged;
  }

  remove(applianceId: ApplianceId): boolean {
    return this.#tables.delete(applianceId);
  }

  /** Looks at everything anew. `ownerOf`: null for a box that is not in the fleet any more. */
  judge(
    ownerOf: (applianceId: ApplianceId) => Owner | null,
    sites: readonly Site[],
    policy: RoutePolicy,
  ): RouteNews {
    const tables: BoxTable[] = [];
    for (const table of this.#tables.values()) {
      const { applianceId } = table;
      const owner = ownerOf(applianceId);
      if (owner !== null) tables.push({ applianceId, ...owner, routes: inForce(table) });
    }
    const verdicts = judgeRoutes(tables, sites, policy, this.#incumbents);
    const before = new Set(this.#quarantined.map(nameOf));
    this.#accepted = verdicts.accepted;
    this.#quarantined = verdicts.quarantined;
    this.#incumbents = new Set(
      verdicts.accepted.map(({ siteId, prefix }) => incumbentKey(siteId, prefix)),
    );
    const shape = verdicts.accepted
      .map(({ clusterId, prefix, rank }) => `${clusterId} ${prefix} ${rank}`)
      .sort()
      .join('\n');
    const isChanged = shape !== this.#shape;
    this.#shape = shape;
    return {
      quarantined: verdicts.quarantined.filter((entry) => !before.has(nameOf(entry))),
      isChanged,
    };
  }

  learned(): Learned {
    const byCluster = new Map<ClusterId, (readonly [string, number])[]>();
    for (const { clusterId, prefix, rank } of this.#accepted) {
      const list = byCluster.get(clusterId);
      if (list === undefined) byCluster.set(clusterId, [[prefix, rank]]);
      else list.push([prefix, rank]);
    }
    for (const list of byCluster.values()) list.sort(([a], [b]) => (a < b ? -1 : 1));
    return byCluster;
  }

  /** Clusters whose monitored boxes have heard different prefixes for a while: each is told once. */
  differences(
    ownerOf: (applianceId: ApplianceId) => Owner | null,
    nowMs: number,
  ): readonly ClusterDifference[] {
    const differing: ClusterDifference[] = [];
    const found = this.#differencesNow(ownerOf);
    for (const clusterId of this.#differsSinceMs.keys()) {
      if (!found.has(clusterId)) this.#differsSinceMs.delete(clusterId);
    }
    for (const [clusterId, difference] of found) {
      const sinceMs = this.#differsSinceMs.get(clusterId);
      if (sinceMs === undefined) this.#differsSinceMs.set(clusterId, nowMs);
      else if (nowMs - sinceMs >= DIFFERENCE_MS_MAX) {
        differing.push(difference);
        this.#differsSinceMs.set(clusterId, Infinity);
      }
    }
    return differing;
  }

  #differencesNow(
    ownerOf: (applianceId: ApplianceId) => Owner | null,
  ): ReadonlyMap<ClusterId, ClusterDifference> {
    const members = new Map<ClusterId, ApplianceId[]>();
    for (const { applianceId, monitored, version } of this.#tables.values()) {
      const clusterId = ownerOf(applianceId)?.clusterId;
      if (clusterId === undefined || !monitored || version === null) continue;
      members.set(clusterId, [...(members.get(clusterId) ?? []), applianceId]);
    }
    const differing = new Map<ClusterId, string[]>();
    for (const { clusterId, prefix, heardBy } of this.#accepted) {
      const all = members.get(clusterId) ?? [];
      const heard = heardBy.filter((applianceId) => all.includes(applianceId)).length;
      if (heard === 0 || heard === all.length) continue;
      differing.set(clusterId, [...(differing.get(clusterId) ?? []), prefix]);
    }
    return new Map(
      [...differing].map(([clusterId, prefixes]) => [
        clusterId,
        { clusterId, applianceIds: members.get(clusterId) ?? [], prefixes },
      ]),
    );
  }

  /** Tables that changed since their serial in `kept`. */
  *changedSince(kept: ReadonlyMap<ApplianceId, number>): Generator<{
    readonly applianceId: ApplianceId;
    readonly serial: number;
    readonly table: KeptTable;
  }> {
    for (const entry of this.#tables.values()) {
      const { applianceId, serial } = entry;
      if (kept.get(applianceId) === serial) continue;
      const accepted = this.#accepted.flatMap(({ heardBy, prefix }) =>
        heardBy.includes(applianceId) ? [prefix] : [],
      );
      yield { applianceId, serial, table: { routes: [...inForce(entry)], accepted } };
    }
  }

  sessions(): readonly {
    readonly applianceId: ApplianceId;
    readonly monitored: boolean;
    readonly routes: number;
    readonly dropped: number;
    readonly peers: RouteBatch['peers'];
  }[] {
    return [...this.#tables.values()].map(({ applianceId, monitored, routes, dropped, peers }) => ({
      applianceId,
      monitored,
      routes: routes.size,
      dropped,
      peers,
    }));
  }
}

function emptyTable(applianceId: ApplianceId): Table {
  return {
    applianceId,
    tableId: '',
    version: null,
    monitored: false,
    peers: [],
    dropped: 0,
    routes: new Map(),
    filling: null,
    leftover: new Map(),
    leftoverUntilMs: 0,
    serial: 0,
  };
}

function takeChanges(table: Table, batch: RouteBatch): boolean {
  const follows = table.tableId === batch.tableId && table.version === batch.fromVersion;
  if (!follows || table.routes.size + batch.announced.length > BOX_ROUTES_MAX) {
    table.version = null;
    return false;
  }
  for (const route of batch.announced) table.routes.set(keyOf(route), route);
  for (const key of batch.withdrawn) {
    table.routes.delete(keyOf(key));
    table.leftover.delete(keyOf(key));
  }
  table.version = batch.toVersion;
  return batch.announced.length + batch.withdrawn.length > 0;
}

function takeWhole(table: Table, batch: RouteBatch, nowMs: number): boolean {
  if (batch.reset === 'first') table.filling = { tableId: batch.tableId, routes: new Map() };
  const { filling } = table;
  if (filling === null || filling.tableId !== batch.tableId) return false;
  if (filling.routes.size + batch.announced.length > BOX_ROUTES_MAX) return false;
  for (const route of batch.announced) filling.routes.set(keyOf(route), route);
  if (!batch.complete) return false;
  if (table.tableId !== batch.tableId) {
    // Another start of the box: it may not have heard all its routers yet, and no client has moved.
    table.leftover = new Map(inForceByKey(table));
    table.leftoverUntilMs = nowMs + LEFTOVER_MS_MAX;
  }
  table.filling = null;
  table.tableId = batch.tableId;
  table.version = batch.toVersion;
  table.routes = filling.routes;
  return true;
}

function* inForceByKey({ routes, leftover }: Table): Generator<[string, Route]> {
  yield* routes;
  for (const entry of leftover) if (!routes.has(entry[0])) yield entry;
}

function* inForce(table: Table): Generator<Route> {
  for (const [, route] of inForceByKey(table)) yield route;
}

function keyOf({ peer, prefix }: { readonly peer: string; readonly prefix: string }): string {
  return `${prefix} ${peer}`;
}

function nameOf({ applianceId, route, why }: QuarantinedRoute): string {
  return `${applianceId} ${keyOf(route)} ${why}`;
}
