import { ObjectLists, type CachePolicy, type PolicyInput } from '../policy.ts';

/**
 * SIEVE: a FIFO whose hand walks from the tail to the head, clears visited bits, and evicts the first unvisited
 * object where it stands; survivors stay in place.
 *
 * Source: Zhang et al., "SIEVE is Simpler than LRU", NSDI 2024
 */
export function createSieve({ objects, capacityBytes }: PolicyInput): CachePolicy {
  const lists = new ObjectLists(objects, 1);
  let held = 0;
  let hand = -1;
  const evict = (): void => {
    let candidate = hand === -1 ? lists.tail(0) : hand;
    while (lists.tag(candidate) === 2) {
      lists.setTag(candidate, 1);
      const newer = lists.newer(candidate);
      candidate = newer === -1 ? lists.tail(0) : newer;
    }
    hand = lists.newer(candidate);
    lists.remove(0, candidate);
    lists.setTag(candidate, 0);
    held -= lists.size(candidate);
  };
  return {
    bytesHeld: () => held,
    request(id, sizeBytes) {
      if (lists.tag(id) !== 0) {
        lists.setTag(id, 2);
        return true;
      }
      if (sizeBytes > capacityBytes) return false;
      while (held + sizeBytes > capacityBytes) evict();
      lists.setSize(id, sizeBytes);
      lists.setTag(id, 1);
      lists.pushHead(0, id);
      held += sizeBytes;
      return false;
    },
  };
}
