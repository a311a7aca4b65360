import { ObjectLists, type CachePolicy, type PolicyInput } from '../policy.ts';

/**
 * Clock, or FIFO with a second chance: one reference bit; a referenced tail goes round once more.
 * Tag: 0 absent, 1 unreferenced, 2 referenced.
 */
export function createClock({ objects, capacityBytes }: PolicyInput): CachePolicy {
  const lists = new ObjectLists(objects, 1);
  let held = 0;
  const evict = (): void => {
    for (;;) {
      const candidate = lists.tail(0);
      if (lists.tag(candidate) === 1) {
        lists.remove(0, candidate);
        lists.setTag(candidate, 0);
        held -= lists.size(candidate);
        return;
      }
      lists.setTag(candidate, 1);
      lists.moveToHead(0, candidate);
    }
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
