/**
 * What players say they could not play from: worth a look at the box, and at most a place behind its peers. Never more: anybody
 * may run a player.
 *
 *   one report           -> the box is probed at once
 *   DEMOTING_SESSIONS of DEMOTING_BLOCKS blocks within WINDOW_MS -> for that long the box stands behind its peers
 *
 * Shape:      book.take(report, now) -> counted | why not; book.demoted(now) -> boxes
 * Invariants: (1) a session counts once per box and window, and a block of clients (/24, /48) at most PER_BLOCK_MAX times
 *             (2) memory is bounded: SESSIONS_MAX sessions in all; beyond them nothing counts until the window has moved on
 */
import type { Milliseconds } from '#base/clock.ts';
import type { ApplianceId } from '#control-plane/contract.ts';

export const WINDOW_MS = 60_000;
export const PER_BLOCK_MAX = 5;
export const DEMOTING_SESSIONS = 20;
export const DEMOTING_BLOCKS = 5;
export const SESSIONS_MAX = 100_000;

export interface PlayerReport {
  readonly applianceId: ApplianceId;
  readonly session: string;
  readonly block: string; // of the client
}

export type ReportVerdict = 'counted' | 'again' | 'block-full' | 'book-full';

interface Complaints {
  readonly sessions: Set<string>;
  readonly blocks: Map<string, number>;
}

export class ReportBook {
  #window = -1;
  #sessions = 0;
  #current = new Map<ApplianceId, Complaints>();
  #demoted = new Map<ApplianceId, Milliseconds>(); // until when

  take({ applianceId, session, block }: PlayerReport, nowMs: Milliseconds): ReportVerdict {
    const window = Math.floor(nowMs / WINDOW_MS);
    if (window !== this.#window) {
      this.#window = window;
      this.#sessions = 0;
      this.#current = new Map();
    }
    let complaints = this.#current.get(applianceId);
    if (complaints === undefined) {
      complaints = { sessions: new Set(), blocks: new Map() };
      this.#current.set(applianceId, complaints);
    }
    if (complaints.sessions.has(session)) return 'again';
    const ofBlock = complaints.blocks.get(block) ?? 0;
    if (ofBlock >= PER_BLOCK_MAX) return 'block-full';
    if (this.#sessions >= SESSIONS_MAX) return 'book-full';
    this.#sessions++;
    complaints.sessions.add(session);
    complaints.blocks.set(block, ofBlock + 1);
    if (
      complaints.sessions.size >= DEMOTING_SESSIONS &&
      complaints.blocks.size >= DEMOTING_BLOCKS
    ) {
      this.#demoted.set(applianceId, nowMs + WINDOW_MS);
    }
    return 'counted';
  }

  demoted(nowMs: Milliseconds): readonly ApplianceId[] {
    for (const [id, untilMs] of this.#demoted) if (untilMs <= nowMs) this.#demoted.delete(id);
    return [...this.#demoted.keys()];
  }
}
