/**
 * What the fleet page shows: one value each second, made by a pure function from the control plane's state.
 *
 * Units: bytes; bits per second (`Bps` is bit/s, as in the heartbeat); Unix milliseconds. Every figure
 *        comes with its time or its age, and an unknown figure is null, never zero.
 */
import type { Heartbeat } from '#appliance/contract.ts';
import type { ApplianceStanding, FillWindow, Site } from '../contract.ts';
import { fillWindowAt } from '../fill-window.ts';
import type { Box } from '../fleet.ts';
import type { Traffic } from './traffic.ts';

/** Offload over a sliding window of `windowSeconds`; null while no viewer byte was seen in it. */
export interface CdnFigures {
  readonly viewerBps: number; // to viewers: by appliances, and by the origin itself
  readonly originServeBps: number; // fetched from the origin on demand: viewers there, and misses
  readonly fillBps: number; // fetched by the manifest, from peers, tiers and the origin
  readonly offloadShare: number | null; // 1 - viewer bytes fetched from the origin on demand / viewer bytes
  readonly netOffloadShare: number | null; // 1 - all origin egress / viewer bytes; below 0 while filling
  readonly windowSeconds: number;
}

/** One second of the plot. */
export interface SeriesPoint {
  readonly atMs: number;
  readonly viewerBps: number;
  readonly originServeBps: number;
  readonly originFillBps: number;
  readonly peerFillBps: number; // peers and tiers
}

export interface ApplianceView {
  readonly applianceId: string;
  readonly clusterId: string;
  readonly baseUrl: string;
  readonly standing: ApplianceStanding;
  readonly reasons: readonly string[];
  readonly sinceMs: number; // in this standing since
  readonly heartbeatAgeMs: number | null; // null: none since the control plane started
  readonly heartbeat: Heartbeat | null; // the last one, however old
  readonly viewerBps: number; // over the last seconds, from its counters
}

export interface SiteView {
  readonly siteId: string;
  readonly name: string;
  readonly country: string;
  readonly fillWindow: FillWindow & {
    readonly open: boolean;
    readonly opensAtMs: number | null;
    readonly closesAtMs: number | null;
  };
  readonly appliances: readonly ApplianceView[];
}

export interface OriginView {
  readonly status: 'up' | 'down' | 'unknown';
  readonly ageMs: number | null; // of the figures; null: never answered
  readonly serveBytes: number;
  readonly fillBytes: number;
}

export interface PlanView {
  readonly planDate: string;
  readonly run: string;
  readonly takenInAtMs: number;
  readonly plannedOffloadShare: number;
  readonly problems: readonly string[];
}

export interface Alarm {
  readonly atMs: number;
  readonly what: string;
  readonly where: string;
  readonly todo: string;
}

export interface FleetView {
  readonly atMs: number;
  readonly cdn: CdnFigures;
  readonly series: readonly SeriesPoint[]; // 1 s steps, the last 10 minutes, oldest first
  readonly sites: readonly SiteView[];
  readonly origin: OriginView;
  readonly plan: PlanView | null;
  readonly catalogue: { readonly titles: number; readonly files: number; readonly bytes: number };
  readonly steering: { readonly connections: number };
  readonly alarms: readonly Alarm[]; // newest first, at most ALARMS_SHOWN_MAX
}

export const SERIES_SECONDS = 600;
export const WINDOW_SECONDS = 60;
export const ALARMS_SHOWN_MAX = 50;

/** What the view is made from, as it stands now. */
export interface FleetViewState {
  readonly sites: readonly Site[];
  readonly boxes: readonly Box[];
  readonly traffic: Pick<Traffic, 'figures' | 'series' | 'viewerBpsOf'>;
  readonly origin: {
    readonly status: OriginView['status'];
    readonly answeredAtMs: number | null; // wall
    readonly serveBytes: number;
    readonly fillBytes: number;
  };
  readonly plan: PlanView | null;
  readonly catalogue: FleetView['catalogue'];
  readonly steeringConnections: number;
  readonly alarms: readonly Alarm[]; // newest first
}

/** `monotonicMs` dates heartbeats; `wallMs` everything else. */
export function fleetView(state: FleetViewState, monotonicMs: number, wallMs: number): FleetView {
  // Once for all sites: 6,000 sites that each look through 17,000 boxes are a hundred million looks.
  const boxesOf = Map.groupBy(state.boxes, ({ record }) => record.siteId);
  return {
    atMs: wallMs,
    cdn: state.traffic.figures(wallMs),
    series: state.traffic.series(wallMs),
    sites: state.sites.map((site) => {
      return siteView(site, boxesOf.get(site.siteId) ?? [], state, monotonicMs, wallMs);
    }),
    origin: {
      status: state.origin.status,
      ageMs: state.origin.answeredAtMs === null ? null : wallMs - state.origin.answeredAtMs,
      serveBytes: state.origin.serveBytes,
      fillBytes: state.origin.fillBytes,
    },
    plan: state.plan,
    catalogue: state.catalogue,
    steering: { connections: state.steeringConnections },
    alarms: state.alarms.slice(0, ALARMS_SHOWN_MAX),
  };
}

function siteView(
  site: Site,
  boxes: readonly Box[],
  state: FleetViewState,
  monotonicMs: number,
  wallMs: number,
): SiteView {
  const { siteId, name, country, fillWindow } = site;
  return {
    siteId,
    name,
    country,
    fillWindow: { ...fillWindow, ...fillWindowAt(fillWindow, wallMs) },
    appliances: boxes.map((box) => applianceView(box, state, monotonicMs, wallMs)),
  };
}

function applianceView(
  { record, health, heartbeat, heartbeatAtMs }: Box,
  state: FleetViewState,
  monotonicMs: number,
  wallMs: number,
): ApplianceView {
  return {
    applianceId: record.applianceId,
    clusterId: record.clusterId,
    baseUrl: record.baseUrl,
    standing: health.standing,
    reasons: health.reasons,
    sinceMs: health.sinceMs,
    heartbeatAgeMs: heartbeatAtMs === null ? null : Math.round(monotonicMs - heartbeatAtMs),
    heartbeat,
    viewerBps: state.traffic.viewerBpsOf(record.applianceId, wallMs),
  };
}
