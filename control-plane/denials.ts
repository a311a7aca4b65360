/**
 * What may not be served: which denials are in force, and what of the catalogue is left.
 *
 * One owner of this state (io/denial-desk.ts) swaps a whole `DenySet` in; everybody else asks it.
 *
 * Shape:      (records) -> DenySet; (what a box said, denial) -> BoxDenialStatus
 * Invariants: (1) versions only grow, over restarts by what is on disk, over a lost database by the clock
 *             (2) a denied title leaves its files under their other titles; a file without any is in no manifest
 */
import type { FileId, TitleId } from '#upstream/contract.ts';
import type {
  ApplianceId,
  Denial,
  DenialKind,
  SnapshotAppliance,
  SnapshotTitle,
} from './contract.ts';
import type { FleetParts } from './snapshot.ts';

/** A denial as the operator made it; the signed document carries less. */
export interface DenialRecord extends Denial {
  readonly reason: string;
  readonly who: string;
  readonly version: number; // of the deny list that named it first
  readonly liftedAtMs: number | null;
  readonly liftedBy: string | null;
}

/** `acknowledged`: nothing of it is served any more; `deleted`: nor is it on a disk. */
export type BoxDenialStatus = 'deleted' | 'acknowledged' | 'waiting' | 'unreachable';

/** `proof`: a JWS by the box's own key. */
export interface BoxDenial {
  readonly applianceId: string;
  readonly siteId: string;
  readonly status: BoxDenialStatus;
  readonly standing: string;
  readonly acknowledgedAtMs: number | null;
  readonly deletedAtMs: number | null;
  readonly files: number | null;
  readonly bytes: number | null;
  readonly proof: string | null;
}

export interface DenialView extends DenialRecord {
  readonly summary: Readonly<Record<BoxDenialStatus, number>>;
  readonly boxes: readonly BoxDenial[];
}

export interface BoxDenialFacts {
  readonly acknowledgedAtMs: number | null;
  readonly deletedAtMs: number | null;
  readonly isConnected: boolean;
}

export function boxDenialStatus(facts: BoxDenialFacts): BoxDenialStatus {
  if (facts.deletedAtMs !== null) return 'deleted';
  if (facts.acknowledgedAtMs !== null) return 'acknowledged';
  return facts.isConnected ? 'waiting' : 'unreachable';
}

/** Above every version that was ever given, also where the database that knew them was lost. */
export function nextDenialsVersion(current: number, wallMs: number): number {
  return Math.max(current + 1, Math.floor(wallMs / 1000));
}

export class DenySet {
  readonly version: number;
  /** Grows only when titles or files are denied or allowed: what manifests were expanded from. */
  readonly contentVersion: number;
  readonly inForce: readonly Denial[];
  readonly #values: ReadonlyMap<DenialKind, ReadonlySet<string>>;
  readonly #trimmed = new WeakMap<SnapshotTitle, SnapshotTitle>();
  readonly #revoked = new WeakMap<SnapshotAppliance, SnapshotAppliance>();

  constructor(version: number, contentVersion: number, inForce: readonly Denial[]) {
    this.version = version;
    this.contentVersion = contentVersion;
    this.inForce = inForce;
    const values = new Map<DenialKind, Set<string>>();
    for (const { kind, value } of inForce) {
      const known = values.get(kind);
      if (known === undefined) values.set(kind, new Set([value]));
      else known.add(value);
    }
    this.#values = values;
  }

  has(kind: DenialKind, value: string): boolean {
    return this.#values.get(kind)?.has(value) === true;
  }

  isRevoked(applianceId: ApplianceId): boolean {
    return this.has('appliance', applianceId);
  }

  /** The titles under which a file may still be served. */
  titlesOf(fileId: FileId, titles: readonly TitleId[]): readonly TitleId[] {
    if (this.inForce.length === 0) return titles;
    if (this.has('file', fileId)) return [];
    return titles.filter((titleId) => !this.has('title', titleId));
  }

  /** What steering may know: it cannot send anybody to what it has never heard of. */
  over(parts: FleetParts): FleetParts {
    if (this.inForce.length === 0) return parts;
    return {
      ...parts,
      appliances: parts.appliances.map((entry) => this.#standing(entry)),
      titles: parts.titles
        .filter(({ titleId }) => !this.has('title', titleId))
        .map((title) => this.#without(title)),
    };
  }

  #standing(entry: SnapshotAppliance): SnapshotAppliance {
    if (!this.isRevoked(entry.applianceId)) return entry;
    let revoked = this.#revoked.get(entry);
    if (revoked === undefined) {
      revoked = { ...entry, standing: 'down', reasons: ['revoked by the operator'], weight: 0 };
      this.#revoked.set(entry, revoked);
    }
    return revoked;
  }

  /** The same object where nothing of it is denied, and the same trimmed one each time. */
  #without(title: SnapshotTitle): SnapshotTitle {
    const denied = this.#values.get('file');
    if (denied === undefined) return title;
    let trimmed = this.#trimmed.get(title);
    if (trimmed === undefined) {
      const files = title.files.filter(({ fileId }) => !denied.has(fileId));
      trimmed = files.length === title.files.length ? title : { ...title, files };
      this.#trimmed.set(title, trimmed);
    }
    return trimmed;
  }
}
