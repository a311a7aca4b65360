/**
 * What was watched, in memory: bytes and starts per (file, quarter hour, home cluster, reason).
 *
 * An answer takes its slot once and adds to it as bytes go; the ledger is emptied into numbered batches (report/).
 *
 * Invariants: (1) every byte that a viewer's answer sent is in exactly one slot, of the quarter in which the answer began
 *             (2) a slot that an answer still uses is not thrown away
 *             (3) at most SLOTS_MAX slots: beyond it bytes are counted as unrecorded, never lost silently
 */
import { QUARTER_SECONDS, type Reason, type ViewRecord } from '#appliance/contract.ts';
import type { FileId } from '#upstream/contract.ts';

const SLOTS_MAX = 1_000_000;

export interface ViewSlot {
  readonly fileId: FileId;
  readonly quarter: number;
  readonly home: string;
  readonly reason: Reason;
  bytes: number;
  starts: number;
  users: number;
}

export class ViewLedger {
  readonly #slots = new Map<string, ViewSlot>();
  unrecordedBytes = 0;

  /** The slot of one answer; `users` is the caller's to count down when the answer ended. Null: the ledger is full. */
  take(fileId: FileId, home: string, reason: Reason, nowSeconds: number): ViewSlot | null {
    const quarter = nowSeconds - (nowSeconds % QUARTER_SECONDS);
    const key = `${fileId} ${quarter} ${reason} ${home}`;
    let slot = this.#slots.get(key);
    if (slot === undefined) {
      if (this.#slots.size >= SLOTS_MAX) return null;
      slot = { fileId, quarter, home, reason, bytes: 0, starts: 0, users: 0 };
      this.#slots.set(key, slot);
    }
    slot.users++;
    return slot;
  }

  /** Up to `limit` records of what came in since they were last drained. Each byte is drained once. */
  drain(limit: number, nowSeconds: number): ViewRecord[] {
    const currentQuarter = nowSeconds - (nowSeconds % QUARTER_SECONDS);
    const records: ViewRecord[] = [];
    for (const [key, slot] of this.#slots) {
      if (records.length >= limit) break;
      if (slot.bytes > 0 || slot.starts > 0) {
        const { fileId, quarter, home, reason, bytes, starts } = slot;
        records.push({ fileId, quarter, home, reason, bytes, starts });
        slot.bytes = 0;
        slot.starts = 0;
      }
      if (slot.users === 0 && slot.quarter !== currentQuarter) this.#slots.delete(key);
    }
    return records;
  }

  /** Records that could not be written down come back. */
  restore(records: readonly ViewRecord[]): void {
    for (const record of records) {
      const slot = this.take(record.fileId, record.home, record.reason, record.quarter);
      if (slot === null) {
        this.unrecordedBytes += record.bytes;
        continue;
      }
      slot.users--;
      slot.bytes += record.bytes;
      slot.starts += record.starts;
    }
  }
}
