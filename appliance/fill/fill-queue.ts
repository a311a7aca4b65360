/**
 * Which of the wanted files are begun next.
 *
 * Three lines, so that none stands behind another: files that a box of the site has, come over its own network; files that another site
 * has, must not wait until everything was begun that only the origin has (nobody has that yet: it is the rarest), or the links between
 * sites idle first and are late last.
 *
 *   urgent first; then the power of two of the forecast; then the file that fewest boxes have: others wait for that one
 *
 * Shape:      (files that may be begun, best first, free places of each line) -> those to begin, and the rest
 * Invariants: (1) never more than the free places of a line
 *             (2) a file without a due source is not begun: it waits, and that is no failure
 */
import type { FillSource } from '#control-plane/contract.ts';
import { bandOf, type Wanted } from './manifest-set.ts';

export type FillLine = FillSource['kind'];
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

/** By the nearest source that may be used now. */
export function lineOf(due: readonly FillSource[]): FillLine {
  const kinds = new Set(due.map(({ kind }) => kind));
  return kinds.has('peer') ? 'peer' : kinds.has('tier') ? 'tier' : 'origin';
}

/** `candidates` in the manifest's order -> best first. */
export function ranked(candidates: readonly FillCandidate[]): readonly FillCandidate[] {
  return candidates
    .map((candidate, at) => ({ candidate, at, band: bandOf(candidate.wanted.density) }))
    .sort(
      (a, b) =>
        Number(b.candidate.wanted.isUrgent) - Number(a.candidate.wanted.isUrgent) ||
        (a.band === b.band ? 0 : b.band - a.band) ||
        a.candidate.holders - b.candidate.holders ||
        a.at - b.at,
    )
    .map(({ candidate }) => candidate);
}

/** `best`: as ranked. `rest`: those that found no place. */
export function chooseStarts(
  best: readonly FillCandidate[],
  free: FreePlaces,
): { readonly starts: readonly FillStart[]; readonly rest: readonly FillCandidate[] } {
  const left = { ...free };
  const starts: FillStart[] = [];
  const rest: FillCandidate[] = [];
  for (const candidate of best) {
    const line = lineOf(candidate.due);
    if (left[line] <= 0) {
      rest.push(candidate);
      continue;
    }
    left[line]--;
    starts.push({ wanted: candidate.wanted, line });
  }
  return { starts, rest };
}
