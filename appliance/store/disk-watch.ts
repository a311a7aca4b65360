/**
 * Whether each volume still does what a disk has to: what fails or is slow is taken out, what is full is given a pause.
 *
 *   up --EIO, read-only, several read errors, slow beside its siblings--> out (until an operator says otherwise)
 *   up --no space left--> full --FULL_PAUSE_MS--> up
 */
import type { Clock } from '#base/clock.ts';
import type { Logger } from '#base/log.ts';
import type { Failure } from '#base/outcome.ts';
import { FULL_PAUSE_MS, READ_ERRORS_MAX, type VolumeState } from './volume-state.ts';
import { isSlowDisk, noteProbe } from './volume-speed.ts';

export interface DiskWatchDeps {
  readonly clock: Clock;
  readonly log: Logger;
  readonly volumes: readonly VolumeState[];
  /** The volume is out: its files leave the holdings at once. */
  readonly onOut: (state: VolumeState, why: string) => void;
}

export class DiskWatch {
  readonly #deps: DiskWatchDeps;

  constructor(deps: DiskWatchDeps) {
    this.#deps = deps;
  }

  takeOut(state: VolumeState, why: string): void {
    if (!state.isUp) return;
    state.outReason = outText(state.volume.name, why);
    this.#deps.log.error({ event: 'volume-out', volume: state.volume.name }, state.outReason);
    this.#deps.onOut(state, why);
  }

  failed(state: VolumeState, failure: Failure): void {
    if (failure.code === 'disk-full') {
      state.fullUntilMs = this.#deps.clock.monotonicMs() + FULL_PAUSE_MS;
      if (state.fullReason === null) {
        this.#deps.log.error({ event: 'disk-full', volume: state.volume.name }, failure.detail);
      }
      state.fullReason = failure.detail;
      return;
    }
    if (failure.source === 'disk') this.takeOut(state, failure.detail);
  }

  /** Bytes could not be read: one bad sector is a chunk, several are a disk. A file that ends early is no bad sector. */
  readFailed(state: VolumeState, code: string): void {
    if (code !== 'SHORT' && ++state.readErrors >= READ_ERRORS_MAX) {
      this.takeOut(state, `${state.readErrors} read errors, the last: ${code}`);
    }
  }

  /** A disk that is slow against its siblings is as bad for viewers as one that fails, only later. */
  probed(state: VolumeState, durationMs: number): void {
    const siblings = this.#deps.volumes
      .filter((other) => other !== state && other.isUp && other.speed.lastP90Ms !== null)
      .filter((other) => other.volume.speed === state.volume.speed)
      .map((other) => other.speed.lastP90Ms!);
    state.speed = noteProbe(state.speed, durationMs, siblings);
    if (!isSlowDisk(state.speed)) return;
    const ms = Math.round(state.speed.lastP90Ms ?? 0);
    this.takeOut(state, `its reads take ${ms} ms, its siblings' a fraction`);
  }

  /** What is wrong with the disks, for health: empty when all is well. */
  problems(): readonly string[] {
    const now = this.#deps.clock.monotonicMs();
    return this.#deps.volumes.flatMap((state) => {
      if (state.outReason !== null) return [state.outReason];
      return now < state.fullUntilMs && state.fullReason !== null ? [state.fullReason] : [];
    });
  }
}

/** Health's words for a volume that is out. */
export function outText(name: string, why: string): string {
  return `volume ${name} was taken out: ${why}. Replace the disk, or say that it is sound: nightfill appliance readmit ${name}`;
}
