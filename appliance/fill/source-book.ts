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
/** Left alone: how long nothing may come from a master that moved when last heard of; rankings put such a one off for longer. */
const AT_WORK_MS = 3 * 3600 * 1000;
const NONE: readonly FillSource[] = [];
const KIND_ORDER = { peer: 0, tier: 1, origin: 2 } as const;

export interface SourceBookDeps {
  readonly applianceId: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly ask: (request: SourcesRequest) => Promise<Outcome<FillSources>>;
  /** What was known before a restart; and where new knowledge goes. */
  readonly remembered: readonly FillSource[];
  readonly remember: (sources: readonly FillSource[]) => void;
  /** Files whose sources are remembered; simulations of many boxes remember fewer. */
  readonly rankingsMax?: number;
}

export interface Ranking {
  readonly titles: readonly TitleId[]; // as the control plane says; not signed, a hint only
  readonly sources: readonly FillSource[];
}

interface KnownAlone {
  readonly order: AloneOrder;
  readonly turn: number;
  readonly holders: readonly FillSource[]; // as last ranked
  readonly sources: readonly FillSource[];
}

interface KnownRanking extends Ranking {
  readonly atMs: number;
  readonly holders: number;
  readonly atOnce: readonly FillSource[]; // without a delay
  readonly delayMsLeast: number; // of the others
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

function withHolders(
  others: readonly FillSource[],
  holders: readonly FillSource[],
): readonly FillSource[] {
  const near = holders.filter(({ kind }) => kind !== 'origin');
  const ids = new Set(near.map(({ id }) => id));
  const origin = holders.find(({ kind }) => kind === 'origin');
  const ranked =
    origin === undefined ? others : others.map((source) => asRanked(source, origin.delayMs));
  if (near.length === 0) return ranked;
  return [...near, ...ranked.filter(({ id }) => !ids.has(id))].sort(
    (a, b) => KIND_ORDER[a.kind] - KIND_ORDER[b.kind],
  );
}

/**
 * Whom the control plane called the file's master stays it. Whoever was to wait still waits: the longer where that one was at work when
 * last heard of. All that is fetched from the origin at once is whole at about the same time, hours into the night.
 */
function asRanked(source: FillSource, originDelayMs: number): FillSource {
  if (source.kind !== 'origin') return source;
  if (originDelayMs === 0) return { ...source, delayMs: 0 };
  const leastMs = originDelayMs >= AT_WORK_MS ? AT_WORK_MS : PLACE_MS;
  return { ...source, delayMs: Math.max(source.delayMs, leastMs) };
}

export class SourceBook {
  readonly #deps: SourceBookDeps;
  readonly #rankings: Readonly<Record<FetchPurpose, LRUCache<FileId, KnownRanking>>>;
  readonly #aloneRankings = new LRUCache<FileId, KnownAlone>({ max: FILES_ALONE_MAX });
  /** When each file was first asked for: a source with a delay is not used before (escalation). */
  readonly #firstAskedMs: LRUCache<FileId, number>;
  readonly #health = new Map<string, SourceHealth>();
  readonly #pace = new Map<string, SourcePace>();
  readonly #known = new Map<string, FillSource>();
  /** Since when questions are not answered; null: they are. */
  #aloneSinceMs: number | null = null;
  /** When bytes last came from another box. */
  #givenAtMs = -Infinity;

  constructor(deps: SourceBookDeps) {
    this.#deps = deps;
    const max = deps.rankingsMax ?? RANKINGS_MAX;
    this.#rankings = { fill: new LRUCache({ max }), miss: new LRUCache({ max }) };
    this.#firstAskedMs = new LRUCache({ max });
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
    const known = this.#rankings.fill.peek(fileId); // of hundreds of files, several times a second
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

  /** Nobody who was asked has it. Left alone, the box asks other tiers the next time. */
  lacked(fileId: FileId): void {
    const known = this.#aloneRankings.get(fileId);
    if (this.isAlone && known !== undefined) {
      this.#rankAlone(fileId, known.holders, known, known.turn + 1);
    }
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
    let firstMs = this.#firstAskedMs.peek(fileId);
    if (firstMs === undefined || nowMs - firstMs >= FIRST_ASKED_LIFE_MS) {
      firstMs = nowMs;
      this.#firstAskedMs.set(fileId, firstMs);
    }
    if (isAlone && !isUrgent) firstMs = Math.max(firstMs, this.#givenAtMs);
    if (isAlone) firstMs = Math.max(firstMs, this.#aloneSinceMs ?? 0);
    const delayMsMax = isUrgent ? URGENT_DELAY_MS_MAX : Infinity;
    const isPast = (delayMs: number): boolean => nowMs >= firstMs + Math.min(delayMs, delayMsMax);
    if (isAlone) {
      return this.#alone(fileId, known?.sources ?? NONE).filter(
        ({ delayMs }) => delayMs === 0 || isPast(delayMs),
      );
    }
    if (known === undefined) return [];
    const isSure = nowMs - known.atMs < ESCALATION_SURE_MS;
    if (!isSure || !isPast(known.delayMsLeast)) return known.atOnce;
    return known.sources.filter(({ delayMs }) => delayMs === 0 || isPast(delayMs));
  }

  /** The order that needs no one; boxes that were said to hold the file stand first. */
  #alone(fileId: FileId, holders: readonly FillSource[]): readonly FillSource[] {
    const known = this.#aloneRankings.get(fileId);
    if (known !== undefined && known.holders === holders) return known.sources;
    return this.#rankAlone(fileId, holders, known, known?.turn ?? 0);
  }

  #rankAlone(
    fileId: FileId,
    holders: readonly FillSource[],
    known: KnownAlone | undefined,
    turn: number,
  ): readonly FillSource[] {
    const order = known?.order ?? orderAlone(this.#deps.applianceId, fileId, this.known());
    const sources = withHolders(rankAlone(order, turn), holders);
    this.#aloneRankings.set(fileId, { order, turn, holders, sources });
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
      this.#rankings[purpose].set(fileId, {
        titles,
        sources,
        atMs,
        holders: sources.filter(({ kind }) => kind !== 'origin').length,
        atOnce: sources.filter(({ delayMs }) => delayMs === 0),
        delayMsLeast: Math.min(
          ...sources.map(({ delayMs }) => (delayMs === 0 ? Infinity : delayMs)),
        ),
      });
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
