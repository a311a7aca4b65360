/**
 * A region of boxes, its viewers, and steering nodes that see all of it late: one seeded run of the weight loop on simulated time.
 *
 * Ranking, effective load, steering manifests and the loop itself are the product's own code. What is made up: viewers arrive at
 * random and stay half an hour on average; a box that is at its limit refuses, and the player goes to the next of its list; players
 * ask again after their TTL, spread by a fifth.
 */
import { seededRandom, type Random } from '#base/random.ts';
import {
  stepWeights,
  WEIGHT_PERIOD_MS,
  type WeightBox,
  type WeightState,
} from '#control-plane/control-plane.ts';
import type { FleetSnapshot, SnapshotAppliance } from '#control-plane/contract.ts';
import { courseOf, mean, round, smooth, type Course } from './course.ts';
import {
  advanceFleet,
  createFleet,
  createWorld,
  decidePlay,
  expectedLoad,
  LoadLedger,
  steerSession,
  type Fleet,
  type PlayDecision,
  type World,
} from '#steering/steering.ts';

export interface BalancePlan {
  readonly nodes: number;
  readonly reportDelaySeconds: number;
  readonly ttlSeconds: number;
  /** even: one box of three in each cluster; uneven: as many boxes, drawn at random. */
  readonly loss: 'even' | 'uneven';
  readonly seconds: number; // of which the first third is before the loss
  readonly seed: number;
}

export interface BalanceRun {
  readonly useBefore: number; // mean over the boxes
  readonly settledUse: number; // mean over the living boxes, last sixth of the run
  readonly worstUse: number; // of any living box after the loss, over 10 s
  readonly clusters: Course; // what the loop moves: chance evens out over their boxes
  readonly boxes: Course;
  readonly reliefSeconds: number; // until no living box is at its limit for good (95 %), over 10 s
  readonly refusedShare: number; // of sessions that no box of their list took
  readonly movesPerSessionHour: number;
}

const CLUSTERS = 8;
const BOXES_PER_CLUSTER = 3;
const SESSIONS_PER_BOX = 400; // at its limit
const USE_BEFORE = 0.55;
const STAY_SECONDS = 1800;
const SESSION_BPS = 4e6;
const START_MS = Date.UTC(2026, 10, 21);

interface Viewer {
  decision: PlayDecision;
  box: number; // -1: none took it
  pollAtSecond: number;
  readonly endsAtSecond: number;
}

interface Node {
  fleet: Fleet;
  world: World;
  readonly ledger: LoadLedger;
}

class Region {
  readonly #plan: BalancePlan;
  readonly #random: Random;
  readonly #nodes: Node[];
  readonly #viewers = new Set<Viewer>();
  readonly #sessions: number[] = []; // by box
  readonly #isDead: boolean[] = [];
  readonly #reports: number[][] = []; // by second: bits per second of each box
  #weights: WeightState = new Map();
  #second = 0;
  #ids = 0;
  refused = 0;
  arrived = 0;
  moved = 0;

  constructor(plan: BalancePlan) {
    this.#plan = plan;
    this.#random = seededRandom(plan.seed);
    const fleet = createFleet(regionSnapshot());
    this.#nodes = Array.from({ length: plan.nodes }, () => {
      const ledger = new LoadLedger(plan.nodes, START_MS);
      return { fleet, ledger, world: createWorld(fleet, ledger.freeze(fleet, [], START_MS)) };
    });
    for (let box = 0; box < CLUSTERS * BOXES_PER_CLUSTER; box++) {
      this.#sessions.push(0);
      this.#isDead.push(false);
    }
    // As after hours of the same: everybody is there, and leaves by and by.
    const viewers = Math.round(this.#sessions.length * SESSIONS_PER_BOX * USE_BEFORE);
    for (let at = 0; at < viewers; at++) {
      if (at % 50 === 0) this.#freeze();
      this.#arrive();
    }
  }

  get uses(): readonly number[] {
    return this.#sessions.map((count) => count / SESSIONS_PER_BOX);
  }

  get alive(): readonly number[] {
    return this.#isDead.flatMap((isDead, box) => (isDead ? [] : [box]));
  }

  step(): void {
    this.#second++;
    this.#reports.push(this.#sessions.map((count) => count * SESSION_BPS));
    if (this.#second % (WEIGHT_PERIOD_MS / 1000) === 0) this.#stepWeights();
    this.#freeze();
    for (const viewer of this.#viewers) {
      if (viewer.endsAtSecond <= this.#second) this.#leave(viewer);
      else if (viewer.pollAtSecond <= this.#second) this.#poll(viewer);
    }
    const perSecond = (this.#sessions.length * SESSIONS_PER_BOX * USE_BEFORE) / STAY_SECONDS;
    for (let left = poisson(this.#random, perSecond); left > 0; left--) this.#arrive();
  }

  /** A third of all boxes, at once. */
  lose(): void {
    const count = this.#sessions.length / BOXES_PER_CLUSTER;
    const dying =
      this.#plan.loss === 'even'
        ? Array.from({ length: count }, (_, cluster) => cluster * BOXES_PER_CLUSTER)
        : shuffled(this.#random, this.#sessions.length).slice(0, count);
    for (const box of dying) this.#isDead[box] = true;
    for (const viewer of this.#viewers) {
      if (viewer.box === -1 || !this.#isDead[viewer.box]) continue;
      this.#sessions[viewer.box]--;
      viewer.box = -1;
      this.#seat(viewer);
    }
    for (const box of dying) this.#sessions[box] = 0;
  }

  #stepWeights(): void {
    const { reportDelaySeconds, ttlSeconds } = this.#plan;
    const report = this.#reportOf();
    const boxes = this.#sessions.map((_, box): WeightBox => {
      return {
        applianceId: nameOf(box),
        region: 'FR',
        servingBps: SESSIONS_PER_BOX * SESSION_BPS,
        egressBps: report[box],
        isHeard: !this.#isDead[box],
      };
    });
    const settleMs = 2000 * (reportDelaySeconds + ttlSeconds);
    this.#weights = stepWeights(this.#weights, boxes, WEIGHT_PERIOD_MS, settleMs);
  }

  #reportOf(): readonly number[] {
    const at = Math.max(0, this.#reports.length - 1 - this.#plan.reportDelaySeconds);
    return this.#reports[at] ?? this.#sessions.map((count) => count * SESSION_BPS);
  }

  /** What the nodes see of it: reports of a while ago, the dead at once (a refused connection is hard evidence). */
  #freeze(): void {
    const nowMs = START_MS + this.#second * 1000;
    const report = this.#reportOf();
    // Before the first reports are due, the first is as good as any: the region was quiet.
    const heardMs = nowMs - this.#plan.reportDelaySeconds * 1000;
    const appliances = this.#sessions.map((_, box) =>
      entryOf(box, {
        egressBps: report[box],
        heartbeatAtMs: Math.max(0, this.#reports.length === 0 ? nowMs - 1000 : heardMs),
        admit: this.#weights.get(nameOf(box))?.admit ?? 1,
      }),
    );
    const dead = this.#isDead.flatMap((isDead, box) =>
      isDead ? [{ applianceId: nameOf(box), family: 4, name: 'unreachable' } as const] : [],
    );
    for (const node of this.#nodes) {
      const { version } = node.fleet.snapshot;
      node.fleet = advanceFleet(node.fleet, {
        kind: 'delta',
        version: version + 1,
        baseVersion: version,
        epoch: 1,
        issuedAtMs: nowMs,
        prefixesVersion: 1,
        appliances,
        appliancesRemoved: [],
        holdings: [],
        titles: [],
        titlesRemoved: [],
      });
      node.world = createWorld(node.fleet, node.ledger.freeze(node.fleet, dead, nowMs));
    }
  }

  #arrive(): void {
    this.arrived++;
    const stay = -STAY_SECONDS * Math.log(1 - this.#random.next());
    const viewer = {
      ...this.#ask(`10.${this.#random.below(CLUSTERS)}.1.1`),
      endsAtSecond: this.#second + stay,
    };
    this.#viewers.add(viewer);
    this.#seat(viewer);
  }

  #ask(clientAddress: string): Omit<Viewer, 'endsAtSecond'> {
    const node = this.#nodes[this.#random.below(this.#nodes.length)];
    const session = `v${this.#ids++}`;
    const decision = decidePlay(node.world, { titleId: 'film', clientAddress, session });
    if (decision.kind !== 'play') throw new Error(decision.message);
    const nowMs = START_MS + this.#second * 1000;
    for (const [id, bps] of expectedLoad(decision).boxes) node.ledger.assigned(id, bps, nowMs);
    return { decision, box: -1, pollAtSecond: this.#nextPoll() };
  }

  #nextPoll(): number {
    return this.#second + this.#plan.ttlSeconds * (0.8 + 0.4 * this.#random.next());
  }

  /** The first box of the list that lives and has room; none: it tries again with its next question. */
  #seat(viewer: Viewer, ids: readonly string[] = viewer.decision.session.assigned): void {
    for (const id of ids) {
      const box = boxOf(id);
      if (box === -1 || this.#isDead[box] || this.#sessions[box] >= SESSIONS_PER_BOX) continue;
      this.#sessions[box]++;
      viewer.box = box;
      return;
    }
    this.refused++;
    viewer.pollAtSecond = this.#second + 5 * (0.5 + this.#random.next());
  }

  #poll(viewer: Viewer): void {
    viewer.pollAtSecond = this.#nextPoll();
    if (viewer.box === -1) {
      const [address] = viewer.decision.session.client.bytes.subarray(1, 2);
      const again = this.#ask(`10.${address}.1.1`);
      viewer.decision = again.decision;
      this.#seat(viewer);
      return;
    }
    const node = this.#nodes[this.#random.below(this.#nodes.length)];
    const { session } = viewer.decision;
    const policy = { steadySeconds: this.#plan.ttlSeconds, degradedSeconds: this.#plan.ttlSeconds };
    const list = steerSession(node.world, 'hls', session, 'x', policy, this.#random)[
      'PATHWAY-PRIORITY'
    ];
    const wanted = boxOf(list[0]);
    if (wanted === viewer.box || wanted === -1) return;
    this.#sessions[viewer.box]--;
    const before = viewer.box;
    viewer.box = -1;
    this.#seat(viewer, [...list, nameOf(before)]);
    if (viewer.box !== before) this.moved++;
  }

  #leave(viewer: Viewer): void {
    if (viewer.box !== -1) this.#sessions[viewer.box]--;
    this.#viewers.delete(viewer);
  }
}

export function simulateBalance(plan: BalancePlan): BalanceRun {
  const region = new Region(plan);
  const lossAt = Math.floor(plan.seconds / 3);
  const before: (readonly number[])[] = [];
  for (let second = 0; second < lossAt; second++) {
    region.step();
    before.push(region.uses);
  }
  const useBefore = mean(region.uses);
  const refusedBefore = region.refused;
  const arrivedBefore = region.arrived;
  region.moved = 0;
  region.lose();
  const { alive } = region;
  const after: (readonly number[])[] = [];
  for (let second = lossAt; second < plan.seconds; second++) {
    region.step();
    after.push(region.uses);
  }
  const boxes = alive.map((box) => [box]);
  const clusters = Array.from({ length: CLUSTERS }, (_, cluster) =>
    alive.filter((box) => Math.floor(box / BOXES_PER_CLUSTER) === cluster),
  ).filter((members) => members.length > 0);
  const seriesOf = (history: typeof after) => (members: readonly number[]) =>
    history.map((uses) => mean(members.map((box) => uses[box])));
  const ofBoxes = boxes.map(seriesOf(after));
  const settledUse = mean(ofBoxes.map((series) => mean(series.slice(-lateSeconds(series)))));
  const smoothed = ofBoxes.map((series) => smooth(series, WINDOW_SECONDS));
  const viewers = alive.length * SESSIONS_PER_BOX * settledUse;
  const hours = (plan.seconds - lossAt) / 3600;
  return {
    useBefore: round(useBefore),
    settledUse: round(settledUse),
    worstUse: round(Math.max(...smoothed.flat())),
    clusters: courseOf(clusters.map(seriesOf(after)), clusters.map(seriesOf(before))),
    boxes: courseOf(ofBoxes, boxes.map(seriesOf(before))),
    reliefSeconds: Math.max(
      ...smoothed.map((series) => series.findLastIndex((use) => use >= LIMIT_USE) + 1),
    ),
    refusedShare: round(
      (region.refused - refusedBefore) / Math.max(1, region.arrived - arrivedBefore + viewers),
    ),
    movesPerSessionHour: round(region.moved / viewers / hours),
  };
}

const WINDOW_SECONDS = 10;
const LIMIT_USE = 0.95;

function lateSeconds(series: readonly number[]): number {
  return Math.floor(series.length / 4);
}

function regionSnapshot(): FleetSnapshot {
  return {
    kind: 'full',
    version: 1,
    epoch: 1,
    issuedAtMs: START_MS,
    prefixesVersion: 1,
    clusters: Array.from({ length: CLUSTERS }, (_, cluster) => ({
      clusterId: `c${cluster}`,
      siteId: `s${cluster}`,
      country: 'FR',
      latitude: 45 + cluster / 4,
      longitude: 3,
      prefixes: [`10.${cluster}.0.0/16`],
    })),
    appliances: Array.from({ length: CLUSTERS * BOXES_PER_CLUSTER }, (_, box) => entryOf(box, {})),
    holdings: Array.from({ length: CLUSTERS * BOXES_PER_CLUSTER }, (_, box) => ({
      applianceId: nameOf(box),
      version: 1,
      ordinals: [0],
    })),
    titles: [
      {
        titleId: 'film',
        availability: [{ countries: ['*'] }],
        durationSeconds: 100,
        files: [{ fileId: 'f'.repeat(43), ordinal: 0, sizeBytes: (SESSION_BPS / 8) * 100 }],
      },
    ],
    origin: { pathwayId: 'origin', baseUrl: 'http://10.255.0.1:80' },
  };
}

function entryOf(box: number, changes: Partial<SnapshotAppliance>): SnapshotAppliance {
  const cluster = Math.floor(box / BOXES_PER_CLUSTER);
  return {
    applianceId: nameOf(box),
    siteId: `s${cluster}`,
    clusterId: `c${cluster}`,
    baseUrl: `http://10.${cluster}.0.${box + 1}:80`,
    standing: 'serving',
    reasons: [],
    since: START_MS - 3_600_000,
    weight: 1 / BOXES_PER_CLUSTER,
    servingBps: SESSIONS_PER_BOX * SESSION_BPS,
    egressBps: 0,
    heartbeatAtMs: START_MS,
    ...changes,
  };
}

function nameOf(box: number): string {
  return `b${box}`;
}

function boxOf(id: string): number {
  return /^b\d+$/.test(id) ? Number(id.slice(1)) : -1;
}

function poisson(random: Random, expected: number): number {
  const limit = Math.exp(-expected);
  let count = 0;
  for (let product = random.next(); product > limit; product *= random.next()) count++;
  return count;
}

function shuffled(random: Random, count: number): number[] {
  const list = Array.from({ length: count }, (_, at) => at);
  for (let at = count - 1; at > 0; at--) {
    const other = random.below(at + 1);
    [list[at], list[other]] = [list[other], list[at]];
  }
  return list;
}
