import { IndexedHeap } from '../indexed-heap.ts';
import type { CachePolicy, PolicyInput } from '../policy.ts';

/**
 * Least frequently used, counted while in the cache. Among equal counts the one that reached its count first goes.
 */
export function createLfu({ objects, capacityBytes }: PolicyInput): CachePolicy {
  const heap = new IndexedHeap(objects);
  const sizes = new Uint32Array(objects);
  let held = 0;
  return {
    bytesHeld: () => held,
    request(id, sizeBytes, at) {
      if (heap.has(id)) {
        heap.set(id, heap.priorityOf(id) + 1, at);
        return true;
      }
      if (sizeBytes > capacityBytes) return false;
      while (held + sizeBytes > capacityBytes) {
        const victim = heap.lowest();
        heap.remove(victim);
        held -= sizes[victim];
      }
      sizes[id] = sizeBytes;
      heap.set(id, 1, at);
      held += sizeBytes;
      return false;
    },
  };
}
