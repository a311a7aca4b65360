/**
 * Whether new viewers are let in: running streams are kept before new ones.
 *
 *   open --overloaded for three looks--> closed(full) --relieved--> open
 *   open | closed | ramping --drain--> closed(draining) --undrain--> ramping --rampMs--> open
 *                                                           ramping --overloaded--> closed(full)
 *
 * Shape:      (gate, measures, now) -> gate; (gate, session, now) -> admitted, kept, or the reason for sending it away
 * Invariants: (1) whoever was here before the gate closed is served on, until a drain's deadline
 *             (2) between SHED and RESUME nothing changes: the gate does not flap
 *             (3) while it ramps, a session that was admitted once stays admitted: its draw is fixed and the share only grows
 */
export interface GateMeasures {
  readonly isDraining: boolean;
  /** The drain's deadline has passed: nobody is kept. */
  readonly isDrainOverdue: boolean;
  /** How long a box that comes back takes until every new session is admitted; 0: at once. */
  readonly rampMs: number;
  readonly egressBps: number;
  readonly servingBps: number;
  /** Open connections over connectionsMax. */
  readonly connectionsShare: number;
  /** 90th percentile of a probe's read on the fastest volume; null: not measured yet. */
  readonly diskMs: number | null;
  /** Longest delay of the event loop since the last look. */
  readonly loopDelayMs: number;
}

export type Gate =
  | { readonly name: 'open'; readonly overloadedLooks: number }
  | {
      readonly name: 'ramping';
      readonly sinceMs: number;
      readonly share: number; // of new sessions
      readonly overloadedLooks: number;
    }
  | { readonly name: 'closed'; readonly reason: 'draining' | 'full'; readonly sinceMs: number };

export const OPEN: Gate = { name: 'open', overloadedLooks: 0 };

const SHED_SHARE = 0.95;
const RESUME_SHARE = 0.85;
const SHED_LOOP_MS = 1000;
const RESUME_LOOP_MS = 100;
const SHED_DISK_MS = 500; // a viewer's first byte takes longer than from the next box
const RESUME_DISK_MS = 100;
const LOOKS_BEFORE_SHEDDING = 3; // one a second
/** Where a ramp begins: enough to be measured, little enough for caches and disks that are cold. */
const RAMP_FIRST_SHARE = 0.1;

export function stepGate(gate: Gate, measures: GateMeasures, nowMs: number): Gate {
  if (measures.isDraining) return drained(gate, measures, nowMs);
  if (gate.name === 'closed') {
    if (gate.reason === 'full') return isRelieved(measures) ? OPEN : gate;
    if (measures.rampMs <= 0) return OPEN;
    return { name: 'ramping', sinceMs: nowMs, share: RAMP_FIRST_SHARE, overloadedLooks: 0 };
  }
  const overloadedLooks = isOverloaded(measures) ? gate.overloadedLooks + 1 : 0;
  if (overloadedLooks >= LOOKS_BEFORE_SHEDDING) {
    return { name: 'closed', reason: 'full', sinceMs: nowMs };
  }
  if (gate.name === 'ramping') {
    const share = rampShare(nowMs - gate.sinceMs, measures.rampMs);
    if (share < 1) return { ...gate, share, overloadedLooks };
  }
  if (gate.name === 'open' && gate.overloadedLooks === overloadedLooks) return gate;
  return { name: 'open', overloadedLooks };
}

function drained(gate: Gate, measures: GateMeasures, nowMs: number): Gate {
  const isDrainingAlready = gate.name === 'closed' && gate.reason === 'draining';
  if (isDrainingAlready && !measures.isDrainOverdue) return gate;
  const sinceMs = measures.isDrainOverdue ? -Infinity : nowMs;
  return { name: 'closed', reason: 'draining', sinceMs };
}

function rampShare(elapsedMs: number, rampMs: number): number {
  if (elapsedMs >= rampMs) return 1;
  return RAMP_FIRST_SHARE + (1 - RAMP_FIRST_SHARE) * (elapsedMs / rampMs);
}

function isOverloaded(measures: GateMeasures): boolean {
  const { egressBps, servingBps, connectionsShare, loopDelayMs, diskMs } = measures;
  return (
    egressBps / servingBps > SHED_SHARE ||
    connectionsShare > SHED_SHARE ||
    loopDelayMs > SHED_LOOP_MS ||
    (diskMs ?? 0) > SHED_DISK_MS
  );
}

function isRelieved(measures: GateMeasures): boolean {
  const { egressBps, servingBps, connectionsShare, loopDelayMs, diskMs } = measures;
  return (
    egressBps / servingBps <= RESUME_SHARE &&
    connectionsShare <= RESUME_SHARE &&
    loopDelayMs <= RESUME_LOOP_MS &&
    (diskMs ?? 0) <= RESUME_DISK_MS
  );
}

/** What the gate looks at of a session: its first request here (monotonic), and a number in [0, 1) that stays with it. */
export interface Newcomer {
  readonly firstSeenMs: number;
  readonly draw: number;
}

/** kept: of before the gate closed. A reason: it goes to the next box. */
export type Admittance = 'admitted' | 'kept' | 'draining' | 'full' | 'warming';

export function admit(gate: Gate, session: Newcomer): Admittance {
  switch (gate.name) {
    case 'open':
      return 'admitted';
    case 'ramping':
      if (session.firstSeenMs < gate.sinceMs) return 'kept';
      return session.draw < gate.share ? 'admitted' : 'warming';
    case 'closed':
      return session.firstSeenMs < gate.sinceMs ? 'kept' : gate.reason;
  }
}

/** Share of new sessions that are let in: for the heartbeat, so that steering sends no more than come in. */
export function admittedShare(gate: Gate): number {
  return gate.name === 'open' ? 1 : gate.name === 'ramping' ? gate.share : 0;
}
