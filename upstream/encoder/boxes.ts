/**
 * Walks ISO BMFF boxes in bytes that came from anywhere.
 *
 * Shape:      walkBoxes(bytes, from, to) -> boxes in order, and what stopped the walk (null: it reached `to`)
 * Units:      byte offsets into `bytes`
 * Errors:     none; a size that cannot be ends the walk with a reason
 * Invariants: (1) every step goes forward by at least 8 bytes: any input ends
 *             (2) bodyStart <= endExclusive; only the last box may end beyond `bytes` (its head was read, its body was not)
 * Source:     ISO/IEC 14496-12 4.2
 */
export interface Box {
  readonly type: string; // four characters, latin1
  readonly start: number;
  readonly bodyStart: number;
  readonly endExclusive: number;
}

export interface BoxWalk {
  readonly boxes: readonly Box[];
  readonly problem: string | null;
}

const BOXES_MAX = 100_000; // a bound on what one walk returns; a long film has some 20,000 fragments of two boxes

export function walkBoxes(bytes: Buffer, from = 0, to = bytes.length): BoxWalk {
  const boxes: Box[] = [];
  let at = from;
  while (at < to && at < bytes.length) {
    if (boxes.length === BOXES_MAX) return { boxes, problem: `more than ${BOXES_MAX} boxes` };
    const box = boxAt(bytes, at, to);
    if (typeof box === 'string') return { boxes, problem: box };
    boxes.push(box);
    at = box.endExclusive;
  }
  return { boxes, problem: null };
}

/** The first box of a type among the children of `parent`; null where there is none or it is not wholly in `bytes`. */
export function childOf(bytes: Buffer, parent: Box, type: string, skipBytes = 0): Box | null {
  const from = parent.bodyStart + skipBytes;
  const { boxes } = walkBoxes(bytes, from, Math.min(parent.endExclusive, bytes.length));
  const found = boxes.find((box) => box.type === type) ?? null;
  return found !== null && found.endExclusive <= bytes.length ? found : null;
}

/** A path of types, each the first child of its kind. */
export function descendantOf(bytes: Buffer, parent: Box, types: readonly string[]): Box | null {
  let box: Box | null = parent;
  for (const type of types) {
    if (box === null) return null;
    box = childOf(bytes, box, type);
  }
  return box;
}

function boxAt(bytes: Buffer, at: number, to: number): Box | string {
  if (at + 8 > Math.min(to, bytes.length)) return `a box head is cut off at byte ${at}`;
  const type = bytes.toString('latin1', at + 4, at + 8);
  let size = bytes.readUInt32BE(at);
  let headBytes = 8;
  if (size === 1) {
    if (at + 16 > Math.min(to, bytes.length)) return `a box head is cut off at byte ${at}`;
    const large = bytes.readBigUInt64BE(at + 8);
    if (large > BigInt(Number.MAX_SAFE_INTEGER))
      return `box ${printable(type)} is impossibly large`;
    size = Number(large);
    headBytes = 16;
  } else if (size === 0) {
    size = to - at; // to the end of what encloses it
  }
  if (size < headBytes) return `box ${printable(type)} at byte ${at} says it has ${size} bytes`;
  if (at + size > to) return `box ${printable(type)} at byte ${at} is longer than what holds it`;
  return { type, start: at, bodyStart: at + headBytes, endExclusive: at + size };
}

function printable(type: string): string {
  return JSON.stringify(type);
}
