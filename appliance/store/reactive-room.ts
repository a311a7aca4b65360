/**
 * Room for what viewers pull through: which chunk is kept, and who leaves for it, over all volumes of the box.
 */
import type { Clock } from '#base/clock.ts';
import type { FileId } from '#upstream/contract.ts';
import { decideAdmission, type Admission } from './admission.ts';
import type { StoredEntry } from './entry.ts';
import { COLD, viewsPerDay, type Heat } from './heat.ts';
import { ReactiveMemory } from './reactive-memory.ts';
import type { VolumeState } from './volume-state.ts';

export interface ReactiveRoomDeps {
  readonly clock: Clock;
  readonly nowMs: () => number;
  readonly volumes: readonly VolumeState[];
  readonly find: (fileId: FileId) => StoredEntry | undefined;
  /** Takes the file out, memory at once. */
  readonly evict: (entry: StoredEntry) => void;
}

/** One chunk that a viewer asked for and that was not here. */
export interface MissedChunk {
  readonly fileId: FileId;
  readonly index: number;
  readonly bytes: number;
  readonly forecastPerDay: number;
}

export class ReactiveRoom {
  readonly #deps: ReactiveRoomDeps;
  readonly #memory = new ReactiveMemory<FileId>();

  constructor(deps: ReactiveRoomDeps) {
    this.#deps = deps;
  }

  /** Whether a chunk that was fetched on demand is kept. Remembers that it was fetched. */
  admit(missed: MissedChunk, fillDensity: number): Admission {
    const { fileId, index, bytes } = missed;
    const entry = this.#deps.find(fileId);
    const nowMs = this.#deps.nowMs();
    const isSecondHit = this.#memory.fetched(fileId, index);
    const monotonicMs = this.#deps.clock.monotonicMs();
    const states = this.#deps.volumes.filter(
      (state) =>
        state.isUp &&
        monotonicMs >= state.fullUntilMs &&
        (entry === undefined || state.at === entry.volumeAt),
    );
    let victimViewsPerDay: number | null = null;
    for (const state of states) {
      const victim = state.victim(nowMs, entry);
      if (victim === null) continue;
      const views = viewsOf(victim.heat, victim.forecastPerDay, nowMs, state);
      if (victimViewsPerDay === null || views < victimViewsPerDay) victimViewsPerDay = views;
    }
    const heat = entry?.heat ?? this.#memory.heatOf(fileId) ?? COLD;
    const forecast = Math.max(entry?.forecastPerDay ?? 0, missed.forecastPerDay);
    return decideAdmission({
      isPinned: entry?.isPinned ?? false,
      hasFreeRoom: states.some((state) => state.freeBytes >= bytes),
      hasTrialRoom: states.some((state) => state.trialBytesMax >= bytes),
      isSecondHit: isSecondHit || (entry !== undefined && !this.#isOnTrial(entry)),
      viewsPerDay: viewsPerDay(heat, forecast, nowMs),
      fillDensity,
      victimViewsPerDay,
    });
  }

  /** Heat of a file that was here not long ago, and comes back. */
  takeBack(fileId: FileId): Heat | null {
    return this.#memory.takeBack(fileId);
  }

  /** Evicts until `bytes` fit; false where that cannot be. `except` stays. */
  make(state: VolumeState, bytes: number, except?: StoredEntry): boolean {
    if (!state.isUp) return false;
    const nowMs = this.#deps.nowMs();
    while (state.volume.capacityBytes - state.usedBytes < bytes) {
      const victim = state.victim(nowMs, except);
      if (victim === null) return false;
      this.#memory.left(victim.fileId, victim.heat);
      state.reactive.left(victim, nowMs);
      this.#deps.evict(victim);
    }
    return true;
  }

  #isOnTrial(entry: StoredEntry): boolean {
    return this.#deps.volumes[entry.volumeAt].reactive.isOnTrial(entry);
  }
}

function viewsOf(heat: Heat, forecastPerDay: number, nowMs: number, state: VolumeState): number {
  return viewsPerDay(heat, forecastPerDay, nowMs, state.reactive.halfLifeMs);
}
