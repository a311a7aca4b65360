/**
 * Whether new viewers are let in: running streams are kept before new ones.
 *
 *   open --load over SHED for three looks--> closed(full) --under RESUME--> open
 *   open | closed --drain--> closed(draining) --undrain--> open
 *
 * Shape:      (gate, measures, now) -> gate; a closed gate names the instant since which newcomers are sent away
 * Invariants: (1) whoever was here before the gate closed is served on, until a drain's deadline
 *             (2) between SHED and RESUME nothing changes: the gate does not flap
 */
export interface GateMeasures {
  readonly isDraining: boolean;
  /** The drain's deadline has passed: nobody is kept. */
  readonly isDrainOverdue: boolean;
  readonly egressBps: number;
  readonly servingBps: number;
  /** Longest delay of the event loop since the last look. */
  readonly loopDelayMs: number;
}

export type Gate =
  | { readonly name: 'open'; readonly overloadedLooks: number }
  | { readonly name: 'closed'; readonly reason: 'draining' | 'full'; readonly sinceMs: number };

export const OPEN: Gate = { name: 'open', overloadedLooks: 0 };

const SHED_SHARE = 0.95;
const RESUME_SHARE = 0.85;
const SHED_LOOP_MS = 1000;
const RESUME_LOOP_MS = 100;
const LOOKS_BEFORE_SHEDDING = 3; // one a second

export function stepGate(gate: Gate, measures: GateMeasures, nowMs: number): Gate {
  if (measures.isDraining) {
    const isDrainingAlready = gate.name === 'closed' && gate.reason === 'draining';
    const sinceMs = measures.isDrainOverdue ? -Infinity : nowMs;
    return isDrainingAlready && !measures.isDrainOverdue
      ? gate
      : { name: 'closed', reason: 'draining', sinceMs };
  }
  const share = measures.egressBps / measures.servingBps;
  if (gate.name === 'closed') {
    const isOver =
      gate.reason === 'full' && (share > RESUME_SHARE || measures.loopDelayMs > RESUME_LOOP_MS);
    return isOver ? gate : OPEN;
  }
  const isOverloaded = share > SHED_SHARE || measures.loopDelayMs > SHED_LOOP_MS;
  if (!isOverloaded) return gate.overloadedLooks === 0 ? gate : OPEN;
  const overloadedLooks = gate.overloadedLooks + 1;
  return overloadedLooks < LOOKS_BEFORE_SHEDDING
    ? { name: 'open', overloadedLooks }
    : { name: 'closed', reason: 'full', sinceMs: nowMs };
}
