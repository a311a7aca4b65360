/**
 * The fill of one box, made and wired: sources, the queue, the operator's budget, turn-up; and what is told of it.
 */
import { Type } from 'typebox';
import type { FillCurve, FillStatus } from '#appliance/contract.ts';
import { checker } from '#base/config.ts';
import type { Clock } from '#base/clock.ts';
import type { Logger } from '#base/log.ts';
import type { Outcome } from '#base/outcome.ts';
import type { Random } from '#base/random.ts';
import {
  FillSourceSchema,
  SOURCES_FILES_MAX,
  type FillSource,
  type FillSources,
  type HeartbeatAnswer,
  type SourcesRequest,
} from '#control-plane/contract.ts';
import type { FileId } from '#upstream/contract.ts';
import { fillBudgetOf, type ApplianceConfig } from '../config.ts';
import { BudgetDesk, type BudgetSettings } from '../fill/budget-desk.ts';
import { grantProblem } from '../fill/grant-age.ts';
import { ChunkFetcher } from '../fill/chunk-fetcher.ts';
import { Filler, type FillOpening } from '../fill/filler.ts';
import type { FillFigures } from '../fill/fill-figures.ts';
import { fillPreview, type FillPreview } from '../fill/fill-preview.ts';
import type { Heat } from '../fill/fill-yield.ts';
import { NO_MANIFEST, type ManifestSet } from '../fill/manifest-set.ts';
import { SourceBook } from '../fill/source-book.ts';
import { demandHeld, offloadCurve, stepTurnUp, type Demand, type TurnUp } from '../fill/turn-up.ts';
import { RateMeter } from '../report/rate-meter.ts';
import type { Counters } from '../serve/counters.ts';
import type { Store } from '../store/store.ts';
import type { FillExtras } from '../report/heartbeat.ts';
import type { KeptDocuments } from './kept-documents.ts';
import { HttpSourceClient, SOURCE_CLIENT_DEFAULTS } from './source-client.ts';

const checkKeptSources = checker(Type.Array(FillSourceSchema, { maxItems: 256 }));
/** Demand is added up over the whole manifest: not each second for a large one. */
const DEMAND_FILES_PER_MS = 50;
const PREVIEW_FILES_MAX = 5000;
const LEFT_OUT_TOLD_MAX = 16;
const KINDS = ['peer', 'tier', 'origin'] as const;
/** The usual speed of the fill is that of its last minutes of work; what it does between two files counts little. */
const USUAL_WEIGHT_NEW = 1 / 120;
const SECONDS_PER_HOUR = 3600;

export interface BoxFillDeps {
  readonly applianceId: string;
  readonly config: ApplianceConfig;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly store: Store;
  readonly kept: KeptDocuments;
  readonly counters: Counters;
  readonly nowMs: () => number; // trusted time
  readonly ask: (request: SourcesRequest) => Promise<Outcome<FillSources>>;
  readonly grant: () => string | null;
  readonly possession: (sourceId: string) => Promise<string>;
}

/** What one second brought. */
export interface FillSecond {
  readonly window: HeartbeatAnswer['fillWindow'];
  readonly isWindowOpen: boolean;
  readonly heat: Heat;
}

export class BoxFill {
  readonly book: SourceBook;
  readonly sources: HttpSourceClient;
  readonly fetcher: ChunkFetcher;
  readonly filler: Filler;
  readonly budget: BudgetDesk;
  readonly #deps: BoxFillDeps;
  #config: ApplianceConfig;
  #manifest: ManifestSet | null = null;
  #turnUp: TurnUp = 'serving';
  #demand: { readonly demand: Demand; readonly untilMs: number } | null = null;
  #window: HeartbeatAnswer['fillWindow'] = { open: false, closesAtMs: null, opensAtMs: null };
  #curve: FillCurve | null = null;
  readonly #rates = { peer: new RateMeter(), tier: new RateMeter(), origin: new RateMeter() };
  #bps: Record<(typeof KINDS)[number], number> = { peer: 0, tier: 0, origin: 0 };
  #usualBps: number | null = null; // while it fetched; null: it never did

  constructor(deps: BoxFillDeps) {
    this.#deps = deps;
    this.#config = deps.config;
    const { clock, config, counters, kept, log, random, store } = deps;
    const remembered = checkKeptSources(kept.readJson('sources.json'));
    this.book = new SourceBook({
      applianceId: deps.applianceId,
      clock,
      random,
      ask: deps.ask,
      remembered: remembered.ok ? remembered.value : [],
      remember: (sources) => kept.write('sources.json', JSON.stringify(sources)),
    });
    const { grant, possession } = deps;
    this.sources = new HttpSourceClient({ ...SOURCE_CLIENT_DEFAULTS, grant, possession });
    this.fetcher = new ChunkFetcher({
      clock,
      log,
      book: this.book,
      client: this.sources,
      ledger: counters,
      retryShare: config.miss.retryShare,
    });
    this.budget = new BudgetDesk(
      {
        clock,
        nowMs: deps.nowMs,
        keep: (name, text) => kept.write(name, text),
        kept: (name) => kept.readJson(name),
      },
      settingsOf(config),
    );
    this.filler = new Filler({
      clock,
      log,
      store,
      fetcher: this.fetcher,
      book: this.book,
      pace: this.budget,
      concurrency: config.fill.concurrency,
    });
  }

  get turnUp(): TurnUp {
    return this.#turnUp;
  }

  setManifest(manifest: ManifestSet): void {
    this.#manifest = manifest;
    this.#demand = null;
    this.#lookAtDemand();
    this.filler.setManifest(manifest);
  }

  /** Each second, before the heartbeat is made. */
  second({ window, isWindowOpen, heat }: FillSecond): FillFigures {
    const { clock, counters } = this.#deps;
    const nowMs = clock.monotonicMs();
    this.#window = window;
    const { fillBytes, missBytes } = counters;
    for (const kind of KINDS) {
      this.#bps[kind] = Math.round(this.#rates[kind].feed(fillBytes[kind], nowMs) * 8);
    }
    this.#noteSpeed(this.#bps.peer + this.#bps.tier + this.#bps.origin);
    this.budget.tick(fillBytes.tier + fillBytes.origin + missBytes.tier + missBytes.origin, heat);
    this.#lookAtDemand();
    this.filler.setWindow(this.#openingOf(isWindowOpen));
    return this.filler.figures();
  }

  reload(config: ApplianceConfig): void {
    this.#config = config;
    this.filler.setConcurrency(config.fill.concurrency);
    this.budget.set(settingsOf(config));
  }

  status(): FillStatus {
    const figures = this.filler.figures();
    const { counters, clock } = this.#deps;
    const left = Math.max(0, figures.bytesWanted - figures.bytesHeld);
    const bps = this.#bps.peer + this.#bps.tier + this.#bps.origin;
    const demand = this.#demand?.demand ?? { held: 0, planned: 0 };
    const nowMs = clock.monotonicMs();
    const budget = this.budget.state();
    return {
      ...figures,
      ...(this.#curve === null ? {} : { curve: this.#curve }),
      etaMs: left === 0 ? 0 : bps > 0 ? Math.round((left * 8 * 1000) / bps) : null,
      turnUp: this.#turnUp,
      demandShare: demand.planned > 0 ? demand.held / demand.planned : 1,
      byKind: KINDS.map((kind) => ({
        kind,
        bytes: counters.fillBytes[kind],
        bps: this.#bps[kind],
      })),
      window: this.#window,
      isAlone: this.book.isAlone,
      budget: { ...budget, hourlyBps: [...budget.hourlyBps] },
      leftOut: this.book.leftOut().map(({ id, baseUrl, why, untilMs, corruptChunks }) => ({
        id,
        baseUrl,
        why,
        forMs: Math.max(0, Math.round(untilMs - nowMs)),
        corruptChunks,
      })),
    };
  }

  /** What is wrong with the fill for good, until somebody does something about it. */
  problems(): readonly string[] {
    const problem = grantProblem(this.#deps.grant(), this.#deps.nowMs() / 1000);
    return problem === null ? [] : [problem];
  }

  /** What the heartbeat says beside the figures. */
  extras(): FillExtras {
    const hourlyBps = this.budget.hourlyBps;
    const leftOut = this.book.leftOut().map(({ id }) => id.slice(0, 64));
    return {
      bpsByKind: { ...this.#bps },
      ...(this.#curve === null ? {} : { curve: this.#curve }),
      ...(hourlyBps.every((cap) => cap === null) ? {} : { hourlyBps: [...hourlyBps] }),
      ...(leftOut.length === 0 ? {} : { leftOut: leftOut.slice(0, LEFT_OUT_TOLD_MAX) }),
    };
  }

  /** A dry run: asks who has what is missing, fetches nothing. */
  async preview(): Promise<FillPreview> {
    const { store, nowMs, ask } = this.#deps;
    const manifest = this.#manifest ?? NO_MANIFEST;
    const missing = manifest.order
      .filter(({ fileId }) => store.find(fileId)?.isWhole !== true)
      .slice(0, PREVIEW_FILES_MAX);
    const firstSource = new Map<FileId, FillSource['kind'] | null>();
    for (let at = 0; at < missing.length; at += SOURCES_FILES_MAX) {
      const fileIds = missing.slice(at, at + SOURCES_FILES_MAX).map(({ fileId }) => fileId);
      const answer = await ask({ fileIds, purpose: 'miss' }); // no delays: who would be asked in the end
      if (!answer.ok) break;
      for (const file of answer.value.files) {
        firstSource.set(file.fileId, file.sources[0]?.kind ?? null);
      }
    }
    return fillPreview({
      manifest,
      find: (fileId) => store.find(fileId),
      entries: store.entries(),
      firstSource,
      hourlyBps: this.budget.hourlyBps,
      timeZone: this.#config.fill.budget.timeZone,
      window: this.#window,
      nowMs: nowMs(),
      curve: this.#curve,
    });
  }

  /** What an operator asks for: `fill`, `fill?pause=1`, `fill/plan`. */
  act(name: string, query: URLSearchParams): unknown {
    if (name === 'fill/plan') return this.preview();
    if (query.has('pause')) {
      const isPaused = query.get('pause') === '1';
      this.budget.pause(isPaused);
      if (isPaused) this.filler.interrupt();
      this.#deps.log.info({ event: isPaused ? 'fill-paused' : 'fill-resumed' }, 'by its operator');
    }
    return this.status();
  }

  async stop(): Promise<void> {
    await this.filler.stop();
    this.budget.close();
  }

  #openingOf(isWindowOpen: boolean): FillOpening {
    if (isWindowOpen) return 'open';
    const { outsideWindow } = this.#config.fill.budget;
    if (this.#turnUp !== 'filling' || outsideWindow === 'never') return 'closed';
    return outsideWindow === 'all' ? 'open' : 'site';
  }

  #noteSpeed(bps: number): void {
    if (bps <= 0) return;
    this.#usualBps =
      this.#usualBps === null ? bps : this.#usualBps + USUAL_WEIGHT_NEW * (bps - this.#usualBps);
  }

  /** Nothing where nothing is missing, or nothing was fetched yet to tell the speed by. */
  #lookAtCurve(manifest: ManifestSet): void {
    const { store } = this.#deps;
    const hours = this.#openingOf(false) === 'closed' ? (this.#window.hours ?? 24) : 24;
    const bytesPerDay = ((this.#usualBps ?? 0) / 8) * SECONDS_PER_HOUR * hours;
    const presentBytes = (id: FileId): number => store.find(id)?.presentBytes ?? 0;
    const curve = offloadCurve(manifest.order, presentBytes, bytesPerDay);
    if (curve === null || curve.fullAfterDays === 0) {
      this.#curve = null;
      return;
    }
    const [day1, day3, day7] = curve.shares;
    this.#curve = { day1, day3, day7, fullAfterDays: curve.fullAfterDays };
  }

  #lookAtDemand(): void {
    const { clock, store } = this.#deps;
    const nowMs = clock.monotonicMs();
    if (this.#manifest === null || nowMs < (this.#demand?.untilMs ?? -Infinity)) return;
    const demand = demandHeld(this.#manifest.order, (id) => store.find(id)?.isWhole === true);
    this.#demand = { demand, untilMs: nowMs + this.#manifest.order.length / DEMAND_FILES_PER_MS };
    this.#turnUp = stepTurnUp(this.#turnUp, demand, this.#config.fill.turnUpShare);
    this.#lookAtCurve(this.#manifest);
  }
}

function settingsOf(config: ApplianceConfig): BudgetSettings {
  const { servingBps, fill } = config;
  return { budget: fillBudgetOf(config), rateBpsMax: fill.rateBpsMax, servingBps };
}
