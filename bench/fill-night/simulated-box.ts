/**
 * One box of the simulated fleet: the filler and the source book that boxes run, over a disk that only counts and a network of links.
 */
import {
  Filler,
  ManifestSet,
  NO_LIMIT,
  SourceBook,
  StoredEntry,
  type FillerDeps,
} from '#appliance/appliance.ts';
import type { Clock } from '#base/clock.ts';
import { createLogger } from '#base/log.ts';
import { failed, success, type Outcome } from '#base/outcome.ts';
import { seededRandom } from '#base/random.ts';
import type {
  FillSource,
  FillSources,
  ManifestEntry,
  ManifestHeader,
  SourcesRequest,
} from '#control-plane/contract.ts';
import type { FillBeat, SourceBox } from '#control-plane/control-plane.ts';
import type { FileId } from '#upstream/contract.ts';
import type { Link, Transfer } from './network.ts';

/** What a box needs of the world around it. */
export interface World {
  readonly clock: Clock;
  readonly tickMs: number;
  /** Null where that source does not have the file; 'dead' where nobody answers. */
  path(box: SimulatedBox, source: FillSource, fileId: FileId): readonly Link[] | 'lacks' | 'dead';
  transfer(
    links: readonly Link[],
    bytes: number,
    finished: (how: 'whole' | 'cut') => void,
  ): Transfer;
  cut(transfer: Transfer): void;
  ask(box: SimulatedBox, request: SourcesRequest): Promise<Outcome<FillSources>>;
  stored(box: SimulatedBox, fileId: FileId, source: FillSource): void;
}

const log = createLogger('simulation', 'silent');
const RANKINGS_MAX = 4096;
const ASK_AGAIN = { next: 4, rest: 4 };

export class SimulatedBox {
  readonly place: SourceBox;
  readonly filler: Filler;
  readonly book: SourceBook;
  readonly lan: Link;
  isAlive = true;
  readonly fillBytes = { peer: 0, tier: 0, origin: 0 };
  beat: FillBeat | null = null;
  movedAtMs = -Infinity;
  readonly #world: World;
  readonly #entries = new Map<FileId, StoredEntry>();
  readonly #transfers = new Set<Transfer>();
  manifest: ManifestSet;
  held = 0;

  constructor(world: World, place: SourceBox, lan: Link, concurrency: number, seed: number) {
    this.#world = world;
    this.place = place;
    this.lan = lan;
    this.manifest = ManifestSet.empty();
    this.book = new SourceBook({
      applianceId: place.applianceId,
      clock: world.clock,
      random: seededRandom(seed),
      ask: (request) => world.ask(this, request),
      remembered: [],
      remember: () => {},
      rankingsMax: RANKINGS_MAX,
    });
    this.filler = new Filler({
      clock: world.clock,
      log,
      store: this.#store(),
      fetcher: this.#fetcher(),
      book: this.book,
      pace: { limit: () => NO_LIMIT },
      concurrency,
      tickMs: world.tickMs,
      askAgain: ASK_AGAIN,
    });
  }

  async begin(entries: readonly ManifestEntry[]): Promise<void> {
    const { applianceId, clusterId } = this.place;
    const header: ManifestHeader = {
      applianceId,
      clusterId,
      version: 1,
      kind: 'full',
      baseVersion: 0,
      epoch: 1,
      planDate: '2026-11-21',
      issuedAtMs: 0,
      entries: entries.length,
      bodySha256: '',
      setDigest: '',
      fillDensity: 0,
    };
    this.manifest = await ManifestSet.of(header, entries);
    this.filler.setManifest(this.manifest);
    this.filler.start();
  }

  has(fileId: FileId): boolean {
    return this.#entries.get(fileId)?.isWhole === true;
  }

  /** A file that was on its disk before the night. */
  seed(entry: ManifestEntry): void {
    const stored = this.#entry(entry.fileId, entry.sizeBytes);
    this.#complete(stored);
  }

  get isComplete(): boolean {
    return this.held >= this.manifest.order.length;
  }

  die(): void {
    this.isAlive = false;
    for (const transfer of this.#transfers) this.#world.cut(transfer);
    void this.filler.stop();
  }

  #entry(fileId: FileId, sizeBytes: number): StoredEntry {
    const init = {
      fileId,
      sizeBytes,
      titles: ['night'],
      isPinned: true,
      forecastPerDay: 1,
      storedAtMs: 0,
      from: 'fill',
    };
    const entry = new StoredEntry(0, init, null, true);
    entry.readable = { firstMissing: () => 0, has: () => false } as never;
    entry.presentBytes = 0;
    this.#entries.set(fileId, entry);
    return entry;
  }

  #complete(entry: StoredEntry): void {
    entry.readable = null;
    entry.presentBytes = entry.sizeBytes;
    this.held++;
  }

  #store(): FillerDeps['store'] {
    return {
      find: (fileId) => this.#entries.get(fileId),
      begin: (file) => Promise.resolve(success(this.#entry(file.fileId, file.sizeBytes))),
      chunkList: (entry) => Promise.resolve(success(listOf(entry.fileId, entry.sizeBytes))),
      writeChunk: () => Promise.resolve(success(undefined)) as never,
      settle: () => Promise.resolve(),
    };
  }

  /** The order of sources and what follows each answer are the book's; the bytes are the network's. */
  #fetcher(): FillerDeps['fetcher'] {
    return {
      chunkList: (fileId) => {
        const sizeBytes = this.manifest.files.get(fileId)?.sizeBytes ?? 0;
        const list = listOf(fileId, sizeBytes);
        return Promise.resolve(success({ encoded: Buffer.alloc(0), list }));
      },
      run: async (file) => {
        const { fileId } = file;
        const { sources } = await this.book.ranking(fileId, 'fill');
        let isLacking = true;
        for (const source of this.book.order(sources.filter((one) => this.book.isUsable(one)))) {
          const how = await this.#from(source, fileId, file.list.sizeBytes);
          if (how === 'whole') {
            this.book.note(source, 'ok');
            this.#arrived(source, fileId);
            return success(undefined);
          }
          if (!this.isAlive) break;
          if (how === 'lacks') continue;
          isLacking = false;
          this.book.note(source, 'failed');
        }
        const code = sources.length > 0 && isLacking ? 'nobody-has-it' : 'no-source';
        return failed({ code, source: 'upstream', retry: 'another-source', detail: fileId });
      },
    };
  }

  async #from(
    source: FillSource,
    fileId: FileId,
    bytes: number,
  ): Promise<'whole' | 'cut' | 'lacks' | 'dead'> {
    const links = this.#world.path(this, source, fileId);
    if (typeof links === 'string') return links;
    const ended = this.book.began(source);
    const how = await new Promise<'whole' | 'cut'>((resolve) => {
      const transfer = this.#world.transfer(links, bytes, (outcome) => {
        this.#transfers.delete(transfer);
        if (outcome === 'whole') this.fillBytes[source.kind] += bytes;
        resolve(outcome);
      });
      this.#transfers.add(transfer);
    });
    ended(how === 'whole' ? bytes : 0);
    return how;
  }

  #arrived(source: FillSource, fileId: FileId): void {
    const entry = this.#entries.get(fileId);
    if (entry === undefined || entry.isWhole) return;
    this.#complete(entry);
    this.#world.stored(this, fileId, source);
  }

  /** Bytes of files that are on their way count too: what moves is waited for. */
  get movingBytes(): { peer: number; tier: number; origin: number } {
    let onTheWay = 0;
    for (const { bytes, leftBytes } of this.#transfers) onTheWay += bytes - leftBytes;
    const { peer, tier, origin } = this.fillBytes;
    return { peer, tier, origin: origin + onTheWay };
  }
}

function listOf(fileId: FileId, sizeBytes: number): never {
  return { fileId, sizeBytes, chunkBytes: 1024 * 1024, hashes: Buffer.alloc(0) } as never;
}
