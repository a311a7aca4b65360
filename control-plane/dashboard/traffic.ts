/**
 * Who sent how many bytes, second by second: made from counters that restart, read over a sliding window.
 *
 * Shape:      counters (absolute, per run of a process) -> deltas -> seconds -> figures and a series
 * Units:      bytes in, bits per second out; atMs is wall time
 * Invariants: (1) a counter's first sight is its baseline: nothing that happened before is counted as now
 *             (2) a new run (another bootId, or a counter that fell) counts from zero
 *             (3) the last LAG_SECONDS are left out of every figure: their reports are still on the way
 *             (4) no more than SECONDS_KEPT seconds are kept
 */
import type { Heartbeat } from '#appliance/contract.ts';
import { SECOND_MS } from '#base/units.ts';
import { SERIES_SECONDS, WINDOW_SECONDS, type CdnFigures, type SeriesPoint } from './fleet-view.ts';

const LAG_SECONDS = 2; // boxes report each second, the origin is asked every two
const RATE_SECONDS = 5; // "now" is the mean over so many seconds
const SPREAD_SECONDS_MAX = 30; // a report after a longer silence is spread over no more than this
const SECONDS_KEPT = SERIES_SECONDS + LAG_SECONDS;
const BITS = 8;

/** Bytes of one second, or of one report. */
export interface Amounts {
  readonly viewer: number; // to viewers, by boxes and by the origin
  readonly originServe: number; // by the origin on demand
  readonly originFill: number; // by the origin for the manifest
  readonly peerFill: number; // by peers and tiers for the manifest
  readonly fill: number; // all that boxes fetched for the manifest
}

const NOTHING: Amounts = { viewer: 0, originServe: 0, originFill: 0, peerFill: 0, fill: 0 };

export interface OriginCounters {
  readonly serveBytes: number;
  readonly fillBytes: number;
  readonly viewerBytes: number;
}

export class Traffic {
  readonly #seconds = new Map<number, Amounts>();
  readonly #boxes = new Map<
    string,
    { bootId: string; counters: Heartbeat['counters']; atMs: number; viewerBps: number }
  >();
  #origin: { counters: OriginCounters; atMs: number } | null = null;

  fromBox(applianceId: string, heartbeat: Heartbeat, atMs: number): void {
    const { bootId, counters } = heartbeat;
    const before = this.#boxes.get(applianceId);
    let viewerBps = 0;
    if (before !== undefined) {
      const since = before.bootId === bootId ? before.counters : null;
      const amounts = boxAmounts(counters, since);
      const spanMs = this.#add(amounts, before.atMs, atMs);
      const rate = (amounts.viewer * BITS * SECOND_MS) / spanMs;
      viewerBps = since === null ? rate : (rate + before.viewerBps) / 2; // smooths one heartbeat
    }
    this.#boxes.set(applianceId, { bootId, counters, atMs, viewerBps });
  }

  fromOrigin(counters: OriginCounters, atMs: number): void {
    const before = this.#origin;
    this.#origin = { counters, atMs };
    if (before === null) return;
    const restarted =
      counters.serveBytes < before.counters.serveBytes ||
      counters.fillBytes < before.counters.fillBytes;
    const since = restarted ? { serveBytes: 0, fillBytes: 0, viewerBytes: 0 } : before.counters;
    const amounts = {
      ...NOTHING,
      viewer: Math.max(0, counters.viewerBytes - since.viewerBytes),
      originServe: counters.serveBytes - since.serveBytes,
      originFill: counters.fillBytes - since.fillBytes,
    };
    this.#add(amounts, before.atMs, atMs);
  }

  forget(applianceId: string): void {
    this.#boxes.delete(applianceId);
  }

  /** What a box sends to viewers now; 0 when it was not heard for a while. */
  viewerBpsOf(applianceId: string, nowMs: number): number {
    const box = this.#boxes.get(applianceId);
    return box === undefined || nowMs - box.atMs > RATE_SECONDS * SECOND_MS ? 0 : box.viewerBps;
  }

  figures(nowMs: number): CdnFigures {
    const last = Math.floor(nowMs / SECOND_MS) - LAG_SECONDS;
    const now = this.#sum(last - RATE_SECONDS, last);
    const window = this.#sum(last - WINDOW_SECONDS, last);
    const bps = (bytes: number): number => (bytes * BITS) / RATE_SECONDS;
    const share = (originBytes: number): number | null =>
      window.viewer === 0 ? null : 1 - originBytes / window.viewer;
    return {
      viewerBps: bps(now.viewer),
      originServeBps: bps(now.originServe),
      fillBps: bps(now.fill),
      offloadShare: share(window.originServe),
      netOffloadShare: share(window.originServe + window.originFill),
      windowSeconds: WINDOW_SECONDS,
    };
  }

  series(nowMs: number): readonly SeriesPoint[] {
    const last = Math.floor(nowMs / SECOND_MS) - LAG_SECONDS;
    const first = Math.max(last - SERIES_SECONDS, Math.min(last, ...this.#seconds.keys()));
    const points: SeriesPoint[] = [];
    for (let second = first; second < last; second++) {
      const { viewer, originServe, originFill, peerFill } = this.#seconds.get(second) ?? NOTHING;
      points.push({
        atMs: second * SECOND_MS,
        viewerBps: viewer * BITS,
        originServeBps: originServe * BITS,
        originFillBps: originFill * BITS,
        peerFillBps: peerFill * BITS,
      });
    }
    return points;
  }

  #sum(from: number, to: number): Amounts {
    let sum = NOTHING;
    for (let second = from; second < to; second++) {
      const amounts = this.#seconds.get(second);
      if (amounts !== undefined) sum = plus(sum, amounts, 1);
    }
    return sum;
  }

  /** Spreads a report evenly over the time it covers. Gives that time. */
  #add(amounts: Amounts, fromMs: number, toMs: number): number {
    const longestMs = SPREAD_SECONDS_MAX * SECOND_MS;
    const spanMs = Math.min(longestMs, Math.max(1, toMs - fromMs));
    let startMs = toMs - spanMs;
    while (startMs < toMs) {
      const second = Math.floor(startMs / SECOND_MS);
      const endMs = Math.min(toMs, (second + 1) * SECOND_MS);
      const share = (endMs - startMs) / spanMs;
      this.#seconds.set(second, plus(this.#seconds.get(second) ?? NOTHING, amounts, share));
      startMs = endMs;
    }
    this.#prune(Math.floor(toMs / SECOND_MS));
    return spanMs;
  }

  #prune(newest: number): void {
    if (this.#seconds.size <= SECONDS_KEPT) return;
    for (const second of this.#seconds.keys()) {
      // A wall clock that jumped leaves seconds ahead of us: they go as well.
      if (second < newest - SECONDS_KEPT || second > newest + 1) this.#seconds.delete(second);
    }
  }
}

function boxAmounts(now: Heartbeat['counters'], since: Heartbeat['counters'] | null): Amounts {
  const delta = (read: (counters: Heartbeat['counters']) => number): number =>
    Math.max(0, read(now) - (since === null ? 0 : read(since)));
  const peerFill = delta(({ fillBytes }) => fillBytes.peer + fillBytes.tier);
  return {
    ...NOTHING,
    viewer: delta(({ viewerBytes }) => viewerBytes),
    peerFill,
    fill: peerFill + delta(({ fillBytes }) => fillBytes.origin),
  };
}

function plus(a: Amounts, b: Amounts, share: number): Amounts {
  return {
    viewer: a.viewer + b.viewer * share,
    originServe: a.originServe + b.originServe * share,
    originFill: a.originFill + b.originFill * share,
    peerFill: a.peerFill + b.peerFill * share,
    fill: a.fill + b.fill * share,
  };
}
