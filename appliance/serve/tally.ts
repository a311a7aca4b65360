/**
 * What a serving thread counted since it last told: handed to the box's one set of ledgers, which is what is reported.
 *
 * Shape:      takeTally(ledgers of the thread) -> Tally -> addTally(ledgers of the box, tally)
 * Invariants: (1) what was counted is in one tally: taking empties the ledgers
 *             (2) nothing is lost by adding, except beyond the box's own limits, where it is counted as left out
 */
import type { Reason, ViewRecord } from '#appliance/contract.ts';
import type { FileId } from '#upstream/contract.ts';
import type { Counters } from './counters.ts';
import type { QualityCounts, QualityLedger } from './quality.ts';
import type { ViewLedger } from './view-ledger.ts';

export interface Tally {
  readonly viewerBytes: number;
  readonly viewerRequests: number;
  readonly viewerBytesUnknownHome: number;
  readonly viewerBytesByReason: Readonly<Record<Reason, number>>;
  readonly viewersUnderWay: number; // now, not since
  readonly refused: readonly (readonly [string, number])[];
  readonly records: readonly ViewRecord[];
  readonly unrecordedBytes: number;
  readonly quality: QualityCounts;
  readonly accessed: readonly (readonly [FileId, number])[]; // bytes
}

export interface Ledgers {
  readonly counters: Counters;
  readonly views: ViewLedger;
  readonly quality: QualityLedger;
}

/** Bytes taken of each file since the last tally: a thread's part of what the store remembers. */
export class AccessLedger {
  #bytes = new Map<FileId, number>();

  add(fileId: FileId, bytes: number): void {
    this.#bytes.set(fileId, (this.#bytes.get(fileId) ?? 0) + bytes);
  }

  take(): readonly (readonly [FileId, number])[] {
    const taken = [...this.#bytes];
    this.#bytes.clear();
    return taken;
  }
}

export function takeTally(ledgers: Ledgers, accesses: AccessLedger, nowSeconds: number): Tally {
  const { counters, views, quality } = ledgers;
  const tally: Tally = {
    viewerBytes: counters.viewerBytes,
    viewerRequests: counters.viewerRequests,
    viewerBytesUnknownHome: counters.viewerBytesUnknownHome,
    viewerBytesByReason: { ...counters.viewerBytesByReason },
    viewersUnderWay: counters.viewersUnderWay,
    refused: [...counters.refused],
    records: views.drain(Infinity, nowSeconds),
    unrecordedBytes: views.unrecordedBytes,
    quality: quality.hand(),
    accessed: accesses.take(),
  };
  counters.viewerBytes = 0;
  counters.viewerRequests = 0;
  counters.viewerBytesUnknownHome = 0;
  for (const reason of counters.reasons) counters.viewerBytesByReason[reason] = 0;
  counters.refused.clear();
  views.unrecordedBytes = 0;
  return tally;
}

/** `viewersUnderWay` is a state and the caller's: it knows what the thread said before. */
export function addTally(ledgers: Ledgers, tally: Tally, nowSeconds: number): void {
  const { counters, views, quality } = ledgers;
  counters.viewerBytes += tally.viewerBytes;
  counters.viewerRequests += tally.viewerRequests;
  counters.viewerBytesUnknownHome += tally.viewerBytesUnknownHome;
  for (const reason of counters.reasons) {
    counters.viewerBytesByReason[reason] += tally.viewerBytesByReason[reason];
  }
  for (const [word, count] of tally.refused) counters.refuse(word, count);
  views.restore(tally.records);
  views.unrecordedBytes += tally.unrecordedBytes;
  quality.takeOver(tally.quality, nowSeconds);
}
