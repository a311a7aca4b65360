import { ObjectLists, type CachePolicy, type PolicyInput } from '../policy.ts';

// Lists, and at the same time tags: T1 and T2 hold data, B1 and B2 remember ids. 0 is absent.
const T1 = 1;
const T2 = 2;
const B1 = 3;
const B2 = 4;

/**
 * ARC: recency (T1) and frequency (T2) share the capacity at a border p that hits in their ghosts (B1, B2) move.
 * In bytes, as the paper's pages: p moves by at least one byte per ghost hit, by the whole-number ratio of the ghosts.
 *
 * Source: Megiddo and Modha, "ARC: A Self-Tuning, Low Overhead Replacement Cache", FAST 2003
 */
export function createArc({ objects, capacityBytes }: PolicyInput): CachePolicy {
  const lists = new ObjectLists(objects, 5);
  const bytes = [0, 0, 0, 0, 0];
  let border = 0;

  const enter = (list: number, id: number): void => {
    lists.pushHead(list, id);
    lists.setTag(id, list);
    bytes[list] += lists.size(id);
  };
  const leave = (id: number): void => {
    const list = lists.tag(id);
    lists.remove(list, id);
    lists.setTag(id, 0);
    bytes[list] -= lists.size(id);
  };
  const demote = (from: number, to: number): void => {
    const id = lists.tail(from);
    leave(id);
    enter(to, id);
  };
  const replace = (wasInB2: boolean): void => {
    const takeT1 = bytes[T1] > 0 && (bytes[T1] > border || (bytes[T1] === border && wasInB2));
    if (takeT1 || bytes[T2] === 0) demote(T1, B1);
    else demote(T2, B2);
  };
  const moveBorder = (ghost: number): void => {
    const other = ghost === B1 ? B2 : B1;
    const step = Math.max(Math.floor(bytes[other] / bytes[ghost]), 1);
    border = ghost === B1 ? Math.min(border + step, capacityBytes) : Math.max(border - step, 0);
  };
  /** Makes room for a missing object that is in no ghost. */
  const evict = (sizeBytes: number): void => {
    if (bytes[T1] + bytes[B1] + sizeBytes > capacityBytes) {
      if (bytes[B1] > 0) {
        leave(lists.tail(B1));
        replace(false);
      } else {
        leave(lists.tail(T1));
      }
      return;
    }
    if (bytes[T1] + bytes[B1] + bytes[T2] + bytes[B2] >= 2 * capacityBytes) leave(lists.tail(B2));
    replace(false);
  };
  return {
    bytesHeld: () => bytes[T1] + bytes[T2],
    request(id, sizeBytes) {
      const list = lists.tag(id);
      if (list === T1 || list === T2) {
        leave(id);
        enter(T2, id);
        return true;
      }
      if (sizeBytes > capacityBytes) return false;
      if (list !== 0) {
        moveBorder(list);
        leave(id);
        while (bytes[T1] + bytes[T2] + sizeBytes > capacityBytes) replace(list === B2);
      } else {
        while (bytes[T1] + bytes[T2] + sizeBytes > capacityBytes) evict(sizeBytes);
      }
      lists.setSize(id, sizeBytes);
      enter(list === 0 ? T1 : T2, id);
      return false;
    },
  };
}
