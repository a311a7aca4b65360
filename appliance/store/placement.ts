/**
 * Which volume a new file goes to: hot files on fast volumes, else where most is free.
 *
 * Shape:      (volumes, size, views per day) -> index of a volume | no-room
 * Invariants: (1) the volume chosen is up and has room for the file, after evicting if need be
 */
export interface VolumeRoom {
  readonly isUp: boolean;
  readonly speed: 'fast' | 'slow';
  readonly capacityBytes: number;
  readonly usedBytes: number;
  readonly evictableBytes: number; // of usedBytes
}

/** Above this a file is hot: it is read often enough that its disk's speed is felt. */
const HOT_VIEWS_PER_DAY = 1;

export function choosePlacement(
  volumes: readonly VolumeRoom[],
  sizeBytes: number,
  viewsPerDay: number,
): number | 'no-room' {
  let best: number | 'no-room' = 'no-room';
  let bestScore = -Infinity;
  for (const [at, volume] of volumes.entries()) {
    if (!volume.isUp) continue;
    const freeBytes = volume.capacityBytes - volume.usedBytes;
    if (freeBytes + volume.evictableBytes < sizeBytes) continue;
    const isRightSpeed = volume.speed === (viewsPerDay >= HOT_VIEWS_PER_DAY ? 'fast' : 'slow');
    // The right speed first; then free room without evicting; then the largest free share.
    const score =
      (isRightSpeed ? 4 : 0) + (freeBytes >= sizeBytes ? 2 : 0) + freeBytes / volume.capacityBytes;
    if (score > bestScore) {
      bestScore = score;
      best = at;
    }
  }
  return best;
}
