/**
 * The fast-track list as it comes in: verified, kept on disk, and each minute the files of it that may be fetched now.
 *
 * Errors:     a list that does not verify, or is older, changes nothing
 * Invariants: (1) versions only grow, also over a restart
 *             (2) what was fetched within the last hour counts against the allowance
 */
import type { Clock, Timer } from '#base/clock.ts';
import type { Logger } from '#base/log.ts';
import { HOUR_MS, MINUTE_MS } from '#base/units.ts';
import { openFastTrack, type FastTrackList, type KeyRing } from '#control-plane/contract.ts';
import { urgentFiles, type UrgentFile } from '../fill/fast-track.ts';
import type { KeptDocuments } from './kept-documents.ts';

const LIST_NAME = 'fast-track.jws';

export interface FastTrackIntakeDeps {
  readonly clusterId: string;
  readonly kept: KeptDocuments;
  readonly clock: Clock;
  readonly log: Logger;
  readonly keys: () => KeyRing | null;
  readonly nowMs: () => number; // trusted
  readonly isHeld: (fileId: string) => boolean;
  readonly onChange: () => void;
}

export class FastTrackIntake {
  readonly #deps: FastTrackIntakeDeps;
  #list: FastTrackList | null = null;
  #urgent: readonly UrgentFile[] = [];
  /** Files that were not held when they were chosen, and when they were found held. */
  readonly #fetched = new Map<string, { readonly atMs: number; readonly bytes: number }>();
  readonly #awaited = new Set<string>();
  #timer: Timer | null = null;

  constructor(deps: FastTrackIntakeDeps) {
    this.#deps = deps;
  }

  get urgent(): readonly UrgentFile[] {
    return this.#urgent;
  }

  async start(): Promise<void> {
    const text = this.#deps.kept.read(LIST_NAME)?.toString('latin1');
    if (text !== undefined) await this.#offer(text, false);
    this.#timer = this.#deps.clock.every(MINUTE_MS, () => this.#choose());
  }

  stop(): void {
    this.#timer?.cancel();
  }

  take(text: string): Promise<void> {
    return this.#offer(text, true);
  }

  async #offer(text: string, isNew: boolean): Promise<void> {
    const { keys, kept, log } = this.#deps;
    const ring = keys();
    if (ring === null) return; // sent again with the next connection
    const opened = await openFastTrack(text, ring);
    if (!opened.ok) {
      log.error(
        { event: 'fast-track-refused' },
        `a fast-track list is not taken: ${opened.failure}`,
      );
      return;
    }
    if (opened.value.version <= (this.#list?.version ?? 0)) return;
    this.#list = opened.value;
    if (isNew) kept.write(LIST_NAME, text);
    this.#choose();
  }

  #choose(): void {
    if (this.#list === null) return;
    const { clusterId, isHeld, nowMs, onChange } = this.#deps;
    const now = nowMs();
    for (const { fileId, sizeBytes } of this.#list.entries) {
      if (!this.#awaited.has(fileId) || !isHeld(fileId)) continue;
      this.#awaited.delete(fileId);
      this.#fetched.set(fileId, { atMs: now, bytes: sizeBytes });
    }
    let spentBytes = 0;
    for (const [fileId, { atMs, bytes }] of this.#fetched) {
      if (now - atMs > HOUR_MS) this.#fetched.delete(fileId);
      else spentBytes += bytes;
    }
    const chosen = urgentFiles(this.#list, clusterId, { isHeld, spentBytes }, now);
    for (const { fileId } of chosen) if (!isHeld(fileId)) this.#awaited.add(fileId);
    const names = (files: readonly UrgentFile[]): string =>
      files.map(({ fileId }) => fileId).join();
    if (names(chosen) === names(this.#urgent)) return;
    this.#urgent = chosen;
    onChange();
  }
}
