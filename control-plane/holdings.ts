/**
 * What one box holds, as the control plane knows it: a set that follows the box's deltas and is checked by its digest.
 *
 *   unknown --full--> following --delta (fromVersion fits)--> following
 *      ^                  |
 *      '---- a delta that does not fit, or a digest that differs
 *
 * Invariants: (1) `digest` is setDigestOf exactly the files in the set
 *             (2) only files of the catalogue appear by ordinal; others count for the digest and are
 *                 found again when their title is taken in
 *             (3) `serial` grows with each change: a copy of the ordinals with the same serial is current
 */
import type { HoldingsDelta, HoldingsFull } from '#appliance/contract.ts';
import type { FileId } from '#upstream/contract.ts';
import { SetDigest } from './contract.ts';

/** Heartbeats that may name a newer version before the delta that leads to it has arrived. */
const AHEAD_HEARTBEATS_MAX = 2;

export interface HoldingsCatalogue {
  ordinalOf(fileId: FileId): number | undefined;
  fileIdOf(ordinal: number): FileId | undefined;
}

export type HoldingsVerdict = 'current' | 'ahead' | 'resync';

export class BoxHoldings {
  readonly #catalogue: HoldingsCatalogue;
  #digest = new SetDigest();
  #ordinals = new Set<number>();
  #strangers = new Set<FileId>(); // held, but of no title that we know
  #version = 0;
  #known = false;
  #ahead = 0;
  #serial = 0;

  constructor(catalogue: HoldingsCatalogue) {
    this.#catalogue = catalogue;
  }

  get version(): number {
    return this.#version;
  }

  get serial(): number {
    return this.#serial;
  }

  get digest(): string {
    return this.#digest.toString();
  }

  get ordinals(): ReadonlySet<number> {
    return this.#ordinals;
  }

  /** From disk at start: believed until the first heartbeat's digest says otherwise. */
  restore(version: number, ordinals: Iterable<number>, strangers: Iterable<FileId>): void {
    const files: FileId[] = [...strangers];
    for (const ordinal of ordinals) {
      const fileId = this.#catalogue.fileIdOf(ordinal);
      if (fileId !== undefined) files.push(fileId);
    }
    this.takeFull({ version, files });
  }

  strangers(): readonly FileId[] {
    return [...this.#strangers];
  }

  takeFull(frame: Pick<HoldingsFull, 'version' | 'files'>): void {
    this.#digest = new SetDigest();
    this.#ordinals = new Set();
    this.#strangers = new Set();
    for (const fileId of frame.files) this.#add(fileId);
    this.#version = frame.version;
    this.#known = true;
    this.#ahead = 0;
    this.#serial++;
  }

  /** 'refused': it does not follow what is known; the next heartbeat's answer asks for everything. */
  takeDelta(
    frame: Pick<HoldingsDelta, 'fromVersion' | 'toVersion' | 'added' | 'removed'>,
  ): 'taken' | 'refused' {
    if (!this.#known || frame.fromVersion !== this.#version) {
      this.#known = false;
      return 'refused';
    }
    for (const fileId of frame.removed) this.#remove(fileId);
    for (const fileId of frame.added) this.#add(fileId);
    this.#version = frame.toVersion;
    this.#ahead = 0;
    this.#serial++;
    return 'taken';
  }

  /** Compares with what a heartbeat says. 'ahead': its delta is still on the way. */
  compare(told: { readonly version: number; readonly digest: string }): HoldingsVerdict {
    if (!this.#known) return 'resync';
    if (told.version === this.#version) {
      this.#ahead = 0;
      return told.digest === this.digest ? 'current' : 'resync';
    }
    if (told.version < this.#version) return 'resync';
    this.#ahead++;
    return this.#ahead <= AHEAD_HEARTBEATS_MAX ? 'ahead' : 'resync';
  }

  /** Files of a title that was just taken in may have been held before. */
  adopt(files: Iterable<FileId>): void {
    for (const fileId of files) {
      const ordinal = this.#catalogue.ordinalOf(fileId);
      if (ordinal === undefined || !this.#strangers.delete(fileId)) continue;
      this.#ordinals.add(ordinal);
      this.#serial++;
    }
  }

  #add(fileId: FileId): void {
    const ordinal = this.#catalogue.ordinalOf(fileId);
    const holds = ordinal === undefined ? this.#strangers.has(fileId) : this.#ordinals.has(ordinal);
    if (holds) return;
    if (ordinal === undefined) this.#strangers.add(fileId);
    else this.#ordinals.add(ordinal);
    this.#digest.add(fileId);
  }

  #remove(fileId: FileId): void {
    const ordinal = this.#catalogue.ordinalOf(fileId);
    const held =
      ordinal === undefined ? this.#strangers.delete(fileId) : this.#ordinals.delete(ordinal);
    if (held) this.#digest.remove(fileId);
  }
}
