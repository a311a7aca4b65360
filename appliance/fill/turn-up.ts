/**
 * Whether a box is being turned up: new, or with a replaced disk, it holds little of what its viewers will ask for.
 *
 *   filling --holds SHARE of its planned demand--> serving --below half of that (a disk was replaced)--> filling
 *
 * Viewers are sent there from the first whole file on either way: the word is for people, and for what may be fetched outside the window.
 *
 * Shape:      stepTurnUp(state, demand, share) -> state; demandHeld(files, isWhole) -> { held, planned };
 *             offloadCurve(files in the order of fetching, what is here, bytes a day) -> shares of the demand after days
 * Units:      demand = forecast views a day times bytes: what the files will be asked for
 * Invariants: (1) a box without a manifest, or whose plan is empty, is not turned up: there is nothing to wait for
 *             (2) a new plan on a full box does not make it `filling` again, unless half of its demand left at once
 */
import type { FileId } from '#upstream/contract.ts';
import type { Wanted } from './manifest-set.ts';

export type TurnUp = 'filling' | 'serving';

export interface Demand {
  readonly held: number;
  readonly planned: number;
}

const FALL_BACK = 0.5;

export function stepTurnUp(state: TurnUp, { held, planned }: Demand, share: number): TurnUp {
  if (planned <= 0) return 'serving';
  const has = held / planned;
  if (has >= share) return 'serving';
  return has < share * FALL_BACK ? 'filling' : state;
}

export function demandHeld(files: Iterable<Wanted>, isWhole: (fileId: FileId) => boolean): Demand {
  let held = 0;
  let planned = 0;
  for (const { fileId, density, sizeBytes } of files) {
    const demand = density * sizeBytes;
    planned += demand;
    if (isWhole(fileId)) held += demand;
  }
  return { held, planned };
}

/** Days after which an operator wants to know what a new box is worth. */
export const CURVE_DAYS = [1, 3, 7] as const;

export interface OffloadCurve {
  readonly shares: readonly number[]; // of the planned demand on whole files, after CURVE_DAYS
  readonly fullAfterDays: number;
}

/** What the box will hold if it goes on as it does. */
export function offloadCurve(
  files: Iterable<Wanted>,
  presentBytes: (fileId: FileId) => number,
  bytesPerDay: number,
): OffloadCurve | null {
  if (bytesPerDay <= 0) return null;
  const reached = CURVE_DAYS.map(() => 0);
  let planned = 0;
  let missing = 0;
  for (const { fileId, density, sizeBytes } of files) {
    const demand = density * sizeBytes;
    planned += demand;
    const here = presentBytes(fileId);
    missing += Math.max(0, sizeBytes - here);
    for (const [at, days] of CURVE_DAYS.entries()) {
      // What is whole now counts from the first day on, wherever it stands in the order.
      if (here >= sizeBytes || missing <= days * bytesPerDay) reached[at] += demand;
    }
  }
  const shares = reached.map((demand) => (planned > 0 ? demand / planned : 1));
  return { shares, fullAfterDays: missing / bytesPerDay };
}
