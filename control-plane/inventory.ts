/**
 * What a box says it holds against what its manifest says it should.
 *
 * Shape:      (wanted ordinals, held ordinals, catalogue) -> shares, and the drift file by file
 * Invariants: (1) every wanted file is held or missing; every held one is wanted or extra
 */
import type { FileId, TitleId } from '#upstream/contract.ts';
import type { ManifestCatalogue } from './manifest.ts';

export const DRIFT_SHOWN_MAX = 500; // per side, the largest first
/** A box that holds less of its manifest than this, a whole day after it was made, is alarmed. */
export const INVENTORY_ALARM_SHARE = 0.9;

export interface DriftFile {
  readonly fileId: FileId;
  readonly sizeBytes: number;
  readonly titles: readonly TitleId[];
}

export interface DriftSide {
  readonly files: number;
  readonly bytes: number;
  readonly shown: readonly DriftFile[];
}

export interface Inventory {
  readonly wanted: { readonly files: number; readonly bytes: number };
  readonly held: { readonly files: number; readonly bytes: number }; // of what is wanted
  /** Of the wanted bytes; 1 where nothing is wanted. */
  readonly heldShare: number;
  readonly missing: DriftSide; // wanted, not held: to be fetched, or lost
  readonly extra: DriftSide; // held, not wanted: kept for viewers until room is needed
}

export function inventoryOf(
  wanted: ArrayLike<number>,
  held: ReadonlySet<number>,
  catalogue: ManifestCatalogue,
): Inventory {
  const missing: DriftFile[] = [];
  const wantedSet = new Set<number>();
  let wantedBytes = 0;
  let heldBytes = 0;
  for (let at = 0; at < wanted.length; at++) {
    const file = driftFile(wanted[at], catalogue);
    wantedSet.add(wanted[at]);
    wantedBytes += file.sizeBytes;
    if (held.has(wanted[at])) heldBytes += file.sizeBytes;
    else missing.push(file);
  }
  const extra = [...held]
    .filter((ordinal) => !wantedSet.has(ordinal))
    .map((ordinal) => driftFile(ordinal, catalogue));
  return {
    wanted: { files: wanted.length, bytes: wantedBytes },
    held: { files: wanted.length - missing.length, bytes: heldBytes },
    heldShare: wantedBytes === 0 ? 1 : heldBytes / wantedBytes,
    missing: sideOf(missing),
    extra: sideOf(extra),
  };
}

function driftFile(ordinal: number, catalogue: ManifestCatalogue): DriftFile {
  const fileId = catalogue.fileIdOf(ordinal) ?? '';
  return { fileId, sizeBytes: catalogue.sizeOf(fileId), titles: catalogue.titlesOf(fileId) };
}

function sideOf(files: readonly DriftFile[]): DriftSide {
  const bytes = files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  const shown = [...files].sort((a, b) => b.sizeBytes - a.sizeBytes).slice(0, DRIFT_SHOWN_MAX);
  return { files: files.length, bytes, shown };
}

/** What an operator should hear of a box that is not filled; null where all is well or the night is not over. */
export function inventoryAlarm(
  facts: {
    readonly bytesWanted: number;
    readonly bytesHeld: number;
    readonly manifestVersion: number;
    readonly problem: string | null;
  },
  current: { readonly version: number; readonly madeAtMs: number },
  nowMs: number,
): string | null {
  const isOld = nowMs - current.madeAtMs > 24 * 3600 * 1000;
  if (!isOld || facts.bytesWanted === 0) return null;
  if (facts.manifestVersion < current.version) {
    return `it still uses manifest version ${facts.manifestVersion}, ${current.version} is a day old${facts.problem === null ? '' : `: ${facts.problem}`}`;
  }
  const share = facts.bytesHeld / facts.bytesWanted;
  if (share >= INVENTORY_ALARM_SHARE) return null;
  return `it holds ${(100 * share).toFixed(1)} % of its manifest, a day after it was made`;
}
