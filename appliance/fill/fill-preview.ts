/**
 * What a night would do, without doing it: what is missing, from where it would come, what would leave, whether it fits the window.
 *
 * Shape:      (manifest, disk, who has what, budget, window) -> FillPreview
 * Units:      bytes, bits per second, Unix milliseconds
 * Invariants: (1) every missing file is counted once, under the kind of source that would be asked first
 *             (2) `leaving` are files that the manifest no longer wants; they go when their room is needed, oldest use first
 */
import type { FillCurve } from '#appliance/contract.ts';
import { HOUR_MS } from '#base/units.ts';
import { localHourAt } from '#control-plane/control-plane.ts';
import type { FillSource } from '#control-plane/contract.ts';
import type { FileId } from '#upstream/contract.ts';
import type { StoredEntry } from '../store/entry.ts';
import type { ManifestSet } from './manifest-set.ts';

export interface Amount {
  readonly files: number;
  readonly bytes: number;
}

export interface FillPreview {
  readonly manifestVersion: number;
  readonly wanted: Amount;
  readonly held: Amount;
  readonly toFetch: Amount;
  /** By the first source that is named: of the files that were asked about. */
  readonly from: Readonly<Record<FillSource['kind'] | 'nobody', Amount>>;
  readonly notAskedAbout: Amount; // beyond what one dry run asks
  readonly leaving: Amount;
  readonly window: PreviewWindow;
  /** What the caps let through in the rest of this window; null: no caps, or it is closed and its length is not known here. */
  readonly allowanceBytes: number | null;
  readonly beyondSiteBytes: number;
  readonly fits: boolean | null; // null: nothing limits it, or unknown
  readonly isCapped: boolean; // in every hour
  /** Where the fill leads at the speed at which it went so far; null: nothing is missing, or nothing was fetched yet. */
  readonly curve: FillCurve | null;
}

export interface PreviewWindow {
  readonly open: boolean;
  readonly opensAtMs: number | null;
  readonly closesAtMs: number | null;
}

export interface PreviewFacts {
  readonly manifest: ManifestSet;
  find(fileId: FileId): StoredEntry | undefined;
  readonly entries: Iterable<StoredEntry>;
  /** The first source of each file that was asked about; null: nobody has it. */
  readonly firstSource: ReadonlyMap<FileId, FillSource['kind'] | null>;
  readonly hourlyBps: readonly (number | null)[];
  readonly timeZone: string;
  readonly window: PreviewWindow;
  readonly nowMs: number;
  readonly curve: FillCurve | null;
}

export function fillPreview(facts: PreviewFacts): FillPreview {
  const { manifest, firstSource, window } = facts;
  const held = counter();
  const toFetch = counter();
  const notAskedAbout = counter();
  const from = { peer: counter(), tier: counter(), origin: counter(), nobody: counter() };
  for (const { fileId, sizeBytes } of manifest.order) {
    const entry = facts.find(fileId);
    if (entry?.isWhole === true) {
      held.add(sizeBytes);
      continue;
    }
    const missing = sizeBytes - (entry?.presentBytes ?? 0);
    toFetch.add(missing);
    const kind = firstSource.get(fileId);
    if (kind === undefined) notAskedAbout.add(missing);
    else from[kind ?? 'nobody'].add(missing);
  }
  const leaving = counter();
  for (const entry of facts.entries) {
    if (!manifest.files.has(entry.fileId)) leaving.add(entry.presentBytes);
  }
  const beyondSiteBytes = toFetch.bytes - from.peer.bytes;
  const allowanceBytes = allowance(facts);
  return {
    manifestVersion: manifest.version,
    wanted: { files: manifest.order.length, bytes: manifest.bytes },
    held: held.amount,
    toFetch: toFetch.amount,
    from: {
      peer: from.peer.amount,
      tier: from.tier.amount,
      origin: from.origin.amount,
      nobody: from.nobody.amount,
    },
    notAskedAbout: notAskedAbout.amount,
    leaving: leaving.amount,
    window,
    allowanceBytes,
    beyondSiteBytes,
    fits: allowanceBytes === null ? null : beyondSiteBytes <= allowanceBytes,
    isCapped: facts.hourlyBps.every((cap) => cap !== null),
    curve: facts.curve,
  };
}

function allowance({ hourlyBps, timeZone, window, nowMs }: PreviewFacts): number | null {
  if (!window.open || window.closesAtMs === null) return null;
  if (hourlyBps.some((cap) => cap === null)) return null;
  let bytes = 0;
  for (let at = nowMs; at < window.closesAtMs;) {
    const next = Math.min(window.closesAtMs, (Math.floor(at / QUARTER_MS) + 1) * QUARTER_MS);
    bytes += ((hourlyBps[localHourAt(timeZone, at)] ?? 0) / 8) * ((next - at) / 1000);
    at = next;
  }
  return Math.floor(bytes);
}

const QUARTER_MS = HOUR_MS / 4; // no zone is off by less

function counter(): { add(bytes: number): void; readonly bytes: number; readonly amount: Amount } {
  let files = 0;
  let total = 0;
  return {
    add(bytes) {
      files++;
      total += bytes;
    },
    get bytes() {
      return total;
    },
    get amount() {
      return { files, bytes: total };
    },
  };
}
