/**
 * What boxes measured towards client networks, folded per (cluster, /24 or /48) over the last hour: steering demotes bad paths by it.
 *
 * Shape:      take(box, its minute) -> taken | the reason it was not; entries() -> one list, the same object until something is folded
 * Invariants: (1) a box's minute is counted once, whatever is sent again
 *             (2) at most PATHS_MAX entries leave here: those with the most answers; older than an hour is forgotten
 *             (3) no address longer than an aggregate is ever here
 */
import type { PathQuality } from '#appliance/contract.ts';
import { parsePrefix } from '#base/address.ts';
import type { ApplianceId, ClusterId, PathQualityEntry } from './contract.ts';

export const PATHS_MAX = 20_000; // about 100 bytes each in a snapshot
const WINDOW_SECONDS = 3600;
const MINUTE_SECONDS = 60;
const AGGREGATE_BITS = { 4: 24, 6: 48 } as const;
/** A box's clock is trusted time: what is further ahead is no minute of now. */
const AHEAD_SECONDS_MAX = 120;
const REPORTS_MAX = 60 * 17_000; // an hour of every box

interface Report {
  readonly clusterId: ClusterId;
  readonly quality: PathQuality;
}

export class PathLedger {
  /** By minute and box; Map keeps the order in which they came. */
  readonly #reports = new Map<string, Report>();
  #entries: readonly PathQualityEntry[] = [];
  #isDirty = false;

  take(
    applianceId: ApplianceId,
    clusterId: ClusterId,
    quality: PathQuality,
    nowSeconds: number,
  ): 'taken' | 'again' | 'not-of-now' | 'no-aggregate' {
    const age = nowSeconds - quality.minute;
    const isMinute = quality.minute % MINUTE_SECONDS === 0;
    if (!isMinute || age > WINDOW_SECONDS || age < -AHEAD_SECONDS_MAX) return 'not-of-now';
    if (!quality.aggregates.every(({ prefix }) => isAggregate(prefix))) return 'no-aggregate';
    const key = `${quality.minute} ${applianceId}`;
    if (this.#reports.has(key)) return 'again';
    if (this.#reports.size >= REPORTS_MAX) {
      for (const oldest of this.#reports.keys()) {
        this.#reports.delete(oldest);
        break;
      }
    }
    this.#reports.set(key, { clusterId, quality });
    this.#isDirty = true;
    return 'taken';
  }

  /** Folded anew, at most as often as this is called: once a minute is enough. True where something changed. */
  fold(nowSeconds: number): boolean {
    for (const [key, { quality }] of this.#reports) {
      if (nowSeconds - quality.minute <= WINDOW_SECONDS) continue;
      this.#reports.delete(key);
      this.#isDirty = true;
    }
    if (!this.#isDirty) return false;
    this.#isDirty = false;
    this.#entries = folded(this.#reports.values());
    return true;
  }

  get entries(): readonly PathQualityEntry[] {
    return this.#entries;
  }
}

function folded(reports: Iterable<Report>): readonly PathQualityEntry[] {
  const byPath = new Map<string, PathQualityEntry>();
  for (const { clusterId, quality } of reports) {
    for (const { prefix, firstByteMs, rateKbps, errors } of quality.aggregates) {
      const key = `${clusterId} ${prefix}`;
      const before = byPath.get(key);
      byPath.set(key, {
        prefix,
        clusterId,
        firstByteMs: sum(before?.firstByteMs, firstByteMs),
        rateKbps: sum(before?.rateKbps, rateKbps),
        errors: errors + (before?.errors ?? 0),
      });
    }
  }
  const entries = [...byPath.values()];
  if (entries.length <= PATHS_MAX) return entries;
  return entries
    .map((entry) => ({ entry, answers: entry.firstByteMs.reduce((total, n) => total + n, 0) }))
    .sort((a, b) => b.answers - a.answers)
    .slice(0, PATHS_MAX)
    .map(({ entry }) => entry);
}

function sum(before: readonly number[] | undefined, added: readonly number[]): number[] {
  if (before === undefined) return [...added];
  const length = Math.max(before.length, added.length);
  return Array.from({ length }, (_, at) => (before[at] ?? 0) + (added[at] ?? 0));
}

function isAggregate(text: string): boolean {
  const prefix = parsePrefix(text);
  return prefix !== null && prefix.length === AGGREGATE_BITS[prefix.family];
}
