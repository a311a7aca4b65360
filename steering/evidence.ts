/**
 * What this node itself knows about a box, from its own probes: apart from what the control plane says.
 *
 * A probe is a TCP connect and a small HTTP request. "Refused" and "reset" are hard: somebody answered, and it was
 * no. A timeout is soft: it takes several in a row. Coming back always takes several successes in a row.
 *
 *             answered (1st)                refused | timed-out x 3
 *   unknown ------------------> reachable ---------------------------> unreachable
 *      |                            ^                                      |
 *      |  refused | timed-out x 3   '--------- answered x 2 ---------------'
 *      '---------------------------------------> unreachable
 *   any --forgotten--> unknown        (the control plane changed its mind: old evidence says nothing about it)
 *
 * Invariants: (1) one refusal makes a box unreachable at once; one timeout never does,
 *                 unless the control plane lost the box's connection too (`corroborated`)
 *             (2) an unreachable box is reachable again only after RECOVERY_SUCCESSES answers in a row
 */
import type { Milliseconds } from '#base/clock.ts';

export type ProbeResult = 'answered' | 'refused' | 'timed-out';
export type EvidenceName = 'unknown' | 'reachable' | 'unreachable';

export interface Evidence {
  readonly name: EvidenceName;
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
      /** The control plane says that the box's own connection closed: a failed connect is then enough. */
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
    const needed = state.name === 'unreachable' ? RECOVERY_SUCCESSES : 1;
    if (answersInRow >= needed) name = 'reachable';
  } else if (
    event.result === 'refused' ||
    event.corroborated ||
    failuresInRow >= SOFT_FAILURES_MAX
  ) {
    name = 'unreachable';
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
