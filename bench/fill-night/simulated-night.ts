/**
 * A fleet fills through one window, on a clock that only moves when told: what crosses the origin's link, how deep the cascade goes,
 * which boxes are complete when the window closes.
 *
 * Real: the filler with its machine and queue, the source book with its choice and its order without a control plane, the
 * ranking and its escalation, who counts as moving, the fill window. Made up: disks, links (network.ts), the catalogue.
 *
 * Shape:      (NightShape) -> NightResult; the same shape gives the same history, and its hash says so
 * Units:      bytes, bits per second, seconds; all of the fleet's
 */
import { createHash } from 'node:crypto';
import { failed, success } from '#base/outcome.ts';
import { seededRandom } from '#base/random.ts';
import type { FillSource, FillSources, ManifestEntry } from '#control-plane/contract.ts';
import {
  decisiveCandidates,
  FILL_STILL_MS,
  fillWindowAt,
  firstHolders,
  isFillMoving,
  mayFill,
  neighboursOf,
  rankSources,
  TIERS_MAX,
  type EscalationPolicy,
  type SourceBox,
  type SourceCandidate,
} from '#control-plane/control-plane.ts';
import type { FileId } from '#upstream/contract.ts';
import { Link, Network } from './network.ts';
import { SimulatedBox, type World } from './simulated-box.ts';
import { settled, StepClock } from './step-clock.ts';

export interface NightShape {
  readonly sites: number;
  readonly boxesPerSite: number;
  readonly countries: number;
  readonly worldFiles: number; // that every box is to hold
  readonly countryFiles: number; // that the boxes of one country are to hold
  readonly fileBytes: number;
  readonly originBps: number;
  readonly siteBps: number; // each way
  readonly boxBps: number; // of a box's own network, each way
  readonly windowHours: number;
  readonly stepSeconds: number;
  readonly seed: number;
  readonly deadShare: number; // of the boxes
  readonly dieAfterSeconds: number;
  readonly planeDiesAfterSeconds: number | null;
  readonly planeIsBackAfterSeconds: number | null;
}

export interface NightResult {
  readonly boxes: number;
  readonly living: number;
  readonly complete: number; // of the living, when the window closed
  readonly completeAfterSeconds: number | null; // the last of the living; null: not all in time
  readonly originEgressRatio: number; // over one copy of each file that was wanted
  readonly originBytes: number;
  readonly bytes: number; // that reached a disk
  readonly cascadeDepth: { readonly max: number; readonly mean: number };
  readonly bySource: Readonly<Record<FillSource['kind'], number>>;
  readonly filesRanked: number;
  readonly history: string;
}

const POLICY: EscalationPolicy = {
  fillMasters: 1,
  tier: { allowed: true, delayMs: 15_000 },
  network: { allowed: true, delayMs: 15_000 },
  origin: { allowed: true, delayMs: 15_000 },
  patienceMs: 43_200_000,
};
const ORIGIN = 'http://origin.test';
const WINDOW_START_MS = Date.UTC(2026, 10, 21, 2);
const CONCURRENCY = 4;
const SETTLE_ROUNDS = 3;

export async function simulateNight(shape: NightShape): Promise<NightResult> {
  const night = new Night(shape);
  await night.run();
  return night.result();
}

interface NightFile {
  readonly entry: ManifestEntry;
  readonly wanting: readonly SimulatedBox[];
  readonly missing: Set<SimulatedBox>;
  readonly holders: Set<SimulatedBox>;
  /** Of all boxes those that decide a ranking, for one moment: questions are many, and boxes thousands. */
  decisive: { readonly atMs: number; readonly candidates: readonly SourceCandidate[] } | null;
  /** By country; null: somebody came or went. */
  first: ReadonlyMap<string, readonly SourceBox[]> | null;
}

class Night implements World {
  readonly clock = new StepClock(WINDOW_START_MS);
  readonly tickMs: number;
  readonly #shape: NightShape;
  readonly #network = new Network();
  readonly #origin: Link;
  readonly #up = new Map<string, Link>();
  readonly #down = new Map<string, Link>();
  readonly #boxes = new Map<string, SimulatedBox>();
  readonly #bySite = new Map<string, SimulatedBox[]>();
  readonly #files = new Map<FileId, NightFile>();
  readonly #neighbours = new Map<string, readonly FillSource[]>();
  readonly #depth = new Map<string, number>();
  readonly #history = createHash('sha256');
  #isPlaneUp = true;
  #ranked = 0;
  #copies = 0;
  #depthSum = 0;
  #depthMax = 0;
  #completeAtMs: number | null = null;

  constructor(shape: NightShape) {
    this.#shape = shape;
    this.tickMs = shape.stepSeconds * 1000;
    this.#origin = new Link('origin', shape.originBps);
    this.#build();
  }

  async run(): Promise<void> {
    const { stepSeconds, windowHours, planeDiesAfterSeconds, deadShare } = this.#shape;
    const window = { startLocal: '02:00', hours: windowHours, timeZone: 'UTC' };
    const wantedBy = new Map<SimulatedBox, ManifestEntry[]>();
    for (const { entry, wanting } of this.#files.values()) {
      for (const box of wanting) wantedBy.set(box, [...(wantedBy.get(box) ?? []), entry]);
    }
    for (const box of this.#boxes.values()) {
      await box.begin(wantedBy.get(box) ?? []);
      box.filler.setWindow('open');
    }
    let areDead = deadShare === 0;
    while (fillWindowAt(window, this.clock.wallMs()).open) {
      const elapsedMs = this.clock.nowMs;
      this.#isPlaneUp =
        planeDiesAfterSeconds === null ||
        elapsedMs < planeDiesAfterSeconds * 1000 ||
        elapsedMs >= (this.#shape.planeIsBackAfterSeconds ?? Infinity) * 1000;
      if (!areDead && elapsedMs >= this.#shape.dieAfterSeconds * 1000) {
        areDead = true;
        this.#killSome();
      }
      this.#network.step(stepSeconds);
      this.#hear();
      this.clock.step(stepSeconds * 1000);
      for (let round = 0; round < SETTLE_ROUNDS; round++) await settled();
      if (this.#living().every((box) => box.isComplete)) {
        this.#completeAtMs ??= this.clock.nowMs;
        if (areDead) break;
      }
    }
    for (const box of this.#boxes.values()) box.filler.setWindow('closed');
  }

  result(): NightResult {
    const living = this.#living();
    const wanted = [...this.#files.values()].filter(({ wanting }) => wanting.length > 0);
    const bySource = { peer: 0, tier: 0, origin: 0 };
    for (const { fillBytes } of this.#boxes.values()) {
      for (const kind of ['peer', 'tier', 'origin'] as const) bySource[kind] += fillBytes[kind];
    }
    return {
      boxes: this.#boxes.size,
      living: living.length,
      complete: living.filter((box) => box.isComplete).length,
      completeAfterSeconds: this.#completeAtMs === null ? null : this.#completeAtMs / 1000,
      originEgressRatio: this.#origin.carriedBytes / (wanted.length * this.#shape.fileBytes),
      originBytes: Math.round(this.#origin.carriedBytes),
      bytes: bySource.peer + bySource.tier + bySource.origin,
      cascadeDepth: { max: this.#depthMax, mean: this.#depthSum / Math.max(1, this.#copies) },
      bySource,
      filesRanked: this.#ranked,
      history: this.#history.digest('hex').slice(0, 16),
    };
  }

  // ---------------------------------------------------------------- the world of a box

  path(box: SimulatedBox, source: FillSource, fileId: FileId): readonly Link[] | 'lacks' | 'dead' {
    const down = this.#down.get(box.place.siteId)!;
    if (source.kind === 'origin') return [this.#origin, down, box.lan];
    const giver = this.#boxes.get(source.id);
    if (giver === undefined || !giver.isAlive) return 'dead';
    if (!giver.has(fileId)) return 'lacks';
    if (giver.place.siteId === box.place.siteId) return [giver.lan, box.lan];
    return [giver.lan, this.#up.get(giver.place.siteId)!, down, box.lan];
  }

  transfer(
    links: readonly Link[],
    bytes: number,
    finished: (how: 'whole' | 'cut') => void,
  ): ReturnType<Network['start']> {
    return this.#network.start(links, bytes, finished);
  }

  cut(transfer: ReturnType<Network['start']>): void {
    this.#network.cut(transfer);
  }

  ask(
    box: SimulatedBox,
    { fileIds }: { readonly fileIds: readonly FileId[] },
  ): ReturnType<World['ask']> {
    if (!this.#isPlaneUp || !box.isAlive) {
      const detail = 'the control plane does not answer';
      return Promise.resolve(
        failed({ code: 'gone', source: 'network', retry: 'same-source', detail }),
      );
    }
    const files: FillSources['files'] = fileIds.map((fileId) => {
      this.#ranked++;
      const file = this.#files.get(fileId)!;
      const holders = this.#holders(box, file);
      const candidates = this.#candidates(box, file);
      const sources = rankSources(box.place, fileId, holders, ORIGIN, candidates, POLICY);
      return { fileId, titles: ['night'], sources: [...sources] };
    });
    const neighbours = this.#neighboursOf(box.place.siteId).filter(
      ({ id }) => id !== box.place.applianceId,
    );
    return Promise.resolve(success({ version: 1, files, neighbours }));
  }

  stored(box: SimulatedBox, fileId: FileId, source: FillSource): void {
    const from = source.kind === 'origin' ? 0 : (this.#depth.get(`${source.id} ${fileId}`) ?? 0);
    const depth = from + 1;
    this.#depth.set(`${box.place.applianceId} ${fileId}`, depth);
    this.#depthSum += depth;
    this.#depthMax = Math.max(this.#depthMax, depth);
    this.#copies++;
    const file = this.#files.get(fileId);
    if (file !== undefined) {
      file.holders.add(box);
      file.missing.delete(box);
      file.first = null;
    }
    this.#history.update(`${this.clock.nowMs} ${box.place.applianceId} ${fileId} ${source.id}\n`);
  }

  // ---------------------------------------------------------------- the control plane's view

  /** The asker's own site box by box, of the others those that decide. */
  *#candidates(asker: SimulatedBox, file: NightFile): Generator<SourceCandidate> {
    const { fileId } = file.entry;
    const { siteId } = asker.place;
    const stillMs = this.#stillMs;
    for (const box of this.#bySite.get(siteId) ?? []) {
      if (!box.isAlive) continue;
      if (box.has(fileId)) yield box.place;
      else if (mayFill(box.beat) && box.manifest.files.has(fileId)) {
        yield this.#fetching(box, stillMs);
      }
    }
    if (file.decisive?.atMs !== this.clock.nowMs) {
      const candidates = decisiveCandidates(fileId, this.#everybody(file, stillMs));
      file.decisive = { atMs: this.clock.nowMs, candidates };
    }
    for (const candidate of file.decisive.candidates) {
      if (candidate.siteId !== siteId) yield candidate;
    }
  }

  *#everybody(file: NightFile, stillMs: number): Generator<SourceCandidate> {
    for (const box of file.missing) {
      if (box.isAlive && mayFill(box.beat)) yield this.#fetching(box, stillMs);
    }
    for (const box of file.holders) yield box.place;
  }

  /** Holders of the asker's site, and of the others those that may be among the first. */
  *#holders(asker: SimulatedBox, file: NightFile): Generator<SourceBox> {
    const { siteId, country } = asker.place;
    for (const box of this.#bySite.get(siteId) ?? []) if (file.holders.has(box)) yield box.place;
    file.first ??= this.#firstHolders(file);
    const near = (file.first.get(country) ?? []).filter((place) => place.siteId !== siteId);
    yield* near;
    if (near.length >= TIERS_MAX) return;
    for (const [name, places] of file.first) if (name !== country) yield* places;
  }

  #firstHolders({ entry, holders }: NightFile): ReadonlyMap<string, readonly SourceBox[]> {
    const byCountry = Map.groupBy(
      [...holders].map(({ place }) => place),
      ({ country }) => country,
    );
    const first = new Map<string, readonly SourceBox[]>();
    for (const [country, places] of byCountry) {
      first.set(country, firstHolders(entry.fileId, places));
    }
    return first;
  }

  #fetching(
    { place: { applianceId, siteId }, movedAtMs }: SimulatedBox,
    stillMs: number,
  ): SourceCandidate {
    return { applianceId, siteId, isMoving: this.clock.nowMs - movedAtMs < stillMs };
  }

  /** Steps are longer than heartbeats: one of them without a byte is not a standstill yet. */
  get #stillMs(): number {
    return Math.max(FILL_STILL_MS, 2 * this.tickMs);
  }

  #hear(): void {
    for (const box of this.#boxes.values()) {
      if (!box.isAlive) continue;
      const { manifestVersion, waitingFor } = box.filler.figures();
      const beat = {
        bootId: box.place.applianceId,
        fill: { manifestVersion, waitingFor },
        counters: { fillBytes: box.movingBytes },
      };
      if (isFillMoving(box.beat, beat)) box.movedAtMs = this.clock.nowMs;
      box.beat = beat;
    }
  }

  #neighboursOf(siteId: string): readonly FillSource[] {
    let known = this.#neighbours.get(siteId);
    if (known === undefined) {
      known = neighboursOf(
        siteId,
        [...this.#boxes.values()].map(({ place }) => place),
      );
      this.#neighbours.set(siteId, known);
    }
    return known;
  }

  #living(): readonly SimulatedBox[] {
    return [...this.#boxes.values()].filter((box) => box.isAlive);
  }

  #killSome(): void {
    const random = seededRandom(this.#shape.seed + 1);
    for (const box of this.#boxes.values()) {
      if (random.next() >= this.#shape.deadShare) continue;
      box.die();
      for (const file of this.#files.values()) {
        if (file.holders.delete(box)) file.first = null;
        file.decisive = null;
      }
    }
  }

  #build(): void {
    const { sites, boxesPerSite, countries, boxBps, siteBps, seed } = this.#shape;
    for (let site = 0; site < sites; site++) {
      const siteId = `s${site}`;
      const country = `C${site % countries}`;
      this.#up.set(siteId, new Link(`${siteId} up`, siteBps));
      this.#down.set(siteId, new Link(`${siteId} down`, siteBps));
      for (let at = 0; at < boxesPerSite; at++) {
        const applianceId = `${siteId}-${at}`;
        const place: SourceBox = {
          applianceId,
          siteId,
          clusterId: siteId,
          country,
          baseUrl: `http://${applianceId}.test`,
        };
        const lan = new Link(applianceId, boxBps);
        const box = new SimulatedBox(this, place, lan, CONCURRENCY, seed + this.#boxes.size);
        this.#boxes.set(applianceId, box);
        this.#bySite.set(siteId, [...(this.#bySite.get(siteId) ?? []), box]);
      }
    }
    this.#catalogue();
  }

  #catalogue(): void {
    const { countries, countryFiles, worldFiles, fileBytes } = this.#shape;
    const add = (name: string, rank: number, wanting: SimulatedBox[]): void => {
      const fileId = createHash('sha256').update(name).digest('base64url');
      const density = 10_000 / (rank + 1);
      const entry = { fileId, sizeBytes: fileBytes, titles: ['night'], density };
      this.#files.set(fileId, {
        entry,
        wanting,
        missing: new Set(wanting),
        holders: new Set(),
        decisive: null,
        first: null,
      });
    };
    const all = [...this.#boxes.values()];
    for (let at = 0; at < worldFiles; at++) add(`world ${at}`, at, all);
    for (let country = 0; country < countries; country++) {
      const wanting = all.filter(({ place }) => place.country === `C${country}`);
      for (let at = 0; at < countryFiles; at++) add(`country ${country} ${at}`, at, wanting);
    }
  }
}
