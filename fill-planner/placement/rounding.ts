/**
 * One way to turn multipliers into a placement of whole files: bands say who shares which densities, two thresholds
 * per box say what is kept and what is filled, and files are taken by falling density while they fit.
 *
 * Invariants: (1) no box holds more than its storage or newly fills more than its fill allowance
 *             (2) same problem, bands and multipliers, same placement
 */
import { bucketOwners, SHARE_BUCKETS } from '../rendezvous.ts';
import type { Multipliers } from './bound.ts';
import type { BoxType, ClusterProblem } from './problem.ts';

/** Ranks up to `endRank` (from where the band above ends) have `copies` owners, drawn by these weights. */
export interface Band {
  readonly endRank: number;
  readonly copies: number;
  readonly weights: readonly number[]; // per box of the cluster
}

/** What a box's space and load are while files are taken. */
export class Ledger {
  readonly held: readonly Uint8Array[];
  readonly room: number[];
  readonly fillRoom: number[];
  readonly load: number[]; // view-bytes
  readonly #problem: ClusterProblem;

  constructor(problem: ClusterProblem) {
    this.#problem = problem;
    this.held = problem.boxes.map(() => new Uint8Array(problem.feed.ranks));
    this.room = problem.boxes.map((box) => box.storageBytes);
    this.fillRoom = problem.boxes.map((box) => box.fillBytes);
    this.load = problem.boxes.map(() => 0);
  }

  fits(box: number, rank: number): boolean {
    const size = this.#problem.feed.sizes[rank];
    if (this.held[box][rank] === 1 || this.room[box] < size) return false;
    return this.#problem.present[box][rank] === 1 || this.fillRoom[box] >= size;
  }

  take(box: number, rank: number, loadShare: number): void {
    const { feed, present } = this.#problem;
    const size = feed.sizes[rank];
    this.held[box][rank] = 1;
    this.room[box] -= size;
    if (present[box][rank] === 0) this.fillRoom[box] -= size;
    this.load[box] += loadShare * feed.densities[rank] * size;
  }

  /** How far below its serving limit a box is, at its worst slot; 1 is idle. */
  slack(box: number): number {
    const limit = this.#problem.boxes[box].servingBps;
    if (limit <= 0) return -Infinity;
    return 1 - (Math.max(...this.#problem.slotFactors) * this.load[box]) / limit;
  }

  /** What one more view-byte a day adds at the peaks where the box is below its limit; 0 where it is below at none. */
  worthOfLoad(box: number): number {
    const limit = this.#problem.boxes[box].servingBps;
    let worth = 0;
    for (const factor of this.#problem.slotFactors) {
      if (factor * this.load[box] < limit) worth += factor;
    }
    return worth;
  }

  usedBytes(): readonly number[] {
    return this.#problem.boxes.map((box, at) => box.storageBytes - this.room[at]);
  }

  /** Bytes that each box does not hold yet. */
  filledBytes(): readonly number[] {
    return this.#problem.boxes.map((_, box) => this.#filled(box));
  }

  #filled(box: number): number {
    const { feed, present } = this.#problem;
    let bytes = 0;
    for (let rank = 0; rank < feed.ranks; rank++) {
      if (this.held[box][rank] === 1 && present[box][rank] === 0) bytes += feed.sizes[rank];
    }
    return bytes;
  }
}

export function roundBy(
  problem: ClusterProblem,
  types: readonly BoxType[],
  multipliers: Multipliers,
  bands: readonly Band[],
): Ledger {
  const ledger = new Ledger(problem);
  takePins(problem, ledger);
  const typeOf = problem.boxes.map((_, box) => types.findIndex((type) => type.boxes.includes(box)));
  takeByThreshold(problem, ledger, bands, (box, rank) => {
    const t = typeOf[box];
    const isNew = problem.present[box][rank] === 0;
    const cost = multipliers.mu[t] + (isNew ? problem.churnPrice + multipliers.nu[t] : 0);
    return multipliers.alpha[t] * problem.feed.densities[rank] - cost;
  });
  takeWhatPays(problem, ledger, bands);
  return ledger;
}

/** Pins come before everything: a release has its copies, on its owners where they fit. */
function takePins(problem: ClusterProblem, ledger: Ledger): void {
  const boxes = problem.boxes.map((_, box) => box);
  for (const [rank, copies] of [...problem.pins].sort(([a], [b]) => a - b)) {
    const ids = problem.boxes.map((box) => box.applianceId);
    const weights = problem.boxes.map((box) => box.storageBytes);
    const owners = bucketOwners(problem.feed.buckets[rank], ids, weights, boxes.length);
    let placed = 0;
    for (const box of owners) {
      if (placed >= copies) break;
      if (!ledger.fits(box, rank)) continue;
      ledger.take(box, rank, 1 / copies);
      placed++;
    }
  }
}

/**
 * First pass: by falling density, each file to the best of its owners and of the boxes that hold it already, while
 * its worth there is above nothing: keep above mu/alpha, fill above (mu + churn + nu)/alpha. A box at its limit serves nothing
 * more at the peaks: what it does with the rest of its room is decided by the whole day (settledByDay).
 */
function takeByThreshold(
  problem: ClusterProblem,
  ledger: Ledger,
  bands: readonly Band[],
  worth: (box: number, rank: number) => number,
): void {
  const { feed, boxes, present } = problem;
  eachBand(problem, bands, (band, owners, rank) => {
    const preferred = owners.of(feed.buckets[rank]);
    let copies = copiesOf(ledger.held, rank);
    for (; copies < band.copies; copies++) {
      let chosen = -1;
      let chosenWorth = 0;
      const consider = (box: number): void => {
        const value = worth(box, rank);
        if (value > chosenWorth && ledger.fits(box, rank) && ledger.worthOfLoad(box) > 0) {
          chosen = box;
          chosenWorth = value;
        }
      };
      for (const box of preferred) consider(box);
      for (let box = 0; box < boxes.length; box++) if (present[box][rank] === 1) consider(box);
      if (chosen === -1) break;
      ledger.take(chosen, rank, 1 / band.copies);
    }
  });
}

/** Second pass: what room is left goes to files without a copy, by density, where they add to the peaks more than they cost. */
function takeWhatPays(problem: ClusterProblem, ledger: Ledger, bands: readonly Band[]): void {
  const { feed, present, churnPrice } = problem;
  eachBand(problem, bands, (_, owners, rank) => {
    takeCopies(problem, ledger, { owners, copies: 1 }, rank, (box) => {
      const cost = present[box][rank] === 1 ? 0 : churnPrice;
      return ledger.worthOfLoad(box) * feed.densities[rank] > cost;
    });
  });
}

/**
 * What the boxes that the peaks fill to their limit hold over the day, decided anew. Beside the peaks they serve whatever they hold, and at
 * the peaks no less for it: by the peaks alone such a box would keep yesterday's files until its demand had worn down
 * to its limit. Whether the peaks do lose something (to a tier above, to copies that were shared otherwise) is for the caller to see.
 */
export function settledByDay(
  problem: ClusterProblem,
  ledger: Ledger,
  bands: readonly Band[],
): Ledger {
  const isFull = problem.boxes.map((_, box) => ledger.worthOfLoad(box) === 0);
  if (!isFull.includes(true)) return ledger;
  const settled = new Ledger(problem);
  takePins(problem, settled);
  for (let rank = 0; rank < problem.feed.ranks; rank++) {
    const share = 1 / Math.max(1, copiesOf(ledger.held, rank));
    for (let box = 0; box < isFull.length; box++) {
      if (isFull[box] || ledger.held[box][rank] === 0 || settled.held[box][rank] === 1) continue;
      settled.take(box, rank, share);
    }
  }
  takeByDay(problem, settled, bands);
  return settled;
}

/** By what a file is asked for over the day, less the price of filling it where nobody holds it. Adds nothing that the bound counts. */
function takeByDay(problem: ClusterProblem, ledger: Ledger, bands: readonly Band[]): void {
  const { feed, present, slotFactors, churnPrice } = problem;
  const factor = slotFactors.reduce((sum, slot) => sum + slot, 0);
  const isPresent = (rank: number): boolean => present.some((box) => box[rank] === 1);
  const kept = new BandWalk(problem, bands);
  const filled = new BandWalk(problem, bands);
  const nextOf = (walk: BandWalk, wanted: boolean): number => {
    while (walk.rank < feed.ranks && isPresent(walk.rank) !== wanted) walk.rank++;
    return walk.rank;
  };
  for (;;) {
    // Both go down the order; the one that is worth more over the day comes first.
    const keep = nextOf(kept, true);
    const fill = nextOf(filled, false);
    const fillWorth = fill < feed.ranks ? factor * feed.densities[fill] - churnPrice : 0;
    if (keep < feed.ranks && factor * feed.densities[keep] >= fillWorth) {
      const { copies, owners } = kept.here();
      takeCopies(problem, ledger, { owners, copies }, keep, (box) => present[box][keep] === 1);
      kept.rank++;
    } else if (fillWorth > 0) {
      const { copies, owners } = filled.here();
      takeCopies(problem, ledger, { owners, copies }, fill, () => true);
      filled.rank++;
    } else break;
  }
}

/** Whatever room is left, to files without a copy, by density. */
function takeWhatFits(problem: ClusterProblem, ledger: Ledger, bands: readonly Band[]): void {
  eachBand(problem, bands, (_, owners, rank) => {
    takeCopies(problem, ledger, { owners, copies: 1 }, rank, () => true);
  });
}

/** Up to so many copies, each on one of the boxes that may have it: a box at its limit comes last, else its owner first, then the idlest. */
function takeCopies(
  problem: ClusterProblem,
  ledger: Ledger,
  { owners, copies }: { readonly owners: OwnerTable; readonly copies: number },
  rank: number,
  may: (box: number) => boolean,
): void {
  const preferred = owners.of(problem.feed.buckets[rank]);
  for (let copy = copiesOf(ledger.held, rank); copy < copies; copy++) {
    let chosen = -1;
    let chosenScore = -Infinity;
    for (let box = 0; box < problem.boxes.length; box++) {
      if (!ledger.fits(box, rank) || !may(box)) continue;
      const slack = ledger.slack(box);
      const score = slack <= 0 ? slack - 10 : box === preferred[copy] ? 10 : slack;
      if (chosen === -1 || score > chosenScore) {
        chosen = box;
        chosenScore = score;
      }
    }
    if (chosen === -1) return;
    ledger.take(chosen, rank, 1 / copies);
  }
}

/**
 * Spare copies: once every file has one, what room is left makes second copies, then third ones, by density. They add no
 * peak demand; they let a box fail.
 */
export function takeSpareCopies(
  problem: ClusterProblem,
  ledger: Ledger,
  bands: readonly Band[],
): void {
  takeByDay(problem, ledger, bands);
  takeWhatFits(problem, ledger, bands);
  const ids = problem.boxes.map((box) => box.applianceId);
  const weights = problem.boxes.map((box) => box.storageBytes);
  const owners = ownersByBucket(ids, weights, problem.boxes.length);
  const { feed } = problem;
  for (let copy = 1; copy < problem.boxes.length; copy++) {
    for (let rank = 0; rank < feed.ranks; rank++) {
      if (copiesOf(ledger.held, rank) !== copy) continue;
      const box = owners.of(feed.buckets[rank]).find((candidate) => ledger.fits(candidate, rank));
      if (box !== undefined) ledger.take(box, rank, 0);
    }
  }
}

function eachBand(
  problem: ClusterProblem,
  bands: readonly Band[],
  visit: (band: Band, owners: OwnerTable, rank: number) => void,
): void {
  const ids = problem.boxes.map((box) => box.applianceId);
  let start = 0;
  for (const band of bands) {
    const end = Math.min(band.endRank, problem.feed.ranks);
    if (end <= start) continue;
    const owners = ownersByBucket(ids, band.weights, band.copies);
    for (let rank = start; rank < end; rank++) visit(band, owners, rank);
    start = end;
  }
}

/** Goes down the order and knows what band it is in. */
class BandWalk {
  rank = 0;
  readonly #bands: readonly {
    readonly end: number;
    readonly copies: number;
    readonly owners: OwnerTable;
  }[];
  #band = 0;

  constructor({ boxes }: ClusterProblem, bands: readonly Band[]) {
    const ids = boxes.map((box) => box.applianceId);
    this.#bands = bands.map(({ endRank, copies, weights }) => ({
      end: endRank,
      copies,
      owners: ownersByBucket(ids, weights, copies),
    }));
  }

  here(): { readonly copies: number; readonly owners: OwnerTable } {
    while (this.#band < this.#bands.length - 1 && this.rank >= this.#bands[this.#band].end) {
      this.#band++;
    }
    return this.#bands[this.#band];
  }
}

/** Who owns a bucket, best first; worked out when first asked, since a small catalogue touches few buckets. */
export class OwnerTable {
  readonly #applianceIds: readonly string[];
  readonly #weights: readonly number[];
  readonly #copies: number;
  readonly #owners: (readonly number[] | undefined)[] = Array.from({ length: SHARE_BUCKETS });

  constructor(applianceIds: readonly string[], weights: readonly number[], copies: number) {
    this.#applianceIds = applianceIds;
    this.#weights = weights;
    this.#copies = copies;
  }

  of(bucket: number): readonly number[] {
    return (this.#owners[bucket] ??= bucketOwners(
      bucket,
      this.#applianceIds,
      this.#weights,
      this.#copies,
    ));
  }
}

const known = new Map<string, OwnerTable>();
const KNOWN_MAX = 64; // the roundings of one cluster ask for the same few

export function ownersByBucket(
  applianceIds: readonly string[],
  weights: readonly number[],
  copies: number,
): OwnerTable {
  const key = JSON.stringify([applianceIds, weights, copies]);
  let owners = known.get(key);
  if (owners === undefined) {
    owners = new OwnerTable(applianceIds, weights, copies);
    if (known.size >= KNOWN_MAX) known.clear();
    known.set(key, owners);
  }
  return owners;
}

export function copiesOf(held: readonly Uint8Array[], rank: number): number {
  let copies = 0;
  for (const box of held) copies += box[rank];
  return copies;
}
