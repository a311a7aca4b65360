/**
 * The standing of one appliance, as a step function over what is heard from it.
 *
 *                          closed                                closed
 *   (enrolled) --> down --------------> gone-hard <------------------------------.
 *                   ^ |  steady                ^ ^        .--- silent ---> gone-silent
 *                   | '------> serving --------' |        |                   |
 *        status or  |            |  ^ '----------|--------'                   |
 *        starting   '------------'  |            |                            |
 *                                   '--- draining (the box says so)           |
 *                                   '------------------- steady --------------'
 *
 * Hard evidence (its connection closed) counts at once; silence counts after SILENT_AFTER_MS. Coming back is
 * slower than leaving: a box is `serving` again after as many good heartbeats in a row as its past asks for,
 * so that one that flaps is not handed viewers again and again.
 *
 * Shape:      step(state, event, nowMs) -> state; the standing changed when `state.standing` did
 * Units:      nowMs is monotonic; `sinceMs` and `heartbeatAtMs` are wall time, given with the event
 * Invariants: (1) only a connected box that was heard within SILENT_AFTER_MS is serving or draining, but for
 *                 (2) a box restored from disk keeps its standing for RESTORED_GRACE_MS after the control plane started
 *             (3) reasons say why it is not serving, or what is wrong although it is
 */
import type { Heartbeat } from '#appliance/contract.ts';
import { MINUTE_MS, SECOND_MS } from '#base/units.ts';
import type { ApplianceStanding } from './contract.ts';

export const SILENT_AFTER_MS = 3 * SECOND_MS; // three heartbeats missed
/** Boxes try again after 10 s at most, and a machine that starts everything at once is slow. */
export const RESTORED_GRACE_MS = 30 * SECOND_MS;
const STEADY_AFTER_TROUBLE = 3; // good heartbeats in a row after down or silence
const STEADY_AFTER_FLAPPING = 10; // ... when it was lost FLAPS times within FLAP_WINDOW_MS
const FLAPS = 3;
const FLAP_WINDOW_MS = MINUTE_MS;

export interface HealthState {
  readonly standing: ApplianceStanding;
  readonly reasons: readonly string[];
  readonly sinceMs: number; // wall
  readonly connected: boolean;
  readonly heardAtMs: number; // monotonic: last sign of life, or the start of its grace
  readonly graceMs: number; // silence allowed from then
  readonly steady: number; // good heartbeats in a row
  readonly steadyNeeded: number;
  readonly lostAtMs: readonly number[]; // monotonic: the last FLAPS losses
}

export type HealthEvent =
  | { readonly name: 'connected' }
  | { readonly name: 'heartbeat'; readonly heartbeat: Pick<Heartbeat, 'health' | 'state'> }
  | { readonly name: 'closed'; readonly why: string } // "broke off", said after "its connection"
  | { readonly name: 'tick' };

/** An appliance that enrolled and was never heard. */
export function enrolledHealth(nowMs: number, wallMs: number): HealthState {
  return {
    standing: 'down',
    reasons: ['enrolled, has not connected yet'],
    sinceMs: wallMs,
    connected: false,
    heardAtMs: nowMs,
    graceMs: SILENT_AFTER_MS,
    steady: 0,
    steadyNeeded: 1,
    lostAtMs: [],
  };
}

/** An appliance as it was when the control plane stopped: believed for a while, because boxes serve without us. */
export function restoredHealth(
  kept: {
    readonly standing: ApplianceStanding;
    readonly reasons: readonly string[];
    readonly sinceMs: number;
  },
  nowMs: number,
): HealthState {
  return {
    ...enrolledHealth(nowMs, kept.sinceMs),
    standing: kept.standing,
    reasons: kept.reasons,
    graceMs: RESTORED_GRACE_MS,
  };
}

export function step(
  state: HealthState,
  event: HealthEvent,
  nowMs: number,
  wallMs: number,
): HealthState {
  switch (event.name) {
    case 'connected':
      return { ...state, connected: true, heardAtMs: nowMs, graceMs: SILENT_AFTER_MS, steady: 0 };
    case 'closed':
      return closed(state, event.why, nowMs, wallMs);
    case 'tick':
      return ticked(state, nowMs, wallMs);
    case 'heartbeat':
      return heard(state, event.heartbeat, nowMs, wallMs);
  }
}

function closed(state: HealthState, why: string, nowMs: number, wallMs: number): HealthState {
  const reasons = [`its connection ${why}`];
  const next = { ...moved(state, 'gone-hard', reasons, wallMs), connected: false };
  return lost({ ...next, steadyNeeded: 1 }, state, nowMs);
}

function ticked(state: HealthState, nowMs: number, wallMs: number): HealthState {
  if (state.standing !== 'serving' && state.standing !== 'draining') return state;
  if (nowMs - state.heardAtMs < state.graceMs) return state;
  const seconds = Math.round(state.graceMs / SECOND_MS);
  const next = moved(state, 'gone-silent', [`no heartbeat for ${seconds} s`], wallMs);
  return lost({ ...next, steadyNeeded: STEADY_AFTER_TROUBLE }, state, nowMs);
}

function heard(
  state: HealthState,
  heartbeat: Pick<Heartbeat, 'health' | 'state'>,
  nowMs: number,
  wallMs: number,
): HealthState {
  const alive = { ...state, connected: true, heardAtMs: nowMs, graceMs: SILENT_AFTER_MS };
  const { health } = heartbeat;
  if (health.status === 'down') {
    const reasons = health.reasons.length > 0 ? health.reasons : ['the appliance says it is down'];
    const next = moved({ ...alive, steady: 0 }, 'down', reasons, wallMs);
    return { ...next, steadyNeeded: Math.max(state.steadyNeeded, STEADY_AFTER_TROUBLE) };
  }
  if (heartbeat.state === 'starting') {
    return moved({ ...alive, steady: 0 }, 'down', ['starting', ...health.reasons], wallMs);
  }
  if (heartbeat.state === 'draining') {
    return moved(alive, 'draining', ['draining', ...health.reasons], wallMs);
  }
  // 'filling' and 'serving' both take viewers: steering looks at what the box holds.
  const steady = Math.min(state.steady + 1, STEADY_AFTER_FLAPPING);
  if (state.standing !== 'serving' && steady < state.steadyNeeded) {
    const standing = state.standing === 'draining' ? 'draining' : 'down';
    const waiting = `back, heartbeat ${steady} of ${state.steadyNeeded} before it serves again`;
    return moved({ ...alive, steady }, standing, [waiting], wallMs);
  }
  return { ...moved({ ...alive, steady }, 'serving', health.reasons, wallMs), steadyNeeded: 1 };
}

/** Notes the loss of a box that had viewers; several within the window ask for a longer proof. */
function lost(next: HealthState, before: HealthState, nowMs: number): HealthState {
  const hadViewers = before.standing === 'serving' || before.standing === 'draining';
  const recent = before.lostAtMs.filter((atMs) => nowMs - atMs < FLAP_WINDOW_MS);
  const lostAtMs = hadViewers ? [...recent, nowMs].slice(-FLAPS) : recent;
  const steadyNeeded = lostAtMs.length >= FLAPS ? STEADY_AFTER_FLAPPING : next.steadyNeeded;
  return { ...next, lostAtMs, steady: 0, steadyNeeded };
}

function moved(
  state: HealthState,
  standing: ApplianceStanding,
  reasons: readonly string[],
  wallMs: number,
): HealthState {
  if (state.standing === standing) return { ...state, reasons };
  return { ...state, standing, reasons, sinceMs: wallMs };
}

/** How a box was lost that had viewers, for a person: what is to be seen, and what to do about it. */
export function lossInWords(
  applianceId: string,
  to: ApplianceStanding,
  reasons: readonly string[],
): { readonly what: string; readonly todo: string } {
  const why = reasons.join(', ');
  if (to === 'down') {
    return {
      what: `${applianceId} cannot serve: ${why}`,
      todo: 'viewers go elsewhere meanwhile; its own log and /status say more about these reasons',
    };
  }
  return {
    what: `${applianceId} does not answer: ${why}`,
    todo:
      'viewers go elsewhere meanwhile; check that the machine has power and network, and that ' +
      '"nightfill appliance" runs there: it connects again by itself',
  };
}

/** How a WebSocket ended, said after "its connection". 1006: no goodbye, a killed process or a cut line. */
export function closeInWords(code: number, detail: string): string {
  const how =
    code === 1006
      ? 'broke off'
      : code === 1000 || code === 1001 || code === 1005
        ? 'was ended by the appliance'
        : `was closed (WebSocket code ${code})`;
  return detail === '' ? how : `${how}: ${detail}`;
}
