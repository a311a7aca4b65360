/**
 * Fetches what the manifest wants: several files at once, within the fill window, best first.
 *
 * The machine of each file is fill-machine.ts, the choice of the next ones fill-queue.ts; here their effects are carried out.
 *
 * Invariants: (1) outside the window, and while the pace says nothing, no new run of chunks is asked for; the run under
 *                 way ends within its length, at a pause at once
 *             (2) at most `concurrency` files are fetched at once from the site's own boxes, half as many from other sites and
 *                 from the origin each: the fewer share a link, the sooner the first of them is whole and others can have it
 *             (3) a fetch continues where the disk is: chunks that are there are not asked for again
 *             (4) a file that another box is to fetch first waits without using up an attempt
 */
import type { Clock, Timer } from '#base/clock.ts';
import type { Logger } from '#base/log.ts';
import { failed, success, type Failure, type Outcome } from '#base/outcome.ts';
import { chunkLengthOf, type FileId } from '#upstream/contract.ts';
import type { StoredEntry } from '../store/entry.ts';
import type { Store } from '../store/store.ts';
import type { ChunkFetcher, FetchedFile } from './chunk-fetcher.ts';
import { fillFigures, type FillFigures } from './fill-figures.ts';
import { NEW_FILL, stepFill, type FillEvent, type FillState } from './fill-machine.ts';
import { RateCredit, type FillPace, type HoldReason, type PaceLine } from './fill-pace.ts';
import {
  chooseStarts,
  lineOf,
  ranked,
  type FillCandidate,
  type FillLine,
  type FreePlaces,
} from './fill-queue.ts';
import { NO_MANIFEST, type ManifestSet, type Wanted } from './manifest-set.ts';
import type { SourceBook } from './source-book.ts';

/** Chunks asked for by one request: long enough to hide a round trip, short enough to stop within seconds. */
const RUN_CHUNKS_MAX = 16;
const TICK_MS = 250;
/** Files looked at beyond those that are under way: enough that some of them are this box's to fetch. */
const FILES_AHEAD = 256;
/**
 * What is waited for is asked about again, so that a box's share of the ranking's work is bounded: the first files of the order twice
 * a second (whoever fetches them for the others takes them in the same order: they come next), the rest in turn, the longest unasked first.
 */
const ASK_NEXT_MS = 500;
const ASK_NEXT_FILES = 10;
const ASK_AGAIN_MS = 2500;
const ASK_AGAIN_FILES = 16;
/** Held or given up files that are carried along in the list of open ones before it is made anew. */
const OPEN_STALE_MAX = 1024;
/** 400,000 files are counted every 8 s, small manifests each time. */
const FIGURES_FILES_PER_MS = 50;

/** A file that may be asked about. */
interface Askable {
  readonly fileId: FileId;
  readonly askedMs: number | null; // null: never
  readonly isFresh: boolean;
  readonly isWaiting: boolean; // nobody may give it yet
}

/** `site`: only what the site's own boxes have; `closed`: only what is urgent. */
export type FillOpening = 'closed' | 'site' | 'open';

export interface FillerDeps {
  readonly clock: Clock;
  readonly log: Logger;
  readonly store: Pick<Store, 'find' | 'begin' | 'chunkList' | 'writeChunk' | 'settle'>;
  readonly fetcher: Pick<ChunkFetcher, 'chunkList' | 'run'>;
  readonly book: Pick<SourceBook, 'look' | 'prefetch' | 'isAlone' | 'lacked'>;
  readonly pace: FillPace;
  readonly concurrency: number;
  /** How often the queue is looked at; simulations of many boxes look less often. */
  readonly tickMs?: number;
  /** Files asked about again in one question: the next ones, and of the rest. */
  readonly askAgain?: { readonly next: number; readonly rest: number };
}

export class Filler {
  readonly #deps: FillerDeps;
  readonly #credits: Readonly<Record<PaceLine, RateCredit>>;
  #manifest: ManifestSet = NO_MANIFEST;
  #states = new Map<FileId, FillState>();
  #open: readonly Wanted[] = []; // of the manifest's order: what was not whole when it was last made
  #openStale = 0;
  #concurrency: number;
  readonly #active: Record<FillLine, number> = { peer: 0, tier: 0, origin: 0 };
  #ready: readonly FillCandidate[] = []; // best first, as of the last look
  #isAsking = false;
  #askedNextAtMs = -Infinity;
  #askedAtMs = -Infinity;
  #window: FillOpening = 'closed';
  #isTurnAwaited = false;
  #hold: HoldReason | null = null;
  #isStopped = false;
  #timer: Timer | null = null;
  #lastProblem: string | null = null;
  #figures: {
    readonly figures: FillFigures;
    readonly untilMs: number;
    readonly version: number;
  } | null = null;
  #abort = new AbortController();

  constructor(deps: FillerDeps) {
    this.#deps = deps;
    this.#concurrency = deps.concurrency;
    this.#credits = { near: new RateCredit(deps.clock), far: new RateCredit(deps.clock) };
  }

  start(): void {
    this.#timer = this.#deps.clock.every(this.#deps.tickMs ?? TICK_MS, () => this.#tick());
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#timer?.cancel();
    this.#abort.abort();
    while (this.active > 0) {
      await new Promise<void>((resolve) => {
        this.#deps.clock.after(10, resolve);
      });
    }
  }

  get active(): number {
    return this.#active.peer + this.#active.tier + this.#active.origin;
  }

  setManifest(manifest: ManifestSet): void {
    this.#manifest = manifest;
    const states = new Map<FileId, FillState>();
    for (const fileId of manifest.files.keys()) {
      const known = this.#states.get(fileId);
      if (known !== undefined && known.name !== 'abandoned') states.set(fileId, known);
    }
    this.#states = states;
    this.#lastProblem = null;
    this.recheck();
    this.#tick();
  }

  /** New limits for what starts from here on. */
  setConcurrency(concurrency: number): void {
    this.#concurrency = concurrency;
  }

  setWindow(window: FillOpening): void {
    this.#window = window;
  }

  /** A pause is meant at once: what is under way is broken off, whole chunks stay. */
  interrupt(): void {
    this.#abort.abort();
    this.#abort = new AbortController();
  }

  /** A file that was whole is not any more: everything is looked at again. */
  recheck(): void {
    const { store } = this.#deps;
    this.#open = this.#manifest.order.filter(
      (wanted) => store.find(wanted.fileId)?.isWhole !== true,
    );
    this.#openStale = 0;
    this.#figures = null;
  }

  /** Why nothing is asked for at all, where the pace says so. */
  get hold(): HoldReason | null {
    return this.#hold;
  }

  /** Looked up over the whole manifest: for a large one less often than each second. */
  figures(): FillFigures {
    const nowMs = this.#deps.clock.monotonicMs();
    const known = this.#figures;
    if (known !== null && nowMs < known.untilMs && known.version === this.#manifest.version) {
      return { ...known.figures, active: this.active };
    }
    const figures = fillFigures({
      manifest: this.#manifest,
      states: this.#states,
      find: (fileId) => this.#deps.store.find(fileId),
      active: this.active,
      isWindowOpen: this.#window !== 'closed',
      hold: this.#hold,
      isTurnAwaited: this.#isTurnAwaited,
      problem: this.#lastProblem,
    });
    const untilMs = nowMs + this.#manifest.order.length / FIGURES_FILES_PER_MS;
    this.#figures = { figures, untilMs, version: this.#manifest.version };
    return figures;
  }

  #tick(): void {
    if (this.#isStopped) return;
    const free = this.#places();
    if (free === null) return;
    const { candidates, toAsk } = this.#lookAhead();
    this.#ready = ranked(candidates);
    this.#startReady(free);
    this.#askAbout(toAsk);
  }

  /** Free places of each line; null where there is none. */
  #places(): FreePlaces | null {
    const limits = { near: this.#deps.pace.limit('near'), far: this.#deps.pace.limit('far') };
    this.#hold =
      limits.near.bps === 0 ? limits.near.why : limits.far.bps === 0 ? limits.far.why : null;
    const placesOf = (line: FillLine): number =>
      limits[paceLineOf(line)].bps === 0 ? 0 : this.#placesMax(line) - this.#active[line];
    const free = { peer: placesOf('peer'), tier: placesOf('tier'), origin: placesOf('origin') };
    return free.peer <= 0 && free.tier <= 0 && free.origin <= 0 ? null : free;
  }

  #placesMax(line: FillLine): number {
    return line === 'peer' ? this.#concurrency : Math.ceil(this.#concurrency / 2);
  }

  /** A place came free: what was found ready a moment ago is taken before everything is looked through again. */
  #next(): void {
    if (this.#isStopped) return;
    const free = this.#places();
    if (free !== null && this.#startReady(free) === 0) this.#tick();
  }

  #startReady(free: FreePlaces): number {
    const { starts, rest } = chooseStarts(this.#ready, free);
    this.#ready = rest;
    let started = 0;
    for (const { wanted, line } of starts) {
      if (!this.#manifest.files.has(wanted.fileId) || !this.#mayFetch(wanted, line)) continue;
      if (!this.#step(wanted, { name: 'due' })) continue;
      started++;
      void this.#fill(wanted, line);
    }
    return started;
  }

  /** The next open files: those that have a source now, and those whose sources should be asked for. */
  #lookAhead(): {
    readonly candidates: readonly FillCandidate[];
    readonly toAsk: readonly Askable[];
  } {
    const { book, clock, store } = this.#deps;
    const nowMs = clock.monotonicMs();
    const candidates: FillCandidate[] = [];
    const toAsk: Askable[] = [];
    let looked = 0;
    if (this.#openStale > OPEN_STALE_MAX) this.recheck();
    this.#isTurnAwaited = false;
    for (const wanted of this.#open) {
      if (looked >= FILES_AHEAD) break;
      if (this.#window === 'closed' && !wanted.isUrgent) continue;
      const state = this.#states.get(wanted.fileId) ?? NEW_FILL;
      if (store.find(wanted.fileId)?.isWhole === true) {
        this.#openStale++;
        if (state.name !== 'stored') this.#step(wanted, { name: 'whole' });
        continue;
      }
      if (state.name === 'stored') this.#step(wanted, { name: 'lost' });
      if (state.name === 'fetching') continue;
      if (state.name === 'waiting' && nowMs < state.notBeforeMs) continue;
      if (state.name === 'abandoned' && nowMs < state.untilMs) continue;
      looked++;
      const look = book.look(wanted.fileId, wanted.isUrgent);
      const { isFresh, askedMs } = look;
      const isWaiting = look.due.length === 0;
      if (isWaiting || !isFresh) toAsk.push({ fileId: wanted.fileId, askedMs, isFresh, isWaiting });
      if (!isWaiting) {
        if (!this.#mayFetch(wanted, lineOf(look.due))) continue;
        candidates.push({ wanted, due: look.due, holders: look.holders });
      } else if (askedMs !== null) this.#isTurnAwaited = true;
    }
    return { candidates, toAsk };
  }

  #mayFetch(wanted: Wanted, line: FillLine): boolean {
    return (
      this.#window === 'open' || wanted.isUrgent || (this.#window === 'site' && line === 'peer')
    );
  }

  /** Files never asked about at once, the others a few at a time. */
  #askAbout(askable: readonly Askable[]): void {
    if (this.#isAsking || askable.length === 0) return;
    const { book, clock, askAgain } = this.#deps;
    const nowMs = clock.monotonicMs();
    const { next, rest } = askAgain ?? { next: ASK_NEXT_FILES, rest: ASK_AGAIN_FILES };
    const isNew = ({ askedMs }: Askable): boolean => askedMs === null && !book.isAlone;
    const fresh = askable.filter(isNew);
    const waiting = askable.filter((file) => file.isWaiting && !isNew(file)).slice(0, next);
    const soon = nowMs - this.#askedNextAtMs >= ASK_NEXT_MS ? waiting : [];
    const later =
      nowMs - this.#askedAtMs >= ASK_AGAIN_MS
        ? askable
            .filter((file) => !file.isFresh && !isNew(file) && !waiting.includes(file))
            .sort((a, b) => (a.askedMs ?? 0) - (b.askedMs ?? 0))
            .slice(0, rest)
        : [];
    if (soon.length > 0) this.#askedNextAtMs = nowMs;
    if (later.length > 0) this.#askedAtMs = nowMs;
    const files = [...fresh, ...soon, ...later];
    if (files.length > 0) void this.#ask(files.map(({ fileId }) => fileId));
  }

  async #ask(fileIds: readonly FileId[]): Promise<void> {
    this.#isAsking = true;
    await this.#deps.book.prefetch(fileIds, 'fill');
    this.#isAsking = false;
    this.#tick();
  }

  /** True where the file is to be fetched now. */
  #step(wanted: Wanted, event: FillEvent): boolean {
    const state = this.#states.get(wanted.fileId) ?? NEW_FILL;
    const step = stepFill(state, event, this.#deps.clock.monotonicMs());
    this.#states.set(wanted.fileId, step.state);
    if (step.state.name === 'abandoned' && step.effects.includes('report-abandoned')) {
      this.#deps.log.warn(
        { event: 'fill-abandoned', fileId: wanted.fileId, reason: step.state.reason },
        `${wanted.fileId} is left for later: ${this.#lastProblem ?? step.state.reason}`,
      );
    }
    return step.effects.includes('fetch');
  }

  async #fill(wanted: Wanted, line: FillLine): Promise<void> {
    this.#active[line]++;
    const outcome = await this.#fetch(wanted, line);
    this.#active[line]--;
    if (outcome.ok) this.#step(wanted, { name: outcome.value });
    else if (outcome.failure.code === 'nobody-has-it') {
      this.#deps.book.lacked(wanted.fileId);
      this.#step(wanted, { name: 'deferred', why: 'nobody-has-it' });
    } else if (outcome.failure.code === 'no-source' && this.#isTurnOf(wanted)) {
      this.#step(wanted, { name: 'deferred', why: 'turn' });
    } else {
      this.#lastProblem = outcome.failure.detail;
      this.#step(wanted, { name: 'failed', code: outcome.failure.code });
    }
    this.#next();
  }

  /** No source was due any more when it was asked for: it waits its turn. */
  #isTurnOf(wanted: Wanted): boolean {
    return this.#deps.book.look(wanted.fileId, wanted.isUrgent).due.length === 0;
  }

  async #fetch(wanted: Wanted, line: FillLine): Promise<Outcome<'whole' | 'paused'>> {
    const { store, fetcher } = this.#deps;
    const titleId = wanted.titles[0];
    let entry = store.find(wanted.fileId);
    if (entry === undefined) {
      const listed = await fetcher.chunkList(wanted.fileId, titleId, 'fill');
      if (!listed.ok) return listed;
      if (listed.value.list.sizeBytes !== wanted.sizeBytes) return failed(wrongSize(wanted));
      const begun = await store.begin({
        fileId: wanted.fileId,
        sizeBytes: wanted.sizeBytes,
        titles: wanted.titles,
        isPinned: true,
        forecastPerDay: wanted.density,
        chunkList: listed.value.encoded,
        from: 'fill',
      });
      if (!begun.ok) return begun;
      entry = begun.value;
    }
    const list = await store.chunkList(entry);
    if (!list.ok) return list;
    const file: FetchedFile = { fileId: wanted.fileId, titleId, list: list.value };
    for (;;) {
      const first = entry.isWhole ? -1 : (entry.readable?.firstMissing() ?? -1);
      if (first === -1) return this.#settled(entry);
      if (this.#isStopped || !this.#manifest.files.has(wanted.fileId)) return success('paused');
      if (!this.#mayFetch(wanted, line)) return success('paused');
      if (this.#deps.pace.limit(paceLineOf(line)).bps === 0) return success('paused');
      const ran = await this.#run(wanted, entry, file, first, line);
      // Broken off by a pause: nothing failed.
      if (!ran.ok)
        return this.#deps.pace.limit(paceLineOf(line)).bps === 0 ? success('paused') : ran;
    }
  }

  /** All chunks are written; it counts once they are durable. */
  async #settled(entry: StoredEntry): Promise<Outcome<'whole' | 'paused'>> {
    if (!entry.isWhole) await this.#deps.store.settle(entry);
    if (entry.isWhole && !entry.isGone) return success('whole');
    return failed({
      code: 'not-durable',
      source: 'disk',
      retry: 'same-source',
      detail: `${entry.fileId}: its last chunks are not on the disk yet`,
    });
  }

  /** One request: missing chunks from `first` on, up to the first that is here. */
  async #run(
    wanted: Wanted,
    entry: StoredEntry,
    file: FetchedFile,
    first: number,
    line: FillLine,
  ): Promise<Outcome<void>> {
    let last = first;
    while (
      last + 1 < entry.chunkCount &&
      last + 1 - first < RUN_CHUNKS_MAX &&
      !entry.has(last + 1)
    ) {
      last++;
    }
    const { bps } = this.#deps.pace.limit(paceLineOf(line));
    if (bps !== null && bps > 0) {
      await this.#credits[paceLineOf(line)].pay(
        (last - first + 1) * chunkLengthOf(file.list, first),
        bps,
      );
    }
    let storeFailure: Failure | null = null;
    const ran = await this.#deps.fetcher.run(
      file,
      first,
      last,
      'fill',
      async (chunk, source) => {
        const wrote = await this.#deps.store.writeChunk(entry, chunk, source.id);
        if (wrote.ok) {
          this.#step(wanted, { name: 'progressed' });
          return 'go-on';
        }
        storeFailure = wrote.failure;
        return 'stop';
      },
      this.#abort.signal,
    );
    return storeFailure === null ? ran : failed(storeFailure);
  }
}

function paceLineOf(line: FillLine): PaceLine {
  return line === 'peer' ? 'near' : 'far';
}

function wrongSize(wanted: Wanted): Failure {
  return {
    code: 'manifest-size-wrong',
    source: 'upstream',
    retry: 'never',
    detail: `${wanted.fileId}: the manifest says ${wanted.sizeBytes} bytes, its chunk list says another size`,
  };
}
