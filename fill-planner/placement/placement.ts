/**
 * Which files each box of a cluster holds: density order within storage, one copy in the cluster before a second.
 *
 * Every file goes to the box that weighted rendezvous names; where that box is full, to the box with the most room.
 * What room is left takes second copies, then third ones, again by density.
 *
 * Invariants: (1) no box holds more bytes than its storage
 *             (2) a file has its (k+1)-th copy only if every file of the feed has k copies or has no room for the k-th
 *             (3) same feed and boxes, same placement
 */
import { bucketOwners, SHARE_BUCKETS } from '../contract.ts';
import type { Feed } from '../feed.ts';

export interface PlacementBox {
  readonly applianceId: string;
  readonly storageBytes: number;
  readonly servingBps: number;
}

export interface Placement {
  /** Per box, in the order given: 1 at each rank that it holds. */
  readonly held: readonly Uint8Array[];
  readonly usedBytes: readonly number[];
}

export function place(feed: Feed, boxes: readonly PlacementBox[]): Placement {
  const held = boxes.map(() => new Uint8Array(feed.ranks));
  const room = boxes.map((box) => box.storageBytes);
  const owners = preferredOwners(boxes);
  for (let copy = 0; copy < boxes.length; copy++) {
    for (let rank = 0; rank < feed.ranks; rank++) {
      const size = feed.sizes[rank];
      const preferred = owners[feed.buckets[rank]];
      let chosen = -1;
      for (const box of preferred) {
        if (held[box][rank] === 1 || room[box] < size) continue;
        if (box === preferred[copy]) {
          chosen = box;
          break;
        }
        if (chosen === -1 || room[box] > room[chosen]) chosen = box;
      }
      if (chosen === -1 || copiesAt(held, rank) < copy) continue;
      held[chosen][rank] = 1;
      room[chosen] -= size;
    }
  }
  return { held, usedBytes: boxes.map((box, at) => box.storageBytes - room[at]) };
}

/** Per bucket, all boxes with storage, best first. */
function preferredOwners(boxes: readonly PlacementBox[]): readonly (readonly number[])[] {
  const ids = boxes.map((box) => box.applianceId);
  const weights = boxes.map((box) => box.storageBytes);
  return Array.from({ length: SHARE_BUCKETS }, (_, bucket) =>
    bucketOwners(bucket, ids, weights, boxes.length),
  );
}

function copiesAt(held: readonly Uint8Array[], rank: number): number {
  let copies = 0;
  for (const box of held) copies += box[rank];
  return copies;
}
