/**
 * What changes between two nights: offload per cluster, files and bytes in and out per appliance. And whether the second
 * loses so much that a person should look first.
 */
import { formatBytes } from '#base/units.ts';
import { holdingsOf, type NightRecord } from './record.ts';
import { percent, table } from './summary.ts';

export interface PlanDiff {
  readonly offloadBefore: number;
  readonly offloadAfter: number;
  readonly sites: readonly {
    readonly siteId: string;
    readonly clusterId: string;
    readonly before: number | null; // offload share
    readonly after: number | null;
  }[];
  readonly appliances: readonly ApplianceDiff[];
}

export interface ApplianceDiff {
  readonly applianceId: string;
  readonly filesIn: number;
  readonly bytesIn: number;
  readonly filesOut: number;
  readonly bytesOut: number;
  readonly filesKept: number;
  /** The densest file that leaves: what is given up. */
  readonly densestOut: { readonly fileId: string; readonly density: number } | null;
}

export function diffOf(before: NightRecord, after: NightRecord): PlanDiff {
  const sizes = new Map(
    [...before.files, ...after.files].map((file) => [file.fileId, file.sizeBytes]),
  );
  const heldBefore = holdingsOf(before);
  const heldAfter = holdingsOf(after);
  const none: ReadonlyMap<string, number> = new Map();
  const appliances = [...new Set([...heldBefore.keys(), ...heldAfter.keys()])]
    .sort()
    .map((id) => applianceDiff(id, heldBefore.get(id) ?? none, heldAfter.get(id) ?? none, sizes));
  return {
    offloadBefore: before.planSet.summary.plannedOffloadShare,
    offloadAfter: after.planSet.summary.plannedOffloadShare,
    sites: siteDiffs(before, after),
    appliances,
  };
}

function applianceDiff(
  applianceId: string,
  before: ReadonlyMap<string, number>,
  after: ReadonlyMap<string, number>,
  sizes: ReadonlyMap<string, number>,
): ApplianceDiff {
  const filesIn = [...after.keys()].filter((fileId) => !before.has(fileId));
  const filesOut = [...before.keys()].filter((fileId) => !after.has(fileId));
  const bytesOf = (files: readonly string[]): number =>
    files.reduce((sum, fileId) => sum + (sizes.get(fileId) ?? 0), 0);
  let densestOut: ApplianceDiff['densestOut'] = null;
  for (const fileId of filesOut) {
    const density = before.get(fileId) ?? 0;
    if (densestOut === null || density > densestOut.density) densestOut = { fileId, density };
  }
  return {
    applianceId,
    filesIn: filesIn.length,
    bytesIn: bytesOf(filesIn),
    filesOut: filesOut.length,
    bytesOut: bytesOf(filesOut),
    filesKept: after.size - filesIn.length,
    densestOut,
  };
}

function siteDiffs(before: NightRecord, after: NightRecord): PlanDiff['sites'] {
  const share = (site: NightRecord['sites'][number] | undefined): number | null =>
    site === undefined ? null : site.demandBps > 0 ? site.servedBps / site.demandBps : 0;
  const of = (record: NightRecord, id: string) =>
    record.sites.find((site) => site.clusterId === id);
  return [...new Set([...before.sites, ...after.sites].map((site) => site.clusterId))]
    .sort()
    .map((clusterId) => ({
      siteId: (of(after, clusterId) ?? of(before, clusterId))?.siteId ?? '',
      clusterId,
      before: share(of(before, clusterId)),
      after: share(of(after, clusterId)),
    }));
}

/** A plan that gives up more offload than this many points against the last one waits for a person. */
export function mustBeHeld(
  before: NightRecord | null,
  offloadAfter: number,
  points: number,
): boolean {
  if (before === null) return false;
  return before.planSet.summary.plannedOffloadShare - offloadAfter > points / 100;
}

const ROWS_SHOWN_MAX = 40;

export function diffText(diff: PlanDiff): string {
  const shown = (share: number | null): string => (share === null ? '-' : percent(share));
  const sites = [...diff.sites].sort(
    (a, b) => (a.after ?? 0) - (a.before ?? 0) - ((b.after ?? 0) - (b.before ?? 0)),
  );
  const boxes = [...diff.appliances].sort(
    (a, b) => b.bytesOut + b.bytesIn - a.bytesOut - a.bytesIn,
  );
  return [
    `planned offload ${percent(diff.offloadBefore)} -> ${percent(diff.offloadAfter)}`,
    ...table(
      ['site', 'cluster', 'before', 'after'],
      sites
        .slice(0, ROWS_SHOWN_MAX)
        .map((site) => [site.siteId, site.clusterId, shown(site.before), shown(site.after)]),
    ),
    ...table(
      ['appliance', 'densest file out', 'in', 'bytes in', 'out', 'bytes out', 'kept'],
      boxes
        .slice(0, ROWS_SHOWN_MAX)
        .map((box) => [
          box.applianceId,
          box.densestOut === null
            ? '-'
            : `${box.densestOut.fileId.slice(0, 10)}… ${box.densestOut.density.toPrecision(3)}/day`,
          String(box.filesIn),
          formatBytes(box.bytesIn),
          String(box.filesOut),
          formatBytes(box.bytesOut),
          String(box.filesKept),
        ]),
    ),
  ].join('\n');
}
