/**
 * Decisions in one thread without a network, and the sets that they look into.
 */
import { seededRandom } from '#base/random.ts';
import type { FleetSnapshot } from '#control-plane/contract.ts';
import type { PlayRequest } from '#steering/contract.ts';
import {
  answerText,
  bytesOf,
  createFleet,
  createWorld,
  decidePlay,
  expectedLoad,
  holdingsOf,
  holds,
  isWorthPacking,
  LoadLedger,
  ordinalSet,
  packed,
  withChanges,
  type Fleet,
  type Holdings,
  type PrefixTable,
} from '#steering/steering.ts';
import { heldOrdinals } from './holdings.ts';
import { cpuMs } from './prefixes.ts';
import { FILES_PER_TITLE, type PrefixList } from './topology.ts';

const REQUESTS = 65_536;
/** Decisions between two load epochs: a quarter second of the goal. */
const DECISIONS_PER_EPOCH = 25_000;
/** Lists of neighbours are made when a cluster is first asked for: every cluster is, before the clock starts. */
const WARM_DECISIONS = 120_000;
const ANSWERS = 5000;
const NIGHT_SHARE = 0.027; // 6.5 TB of 240 TB change in a night
const MEMBERSHIPS = 1_000_000;

export interface HoldingsPlan {
  readonly boxes: number;
  readonly files: number;
  readonly seed: number;
}

/** A fleet whose first `boxes` boxes, by whole sites, hold what they would; the others hold one small set. */
export function fleetWithHoldings(
  snapshot: FleetSnapshot,
  table: PrefixTable,
  { boxes, files, seed }: HoldingsPlan,
): Fleet {
  const bare = createFleet(snapshot, null, table);
  const small = holdingsOf(1, ordinalSet(heldOrdinals(Math.min(files, 20_000), seed, 0, 1)));
  const appliances = bare.appliances.map((appliance) => {
    if (appliance.index >= boxes) return { ...appliance, holdings: small };
    const { members } = bare.clusters[appliance.cluster];
    const part = members.indexOf(appliance.index);
    const ordinals = heldOrdinals(files, seed + appliance.index, part, members.length);
    return { ...appliance, holdings: holdingsOf(1, ordinalSet(ordinals)) };
  });
  return { ...bare, appliances };
}

export function measureHoldings(
  snapshot: FleetSnapshot,
  table: PrefixTable,
  plan: HoldingsPlan,
): { readonly fleet: Fleet; readonly figures: unknown } {
  let fleet: Fleet | null = null;
  const buildMs = cpuMs(() => {
    fleet = fleetWithHoldings(snapshot, table, plan);
  });
  const made = fleet as Fleet | null;
  if (made === null) throw new Error('no fleet');
  const sets = made.appliances.slice(0, plan.boxes).map(({ holdings }) => holdings);
  const bytes = sets.reduce((sum, set) => sum + bytesOf(set), 0);
  const night = nightOf(sets, plan);
  return {
    fleet: made,
    figures: {
      boxes: plan.boxes,
      gibibytes: round(bytes / 2 ** 30),
      gibibytesForWorld: round(((bytes / plan.boxes) * 17_000) / 2 ** 30),
      buildCpuMsPerBox: round(buildMs / plan.boxes),
      membershipNs: round(membershipNs(sets, plan.seed)),
      night,
    },
  };
}

function membershipNs(sets: readonly Holdings[], seed: number): number {
  const random = seededRandom(seed);
  const which = Uint32Array.from({ length: MEMBERSHIPS }, () => random.below(sets.length));
  const wanted = Uint32Array.from({ length: MEMBERSHIPS }, () => random.below(60_000 * 1200));
  let held = 0;
  const ms = cpuMs(() => {
    for (let at = 0; at < MEMBERSHIPS; at++) if (holds(sets[which[at]], wanted[at])) held++;
  });
  if (held > MEMBERSHIPS) throw new Error('more than all');
  return (ms * 1e6) / MEMBERSHIPS;
}

/** One box's night: what changing and packing cost, apart from each other. */
function nightOf(sets: readonly Holdings[], { files, seed }: HoldingsPlan): unknown {
  const random = seededRandom(seed + 2);
  const changes = Math.round((files * NIGHT_SHARE) / 2);
  const sample = sets.slice(0, Math.min(20, sets.length));
  let changed: Holdings[] = [];
  const news = sample.map(() => ({
    added: Array.from({ length: changes }, () => random.below(60_000 * 1200)),
    removed: Array.from({ length: changes }, () => random.below(20_000) * FILES_PER_TITLE),
  }));
  const change = (): void => {
    changed = sample.map((set, at) => withChanges(set, 2, news[at].added, news[at].removed));
  };
  change(); // the second time counts, when the code is as fast as it gets
  const changeMs = cpuMs(change);
  const packMs = cpuMs(() => {
    for (const set of changed) packed(set);
  });
  return {
    changesPerBox: changes * 2,
    worthPacking: changed.filter(isWorthPacking).length / sample.length,
    changeMsPerBox: round(changeMs / sample.length),
    packMsPerBoxOffThread: round(packMs / sample.length),
  };
}

export function makeRequests(
  fleet: Fleet,
  prefixes: PrefixList,
  files: number,
  seed: number,
): readonly PlayRequest[] {
  const random = seededRandom(seed);
  const titles = [...fleet.titles.values()];
  const v4: number[] = [];
  for (let at = 0; at < prefixes.count; at++) if (prefixes.families[at] === 4) v4.push(at);
  return Array.from({ length: REQUESTS }, () => {
    const one = v4[random.below(v4.length)];
    const [a, b, c] = prefixes.bytes.subarray(one * 16, one * 16 + 4);
    // Popularity falls off quickly: half of all requests are for a hundredth of the titles.
    const title = titles[Math.floor(titles.length * random.next() ** 6)];
    const from = random.below(Math.max(1, title.files.length - files));
    return {
      titleId: title.title.titleId,
      fileIds: title.files.slice(from, from + files).map(({ fileId }) => fileId),
      clientAddress: `${a}.${b}.${c}.${1 + random.below(254)}`,
      session: `s${random.below(2 ** 31).toString(36)}`,
    };
  });
}

export function measureDecisions(fleet: Fleet, prefixes: PrefixList, seconds: number): unknown {
  return [1, 8, 24].map((files) => {
    const requests = makeRequests(fleet, prefixes, files, 7 + files);
    const ledger = new LoadLedger(1, Date.now());
    const spentMs = { decide: 0, freeze: 0 };
    let decisions = 0;
    const freeze = (): ReturnType<typeof createWorld> =>
      createWorld(fleet, ledger.freeze(fleet, [], Date.now()));
    let world = freeze();
    let reasons = 0;
    const go = (count: number): void => {
      for (let at = 0; at < count; at++) {
        const decision = decidePlay(world, requests[decisions++ % REQUESTS]);
        if (decision.kind !== 'play') throw new Error(decision.message);
        reasons += decision.reasons.length;
        for (const [id, bps] of expectedLoad(decision).boxes) ledger.assigned(id, bps, Date.now());
      }
    };
    go(WARM_DECISIONS);
    decisions = 0;
    reasons = 0;
    while (spentMs.decide + spentMs.freeze < seconds * 1000) {
      spentMs.freeze += cpuMs(() => {
        world = freeze();
      });
      spentMs.decide += cpuMs(() => go(DECISIONS_PER_EPOCH));
    }
    const answerMs = writingMs(world, requests);
    return {
      files,
      decisionsPerCpuSecond: Math.round((decisions / (spentMs.decide + spentMs.freeze)) * 1000),
      microseconds: round((spentMs.decide * 1000) / decisions),
      freezeMs: round(spentMs.freeze / (decisions / DECISIONS_PER_EPOCH)),
      answerTextMicroseconds: round(answerMs * 1000),
      reasonsPerDecision: round(reasons / decisions),
    };
  });
}

/** Per answer, in milliseconds: the second of two rounds, when the code is as fast as it gets. */
function writingMs(
  world: ReturnType<typeof createWorld>,
  requests: readonly PlayRequest[],
): number {
  const token = 'x'.repeat(420);
  const decided = requests.slice(0, ANSWERS).flatMap((request) => {
    const decision = decidePlay(world, request);
    return decision.kind === 'play' ? [decision] : [];
  });
  let bytes = 0;
  const write = (): void => {
    for (const decision of decided) {
      const tokens = new Map(decision.reasons.map((reason) => [reason, token]));
      const steering = {
        hls: 'http://steer.example/v1/hls/x',
        dash: 'http://steer.example/v1/dash/x',
      };
      const signing = { tokens, externalKeys: new Map() };
      bytes += answerText(world, decision, signing, steering, 120).length;
    }
  };
  write();
  const ms = cpuMs(write);
  if (bytes === 0) throw new Error('no answer');
  return ms / decided.length;
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}
