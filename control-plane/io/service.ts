/**
 * Puts the control plane together: keys, database, fleet, connections, routes. Started and stopped as one.
 *
 * Startup failures throw with a message for the operator. Once `start` has resolved, every route answers.
 */
import path from 'node:path';
import fastifyWebsocket from '@fastify/websocket';
import { TypeBoxValidatorCompiler, type TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import fastify from 'fastify';
import type { Clock, Timer } from '#base/clock.ts';
import { openStateDir } from '#base/io/state-dir.ts';
import { signCompact } from '#base/jws.ts';
import type { Logger } from '#base/log.ts';
import { assert, messageOf } from '#base/outcome.ts';
import { HOUR_MS, KIB, MIB, SECOND_MS } from '#base/units.ts';
import { Catalogue } from '../catalogue.ts';
import type { ControlPlaneConfig } from '../config.ts';
import { JWS_TYPE } from '../contract.ts';
import { fleetView, type PlanView } from '../dashboard/fleet-view.ts';
import { Traffic } from '../dashboard/traffic.ts';
import { Fleet, type StandingChange } from '../fleet.ts';
import { WEIGHT_PERIOD_MS } from '../weight-loop.ts';
import { lossInWords } from '../health-machine.ts';
import { PathLedger } from '../path-ledger.ts';
import { SteeringNodes } from '../steering-nodes.ts';
import type { ControlPlaneKeys } from '../trust.ts';
import { Alarms } from './alarms.ts';
import { applianceRoutes } from './appliance-routes.ts';
import { Authentication } from './authentication.ts';
import { catalogueRoutes } from './catalogue-routes.ts';
import { openDatabase, type Db } from './database.ts';
import { DemandStore } from './demand-store.ts';
import { DenialDesk } from './denial-desk.ts';
import { denialRoutes } from './denial-routes.ts';
import { DenialStore } from './denial-store.ts';
import { enrolmentRoutes } from './enrolment-routes.ts';
import { answerProblems } from './error-answers.ts';
import { ExternalDesk } from './external-desk.ts';
import { externalRoutes } from './external-routes.ts';
import { FastTrackDesk } from './fast-track-desk.ts';
import { fleetRoutes, HEARTBEAT_SOCKET } from './fleet-routes.ts';
import { HeartbeatConnections } from './heartbeat-connections.ts';
import { loadControlPlaneKeys } from './key-files.ts';
import { inventoryRoutes, lookAtInventories } from './inventory-routes.ts';
import { Manifests } from './manifests.ts';
import { operationsRoutes } from './operations-routes.ts';
import { OriginMonitor } from './origin-monitor.ts';
import { pageRoutes } from './page-routes.ts';
import type { Plane, Server } from './plane.ts';
import { plannerRoutes } from './planner-routes.ts';
import { PlanningRuns } from './planning-runs.ts';
import { PlanStore } from './plan-store.ts';
import { registryRoutes } from './registry-routes.ts';
import { RouteDesk } from './route-desk.ts';
import { routeRoutes } from './route-routes.ts';
import { RecordsKeeper, recordsRoutes } from './records-desk.ts';
import { releaseRoutes } from './release-routes.ts';
import { RolloutDesk } from './rollout-desk.ts';
import { SignedClock } from './signed-clock.ts';
import { SnapshotPublisher } from './snapshot-publisher.ts';
import { steeringRoutes } from './steering-routes.ts';
import { nextPrefixesVersion, Store } from './store.ts';

const STATE_FORMAT = '1';
const TICK_MS = 250; // silence is noticed within 3 s + this
const ROLLOUT_PERIOD_MS = 10 * SECOND_MS;
const INVENTORY_PERIOD_MS = 6 * HOUR_MS; // an alarm per box and quarter of a day, not per minute
const REVOKED = 'revoked by the operator';
const KEEP_HOLDINGS_MS = 10 * SECOND_MS;
const FOLD_PATHS_MS = 60 * SECOND_MS;
const BODY_BYTES_MAX = 1 * MIB; // routes that take more say so
const HEADER_BYTES_MAX = 16 * KIB;
const REQUEST_DEADLINE_MS = 30 * SECOND_MS; // to send a whole request

export interface ControlPlane {
  /** Where it listens: the port is the one that the system gave where 0 was asked for. */
  start(): Promise<{ readonly address: string; readonly port: number }>;
  /** Ends within 3 s; every box keeps its standing. */
  stop(): Promise<void>;
  readonly plane: Plane;
}

export async function createControlPlane(
  config: ControlPlaneConfig,
  clock: Clock,
  log: Logger,
): Promise<ControlPlane> {
  openStateDir(config.stateDir, STATE_FORMAT);
  const keys = await loadControlPlaneKeys(config.keysDir);
  const db = openDatabase(path.join(config.stateDir, 'control-plane.sqlite'));
  const parts = await assemble(config, keys, db, clock, log);
  const server = await buildServer(parts.plane, parts.boxes);
  return new RunningControlPlane(parts, server, db);
}

interface Assembly {
  readonly plane: Plane;
  readonly boxes: HeartbeatConnections;
  readonly origin: OriginMonitor;
  readonly keepHoldings: () => void;
}

async function assemble(
  config: ControlPlaneConfig,
  keys: ControlPlaneKeys,
  db: Db,
  clock: Clock,
  log: Logger,
): Promise<Assembly> {
  const store = new Store(db);
  const plans = new PlanStore(db);
  const demand = new DemandStore(db, config.demandDays);
  const alarms = new Alarms(store, clock, log);
  const catalogue = await restoreCatalogue(store, keys, clock);
  const fleet = restoreFleet(store, catalogue, clock);
  const traffic = new Traffic();
  const origin = new OriginMonitor(config.origin.adminUrl, clock, log, {
    counters: (counters, atMs) => traffic.fromOrigin(counters, atMs),
    lost: (why) =>
      alarms.raise(
        `the origin does not answer: ${why}`,
        config.origin.adminUrl,
        'boxes serve what they hold and fill from each other; what nobody holds is missing until the origin runs again',
      ),
  });
  const paths = new PathLedger();
  const steeringNodes = new SteeringNodes(clock.monotonicMs());
  const externals = new ExternalDesk(db);
  const publisher = new SnapshotPublisher({
    parts: () => ({
      ...denials.current.over(fleet.parts(config.origin.baseUrl)),
      paths: paths.entries,
      externals: externals.list,
      ...(steeringNodes.entries === undefined ? {} : { steeringNodes: steeringNodes.entries }),
    }),
    freezeLoads: () => fleet.freezeLoads(),
    key: keys.manifestKey,
    clock,
    log,
    reservedVersion: store.number('snapshot_version_reserved', () => 0),
    reserveVersions: (upTo) => store.setNumber('snapshot_version_reserved', upTo),
  });
  const boxes = new HeartbeatConnections(() => plane, clock.monotonicMs());
  const denialStore = new DenialStore(db);
  const denials = new DenialDesk({
    kept: denialStore,
    numbers: store,
    key: keys.manifestKey,
    clock,
    log,
    boxRecord: (applianceId) => fleet.box(applianceId)?.record,
    onChange: (set, document) => {
      publisher.changed('now'); // nobody new is sent there, while the boxes are told
      boxes.push({ type: 'denials', document });
      for (const { kind, value } of set.inForce) {
        if (kind !== 'appliance' || fleet.box(value)?.health.connected !== true) continue;
        boxes.disconnect(value, REVOKED);
        const event = { name: 'closed', why: `was closed: ${REVOKED}` } as const;
        plane.standingChanged(fleet.hear(value, event, clock.monotonicMs(), clock.wallMs()), true);
      }
    },
  });
  const fastTrack = new FastTrackDesk({
    db,
    key: keys.manifestKey,
    clock,
    bytesPerHourMax: config.fastTrackBytesPerHour,
    onChange: (document) => boxes.push({ type: 'fast-track', document }),
  });
  const plane: Plane = {
    paths,
    steeringNodes,
    externals,
    config,
    keys,
    clock,
    log,
    store,
    plans,
    rollout: new RolloutDesk({ config: config.rollout, plans, fleet, alarms, clock, log }),
    demand,
    denials,
    fastTrack,
    denialStore,
    catalogue,
    fleet,
    traffic,
    alarms,
    publisher,
    manifests: new Manifests(plans, catalogue, () => denials.current, keys.manifestKey, clock, log),
    planning: new PlanningRuns(
      config.planning,
      clock,
      log,
      alarms,
      () => plans.latest()?.planDate ?? null,
    ),
    routes: new RouteDesk({
      config,
      clock,
      log,
      alarms,
      fleet,
      nextPrefixesVersion: () => nextPrefixesVersion(store),
      publish: () => publisher.changed('soon'),
    }),
    signedClock: new SignedClock(keys.manifestKey, clock),
    authentication: new Authentication(config, keys, fleet, clock, (applianceId) =>
      denials.current.isRevoked(applianceId),
    ),
    standingChanged: (change, isMeant = false) => {
      if (change === null) return;
      publisher.changed('now'); // first of all: viewers wait for this
      store.setStanding(change);
      if (!isMeant) alarmOfLoss(alarms, fleet, change);
      log.info({ event: 'standing', ...change }, `${change.applianceId}: ${change.to}`);
    },
    disconnect: (applianceId, why) => boxes.disconnect(applianceId, why),
    view: () =>
      fleetView(
        {
          sites: fleet.sites().map(({ site }) => site),
          boxes: fleet.boxes(),
          traffic,
          origin: origin.state,
          plan: planViewOf(plans),
          catalogue: catalogue.counts,
          steeringConnections: publisher.connections,
          alarms: alarms.newest(),
        },
        clock.monotonicMs(),
        clock.wallMs(),
      ),
    audit: (who, what, detail) => {
      store.audit({ atMs: clock.wallMs(), who, what, detail });
      log.info({ event: 'audit', who, what, detail }, what);
    },
  };
  return { plane, boxes, origin, keepHoldings: holdingsKeeper(store, fleet) };
}

/** A box that viewers were sent to and that went without draining. */
function alarmOfLoss(alarms: Alarms, fleet: Fleet, change: StandingChange): void {
  if (change.from !== 'serving' || change.to === 'draining') return;
  const { applianceId, reasons, to } = change;
  const { what, todo } = lossInWords(applianceId, to, reasons);
  alarms.raise(what, fleet.box(applianceId)?.record.baseUrl ?? applianceId, todo, to);
}

/** Loads the catalogue; listings signed by a key that is no longer trusted are signed again. */
async function restoreCatalogue(
  store: Store,
  keys: ControlPlaneKeys,
  clock: Clock,
): Promise<Catalogue> {
  // Made from the time, so that a lost database never gives an ordinal a second meaning under an old epoch.
  const epoch = store.number('epoch', () => Math.floor(clock.wallMs() / SECOND_MS));
  const catalogue = new Catalogue(epoch);
  for (const { fileId, ordinal, sizeBytes } of store.files()) {
    catalogue.restoreFile(fileId, ordinal, sizeBytes);
  }
  for (const stored of store.titles()) {
    let title = stored;
    if (!keys.ring.byUse.manifest.has(stored.signedBy)) {
      const signed = await signCompact(keys.manifestKey, JWS_TYPE.listing, stored.listing);
      title = { ...stored, signed, signedBy: keys.manifestKey.kid };
      store.putTitle(title, []);
    }
    catalogue.apply(title, []);
  }
  return catalogue;
}

function restoreFleet(store: Store, catalogue: Catalogue, clock: Clock): Fleet {
  const fleet = new Fleet(catalogue);
  const prefixesVersion = store.number('prefixes_version', () => 0);
  for (const record of store.sites()) fleet.putSite(record, prefixesVersion);
  const nowMs = clock.monotonicMs();
  for (const { record, ...kept } of store.appliances()) fleet.restore(record, kept, nowMs);
  for (const { applianceId, version, ordinals, strangers } of store.holdings()) {
    fleet.box(applianceId)?.holdings.restore(version, ordinals, strangers);
  }
  return fleet;
}

/** Writes the holdings that changed since the last call: a restart asks no box for everything. */
function holdingsKeeper(store: Store, fleet: Fleet): () => void {
  const kept = new Map(fleet.boxes().map((box) => [box.record.applianceId, box.holdings.serial]));
  return () => {
    const changed = fleet
      .boxes()
      .filter(({ record, holdings }) => kept.get(record.applianceId) !== holdings.serial);
    if (changed.length === 0) return;
    store.putHoldings(
      changed.map(({ record, holdings }) => ({
        applianceId: record.applianceId,
        version: holdings.version,
        ordinals: Uint32Array.from(holdings.ordinals),
        strangers: holdings.strangers(),
      })),
    );
    for (const { record, holdings } of changed) kept.set(record.applianceId, holdings.serial);
  };
}

function planViewOf(plans: PlanStore): PlanView | null {
  const latest = plans.latest();
  if (latest === null) return null;
  const { planDate, run, takenInAtMs, summary } = latest;
  const { plannedOffloadShare, problems } = summary;
  return { planDate, run, takenInAtMs, plannedOffloadShare, problems };
}

async function buildServer(plane: Plane, boxes: HeartbeatConnections): Promise<Server> {
  const server = fastify({
    bodyLimit: BODY_BYTES_MAX,
    requestTimeout: REQUEST_DEADLINE_MS,
    http: { maxHeaderSize: HEADER_BYTES_MAX },
    forceCloseConnections: true,
    routerOptions: { maxParamLength: 128 },
  }).withTypeProvider<TypeBoxTypeProvider>();
  server.setValidatorCompiler(TypeBoxValidatorCompiler);
  answerProblems(server, plane.log);
  // RFC 7523 clients send forms.
  server.addContentTypeParser(
    'application/x-www-form-urlencoded',
    { parseAs: 'string', bodyLimit: 16 * KIB },
    (_request, body, done) => done(null, Object.fromEntries(new URLSearchParams(String(body)))),
  );
  await server.register(fastifyWebsocket, { options: HEARTBEAT_SOCKET });
  catalogueRoutes(server, plane);
  registryRoutes(server, plane);
  enrolmentRoutes(server, plane);
  routeRoutes(server, plane);
  applianceRoutes(server, plane);
  plannerRoutes(server, plane);
  denialRoutes(server, plane);
  releaseRoutes(server, plane);
  recordsRoutes(server, plane);
  inventoryRoutes(server, plane);
  operationsRoutes(server, plane);
  fleetRoutes(server, plane, boxes);
  steeringRoutes(server, plane);
  externalRoutes(server, plane);
  await pageRoutes(server, plane);
  return server;
}

class RunningControlPlane implements ControlPlane {
  readonly plane: Plane;
  readonly #parts: Assembly;
  readonly #server: Server;
  readonly #db: Db;
  readonly #timers: Timer[] = [];

  constructor(parts: Assembly, server: Server, db: Db) {
    this.plane = parts.plane;
    this.#parts = parts;
    this.#server = server;
    this.#db = db;
  }

  async start(): Promise<{ readonly address: string; readonly port: number }> {
    const { clock, config, demand, denials, fleet, planning, publisher, standingChanged, store } =
      this.plane;
    const { address, port } = config.listen;
    await denials.start(); // before a box connects
    await this.plane.fastTrack.start();
    try {
      await this.#server.listen({ host: address, port });
    } catch (thrown) {
      denials.stop();
      await this.#server.close();
      this.#db.close();
      throw new Error(
        `cannot listen on ${address}:${port} (${messageOf(thrown)}): ` +
          'stop what uses it, or set another listen address or port in the configuration',
        { cause: thrown },
      );
    }
    fleet.listening(clock.monotonicMs());
    publisher.start();
    planning.start();
    this.plane.routes.start();
    this.#parts.origin.start();
    const records = new RecordsKeeper(this.plane);
    const forget = (): void => {
      demand.forgetOld(clock.wallMs());
      store.forgetExpiredTokens(clock.wallMs());
    };
    forget();
    this.#timers.push(
      clock.every(TICK_MS, () => {
        const changes = fleet.tick(clock.monotonicMs(), clock.wallMs());
        if (changes.length > 0) {
          store.together(() => {
            for (const change of changes) standingChanged(change);
          });
        }
        if (this.plane.steeringNodes.tick(clock.monotonicMs())) publisher.changed('soon');
      }),
      clock.every(WEIGHT_PERIOD_MS, () => {
        if (fleet.stepWeights(WEIGHT_PERIOD_MS)) publisher.changed('soon');
      }),
      clock.every(KEEP_HOLDINGS_MS, this.#parts.keepHoldings),
      clock.every(HOUR_MS, forget),
      clock.every(FOLD_PATHS_MS, () => {
        const nowSeconds = Math.floor(clock.wallMs() / SECOND_MS);
        if (this.plane.paths.fold(nowSeconds)) publisher.changed('soon');
      }),
      clock.every(HOUR_MS, () => void records.look()),
      clock.every(ROLLOUT_PERIOD_MS, () => this.plane.rollout.look()),
      clock.every(INVENTORY_PERIOD_MS, () => lookAtInventories(this.plane)),
    );
    const bound = this.#server.addresses()[0];
    assert(typeof bound === 'object', 'a TCP listener has an address and a port');
    return { address: bound.address, port: bound.port };
  }

  async stop(): Promise<void> {
    for (const timer of this.#timers.splice(0)) timer.cancel();
    this.#parts.origin.stop();
    this.plane.routes.stop();
    this.#parts.boxes.stop();
    this.plane.denials.stop();
    await this.plane.publisher.stop();
    await this.plane.planning.stop();
    await this.#server.close();
    this.#parts.keepHoldings();
    this.#db.close();
  }
}
