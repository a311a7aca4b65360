/**
 * Which sources a file has, best first, and how each of them behaves.
 *
 * The control plane ranks; this box remembers the ranking for a while, leaves out whom it has reason to, and goes on
 * with every source that it has ever been told of when the control plane is gone.
 */
import { LRUCache } from 'lru-cache';
import type { Clock } from '#base/clock.ts';
import type { Outcome } from '#base/outcome.ts';
import type { FillSource, FillSources, SourcesRequest } from '#control-plane/contract.ts';
import type { FetchPurpose, FileId, TitleId } from '#upstream/contract.ts';
import {
  HEALTHY,
  isUsable,
  noteCall,
  type SourceEvent,
  type SourceHealth,
} from './source-health.ts';

/** A site's boxes finish files for each other within seconds. */
const RANKING_LIFE_MS = 3000;
const FIRST_ASKED_LIFE_MS = 24 * 3600 * 1000;
const RANKINGS_MAX = 50_000;
const KNOWN_SOURCES_MAX = 64;
const KIND_ORDER = { peer: 0, tier: 1, origin: 2 } as const;

export interface SourceBookDeps {
  readonly clock: Clock;
  readonly ask: (request: SourcesRequest) => Promise<Outcome<FillSources>>;
  /** What was known before a restart; and where new knowledge goes. */
  readonly remembered: readonly FillSource[];
  readonly remember: (sources: readonly FillSource[]) => void;
}

export interface Ranking {
  readonly titles: readonly TitleId[]; // as the control plane says; not signed, a hint only
  readonly sources: readonly FillSource[];
}

export class SourceBook {
  readonly #deps: SourceBookDeps;
  readonly #rankings = new LRUCache<FileId, Ranking>({ max: RANKINGS_MAX, ttl: RANKING_LIFE_MS });
  /** When each file was first asked for: a source with a delay is not used before (escalation). */
  readonly #firstAskedMs = new LRUCache<FileId, number>({
    max: RANKINGS_MAX,
    ttl: FIRST_ASKED_LIFE_MS,
  });
  readonly #health = new Map<string, SourceHealth>();
  readonly #known = new Map<string, FillSource>();

  constructor(deps: SourceBookDeps) {
    this.#deps = deps;
    for (const source of deps.remembered) this.#known.set(source.id, source);
  }

  /** The ranking of one file. When nobody can be asked: every source known, the origin last. */
  async ranking(fileId: FileId, purpose: FetchPurpose): Promise<Ranking> {
    if (!this.#rankings.has(fileId)) {
      const answer = await this.#deps.ask({ fileIds: [fileId], purpose });
      if (answer.ok) this.#take(answer.value);
    }
    const taken = this.#rankings.get(fileId);
    if (taken === undefined || taken.sources.length === 0) {
      return { titles: [], sources: this.known() };
    }
    // A viewer waits for a miss: escalation is for fill alone, whoever asked first.
    const sources = purpose === 'miss' ? taken.sources : this.#due(fileId, taken.sources);
    return { titles: taken.titles, sources };
  }

  /** Sources whose time has come. */
  #due(fileId: FileId, sources: readonly FillSource[]): readonly FillSource[] {
    const now = this.#deps.clock.monotonicMs();
    let firstAskedMs = this.#firstAskedMs.get(fileId);
    if (firstAskedMs === undefined) {
      firstAskedMs = now;
      this.#firstAskedMs.set(fileId, now);
    }
    return sources.filter((source) => now >= firstAskedMs + source.delayMs);
  }

  /** Asks for many files at once, ahead of their need. */
  async prefetch(fileIds: readonly FileId[], purpose: FetchPurpose): Promise<void> {
    const wanted = fileIds.filter((fileId) => !this.#rankings.has(fileId));
    if (wanted.length === 0) return;
    const answer = await this.#deps.ask({ fileIds: wanted, purpose });
    if (answer.ok) this.#take(answer.value);
  }

  /** Where the fleet's sources changed: what was ranked before is asked for again. */
  forgetRankings(): void {
    this.#rankings.clear();
  }

  known(): readonly FillSource[] {
    return [...this.#known.values()].sort((a, b) => KIND_ORDER[a.kind] - KIND_ORDER[b.kind]);
  }

  isUsable(source: FillSource): boolean {
    return isUsable(this.health(source.id), this.#deps.clock.monotonicMs());
  }

  health(sourceId: string): SourceHealth {
    return this.#health.get(sourceId) ?? HEALTHY;
  }

  note(source: FillSource, event: SourceEvent): void {
    const next = noteCall(this.health(source.id), event, this.#deps.clock.monotonicMs());
    this.#health.set(source.id, next);
  }

  #take(answer: FillSources): void {
    let isNew = false;
    for (const { fileId, titles, sources } of answer.files) {
      this.#rankings.set(fileId, { titles, sources });
      for (const source of sources) {
        const known = this.#known.get(source.id);
        if (known?.baseUrl === source.baseUrl && known.kind === source.kind) continue;
        if (known === undefined && this.#known.size >= KNOWN_SOURCES_MAX) continue;
        this.#known.set(source.id, source);
        isNew = true;
      }
    }
    if (isNew) this.#deps.remember(this.known());
  }
}
