/**
 * One volume as the store runs it: up or out, how full, what may leave.
 */
import type { FileId } from '#upstream/contract.ts';
import type { StoredEntry } from './entry.ts';
import type { GroupCommit } from './group-commit.ts';
import { viewsPerDay } from './heat.ts';
import type { VolumeRoom } from './placement.ts';
import { ReactiveSet, TRIAL_SHARE } from './reactive-set.ts';
import type { Volume } from './volume.ts';
import { UNPROBED, type VolumeSpeed } from './volume-speed.ts';

/** After "no space left" nothing new is placed for this long: eviction and the operator need time. */
export const FULL_PAUSE_MS = 10_000;
/** Read errors on one volume before it is taken out: one bad sector is a chunk, several are a disk. */
export const READ_ERRORS_MAX = 3;

export class VolumeState {
  readonly at: number;
  readonly volume: Volume;
  readonly reactive: ReactiveSet<StoredEntry>;
  group!: GroupCommit; // set once by the store, which the group calls back
  /** Why it is out; null: up. */
  outReason: string | null = null;
  fullUntilMs = -Infinity; // monotonic
  fullReason: string | null = null;
  readErrors = 0;
  speed: VolumeSpeed = UNPROBED;
  /** The catalogue is in memory up to this id; `isLoaded`: all of it. */
  loadedUntil: FileId | null = null;
  isLoaded = false;
  usedBytes = 0;
  pinnedBytes = 0;
  files = 0;

  constructor(at: number, volume: Volume) {
    this.at = at;
    this.volume = volume;
    this.reactive = new ReactiveSet({
      viewsPerDay: (entry, nowMs, halfLifeMs) =>
        viewsPerDay(entry.heat, entry.forecastPerDay, nowMs, halfLifeMs),
      lastUsedMs: (entry) => entry.heat.atMs,
      bytes: (entry) => entry.presentBytes,
    });
  }

  get isUp(): boolean {
    return this.outReason === null;
  }

  get freeBytes(): number {
    return Math.max(0, this.volume.capacityBytes - this.usedBytes);
  }

  /** Bytes that files on trial may take while the volume is full. */
  get trialBytesMax(): number {
    return Math.floor((this.volume.capacityBytes - this.pinnedBytes) * TRIAL_SHARE);
  }

  /** What leaves first; `except` stays. */
  victim(nowMs: number, except?: StoredEntry): StoredEntry | null {
    return this.reactive.victim(nowMs, this.trialBytesMax, (entry) => entry !== except);
  }

  room(monotonicMs: number): VolumeRoom {
    return {
      isUp: this.isUp && monotonicMs >= this.fullUntilMs,
      speed: this.volume.speed,
      capacityBytes: this.volume.capacityBytes,
      usedBytes: this.usedBytes,
      evictableBytes: this.usedBytes - this.pinnedBytes,
    };
  }

  account(entry: StoredEntry, sign: 1 | -1): void {
    this.usedBytes += sign * entry.footprintBytes;
    if (entry.isPinned) this.pinnedBytes += sign * entry.footprintBytes;
    this.files += sign;
  }

  /** The entry's chunks changed by `bytes`. */
  resize(entry: StoredEntry, bytes: number): void {
    this.account(entry, -1);
    entry.presentBytes += bytes;
    this.account(entry, 1);
    this.reactive.grew(entry);
  }
}
