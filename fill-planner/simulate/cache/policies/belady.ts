import { IndexedHeap } from '../indexed-heap.ts';
import type { CachePolicy, PolicyInput } from '../policy.ts';

/**
 * Belady's MIN: what is asked for again last goes first. The optimum for objects of one size; with sizes it is a
 * yardstick, no bound (PFOO-L is).
 *
 * Source: Belady, "A study of replacement algorithms for a virtual-storage computer", IBM Systems Journal 1966
 */
export function createBelady({ objects, capacityBytes, nextAt }: PolicyInput): CachePolicy {
  const heap = new IndexedHeap(objects);
  const sizes = new Uint32Array(objects);
  const next = nextAt();
  let held = 0;
  return {
    bytesHeld: () => held,
    request(id, sizeBytes, at) {
      const isHit = heap.has(id);
      if (!isHit) {
        if (sizeBytes > capacityBytes) return false;
        while (held + sizeBytes > capacityBytes) {
          const victim = heap.lowest();
          heap.remove(victim);
          held -= sizes[victim];
        }
        sizes[id] = sizeBytes;
        held += sizeBytes;
      }
      heap.set(id, -next[at], at);
      return isHit;
    },
  };
}
