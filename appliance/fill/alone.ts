/**
 * Whom a box asks for a file when nobody ranks sources: the control plane is gone, the window is open, the manifest is signed.
 *
 * Every box that knows the same neighbours comes to the same order of them for a file, so that the boxes of a site still agree
 * on who fetches it from afar, without a word between them. The others ask each other first (a 404 costs nothing) and wait longer
 * the further back they stand.
 *
 * Shape:      (own id, file, every source ever told of) -> their order with delays; (order, turn) -> sources, as the control plane would
 *             give them
 * Units:      delayMs counts from when the box was left alone with the file, or last got bytes from another box (source-book.ts): whoever
 *             is waited for still moves as long as something comes
 * Invariants: (1) the origin is always among them where it is known: no file is given up because a master died
 *             (2) at most TIERS_ASKED tiers at a time, others with each turn: the rest of the fleet is not asked one by one, and
 *                 a site that four others cannot help is not lost
 */
import type { FillSource } from '#control-plane/contract.ts';
import type { FileId } from '#upstream/contract.ts';
import { hash32 } from './manifest-set.ts';

const TIERS_ASKED = 4;
/** How much longer each place further back in its site waits for the origin: a night's queue, since nobody tells who moves. */
export const PLACE_MS = 30 * 60_000;
/** And how much longer where known tiers stand before it. */
const TIER_PLACE_MS = 15 * 60_000;
const TIER_PLACES_MAX = 4;

export interface AloneOrder {
  readonly peers: readonly FillSource[];
  readonly tiers: readonly FillSource[];
  readonly origin: readonly FillSource[];
}

export function orderAlone(self: string, fileId: FileId, known: readonly FillSource[]): AloneOrder {
  const own = placeOf(self, fileId);
  const peers = inOrder(known, 'peer', fileId);
  const tiers = inOrder(known, 'tier', fileId);
  const before = (boxes: readonly FillSource[]): number =>
    boxes.filter((box) => placeOf(box.id, fileId) < own).length;
  const siteMs = before(peers) * PLACE_MS;
  const beyondMs = Math.min(TIER_PLACES_MAX, before(tiers)) * TIER_PLACE_MS;
  return {
    peers: peers.map((source) => ({ ...source, delayMs: 0 })),
    tiers: tiers.map((source) => ({ ...source, delayMs: siteMs })),
    origin: known
      .filter(({ kind }) => kind === 'origin')
      .map((source) => ({ ...source, delayMs: siteMs + beyondMs })),
  };
}

/** Whom to ask in this turn. */
export function rankAlone(order: AloneOrder, turn: number): readonly FillSource[] {
  const { peers, tiers, origin } = order;
  const first = tiers.length > TIERS_ASKED ? (turn * TIERS_ASKED) % tiers.length : 0;
  const asked = [...tiers.slice(first), ...tiers.slice(0, first)].slice(0, TIERS_ASKED);
  return [...peers, ...asked, ...origin];
}

function inOrder(
  known: readonly FillSource[],
  kind: FillSource['kind'],
  fileId: FileId,
): readonly FillSource[] {
  return known
    .filter((source) => source.kind === kind)
    .map((source) => ({ source, place: placeOf(source.id, fileId) }))
    .sort((a, b) => a.place - b.place)
    .map(({ source }) => source);
}

function placeOf(boxId: string, fileId: FileId): number {
  return hash32(`${fileId} ${boxId}`);
}
