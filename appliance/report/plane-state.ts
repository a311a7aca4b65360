/**
 * What the control plane last told this box: windows, versions, time. Pure: an answer in, a new state out.
 *
 * Invariants: (1) a window closes at its time by trusted time, also when nobody says so any more
 *             (2) a window never opens by itself: a busy link is not surprised by a fill that nobody confirmed
 */
import type { HeartbeatAnswer } from '#control-plane/contract.ts';

export interface PlaneState {
  readonly versions: HeartbeatAnswer['versions'];
  readonly fillWindow: HeartbeatAnswer['fillWindow'];
}

export const NOTHING_TOLD: PlaneState = {
  versions: { manifest: 0, sources: 0, keys: 0, denials: 0, configuration: 0 },
  fillWindow: { open: false, closesAtMs: null, opensAtMs: null },
};

export function isWindowOpen(state: PlaneState, nowMs: number): boolean {
  const { open, closesAtMs } = state.fillWindow;
  return open && (closesAtMs === null || nowMs < closesAtMs);
}

/** What has to be pulled because its version grew. */
export interface Pulls {
  readonly manifest: boolean;
  readonly sources: boolean;
  readonly keys: boolean;
}

export function takeAnswer(
  state: PlaneState,
  answer: HeartbeatAnswer,
  have: { readonly manifest: number; readonly keys: number },
): { readonly state: PlaneState; readonly pulls: Pulls } {
  const { versions, fillWindow } = answer;
  return {
    state: { versions, fillWindow },
    pulls: {
      manifest: versions.manifest > have.manifest,
      sources: versions.sources !== state.versions.sources,
      keys: versions.keys > have.keys,
    },
  };
}
