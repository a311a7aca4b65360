/**
 * Fetches what the manifest wants: several files at once, within the fill window, best first.
 *
 * The machine of each file is fill-machine.ts; here its effects are carried out.
 *
 * Invariants: (1) outside the window no new run of chunks is asked for; the run under way ends within its length
 *             (2) at most `concurrency` files are fetched at once
 *             (3) a fetch continues where the disk is: chunks that are there are not asked for again
 */
import type { Clock, Timer } from '#base/clock.ts';
import type { Logger } from '#base/log.ts';
import { failed, success, type Failure, type Outcome } from '#base/outcome.ts';
import { chunkLengthOf, type FileId } from '#upstream/contract.ts';
import type { StoredEntry } from '../store/entry.ts';
import type { Store } from '../store/store.ts';
import type { ChunkFetcher, FetchedFile } from './chunk-fetcher.ts';
import { NEW_FILL, stepFill, type FillEvent, type FillState } from './fill-machine.ts';
import { NO_MANIFEST, type ManifestSet, type Wanted } from './manifest-set.ts';
import type { SourceBook } from './source-book.ts';

/** Chunks asked for by one request: long enough to hide a round trip, short enough to stop within seconds. */
const RUN_CHUNKS_MAX = 16;
const TICK_MS = 250;
/** Rankings asked for at once: few, so that a file that a peer has just finished is fetched from there. */
const SOURCES_AHEAD = 8;
const RATE_BURST_MS = 1000;
/** 400,000 files are counted every 8 s, small manifests each time. */
const FIGURES_FILES_PER_MS = 50;

export interface FillerDeps {
  readonly clock: Clock;
  readonly log: Logger;
  readonly store: Store;
  readonly fetcher: ChunkFetcher;
  readonly book: SourceBook;
  readonly concurrency: number;
  readonly rateBpsMax: number | null;
}

export interface FillFigures {
  readonly manifestVersion: number;
  readonly filesWanted: number;
  readonly filesHeld: number;
  readonly bytesWanted: number;
  readonly bytesHeld: number;
  readonly active: number;
  readonly waitingFor: 'window' | 'manifest' | 'source' | 'space' | null;
  readonly problem: string | null;
}

export class Filler {
  readonly #deps: FillerDeps;
  #manifest: ManifestSet = NO_MANIFEST;
  #states = new Map<FileId, FillState>();
  #cursor = 0; // files before it in the manifest's order need nothing, as far as is known
  #concurrency: number;
  #rateBpsMax: number | null;
  #active = 0;
  #isWindowOpen = false;
  #isStopped = false;
  #timer: Timer | null = null;
  #rateCredit = 0; // bytes
  #rateAtMs = 0;
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
    this.#rateBpsMax = deps.rateBpsMax;
  }

  start(): void {
    this.#timer = this.#deps.clock.every(TICK_MS, () => this.#tick());
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#timer?.cancel();
    this.#abort.abort();
    while (this.#active > 0) {
      await new Promise<void>((resolve) => {
        this.#deps.clock.after(10, resolve);
      });
    }
  }

  setManifest(manifest: ManifestSet): void {
    this.#manifest = manifest;
    const states = new Map<FileId, FillState>();
    for (const fileId of manifest.files.keys()) {
      const known = this.#states.get(fileId);
      if (known !== undefined && known.name !== 'abandoned') states.set(fileId, known);
    }
    this.#states = states;
    this.#cursor = 0;
    this.#lastProblem = null;
    this.#tick();
  }

  /** New limits for what starts from here on. */
  setLimits(limits: { readonly concurrency: number; readonly rateBpsMax: number | null }): void {
    this.#concurrency = limits.concurrency;
    this.#rateBpsMax = limits.rateBpsMax;
  }

  setWindow(isOpen: boolean): void {
    this.#isWindowOpen = isOpen;
  }

  /** A file that was whole is not any more: it is looked at again. */
  recheck(): void {
    this.#cursor = 0;
  }

  /** Looked up over the whole manifest: for a large one less often than each second. */
  figures(): FillFigures {
    const nowMs = this.#deps.clock.monotonicMs();
    const known = this.#figures;
    if (known !== null && nowMs < known.untilMs && known.version === this.#manifest.version) {
      return { ...known.figures, active: this.#active };
    }
    const figures = this.#lookUpFigures();
    const untilMs = nowMs + this.#manifest.order.length / FIGURES_FILES_PER_MS;
    this.#figures = { figures, untilMs, version: this.#manifest.version };
    return figures;
  }

  #lookUpFigures(): FillFigures {
    let filesHeld = 0;
    let bytesHeld = 0;
    let isAnyAbandonedForRoom = false;
    let isAnyWaiting = false;
    for (const wanted of this.#manifest.order) {
      const entry = this.#deps.store.find(wanted.fileId);
      if (entry?.isWhole === true) filesHeld++;
      bytesHeld += entry?.presentBytes ?? 0;
      const state = this.#states.get(wanted.fileId);
      if (state?.name === 'abandoned' && state.reason === 'no-room') isAnyAbandonedForRoom = true;
      else if (state?.name === 'waiting' || state?.name === 'abandoned') isAnyWaiting = true;
    }
    const filesWanted = this.#manifest.order.length;
    const isDone = filesHeld === filesWanted;
    return {
      manifestVersion: this.#manifest.version,
      filesWanted,
      filesHeld,
      bytesWanted: this.#manifest.bytes,
      bytesHeld,
      active: this.#active,
      waitingFor:
        this.#manifest.version === 0
          ? 'manifest'
          : isDone || this.#active > 0
            ? null
            : !this.#isWindowOpen
              ? 'window'
              : isAnyAbandonedForRoom
                ? 'space'
                : isAnyWaiting
                  ? 'source'
                  : null,
      problem: isDone ? null : this.#lastProblem,
    };
  }

  #tick(): void {
    if (this.#isStopped) return;
    const nowMs = this.#deps.clock.monotonicMs();
    const { order } = this.#manifest;
    let isPrefixDone = true;
    for (let at = this.#cursor; at < order.length; at++) {
      if (this.#active >= this.#concurrency) return;
      const wanted = order[at];
      const state = this.#states.get(wanted.fileId) ?? NEW_FILL;
      if (this.#deps.store.find(wanted.fileId)?.isWhole === true) {
        this.#step(wanted, { name: 'whole' });
        if (isPrefixDone) this.#cursor = at + 1;
        continue;
      }
      isPrefixDone = false;
      if (!this.#isWindowOpen && !wanted.isUrgent) continue;
      if (state.name === 'stored') this.#step(wanted, { name: 'lost' });
      if (state.name === 'fetching' || (state.name === 'waiting' && nowMs < state.notBeforeMs))
        continue;
      if (this.#step(wanted, { name: 'due' })) void this.#fill(wanted, at);
    }
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

  async #fill(wanted: Wanted, at: number): Promise<void> {
    this.#active++;
    const ahead = this.#manifest.order.slice(at, at + SOURCES_AHEAD);
    const missing = ahead.filter((file) => this.#deps.store.find(file.fileId)?.isWhole !== true);
    await this.#deps.book.prefetch(
      missing.map((file) => file.fileId),
      'fill',
    );
    const outcome = await this.#fetch(wanted);
    this.#active--;
    if (outcome.ok) this.#step(wanted, { name: outcome.value });
    else {
      this.#lastProblem = outcome.failure.detail;
      this.#step(wanted, { name: 'failed', code: outcome.failure.code });
    }
    this.#tick();
  }

  async #fetch(wanted: Wanted): Promise<Outcome<'whole' | 'paused'>> {
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
      if (!this.#isWindowOpen && !wanted.isUrgent) return success('paused');
      const ran = await this.#run(wanted, entry, file, first);
      if (!ran.ok) return ran;
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
  ): Promise<Outcome<void>> {
    let last = first;
    while (
      last + 1 < entry.chunkCount &&
      last + 1 - first < RUN_CHUNKS_MAX &&
      !entry.has(last + 1)
    ) {
      last++;
    }
    await this.#waitForRate((last - first + 1) * chunkLengthOf(file.list, first));
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

  /** A token bucket over bytes: a run waits until the ones before it are paid for. */
  async #waitForRate(bytes: number): Promise<void> {
    const { clock } = this.#deps;
    const rateBpsMax = this.#rateBpsMax;
    if (rateBpsMax === null) return;
    const bytesPerMs = rateBpsMax / 8 / 1000;
    const nowMs = clock.monotonicMs();
    const earned = (nowMs - this.#rateAtMs) * bytesPerMs;
    this.#rateCredit = Math.min(RATE_BURST_MS * bytesPerMs, this.#rateCredit + earned) - bytes;
    this.#rateAtMs = nowMs;
    if (this.#rateCredit >= 0) return;
    await new Promise<void>((resolve) => {
      clock.after(-this.#rateCredit / bytesPerMs, resolve);
    });
  }
}

function wrongSize(wanted: Wanted): Failure {
  return {
    code: 'manifest-size-wrong',
    source: 'upstream',
    retry: 'never',
    detail: `${wanted.fileId}: the manifest says ${wanted.sizeBytes} bytes, its chunk list says another size`,
  };
}
