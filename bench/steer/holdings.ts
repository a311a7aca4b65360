/**
 * What boxes hold, as a planner would have them: every box of a site the files that are watched most, the others dealt out by hash.
 */
import { seededRandom } from '#base/random.ts';
import { FILES_PER_TITLE } from './topology.ts';

const TITLES = 60_000;
const EVERYWHERE_SHARE = 0.5; // of a box's files
const VARIANTS_KEPT = 40; // of a title's files

/** Ordinals in order. `part`: which of the `parts` boxes of its site this is. */
export function heldOrdinals(
  files: number,
  seed: number,
  part: number,
  parts: number,
): Uint32Array {
  const ordinals = new Uint32Array(files);
  const everywhere = Math.floor(files * EVERYWHERE_SHARE);
  let count = 0;
  let title = 0;
  for (; count < everywhere && title < TITLES; title++) {
    for (let file = 0; file < VARIANTS_KEPT && count < everywhere; file++) {
      ordinals[count++] = title * FILES_PER_TITLE + file;
    }
  }
  const left = files - count;
  const random = seededRandom(seed);
  const slots = (TITLES - title) * VARIANTS_KEPT;
  // Of the rest each box takes its share of slots, at random, in order: one pass, no set.
  const step = slots / left;
  for (let at = 0; at < left; at++) {
    const slot = Math.floor(at * step + random.next() * Math.max(1, step / parts)) + part;
    const rest = Math.min(slots - 1, slot);
    const ordinal =
      (title + Math.floor(rest / VARIANTS_KEPT)) * FILES_PER_TITLE + (rest % VARIANTS_KEPT);
    if (count > 0 && ordinal <= ordinals[count - 1]) continue;
    ordinals[count++] = ordinal;
  }
  return ordinals.subarray(0, count);
}
