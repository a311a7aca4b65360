import { ObjectLists, type CachePolicy, type PolicyInput } from '../policy.ts';

const SMALL_SHARE = 0.1;
const GHOST_SHARE = 0.9;
const PROMOTE_AFTER_HITS = 2;
const COUNTER_MAX = 3;

// Tag: list in the low two bits, hit counter above.
const ABSENT = 0;
const SMALL = 1;
const MAIN = 2;
const GHOST = 3;
const LIST_MASK = 3;
const COUNTER_ONE = 4;

/**
 * S3-FIFO: a small FIFO that filters one-hit objects, a main FIFO with a 2-bit counter, a ghost FIFO of what the small
 * one let go. As published: a new object always enters the small queue.
 *
 * Source: Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023
 */
export function createS3Fifo({ objects, capacityBytes }: PolicyInput): CachePolicy {
  const lists = new ObjectLists(objects, 4);
  const smallCapacity = Math.floor(capacityBytes * SMALL_SHARE);
  const mainCapacity = capacityBytes - smallCapacity;
  const ghostCapacity = Math.floor(capacityBytes * GHOST_SHARE);
  const bytes = [0, 0, 0, 0];

  const enter = (list: number, id: number, counter: number): void => {
    lists.pushHead(list, id);
    lists.setTag(id, list + counter * COUNTER_ONE);
    bytes[list] += lists.size(id);
  };
  const leave = (id: number): void => {
    const list = lists.tag(id) & LIST_MASK;
    lists.remove(list, id);
    lists.setTag(id, ABSENT);
    bytes[list] -= lists.size(id);
  };
  const remember = (id: number): void => {
    const sizeBytes = lists.size(id);
    if (sizeBytes > ghostCapacity) return;
    while (bytes[GHOST] + sizeBytes > ghostCapacity) leave(lists.tail(GHOST));
    enter(GHOST, id, 0);
  };
  const evictSmall = (): void => {
    while (bytes[SMALL] > 0) {
      const id = lists.tail(SMALL);
      const counter = lists.tag(id) >> 2;
      leave(id);
      if (counter < PROMOTE_AFTER_HITS) {
        remember(id);
        return;
      }
      enter(MAIN, id, 0);
    }
  };
  const evictMain = (): void => {
    while (bytes[MAIN] > 0) {
      const id = lists.tail(MAIN);
      const counter = lists.tag(id) >> 2;
      leave(id);
      if (counter === 0) return;
      enter(MAIN, id, Math.min(counter, COUNTER_MAX) - 1);
    }
  };
  return {
    bytesHeld: () => bytes[SMALL] + bytes[MAIN],
    request(id, sizeBytes) {
      const list = lists.tag(id) & LIST_MASK;
      if (list === SMALL || list === MAIN) {
        lists.setTag(id, lists.tag(id) + COUNTER_ONE);
        return true;
      }
      const wasGhost = list === GHOST;
      if (wasGhost) leave(id);
      if (sizeBytes > smallCapacity) return false;
      while (bytes[SMALL] + bytes[MAIN] + sizeBytes > capacityBytes) {
        if (bytes[MAIN] > mainCapacity || bytes[SMALL] === 0) evictMain();
        else evictSmall();
      }
      lists.setSize(id, sizeBytes);
      if (wasGhost) enter(MAIN, id, 0);
      else if (sizeBytes >= smallCapacity) return false;
      else enter(SMALL, id, 0);
      return false;
    },
  };
}
