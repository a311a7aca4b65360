/**
 * An empty box is turned up beside full siblings, or alone: how much of its planned demand it could serve, hour by hour.
 *
 * Real: the filler and its order (density, urgent first), the source book and its choice, the ranking, the fill window, what
 * counts as turned up. Made up: disks, links (network.ts), the catalogue: Zipf with exponent 0.8.
 *
 * Units: bytes, bits per second, hours since the box was switched on; offload = share of the planned demand on whole files
 */
import { createHash } from 'node:crypto';
import { demandHeld, stepTurnUp, type TurnUp } from '#appliance/appliance.ts';
import { success } from '#base/outcome.ts';
import type { FillSource, ManifestEntry } from '#control-plane/contract.ts';
import { fillWindowAt, rankSources, type SourceBox } from '#control-plane/control-plane.ts';
import type { FileId } from '#upstream/contract.ts';
import { Link, Network } from './network.ts';
import { SimulatedBox, type World } from './simulated-box.ts';
import { settled, StepClock } from './step-clock.ts';

export interface TurnUpShape {
  readonly files: number;
  readonly fileBytes: number;
  readonly siblings: number; // full boxes of the same site
  readonly lanBps: number;
  readonly linkBps: number; // of the site, to the origin
  readonly windowHours: number;
  readonly outsideWindow: 'never' | 'site' | 'all';
  readonly days: number;
  readonly stepSeconds: number;
}

export interface TurnUpResult {
  readonly offloadAt: Readonly<Record<string, number>>; // "1 h", "1 d", ...
  readonly turnedUpAfterHours: number | null; // 90 % of the planned demand
  readonly fullAfterHours: number | null;
  readonly bySource: Readonly<Record<FillSource['kind'], number>>;
  readonly servedFirstAfterSeconds: number | null; // steering may use it from here on
}

const ORIGIN = 'http://origin.test';
const MARKS_HOURS = [1, 3, 6, 12, 24, 72, 168];
const TURN_UP_SHARE = 0.9;
const CONCURRENCY = 4;
const POLICY = {
  fillMasters: 1,
  tier: { allowed: true, delayMs: 15_000 },
  network: { allowed: true, delayMs: 15_000 },
  origin: { allowed: true, delayMs: 15_000 },
};

export async function simulateTurnUp(shape: TurnUpShape): Promise<TurnUpResult> {
  const site = new TurnUpSite(shape);
  await site.begin();
  return site.run();
}

class TurnUpSite implements World {
  readonly clock = new StepClock(Date.UTC(2026, 10, 21, 2));
  readonly tickMs: number;
  readonly #shape: TurnUpShape;
  readonly #network = new Network();
  readonly #link: Link;
  readonly #boxes: readonly SimulatedBox[];
  readonly #entries: readonly ManifestEntry[];
  #firstAtMs: number | null = null;

  constructor(shape: TurnUpShape) {
    this.#shape = shape;
    this.tickMs = shape.stepSeconds * 1000;
    this.#link = new Link('to the origin', shape.linkBps);
    this.#entries = Array.from({ length: shape.files }, (_, rank) => ({
      fileId: createHash('sha256').update(`file ${rank}`).digest('base64url'),
      sizeBytes: shape.fileBytes,
      titles: ['night'],
      density: 10_000 / (rank + 1) ** 0.8,
    }));
    this.#boxes = Array.from({ length: shape.siblings + 1 }, (_, at) => {
      const applianceId = `box-${at + 1}`;
      const place: SourceBox = {
        applianceId,
        siteId: 'site',
        clusterId: 'site',
        country: 'FR',
        baseUrl: `http://${applianceId}.test`,
      };
      return new SimulatedBox(this, place, new Link(applianceId, shape.lanBps), CONCURRENCY, at);
    });
  }

  get #empty(): SimulatedBox {
    return this.#boxes[this.#boxes.length - 1];
  }

  async begin(): Promise<void> {
    for (const box of this.#boxes) {
      if (box !== this.#empty) for (const entry of this.#entries) box.seed(entry);
    }
    await this.#empty.begin(this.#entries);
  }

  async run(): Promise<TurnUpResult> {
    const { days, outsideWindow, stepSeconds, windowHours } = this.#shape;
    const window = { startLocal: '02:00', hours: windowHours, timeZone: 'UTC' };
    const offloadAt: Record<string, number> = {};
    let turnUp: TurnUp = 'filling';
    let turnedUpAfterHours: number | null = null;
    let fullAfterHours: number | null = null;
    for (let mark = 0; this.clock.nowMs < days * 86_400_000;) {
      const isOpen = fillWindowAt(window, this.clock.wallMs()).open;
      const outside = turnUp !== 'filling' || outsideWindow === 'never' ? 'closed' : outsideWindow;
      this.#empty.filler.setWindow(isOpen || outside === 'all' ? 'open' : outside);
      this.#network.step(stepSeconds);
      this.clock.step(this.tickMs);
      await settled();
      await settled();
      const hours = this.clock.nowMs / 3_600_000;
      const demand = demandHeld(this.#empty.manifest.order, (id) => this.#empty.has(id));
      turnUp = stepTurnUp(turnUp, demand, TURN_UP_SHARE);
      if (turnUp === 'serving') turnedUpAfterHours ??= hours;
      if (this.#empty.isComplete) fullAfterHours ??= hours;
      while (mark < MARKS_HOURS.length && hours >= MARKS_HOURS[mark]) {
        const name =
          MARKS_HOURS[mark] < 24 ? `${MARKS_HOURS[mark]} h` : `${MARKS_HOURS[mark] / 24} d`;
        offloadAt[name] = Math.round((1000 * demand.held) / demand.planned) / 1000;
        mark++;
      }
      if (fullAfterHours !== null && mark === MARKS_HOURS.length) break;
    }
    return {
      offloadAt,
      turnedUpAfterHours,
      fullAfterHours,
      bySource: { ...this.#empty.fillBytes },
      servedFirstAfterSeconds: this.#firstAtMs === null ? null : this.#firstAtMs / 1000,
    };
  }

  path(box: SimulatedBox, source: FillSource, fileId: FileId): readonly Link[] | 'lacks' | 'dead' {
    if (source.kind === 'origin') return [this.#link, box.lan];
    const giver = this.#boxes.find(({ place }) => place.applianceId === source.id);
    if (giver === undefined) return 'dead';
    return giver.has(fileId) ? [giver.lan, box.lan] : 'lacks';
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
    const files = fileIds.map((fileId) => {
      const holders = this.#boxes.filter((other) => other.has(fileId)).map(({ place }) => place);
      const sources = rankSources(box.place, fileId, holders, ORIGIN, holders, POLICY);
      return { fileId, titles: ['night'], sources: [...sources] };
    });
    return Promise.resolve(success({ version: 1, files }));
  }

  stored(): void {
    this.#firstAtMs ??= this.clock.nowMs;
  }
}
