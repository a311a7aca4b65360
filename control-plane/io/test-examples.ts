/**
 * For tests: a site, a listing, a heartbeat, a night of plans, as small as they can be.
 */
import { createHash } from 'node:crypto';
import type { Heartbeat } from '#appliance/contract.ts';
import { orderVersionOf, type Plan, type PlanSet } from '#fill-planner/contract.ts';
import type { TitleListing } from '#upstream/contract.ts';
import { setDigestOf, type Site } from '../contract.ts';

export function exampleSite(siteId: string, prefix = '192.0.2.0/24'): Site {
  return {
    siteId,
    name: siteId,
    country: 'FR',
    fillWindow: { startLocal: '02:00', hours: 24, timeZone: 'Europe/Paris' },
    clusters: [{ clusterId: siteId, prefixes: [prefix] }],
  };
}

export function exampleFileId(name: string): string {
  return createHash('sha256').update(name).digest('base64url');
}

export function exampleListing(
  titleId: string,
  files: readonly string[],
  over: Partial<TitleListing> = {},
): TitleListing {
  return {
    titleId,
    version: 1,
    kind: 'opaque',
    name: `Title ${titleId}`,
    durationSeconds: 60,
    class: 'catalogue',
    availability: [{ countries: ['*'] }],
    files: files.map((name) => ({
      fileId: exampleFileId(name),
      sizeBytes: 1000,
      kind: 'opaque',
      protection: 'none',
    })),
    ...over,
  };
}

export function exampleHeartbeat(bootId: string, sequence: number): Heartbeat {
  return {
    type: 'heartbeat',
    sequence,
    sentAtMs: Date.now(),
    bootId,
    health: { status: 'healthy', reasons: [] },
    state: 'serving',
    load: { egressBps: 0, servingBps: 1_000_000_000, connections: 0, requestsPerSecond: 0 },
    storage: { capacityBytes: 1_000_000, usedBytes: 0, pinnedBytes: 0, reactiveBytes: 0 },
    fill: {
      manifestVersion: 0,
      filesWanted: 0,
      filesHeld: 0,
      bytesWanted: 0,
      bytesHeld: 0,
      active: 0,
      rateBps: 0,
      waitingFor: null,
      problem: null,
    },
    counters: {
      viewerBytes: 0,
      viewerRequests: 0,
      viewerBytesByReason: { home: 0, content: 0, health: 0, other: 0 },
      viewerBytesUnknownHome: 0,
      missBytes: { peer: 0, tier: 0, origin: 0 },
      fillBytes: { peer: 0, tier: 0, origin: 0 },
      peerBytesServed: 0,
      chunksCorrupt: 0,
      refused: {},
    },
    holdings: { version: 0, digest: setDigestOf([]), files: 0 },
    versions: { manifest: 0, keys: 1, denials: 0 },
  };
}

/** One order over `ordinals` and, for each box, a plan to hold all of it. */
export function examplePlanSet(
  epoch: number,
  boxes: readonly { readonly applianceId: string; readonly clusterId: string }[],
  ordinals: readonly number[],
  over: Partial<PlanSet> = {},
): PlanSet {
  const planDate = over.planDate ?? '2026-06-01';
  const content = {
    orderId: 'all',
    epoch,
    ordinals: [...ordinals],
    densities: ordinals.map((_, at) => 100 - at),
  };
  const order = { ...content, orderVersion: orderVersionOf(content) };
  const plans = boxes.map(({ applianceId, clusterId }): Plan => ({
    applianceId,
    clusterId,
    planDate,
    epoch,
    orderVersion: order.orderVersion,
    everywhereDensity: 0,
    shareDensity: 0,
    fillDensity: 10,
    members: [{ applianceId, weight: 1 }],
    pins: [],
    drops: [],
  }));
  return {
    planDate,
    epoch,
    run: `run-${planDate}`,
    orders: [order],
    plans,
    summary: {
      forecastViewsPerDay: 10,
      plannedOffloadShare: 0.5,
      bytesPlanned: 1000,
      problems: [],
    },
    ...over,
  };
}
