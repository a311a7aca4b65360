/**
 * Everything that the control plane's routes and connections work on, put together once at start.
 */
import type { FastifyBaseLogger, FastifyInstance, RawServerDefault } from 'fastify';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import type { Clock } from '#base/clock.ts';
import type { Logger } from '#base/log.ts';
import type { Catalogue } from '../catalogue.ts';
import type { ControlPlaneConfig } from '../config.ts';
import type { FleetView } from '../dashboard/fleet-view.ts';
import type { Traffic } from '../dashboard/traffic.ts';
import type { Fleet, StandingChange } from '../fleet.ts';
import type { PathLedger } from '../path-ledger.ts';
import type { SteeringNodes } from '../steering-nodes.ts';
import type { ControlPlaneKeys } from '../trust.ts';
import type { Alarms } from './alarms.ts';
import type { Authentication } from './authentication.ts';
import type { DemandStore } from './demand-store.ts';
import type { DenialDesk } from './denial-desk.ts';
import type { DenialStore } from './denial-store.ts';
import type { ExternalDesk } from './external-desk.ts';
import type { FastTrackDesk } from './fast-track-desk.ts';
import type { Manifests } from './manifests.ts';
import type { PlanStore } from './plan-store.ts';
import type { PlanningRuns } from './planning-runs.ts';
import type { RouteDesk } from './route-desk.ts';
import type { RolloutDesk } from './rollout-desk.ts';
import type { SignedClock } from './signed-clock.ts';
import type { SnapshotPublisher } from './snapshot-publisher.ts';
import type { Store } from './store.ts';

export interface Plane {
  readonly config: ControlPlaneConfig;
  readonly keys: ControlPlaneKeys;
  readonly clock: Clock;
  readonly log: Logger;
  readonly store: Store;
  readonly plans: PlanStore;
  readonly rollout: RolloutDesk;
  readonly demand: DemandStore;
  readonly denials: DenialDesk;
  readonly fastTrack: FastTrackDesk;
  readonly denialStore: DenialStore;
  readonly catalogue: Catalogue;
  readonly fleet: Fleet;
  readonly traffic: Traffic;
  readonly alarms: Alarms;
  readonly manifests: Manifests;
  readonly publisher: SnapshotPublisher;
  readonly routes: RouteDesk;
  readonly paths: PathLedger;
  readonly steeringNodes: SteeringNodes;
  readonly externals: ExternalDesk;
  readonly planning: PlanningRuns;
  readonly signedClock: SignedClock;
  readonly authentication: Authentication;
  /** Pushes, writes and logs a change of standing; a loss that nobody meant is an alarm. */
  readonly standingChanged: (change: StandingChange | null, isMeant?: boolean) => void;
  /** Ends a box's heartbeat connection, if it has one. */
  readonly disconnect: (applianceId: string, why: string) => void;
  readonly view: () => FleetView;
  readonly audit: (who: string, what: string, detail: string) => void;
}

export type Server = FastifyInstance<
  RawServerDefault,
  IncomingMessage,
  ServerResponse,
  FastifyBaseLogger,
  TypeBoxTypeProvider
>;
