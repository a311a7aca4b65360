/**
 * Which of the wanted files are begun next.
 *
 * Two lines, so that what comes over the site's own network never stands behind what crawls over the link to the world:
 * files that a box of the site has, and files that only tiers or the origin have.
 *
 *   urgent first; then the power of two of the forecast; then the file that fewest boxes have: others wait for that one
 *
 * Shape:      (files that may be begun, free places of each line) -> those to begin
 * Invariants: (1) never more than the free places of a line
 *             (2) a file without a due source is not begun: it waits, and that is no failure
 */
import type { FillSource } from '#control-plane/contract.ts';
import { bandOf, type Wanted } from './manifest-set.ts';

export type FillLine = 'near' | 'far';
export type FreePlaces = Readonly<Record<FillLine, number>>;

export interface FillCandidate {
  readonly wanted: Wanted;
  readonly due: readonly FillSource[]; // not empty
  readonly holders: number;
}

export interface FillStart {
  readonly wanted: Wanted;
  readonly line: FillLine;
}

export function lineOf(due: readonly FillSource[]): FillLine {
  return due.some(({ kind }) => kind === 'peer') ? 'near' : 'far';
}

/** `candidates` in the manifest's order. */
export function chooseStarts(
  candidates: readonly FillCandidate[],
  free: FreePlaces,
): readonly FillStart[] {
  const left = { ...free };
  const ranked = candidates
    .map((candidate, at) => ({ ...candidate, at, band: bandOf(candidate.wanted.density) }))
    .sort(
      (a, b) =>
        Number(b.wanted.isUrgent) - Number(a.wanted.isUrgent) ||
        (a.band === b.band ? 0 : b.band - a.band) ||
        a.holders - b.holders ||
        a.at - b.at,
    );
  const starts: FillStart[] = [];
  for (const { wanted, due } of ranked) {
    const line = lineOf(due);
    if (left[line] <= 0) continue;
    left[line]--;
    starts.push({ wanted, line });
  }
  return starts;
}
