import { ObjectLists, type CachePolicy, type PolicyInput } from '../policy.ts';

/** Least recently used: a hit moves to the head, the tail goes. */
export function createLru({ objects, capacityBytes }: PolicyInput): CachePolicy {
  const lists = new ObjectLists(objects, 1);
  let held = 0;
  return {
    bytesHeld: () => held,
    request(id, sizeBytes) {
      if (lists.tag(id) === 1) {
        lists.moveToHead(0, id);
        return true;
      }
      if (sizeBytes > capacityBytes) return false;
      while (held + sizeBytes > capacityBytes) {
        const victim = lists.tail(0);
        lists.remove(0, victim);
        lists.setTag(victim, 0);
        held -= lists.size(victim);
      }
      lists.setSize(id, sizeBytes);
      lists.setTag(id, 1);
      lists.pushHead(0, id);
      held += sizeBytes;
      return false;
    },
  };
}
