/**
 * Why a file is, or is not, on the boxes of a site: its density, the thresholds it meets, what it displaces, what it saves.
 */
import { assert } from '#base/outcome.ts';
import { formatBytes } from '#base/units.ts';
import { bucketOwners } from '../contract.ts';
import { bandOf } from '../demand.ts';
import {
  placedFamily,
  type NightCluster,
  type PlacedNightCluster,
  type PreparedNight,
} from '../night.ts';
import type { Placement } from '../placement/placement.ts';
import type { ClusterProblem } from '../placement/problem.ts';

export interface Explanation {
  readonly clusterId: string;
  readonly lines: readonly string[];
}

/** One explanation per cluster of the site; a sentence says so where there is nothing to explain. */
export function explain(
  night: PreparedNight,
  clusters: readonly NightCluster[],
  fileId: string,
): readonly Explanation[] {
  const row = night.catalogue.fileIds.indexOf(fileId);
  return clusters.map((cluster) => {
    if (row === -1) {
      return {
        clusterId: cluster.clusterId,
        lines: [`no title of tonight has the file ${fileId}`],
      };
    }
    const { problem, placement, tier } = placedIn(night, cluster);
    const rank = problem.feed.rows.indexOf(row);
    if (rank === -1) {
      return {
        clusterId: cluster.clusterId,
        lines: [`not placed: none of its titles may be shown in ${cluster.country} tonight`],
      };
    }
    return {
      clusterId: cluster.clusterId,
      lines: [
        ...explainRank(problem, placement, rank),
        bandLine(night, cluster.clusterId, row),
        ...(tier === null ? [] : [tierLine(cluster, tier)]),
      ],
    };
  });
}

function placedIn(night: PreparedNight, cluster: NightCluster): PlacedNightCluster {
  const family = night.families.find((members) => members.includes(cluster)) ?? [cluster];
  const placed = placedFamily(night, family).find((entry) => entry.cluster === cluster);
  assert(placed !== undefined, 'a cluster is in its own family');
  return placed;
}

function bandLine(night: PreparedNight, clusterId: string, row: number): string {
  const own = night.demand.densities.get(clusterId)?.[row] ?? 0;
  const [low, high] = bandOf(night.demand, row, own);
  return `its own viewers: ${views(own)} a day expected, ${Number(low.toPrecision(2))} to ${Number(high.toPrecision(2))} on four days in five`;
}

function tierLine({ parentId }: NightCluster, tier: string): string {
  const above =
    parentId === null
      ? 'what it lacks comes from the origin'
      : `what it lacks is asked of ${parentId}`;
  return `planned as ${tier}: the views are those that reach it, less what a tier above serves anyway; ${above}`;
}

function explainRank(problem: ClusterProblem, placement: Placement, rank: number): string[] {
  const { feed, boxes } = problem;
  const density = feed.densities[rank];
  const size = feed.sizes[rank];
  const ids = boxes.map((box) => box.applianceId);
  const band = placement.bands.find((entry) => rank < entry.endRank) ?? placement.bands[0];
  const owners = bucketOwners(feed.buckets[rank], ids, band.weights, band.copies);
  const lines = [
    `expected ${views(density)} a day, ${formatBytes(size)}: place ${rank + 1} of ${feed.ranks} by density; ` +
      `${band.copies === 1 ? 'one copy' : `${band.copies} copies`}, on ${owners.map((at) => ids[at]).join(', ') || 'nobody'}`,
  ];
  const pinned = problem.pins.get(rank);
  if (pinned !== undefined) lines.push(`pinned as a release, in ${pinned} copies`);
  boxes.forEach((box, at) => {
    const held = placement.held[at][rank] === 1;
    const present = problem.present[at][rank] === 1;
    const verdict = held ? (present ? 'kept' : 'filled tonight') : present ? 'deleted' : 'not held';
    lines.push(`${box.applianceId}: ${verdict}, ${reason(problem, placement, at, rank, owners)}`);
    if (held && !present) {
      const displaced = densestDisplaced(problem, placement, at);
      lines.push(
        `  saves ${formatBytes(density * 1e9)} a day per GB filled` +
          (displaced === -1
            ? '; displaces nothing'
            : `; the densest file that leaves the box has ${views(feed.densities[displaced])} a day`),
      );
    }
  });
  return lines;
}

function reason(
  problem: ClusterProblem,
  placement: Placement,
  box: number,
  rank: number,
  owners: readonly number[],
): string {
  const { feed, boxes, present } = problem;
  const density = feed.densities[rank];
  const size = feed.sizes[rank];
  const thresholds = placement.thresholds[box];
  const held = placement.held[box][rank] === 1;
  const limits =
    thresholds === null
      ? 'its throughput is used up'
      : `keep from ${views(thresholds.keepDensity)}, fill from ${views(thresholds.fillDensity)}`;
  if (held) {
    if (!owners.includes(box)) return `a spare or spilled copy (${limits})`;
    return limits;
  }
  if (size > boxes[box].storageBytes) return 'larger than its storage';
  if (!owners.includes(box)) return `it is not among the owners (${limits})`;
  if (thresholds !== null && present[box][rank] === 0 && density < thresholds.fillDensity) {
    return `below its fill threshold (${limits})`;
  }
  if (boxes[box].storageBytes - placement.usedBytes[box] < size) return `no room left (${limits})`;
  return `no fill left tonight (${limits})`;
}

function densestDisplaced(problem: ClusterProblem, placement: Placement, box: number): number {
  for (let rank = 0; rank < problem.feed.ranks; rank++) {
    if (problem.present[box][rank] === 1 && placement.held[box][rank] === 0) return rank;
  }
  return -1;
}

function views(density: number): string {
  return `${Number(density.toPrecision(3))} views`;
}
