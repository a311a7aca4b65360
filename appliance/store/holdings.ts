/**
 * The set of whole files, as the control plane is told: a version, an order-independent digest, and the latest changes.
 *
 * Invariants: (1) each change raises the version by one
 *             (2) versions grow over restarts too: the first one is the trusted time of the start
 */
import { SetDigest } from '#control-plane/contract.ts';
import type { FileId } from '#upstream/contract.ts';

/** Changes that a delta can still carry; whoever is further behind gets the full set. */
const CHANGES_KEPT_MAX = 20_000;

export interface HoldingsChange {
  readonly fromVersion: number;
  readonly toVersion: number;
  readonly added: FileId[];
  readonly removed: FileId[];
}

export class Holdings {
  readonly #files = new Set<FileId>();
  readonly #digest = new SetDigest();
  #changes: { fileId: FileId; isAdded: boolean }[] = [];
  #version: number;

  constructor(startVersion: number) {
    this.#version = startVersion;
  }

  get version(): number {
    return this.#version;
  }

  get digest(): string {
    return this.#digest.toString();
  }

  get count(): number {
    return this.#files.size;
  }

  files(): Iterable<FileId> {
    return this.#files.values();
  }

  has(fileId: FileId): boolean {
    return this.#files.has(fileId);
  }

  add(fileId: FileId): void {
    if (this.#files.has(fileId)) return;
    this.#files.add(fileId);
    this.#digest.add(fileId);
    this.#changed(fileId, true);
  }

  remove(fileId: FileId): void {
    if (!this.#files.delete(fileId)) return;
    this.#digest.remove(fileId);
    this.#changed(fileId, false);
  }

  /**
   * What changed after `version`, at most `limit` changes of it; null where that is not known any more.
   * A file that came and went within the range appears in neither list.
   */
  changesSince(version: number, limit: number): HoldingsChange | null {
    const behind = this.#version - version;
    if (behind < 0 || behind > this.#changes.length) return null;
    const start = this.#changes.length - behind;
    const taken = this.#changes.slice(start, start + limit);
    const last = new Map<FileId, { first: boolean; last: boolean }>();
    for (const { fileId, isAdded } of taken) {
      last.set(fileId, { first: last.get(fileId)?.first ?? isAdded, last: isAdded });
    }
    const added: FileId[] = [];
    const removed: FileId[] = [];
    for (const [fileId, change] of last) {
      if (change.first !== change.last) continue;
      (change.last ? added : removed).push(fileId);
    }
    return { fromVersion: version, toVersion: version + taken.length, added, removed };
  }

  #changed(fileId: FileId, isAdded: boolean): void {
    this.#version++;
    this.#changes.push({ fileId, isAdded });
    if (this.#changes.length > CHANGES_KEPT_MAX * 2) {
      this.#changes = this.#changes.slice(-CHANGES_KEPT_MAX);
    }
  }
}
