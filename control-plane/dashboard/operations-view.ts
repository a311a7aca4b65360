/**
 * What the fleet page shows of tonight's work: releases, takedowns, the rollout, inventories, prefixes that do not steer, the steering
 * nodes and the CDNs that take what no box can.
 *
 * Shape:      facts as they stand now -> one bounded value, what needs a look first
 * Units:      bytes; Unix milliseconds, or milliseconds after the event that a figure belongs to (`...AfterMs`)
 * Invariants: (1) every list is bounded; what does not fit is counted in `...LeftOut`
 *             (2) an unknown figure is null, never zero
 */
import type { ExternalCdn, SteeringNode } from '../contract.ts';
import type { BoxDenial, BoxDenialStatus, DenialView } from '../denials.ts';
import type { Box } from '../fleet.ts';
import { INVENTORY_ALARM_SHARE } from '../inventory.ts';
import type { TitleLiveness } from '../liveness.ts';
import type { MissFigures, RolloutStage } from '../rollout.ts';
import type { QuarantinedRoute } from '../routes/policy.ts';
import type { SeenNode } from '../steering-nodes.ts';

export const RELEASES_SHOWN_MAX = 12;
export const RELEASE_AHEAD_MS = 30 * 24 * 3600 * 1000;
export const RELEASE_BEHIND_MS = 3 * 24 * 3600 * 1000;
export const TAKEDOWNS_SHOWN_MAX = 8;
const CLUSTERS_SHOWN_MAX = 20; // of a title: those that hold it up
const BOXES_SHOWN_MAX = 100; // of a takedown: those that have not deleted first
const INVENTORIES_SHOWN_MAX = 60;
const ROUTES_SHOWN_MAX = 50;
const NODES_SHOWN_MAX = 24;
const VERDICTS_SHOWN_MAX = 50; // of a node: those against a box first
const REGIONS_SHOWN_MAX = 30; // of an external CDN

export interface ReleaseView {
  readonly titleId: string;
  readonly releaseAtMs: number;
  /** null: the title has more files than are looked at each few seconds; `nightfill liveness` answers. */
  readonly liveness: {
    readonly isLive: boolean;
    readonly clustersLive: number;
    readonly clustersWanted: number;
    readonly copies: { readonly held: number; readonly planned: number }; // files in enough copies, over clusters
    readonly blocking: TitleLiveness['clusters'];
    readonly blockingLeftOut: number;
  } | null;
}

export interface TakedownView {
  readonly id: number;
  readonly kind: string;
  readonly value: string;
  readonly reason: string;
  readonly who: string;
  readonly sinceMs: number;
  readonly liftedAtMs: number | null;
  readonly summary: Readonly<Record<BoxDenialStatus, number>>;
  readonly lastAcknowledgedAfterMs: number | null;
  readonly boxes: readonly {
    readonly applianceId: string;
    readonly status: BoxDenialStatus;
    readonly acknowledgedAfterMs: number | null;
    readonly deletedAfterMs: number | null;
    readonly files: number | null;
    readonly bytes: number | null;
    readonly isProved: boolean; // a JWS by the box's own key is kept
  }[];
  readonly boxesLeftOut: number;
}

export interface RolloutView {
  readonly isStaged: boolean;
  readonly name: RolloutStage | 'idle' | 'done' | 'rolled-back';
  readonly run: string | null;
  readonly sinceMs: number | null;
  readonly untilMs: number | null; // when this stage may end
  readonly boxes: number | null;
  readonly missShareBefore: number | null;
  readonly missShareSince: number | null; // null: nothing was watched since
  readonly missRiseMax: number;
  readonly why: string | null;
}

export interface InventoryView {
  readonly applianceId: string;
  readonly siteId: string;
  readonly manifestVersion: number; // as it should be
  readonly versionInUse: number;
  readonly filesWanted: number;
  readonly filesHeld: number;
  readonly bytesWanted: number;
  readonly bytesHeld: number;
  readonly heldShare: number;
  readonly isShort: boolean; // below the share that is alarmed after a day
  readonly problem: string | null;
  readonly heartbeatAgeMs: number;
}

export interface QuarantineView {
  readonly applianceId: string;
  readonly prefix: string;
  readonly why: string;
  readonly detail: string;
}

/** A steering node, and what its probes say of the boxes that some node suspects. */
export interface SteeringNodeView {
  readonly nodeId: string;
  readonly heardAgoMs: number;
  readonly isLive: boolean; // a silent one counts in no quorum
  readonly boxes: number; // that it was asked of; each is judged over IPv4 and IPv6 apart
  readonly against: number; // of them, those that it suspects or finds unreachable over one of the two
  readonly verdicts: SteeringNode['verdicts'];
  readonly verdictsLeftOut: number;
}

export interface ExternalView {
  readonly externalId: string;
  readonly name: string;
  readonly host: string;
  readonly tokens: ExternalCdn['tokens'];
  readonly costPerGb: number;
  readonly budgetPerDay: number | null; // null: none was set
  readonly regions: ExternalCdn['regions'];
  readonly regionsLeftOut: number;
}

export interface OperationsView {
  readonly atMs: number;
  readonly releases: readonly ReleaseView[];
  readonly releasesLeftOut: number;
  readonly fastTrack: { readonly files: number; readonly bytes: number };
  readonly takedowns: readonly TakedownView[];
  readonly rollout: RolloutView;
  readonly inventories: readonly InventoryView[];
  readonly inventoriesLeftOut: number;
  readonly quarantined: readonly QuarantineView[];
  readonly quarantinedCount: number;
  /** null: for the first seconds of a control plane, when not all that live were heard. */
  readonly steeringNodesLive: number | null;
  readonly steeringNodes: readonly SteeringNodeView[];
  readonly steeringNodesLeftOut: number;
  readonly externals: readonly ExternalView[];
}

export function releaseView(
  titleId: string,
  releaseAtMs: number,
  found: TitleLiveness | null,
): ReleaseView {
  if (found === null) return { titleId, releaseAtMs, liveness: null };
  const sum = (read: (cluster: TitleLiveness['clusters'][number]) => number): number =>
    found.clusters.reduce((total, cluster) => total + read(cluster), 0);
  const blocking = found.clusters.filter(({ isLive }) => !isLive);
  return {
    titleId,
    releaseAtMs,
    liveness: {
      isLive: found.isLive,
      clustersLive: found.clustersLive,
      clustersWanted: found.clustersWanted,
      copies: {
        held: sum(({ filesHeld }) => filesHeld),
        planned: sum(({ filesPlanned }) => filesPlanned),
      },
      blocking: blocking.slice(0, CLUSTERS_SHOWN_MAX),
      blockingLeftOut: Math.max(0, blocking.length - CLUSTERS_SHOWN_MAX),
    },
  };
}

const STATUS_ORDER: readonly BoxDenialStatus[] = [
  'waiting',
  'unreachable',
  'acknowledged',
  'deleted',
];

export function takedownView(denial: DenialView): TakedownView {
  const { id, kind, value, reason, who, sinceMs, liftedAtMs, summary } = denial;
  // A box dates its deletion by its own clock, which may be a little behind ours.
  const after = (atMs: number | null): number | null =>
    atMs === null ? null : Math.max(0, atMs - sinceMs);
  const acknowledged = denial.boxes.flatMap(({ acknowledgedAtMs }) => acknowledgedAtMs ?? []);
  const rank = ({ status }: BoxDenial): number => STATUS_ORDER.indexOf(status);
  const boxes = [...denial.boxes].sort(
    (a, b) => rank(a) - rank(b) || (a.applianceId < b.applianceId ? -1 : 1),
  );
  return {
    id,
    kind,
    value,
    reason,
    who,
    sinceMs,
    liftedAtMs,
    summary,
    lastAcknowledgedAfterMs: after(
      acknowledged.reduce<number | null>((last, atMs) => Math.max(last ?? atMs, atMs), null),
    ),
    boxes: boxes.slice(0, BOXES_SHOWN_MAX).map((box) => ({
      applianceId: box.applianceId,
      status: box.status,
      acknowledgedAfterMs: after(box.acknowledgedAtMs),
      deletedAfterMs: after(box.deletedAtMs),
      files: box.files,
      bytes: box.bytes,
      isProved: box.proof !== null,
    })),
    boxesLeftOut: Math.max(0, boxes.length - BOXES_SHOWN_MAX),
  };
}

/** Of what viewers took; null where nothing was watched. */
export function missShareOf({ viewerBytes, missBytes }: MissFigures): number | null {
  return viewerBytes === 0 ? null : missBytes / viewerBytes;
}

/** Boxes that lack most first; those that were never heard are in the table of appliances. */
export function inventoryViews(
  boxes: readonly Box[],
  versionOf: (applianceId: string) => number,
  nowMs: number,
): { readonly shown: readonly InventoryView[]; readonly leftOut: number } {
  const views = boxes.flatMap(({ record, heartbeat, heartbeatAtMs }): InventoryView[] => {
    if (heartbeat === null || heartbeatAtMs === null) return [];
    const { filesWanted, filesHeld, bytesWanted, bytesHeld, manifestVersion, problem } =
      heartbeat.fill;
    const heldShare = bytesWanted === 0 ? 1 : bytesHeld / bytesWanted;
    return [
      {
        applianceId: record.applianceId,
        siteId: record.siteId,
        manifestVersion: versionOf(record.applianceId),
        versionInUse: manifestVersion,
        filesWanted,
        filesHeld,
        bytesWanted,
        bytesHeld,
        heldShare,
        isShort: heldShare < INVENTORY_ALARM_SHARE,
        problem,
        heartbeatAgeMs: Math.round(nowMs - heartbeatAtMs),
      },
    ];
  });
  views.sort((a, b) => a.heldShare - b.heldShare || (a.applianceId < b.applianceId ? -1 : 1));
  return {
    shown: views.slice(0, INVENTORIES_SHOWN_MAX),
    leftOut: Math.max(0, views.length - INVENTORIES_SHOWN_MAX),
  };
}

export function quarantineViews(routes: readonly QuarantinedRoute[]): readonly QuarantineView[] {
  return routes.slice(0, ROUTES_SHOWN_MAX).map(({ applianceId, route, why, detail }) => ({
    applianceId,
    prefix: route.prefix,
    why,
    detail,
  }));
}

function boxesOf(verdicts: SteeringNode['verdicts']): number {
  return new Set(verdicts.map(({ applianceId }) => applianceId)).size;
}

/** Silent nodes first, then those whose probes fail. */
export function steeringNodeViews(nodes: readonly SeenNode[]): {
  readonly shown: readonly SteeringNodeView[];
  readonly leftOut: number;
} {
  const views = nodes.map(({ nodeId, heardAgoMs, isLive, verdicts }): SteeringNodeView => {
    const against = verdicts.filter(({ name }) => name !== 'reachable');
    const all = [...against, ...verdicts.filter(({ name }) => name === 'reachable')];
    return {
      nodeId,
      heardAgoMs: Math.round(heardAgoMs),
      isLive,
      boxes: boxesOf(verdicts),
      against: boxesOf(against),
      verdicts: all.slice(0, VERDICTS_SHOWN_MAX),
      verdictsLeftOut: Math.max(0, all.length - VERDICTS_SHOWN_MAX),
    };
  });
  views.sort((a, b) => Number(a.isLive) - Number(b.isLive) || b.against - a.against);
  return {
    shown: views.slice(0, NODES_SHOWN_MAX),
    leftOut: Math.max(0, views.length - NODES_SHOWN_MAX),
  };
}

export function externalView(external: ExternalCdn): ExternalView {
  const { externalId, name, baseUrl, tokens, costPerGb, budgetPerDay, regions } = external;
  return {
    externalId,
    name,
    host: URL.parse(baseUrl)?.host ?? baseUrl,
    tokens,
    costPerGb,
    budgetPerDay: budgetPerDay ?? null,
    regions: regions.slice(0, REGIONS_SHOWN_MAX),
    regionsLeftOut: Math.max(0, regions.length - REGIONS_SHOWN_MAX),
  };
}
