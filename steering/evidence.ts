/**
 * What this node itself knows about a box, from its own probes: apart from what the control plane says.
 *
 * A probe is a TCP connect and a small HTTP request. "Refused" and "reset" are hard: somebody answered, and it was
 * no. A timeout is soft: it takes several in a row to suspect a box, and what a suspicion is worth depends on how
 * many others are suspected (candidates.ts). Coming back always takes several answers in a row.
 *
 *             answered (1st)                 timed-out x 3
 *   unknown ------------------> reachable -----------------> suspect
 *                                 ^   |                       |  |
 *                                 |   '------ refused -----.  |  | refused
 *                                 |                        v  |  v
 *                                 '--- answered x 2 --- unreachable
 *                                 '--- answered x 2 ----------'
 *   unknown: as reachable.   any --forgotten--> unknown (the control plane changed its mind: old evidence is void)
 *
 * Invariants: (1) one refusal makes a box unreachable at once; timeouts alone only make it suspect,
 *                 unless the control plane lost the box too (`corroborated`): two witnesses are hard
 *             (2) an unreachable or suspect box is reachable again only after RECOVERY_SUCCESSES answers in a row
 */
import type { Milliseconds } from '#base/clock.ts';

export type ProbeResult = 'answered' | 'refused' | 'timed-out';
/**
 * In this order they are numbers in load frames. `doubted` is no state of this machine: a suspicion of this node that the others
 * have not shared (quorum.ts).
 */
export const EVIDENCE_NAMES = [
  'unknown',
  'reachable',
  'suspect',
  'unreachable',
  'doubted',
] as const;
export type EvidenceName = (typeof EVIDENCE_NAMES)[number];

export interface Evidence {
  readonly name: Exclude<EvidenceName, 'doubted'>;
  readonly sinceMs: Milliseconds; // wall clock
  readonly probedAtMs: Milliseconds | null;
  readonly answersInRow: number;
  readonly failuresInRow: number;
  readonly lastResult: ProbeResult | null;
}

export type EvidenceEvent =
  | {
      readonly kind: 'probe';
      readonly result: ProbeResult;
      /** The control plane lost the box as well (its connection closed, or it fell silent): one failure is then enough. */
      readonly corroborated: boolean;
    }
  | { readonly kind: 'forget' };

export const SOFT_FAILURES_MAX = 3;
export const RECOVERY_SUCCESSES = 2;

export function noEvidence(atMs: Milliseconds): Evidence {
  return {
    name: 'unknown',
    sinceMs: atMs,
    probedAtMs: null,
    answersInRow: 0,
    failuresInRow: 0,
    lastResult: null,
  };
}

export function stepEvidence(state: Evidence, event: EvidenceEvent, atMs: Milliseconds): Evidence {
  if (event.kind === 'forget') return noEvidence(atMs);
  const answered = event.result === 'answered';
  const answersInRow = answered ? state.answersInRow + 1 : 0;
  const failuresInRow = answered ? 0 : state.failuresInRow + 1;
  let name = state.name;
  if (answered) {
    const isOut = state.name === 'unreachable' || state.name === 'suspect';
    if (answersInRow >= (isOut ? RECOVERY_SUCCESSES : 1)) name = 'reachable';
  } else if (event.result === 'refused' || event.corroborated) {
    name = 'unreachable';
  } else if (failuresInRow >= SOFT_FAILURES_MAX && state.name !== 'unreachable') {
    name = 'suspect';
  }
  return {
    name,
    sinceMs: name === state.name ? state.sinceMs : atMs,
    probedAtMs: atMs,
    answersInRow,
    failuresInRow,
    lastResult: event.result,
  };
}
