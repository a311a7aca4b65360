/**
 * The in-memory catalogue: the union of the volumes' own, and the holdings that follow from it.
 *
 * Rows are read in a page at a time, so that viewers are served meanwhile; a file that is asked for before its page is looked up
 * by itself.
 *
 * Invariants: (1) a file has one entry, whatever number of volumes have a row of it: the first one that is met
 *             (2) the holdings are the whole files among the entries
 */
import type { Failure } from '#base/outcome.ts';
import type { FileId } from '#upstream/contract.ts';
import { StoredEntry } from './entry.ts';
import { Holdings } from './holdings.ts';
import type { VolumeState } from './volume-state.ts';
import type { CatalogueRow } from './volume.ts';

const ROWS_PER_PAGE = 1000; // read between two turns of the event loop: some 10 ms

export interface CatalogueDeps {
  readonly volumes: readonly VolumeState[];
  readonly nowMs: () => number;
  /** A volume's own catalogue cannot be read. */
  readonly unreadable: (state: VolumeState, failure: Failure) => void;
}

export class Catalogue {
  readonly holdings: Holdings;
  readonly #deps: CatalogueDeps;
  readonly #entries = new Map<FileId, StoredEntry>();
  readonly #loaded = Promise.withResolvers<void>();

  constructor(deps: CatalogueDeps) {
    this.#deps = deps;
    this.holdings = new Holdings(Math.floor(deps.nowMs()));
  }

  get size(): number {
    return this.#entries.size;
  }

  /** False while catalogues are being read: room and holdings are not known yet. */
  get isLoaded(): boolean {
    return this.#deps.volumes.every((state) => state.isLoaded || !state.isUp);
  }

  entries(): Iterable<StoredEntry> {
    return this.#entries.values();
  }

  /** What is in memory. */
  get(fileId: FileId): StoredEntry | undefined {
    return this.#entries.get(fileId);
  }

  /** What is here, in memory or not yet. */
  find(fileId: FileId): StoredEntry | undefined {
    const entry = this.#entries.get(fileId);
    if (entry !== undefined || this.isLoaded) return entry;
    for (const state of this.#deps.volumes) {
      if (state.isLoaded || !state.isUp) continue;
      const row = state.volume.catalogue.row(fileId);
      if (row !== null) return this.#take(state, row, this.#deps.nowMs());
    }
    return undefined;
  }

  add(entry: StoredEntry): void {
    this.#entries.set(entry.fileId, entry);
  }

  remove(entry: StoredEntry): void {
    this.#entries.delete(entry.fileId);
    this.holdings.remove(entry.fileId);
  }

  loadNow(): void {
    for (const state of this.#deps.volumes) while (this.#loadPage(state)) continue;
    this.#loaded.resolve();
  }

  async load(): Promise<void> {
    for (const state of this.#deps.volumes) {
      while (this.#loadPage(state)) await new Promise((resolve) => setImmediate(resolve));
    }
    this.#loaded.resolve();
  }

  async whenLoaded(): Promise<void> {
    if (!this.isLoaded) await this.#loaded.promise;
  }

  /** False where the volume's catalogue is read to its end, or cannot be. */
  #loadPage(state: VolumeState): boolean {
    if (!state.isUp || state.isLoaded) return false;
    const page = state.volume.catalogue.page(state.loadedUntil, ROWS_PER_PAGE);
    if (!page.ok) {
      this.#deps.unreadable(state, page.failure);
      return false;
    }
    const nowMs = this.#deps.nowMs();
    for (const row of page.value) if (!this.#entries.has(row.fileId)) this.#take(state, row, nowMs);
    state.loadedUntil = page.value.at(-1)?.fileId ?? state.loadedUntil;
    state.isLoaded = page.value.length < ROWS_PER_PAGE;
    return !state.isLoaded;
  }

  #take(state: VolumeState, row: CatalogueRow, nowMs: number): StoredEntry {
    const entry = StoredEntry.fromRow(state.at, row);
    this.#entries.set(entry.fileId, entry);
    state.account(entry, 1);
    if (!entry.isPinned) state.reactive.enter(entry, nowMs, false);
    if (entry.isWhole) this.holdings.add(entry.fileId);
    return entry;
  }
}
