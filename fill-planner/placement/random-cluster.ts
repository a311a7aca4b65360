/**
 * Made-up clusters for tests, from a seed: a few boxes of one or two classes, some files on them, limits that bind or do not.
 */
import type { Random } from '#base/random.ts';
import type { Feed } from '../feed.ts';
import type { ClusterProblem, PlacementBox } from './problem.ts';

export interface RandomClusterLimits {
  readonly filesMax: number;
  readonly boxesMax: number;
  readonly slotsMax: number;
}

export function randomCluster(random: Random, limits: RandomClusterLimits): ClusterProblem {
  const files = 1 + random.below(limits.filesMax);
  const feed = randomFeed(random, files);
  let bytes = 0;
  let viewBytes = 0;
  for (let rank = 0; rank < files; rank++) {
    bytes += feed.sizes[rank];
    viewBytes += feed.sizes[rank] * feed.densities[rank];
  }
  const slotFactors = Array.from(
    { length: 1 + random.below(limits.slotsMax) },
    () => 0.2 + random.next(),
  );
  const count = 1 + random.below(limits.boxesMax);
  const classes = 1 + random.below(2);
  const shapes = Array.from({ length: classes }, (_, at) => ({
    applianceClass: at === 0 ? ('storage' as const) : ('flash' as const),
    storageBytes: Math.floor((bytes * random.next() * 1.5) / count),
    servingBps: random.next() < 0.5 ? viewBytes * 100 : (viewBytes * random.next() * 1.5) / count,
    fillBytes: random.next() < 0.4 ? Infinity : Math.floor((bytes * random.next()) / count),
  }));
  const boxes: PlacementBox[] = Array.from({ length: count }, (_, at) => ({
    applianceId: `box-${at}`,
    ...shapes[random.below(classes)],
  }));
  const held = random.next() * 0.8;
  return {
    feed,
    boxes,
    present: boxes.map((box) => {
      const present = new Uint8Array(files);
      let room = box.storageBytes;
      for (let rank = 0; rank < files; rank++) {
        if (random.next() > held || feed.sizes[rank] > room) continue;
        present[rank] = 1;
        room -= feed.sizes[rank];
      }
      return present;
    }),
    slotFactors,
    churnPrice:
      random.next() < 0.5 ? 0 : random.next() * feed.densities[files >> 1] * slotFactors[0],
    copiesMin: 1,
    pins: new Map(),
  };
}

export function randomFeed(random: Random, files: number, sizeMax = 1000): Feed {
  const densities = Float64Array.from({ length: files }, () => 10 ** (4 * random.next() - 2))
    .sort()
    .reverse();
  for (let rank = 1; rank < files; rank++) {
    if (densities[rank] >= densities[rank - 1]) densities[rank] = densities[rank - 1] * (1 - 1e-12);
  }
  return {
    orderId: 'feed',
    ranks: files,
    rows: Uint32Array.from({ length: files }, (_, at) => at),
    ordinals: Uint32Array.from({ length: files }, (_, at) => at),
    densities,
    sizes: Float64Array.from({ length: files }, () => 1 + random.below(sizeMax)),
    buckets: Uint16Array.from({ length: files }, () => random.below(4096)),
  };
}
