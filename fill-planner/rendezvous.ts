/**
 * Who keeps which file of a cluster: weighted rendezvous over buckets of files. Part of the contract (`contract.ts` exports it), apart because
 * planning threads need nothing else of it.
 *
 * Invariants: (1) a box that joins or leaves moves only its own share
 *             (2) ties go to the lower applianceId
 */
import { createHash } from 'node:crypto';
import type { ApplianceId } from '#control-plane/contract.ts';
import type { FileId } from '#upstream/contract.ts';

/** Files fall into this many buckets by the first 12 bits of their id; a cluster shares out buckets, not files. */
export const SHARE_BUCKETS = 4096;

/** The bucket of a file: a fileId is a SHA-256, so its own leading bits are the hash. */
export function shareBucketOf(fileId: FileId): number {
  return (base64Value(fileId.charCodeAt(0)) << 6) | base64Value(fileId.charCodeAt(1));
}

/** The `copies` best members of a bucket, best first, as indices; members of weight 0 never. */
export function bucketOwners(
  bucket: number,
  applianceIds: readonly ApplianceId[],
  weights: ArrayLike<number>,
  copies: number,
): readonly number[] {
  const owners: number[] = [];
  const scores: number[] = [];
  for (let index = 0; index < applianceIds.length; index++) {
    if (weights[index] <= 0) continue;
    const score = -weights[index] / Math.log(unitHash(bucket, memberSeed(applianceIds[index])));
    let at = owners.length;
    while (
      at > 0 &&
      (score > scores[at - 1] ||
        (score === scores[at - 1] && applianceIds[index] < applianceIds[owners[at - 1]]))
    ) {
      at--;
    }
    if (at >= copies) continue;
    owners.splice(at, 0, index);
    scores.splice(at, 0, score);
    if (owners.length > copies) owners.length = scores.length = copies;
  }
  return owners;
}

/** The best member of every bucket at once, by index: what bucketOwners(bucket, ids, weights, 1) names for each. */
export function ownerOfBuckets(
  applianceIds: readonly ApplianceId[],
  weights: ArrayLike<number>,
): Uint8Array {
  const owners = new Uint8Array(SHARE_BUCKETS);
  const best = new Float64Array(SHARE_BUCKETS);
  for (let index = 0; index < applianceIds.length; index++) {
    if (weights[index] <= 0) continue;
    const seed = memberSeed(applianceIds[index]);
    for (let bucket = 0; bucket < SHARE_BUCKETS; bucket++) {
      const score = -weights[index] / Math.log(unitHash(bucket, seed));
      const isBest =
        score > best[bucket] ||
        (score === best[bucket] && applianceIds[index] < applianceIds[owners[bucket]]);
      if (!isBest) continue;
      best[bucket] = score;
      owners[bucket] = index;
    }
  }
  return owners;
}

function base64Value(code: number): number {
  if (code >= 97) return code - 71; // a-z -> 26-51
  if (code === 95) return 63; // _
  if (code >= 65) return code - 65; // A-Z -> 0-25
  return code === 45 ? 62 : code + 4; // - -> 62, 0-9 -> 52-61
}

const seedOf = new Map<ApplianceId, number>();
const SEEDS_MAX = 100_000;

export function memberSeed(applianceId: ApplianceId): number {
  let seed = seedOf.get(applianceId);
  if (seed === undefined) {
    seed = createHash('sha256').update(applianceId).digest().readUInt32BE(0);
    if (seedOf.size >= SEEDS_MAX) seedOf.clear();
    seedOf.set(applianceId, seed);
  }
  return seed;
}

/** MurmurHash3's finaliser over (bucket, seed), as a number in (0, 1). */
export function unitHash(bucket: number, seed: number): number {
  let hash = seed ^ Math.imul(bucket + 1, 0x9e3779b1);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (((hash ^ (hash >>> 16)) >>> 0) + 0.5) / 2 ** 32;
}
