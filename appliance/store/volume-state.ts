/**
 * One volume as the store runs it: up or out, how full, what may leave.
 */
import type { FileId } from '#upstream/contract.ts';
import type { StoredEntry } from './entry.ts';
import { EvictionOrder } from './eviction.ts';
import type { GroupCommit } from './group-commit.ts';
import { viewsPerDay } from './heat.ts';
import type { VolumeRoom } from './placement.ts';
import type { Volume } from './volume.ts';
import { UNPROBED, type VolumeSpeed } from './volume-speed.ts';

/** After "no space left" nothing new is placed for this long: eviction and the operator need time. */
export const FULL_PAUSE_MS = 10_000;
/** Read errors on one volume before it is taken out: one bad sector is a chunk, several are a disk. */
export const READ_ERRORS_MAX = 3;

export class VolumeState {
  readonly at: number;
  readonly volume: Volume;
  readonly order: EvictionOrder<StoredEntry>;
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
    this.order = new EvictionOrder((entry, nowMs) =>
      viewsPerDay(entry.heat, entry.forecastPerDay, nowMs),
    );
  }

  get isUp(): boolean {
    return this.outReason === null;
  }

  get freeBytes(): number {
    return Math.max(0, this.volume.capacityBytes - this.usedBytes);
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
}
