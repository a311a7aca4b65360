/**
 * Whose turn it is to read a chunk of a box: each box once a period, by one of the live nodes, without a word between them.
 *
 * A box has its moment in each period, always the same one; whose probe it is, the node with the highest hash of (node, box, period).
 * A node that died unnoticed leaves its boxes of that period unread; in the next they fall to other nodes.
 *
 * Shape:      turnsOf(boxes, nodes, self, from, to) -> places in `boxes`, of moments in (from, to]
 * Units:      wall clock milliseconds: nodes agree to some seconds
 * Invariants: (1) over all nodes that know the same nodes, each box has exactly one turn a period
 *             (2) the same for every order of `nodes`
 */
import type { Milliseconds } from '#base/clock.ts';
import { hashText, mix32 } from './hashing.ts';

export const HASH_PERIOD_MS = 5 * 60_000;

export function turnsOf(
  boxes: readonly { readonly hash: number }[],
  nodeIds: readonly string[],
  selfId: string,
  fromMs: Milliseconds,
  toMs: Milliseconds,
): readonly number[] {
  const self = hashText(selfId);
  const others = nodeIds.filter((id) => id !== selfId).map(hashText);
  const turns: number[] = [];
  for (let at = 0; at < boxes.length; at++) {
    const { hash } = boxes[at];
    const offsetMs = mix32(hash ^ 0x68617368) % HASH_PERIOD_MS;
    const period = Math.floor((toMs - offsetMs) / HASH_PERIOD_MS);
    if (period * HASH_PERIOD_MS + offsetMs <= fromMs) continue;
    const own = drawOf(self, hash, period);
    if (others.every((node) => isBefore(own, self, drawOf(node, hash, period), node))) {
      turns.push(at);
    }
  }
  return turns;
}

function drawOf(node: number, box: number, period: number): number {
  return mix32(mix32(node ^ box) ^ Math.imul(period, 0x9e3779b1));
}

function isBefore(a: number, aNode: number, b: number, bNode: number): boolean {
  return a > b || (a === b && aNode > bNode);
}
