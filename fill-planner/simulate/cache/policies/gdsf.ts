import { IndexedHeap } from '../indexed-heap.ts';
import type { CachePolicy, PolicyInput } from '../policy.ts';

const SCALE = 1e6; // keeps frequency / size away from the rounding of the age that is added to it

/**
 * Greedy-Dual-Size-Frequency: priority = age + frequency / size, the age being the last victim's priority.
 *
 * Source: Cherkasova, "Improving WWW Proxies Performance with Greedy-Dual-Size-Frequency Caching Policy", HP Labs 1998
 */
export function createGdsf({ objects, capacityBytes }: PolicyInput): CachePolicy {
  const heap = new IndexedHeap(objects);
  const sizes = new Uint32Array(objects);
  const frequencies = new Uint32Array(objects);
  let held = 0;
  let age = 0;
  const priorityOf = (id: number): number => age + (frequencies[id] * SCALE) / sizes[id];
  return {
    bytesHeld: () => held,
    request(id, sizeBytes, at) {
      if (heap.has(id)) {
        frequencies[id]++;
        heap.set(id, priorityOf(id), at);
        return true;
      }
      if (sizeBytes > capacityBytes) return false;
      while (held + sizeBytes > capacityBytes) {
        const victim = heap.lowest();
        age = heap.priorityOf(victim);
        heap.remove(victim);
        held -= sizes[victim];
      }
      sizes[id] = sizeBytes;
      frequencies[id] = 1;
      heap.set(id, priorityOf(id), at);
      held += sizeBytes;
      return false;
    },
  };
}
