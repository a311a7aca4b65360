/**
 * Which files of the fast track this box fetches now: outside its window too, within an hour's allowance.
 *
 * Shape:      (list, this box's cluster, what is held, now) -> files, in the list's order, and when to look again
 * Invariants: (1) what is not held of the chosen files is never more than the allowance, but for one file larger than all of it
 *             (2) an entry for other clusters, or past its time, is none of ours
 */
import type { FastTrackList } from '#control-plane/contract.ts';
import type { FileId } from '#upstream/contract.ts';

export interface UrgentFile {
  readonly fileId: FileId;
  readonly sizeBytes: number;
  readonly titles: readonly string[];
  readonly density: number;
}

/** Above every forecast: what is urgent is not evicted for what is merely popular. */
const URGENT_DENSITY = 1e6;

export function urgentFiles(
  list: FastTrackList,
  clusterId: string,
  facts: {
    readonly isHeld: (fileId: FileId) => boolean;
    /** Bytes of the fast track that were fetched in the last hour. */
    readonly spentBytes: number;
  },
  nowMs: number,
): readonly UrgentFile[] {
  let left = list.bytesPerHourMax - facts.spentBytes;
  const chosen: UrgentFile[] = [];
  for (const { fileId, sizeBytes, titles, clusters, untilMs } of list.entries) {
    if (untilMs <= nowMs) continue;
    if (clusters.length > 0 && !clusters.includes(clusterId)) continue;
    const file = { fileId, sizeBytes, titles, density: URGENT_DENSITY };
    if (facts.isHeld(fileId)) chosen.push(file);
    else if (left > 0) {
      chosen.push(file);
      left -= sizeBytes;
    }
  }
  return chosen;
}
