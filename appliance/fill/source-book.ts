/**
 * Which sources a file has, best first, and how each of them behaves.
 *
 * The control plane ranks; this box remembers the ranking for a while, leaves out whom it has reason to, and goes on
 * with every source that it has ever been told of when the control plane is gone (`alone.ts`).
 *
 * Invariants: (1) a delay counts from the first question about the file; where the box is left alone, not before that, nor before the
 *                 last bytes that another box gave: whoever is waited for is at work
 *             (2) what was ranked for a viewer's miss is never used for fill: it knows no delays
 */
import { LRUCache } from 'lru-cache';
import type { Clock } from '#base/clock.ts';
import type { Outcome } from '#base/outcome.ts';
import type { Random } from '#base/random.ts';
import type { FillSource, FillSources, SourcesRequest } from '#control-plane/contract.ts';
import type { FetchPurpose, FileId, TitleId } from '#upstream/contract.ts';
import { orderAlone, PLACE_MS, rankAlone, type AloneOrder } from './alone.ts';
import { chooseOrder, paced, UNKNOWN_PACE, type SourcePace } from './source-choice.ts';
import {
  HEALTHY,
  isUsable,
  noteCall,
  type SourceEvent,
  type SourceHealth,
} from './source-health.ts';

/** A site's boxes finish files for each other within seconds. */
const RANKING_LIFE_MS = 3000;
/** A file that is being fetched has its sources: others are looked for more rarely. */
const RANKING_USED_MS = 30_000;
/** To go further than the site, a box wants to hear that it still should: those that it waits for may have got on. */
const ESCALATION_SURE_MS = 5000;
/** A ranking is of use a while longer where nobody gives a new one. */
const RANKING_KEPT_MS = 3600 * 1000;
const FIRST_ASKED_LIFE_MS = 24 * 3600 * 1000;
const RANKINGS_MAX = 50_000;
const KNOWN_SOURCES_MAX = 64;
const FILES_ALONE_MAX = 2000;
const FILES_PER_QUESTION_MAX = 256;
/** For what must not wait behind a master: the manifest calls it urgent. */
const URGENT_DELAY_MS_MAX = 15_000;
/** Left alone, other tiers are asked this often. */
const ALONE_TURN_MS = 15_000;
const KIND_ORDER = { peer: 0, tier: 1, origin: 2 } as const;

export interface SourceBookDeps {
  readonly applianceId: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly ask: (request: SourcesRequest) => Promise<Outcome<FillSources>>;
  /** What was known before a restart; and where new knowledge goes. */
  readonly remembered: readonly FillSource[];
  readonly remember: (sources: readonly FillSource[]) => void;
}

export interface Ranking {
  readonly titles: readonly TitleId[]; // as the control plane says; not signed, a hint only
  readonly sources: readonly FillSource[];
}

interface KnownAlone {
  readonly order: AloneOrder;
  readonly turn: number;
  readonly sources: readonly FillSource[];
}

interface KnownRanking extends Ranking {
  readonly atMs: number;
  readonly holders: number;
}

/** What can be said of a file's sources without asking anybody. */
export interface SourceLook {
  readonly isFresh: boolean; // else it may be asked about
  readonly askedMs: number | null; // monotonic; null: never
  readonly due: readonly FillSource[]; // usable now, in the ranking's order
  readonly holders: number; // boxes that have it, as far as is known
}

/** A source that is not asked at present, and why. */
export interface LeftOut {
  readonly id: string;
  readonly baseUrl: string;
  readonly why: 'bad-bytes' | 'failing';
  readonly untilMs: number; // monotonic
  readonly corruptChunks: number;
}

/** Whom the control plane called the file's master stays it; whoever was to wait still waits for that one a good while. */
function asRanked(source: FillSource, originDelayMs: number): FillSource {
  if (source.kind !== 'origin') return source;
  return { ...source, delayMs: originDelayMs === 0 ? 0 : Math.max(source.delayMs, PLACE_MS) };
}

export class SourceBook {
  readonly #deps: SourceBookDeps;
  readonly #rankings = {
    fill: new LRUCache<FileId, KnownRanking>({ max: RANKINGS_MAX }),
    miss: new LRUCache<FileId, KnownRanking>({ max: RANKINGS_MAX }),
  };
  readonly #aloneRankings = new LRUCache<FileId, KnownAlone>({ max: FILES_ALONE_MAX });
  /** When each file was first asked for: a source with a delay is not used before (escalation). */
  readonly #firstAskedMs = new LRUCache<FileId, number>({ max: RANKINGS_MAX });
  readonly #health = new Map<string, SourceHealth>();
  readonly #pace = new Map<string, SourcePace>();
  readonly #known = new Map<string, FillSource>();
  /** Since when questions are not answered; null: they are. */
  #aloneSinceMs: number | null = null;
  /** When bytes last came from another box. */
  #givenAtMs = -Infinity;

  constructor(deps: SourceBookDeps) {
    this.#deps = deps;
    for (const source of deps.remembered) this.#known.set(source.id, source);
  }

  get isAlone(): boolean {
    return this.#aloneSinceMs !== null;
  }

  /** The ranking of one file, asked for where it is not fresh: sources whose time has come. */
  async ranking(fileId: FileId, purpose: FetchPurpose): Promise<Ranking> {
    const lifeMs = purpose === 'fill' ? RANKING_USED_MS : RANKING_LIFE_MS;
    const isStuck = purpose === 'fill' && this.#due(fileId).length === 0;
    if (!this.#isFresh(fileId, purpose, isStuck ? RANKING_LIFE_MS : lifeMs)) {
      await this.#ask([fileId], purpose);
    }
    const taken = this.#rankings[purpose].get(fileId);
    if (purpose === 'fill') return { titles: taken?.titles ?? [], sources: this.#due(fileId) };
    // A viewer waits for a miss: escalation is for fill alone, whoever asked first.
    if (taken === undefined || taken.sources.length === 0) {
      return { titles: [], sources: this.known() };
    }
    return taken;
  }

  look(fileId: FileId, isUrgent = false): SourceLook {
    const known = this.#rankings.fill.get(fileId);
    const due = this.#dueOf(fileId, known, isUrgent);
    const { clock } = this.#deps;
    return {
      isFresh: known !== undefined && clock.monotonicMs() - known.atMs < RANKING_LIFE_MS,
      askedMs: known?.atMs ?? null,
      due: due.length === 0 ? due : due.filter((source) => this.isUsable(source)),
      holders: known?.holders ?? 0,
    };
  }

  /** The order in which sources of one file are tried. */
  order(sources: readonly FillSource[]): readonly FillSource[] {
    return chooseOrder(sources, (id) => this.pace(id), this.#deps.random);
  }

  /** Asks for many files at once, ahead of their need. */
  async prefetch(fileIds: readonly FileId[], purpose: FetchPurpose): Promise<void> {
    const wanted = fileIds.slice(0, FILES_PER_QUESTION_MAX);
    if (wanted.length > 0) await this.#ask(wanted, purpose);
  }

  /** Where the fleet's sources changed: what was ranked before is asked for again. */
  forgetRankings(): void {
    this.#rankings.fill.clear();
    this.#rankings.miss.clear();
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

  pace(sourceId: string): SourcePace {
    return this.#pace.get(sourceId) ?? UNKNOWN_PACE;
  }

  /** Sources that are not asked at present: what an operator and the control plane are told. */
  leftOut(): readonly LeftOut[] {
    const nowMs = this.#deps.clock.monotonicMs();
    const out: LeftOut[] = [];
    for (const [id, health] of this.#health) {
      if (isUsable(health, nowMs)) continue;
      const isBlamed = nowMs < health.blamedUntilMs;
      out.push({
        id,
        baseUrl: this.#known.get(id)?.baseUrl ?? '',
        why: isBlamed ? 'bad-bytes' : 'failing',
        untilMs: isBlamed ? health.blamedUntilMs : health.openUntilMs,
        corruptChunks: health.corruptChunks,
      });
    }
    return out;
  }

  note(source: FillSource, event: SourceEvent): void {
    const next = noteCall(this.health(source.id), event, this.#deps.clock.monotonicMs());
    this.#health.set(source.id, next);
  }

  /** One run of bytes from a source begins; the answer tells how it went. Its end is to be told once. */
  began(source: FillSource): (bytes: number) => void {
    const startMs = this.#deps.clock.monotonicMs();
    this.#addUnderWay(source.id, 1);
    return (bytes) => {
      const elapsedMs = this.#deps.clock.monotonicMs() - startMs;
      this.#pace.set(source.id, paced(this.pace(source.id), bytes, elapsedMs));
      this.#addUnderWay(source.id, -1);
      if (bytes > 0 && source.kind !== 'origin') this.#givenAtMs = this.#deps.clock.monotonicMs();
    };
  }

  #addUnderWay(sourceId: string, change: number): void {
    const pace = this.pace(sourceId);
    this.#pace.set(sourceId, { ...pace, underWay: Math.max(0, pace.underWay + change) });
  }

  #isFresh(fileId: FileId, purpose: FetchPurpose, lifeMs: number): boolean {
    const known = this.#rankings[purpose].get(fileId);
    return known !== undefined && this.#deps.clock.monotonicMs() - known.atMs < lifeMs;
  }

  /** Sources of fill whose time has come. */
  #due(fileId: FileId): readonly FillSource[] {
    return this.#dueOf(fileId, this.#rankings.fill.get(fileId), false);
  }

  #dueOf(
    fileId: FileId,
    known: KnownRanking | undefined,
    isUrgent: boolean,
  ): readonly FillSource[] {
    const nowMs = this.#deps.clock.monotonicMs();
    const isAlone = this.#aloneSinceMs !== null;
    const isOld = known === undefined || nowMs - known.atMs >= RANKING_KEPT_MS;
    if (!isAlone && isOld) return [];
    let firstMs = this.#firstAskedMs.get(fileId);
    if (firstMs === undefined || nowMs - firstMs >= FIRST_ASKED_LIFE_MS) {
      firstMs = nowMs;
      this.#firstAskedMs.set(fileId, firstMs);
    }
    if (isAlone && !isUrgent) firstMs = Math.max(firstMs, this.#givenAtMs);
    if (isAlone) firstMs = Math.max(firstMs, this.#aloneSinceMs ?? 0);
    const sources = isAlone ? this.#alone(fileId, known?.sources ?? []) : (known?.sources ?? []);
    const delayMsMax = isUrgent ? URGENT_DELAY_MS_MAX : Infinity;
    const isSure = isAlone || (known !== undefined && nowMs - known.atMs < ESCALATION_SURE_MS);
    return sources.filter(
      ({ delayMs }) =>
        delayMs === 0 || (isSure && nowMs >= firstMs + Math.min(delayMs, delayMsMax)),
    );
  }

  /** Boxes that were said to hold the file stand first; the rest by the order that needs no one. */
  #alone(fileId: FileId, holders: readonly FillSource[]): readonly FillSource[] {
    const near = holders.filter(({ kind }) => kind !== 'origin');
    const ids = new Set(near.map(({ id }) => id));
    let others = this.#aloneRanking(fileId);
    const origin = holders.find(({ kind }) => kind === 'origin');
    if (origin !== undefined) others = others.map((source) => asRanked(source, origin.delayMs));
    if (near.length === 0) return others;
    return [...near, ...others.filter(({ id }) => !ids.has(id))].sort(
      (a, b) => KIND_ORDER[a.kind] - KIND_ORDER[b.kind],
    );
  }

  #aloneRanking(fileId: FileId): readonly FillSource[] {
    const turn = Math.floor(this.#deps.clock.monotonicMs() / ALONE_TURN_MS);
    const known = this.#aloneRankings.get(fileId);
    if (known?.turn === turn) return known.sources;
    const order = known?.order ?? orderAlone(this.#deps.applianceId, fileId, this.known());
    const sources = rankAlone(order, turn);
    this.#aloneRankings.set(fileId, { order, turn, sources });
    return sources;
  }

  async #ask(fileIds: readonly FileId[], purpose: FetchPurpose): Promise<void> {
    const answer = await this.#deps.ask({ fileIds: [...fileIds], purpose });
    if (!answer.ok) {
      this.#aloneSinceMs ??= this.#deps.clock.monotonicMs();
      return;
    }
    this.#aloneSinceMs = null;
    this.#take(answer.value, purpose);
  }

  #take(answer: FillSources, purpose: FetchPurpose): void {
    const atMs = this.#deps.clock.monotonicMs();
    let isNew = false;
    for (const { fileId, titles, sources } of answer.files) {
      const holders = sources.filter(({ kind }) => kind !== 'origin').length;
      this.#rankings[purpose].set(fileId, { titles, sources, atMs, holders });
      for (const source of sources) isNew = this.#meet(source) || isNew;
    }
    for (const source of answer.neighbours ?? []) isNew = this.#meet(source) || isNew;
    if (isNew) this.#deps.remember(this.known());
  }

  /** Keeps a source in mind. A full book gives up a far box for one of this site. */
  #meet(source: FillSource): boolean {
    const known = this.#known.get(source.id);
    if (known?.baseUrl === source.baseUrl && known.kind === source.kind) return false;
    if (known === undefined && this.#known.size >= KNOWN_SOURCES_MAX) {
      if (source.kind === 'tier') return false;
      const far = [...this.#known.values()].find(({ kind }) => kind === 'tier');
      if (far === undefined) return false;
      this.#known.delete(far.id);
    }
    this.#known.set(source.id, source);
    this.#aloneRankings.clear();
    return true;
  }
}
