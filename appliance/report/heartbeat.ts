/**
 * Makes the heartbeat of one second out of what the parts of the box say. Pure: numbers in, message out.
 */
import type { Heartbeat } from '#appliance/contract.ts';
import type { FillFigures } from '../fill/fill-figures.ts';
import type { Counters } from '../serve/counters.ts';
import type { SenderStats } from '../serve/sender.ts';
import type { Holdings } from '../store/holdings.ts';
import type { StoreFigures } from '../store/store.ts';

const REASONS_MAX = 16;
const REASON_LENGTH_MAX = 200;
const PROBLEM_LENGTH_MAX = 300;

export type FillExtras = Pick<Heartbeat['fill'], 'bpsByKind' | 'hourlyBps' | 'leftOut' | 'curve'>;

export interface HeartbeatFacts {
  readonly sequence: number;
  readonly nowMs: number;
  readonly bootId: string;
  readonly isStarting: boolean;
  readonly isDraining: boolean;
  readonly isStoreUsable: boolean;
  readonly problems: readonly string[]; // what is wrong: degraded at least
  readonly servingBps: number;
  readonly egressBps: number;
  readonly requestsPerSecond: number;
  readonly fillBps: number;
  readonly sender: SenderStats;
  readonly store: StoreFigures;
  readonly fill: FillFigures;
  readonly fillExtras: FillExtras;
  readonly isTurningUp: boolean;
  readonly counters: Counters;
  readonly holdings: Pick<Holdings, 'version' | 'digest' | 'count'>;
  readonly keysVersion: number;
  readonly denialsVersion: number;
}

export function makeHeartbeat(facts: HeartbeatFacts): Heartbeat {
  const { counters, fill, store } = facts;
  const reasons = facts.problems
    .slice(0, REASONS_MAX)
    .map((reason) => reason.slice(0, REASON_LENGTH_MAX));
  const status = !facts.isStoreUsable ? 'down' : reasons.length > 0 ? 'degraded' : 'healthy';
  return {
    type: 'heartbeat',
    sequence: facts.sequence,
    sentAtMs: Math.max(0, Math.floor(facts.nowMs)),
    bootId: facts.bootId,
    health: { status, reasons },
    state: facts.isDraining
      ? 'draining'
      : facts.isStarting
        ? 'starting'
        : facts.isTurningUp
          ? 'filling'
          : 'serving',
    load: {
      egressBps: facts.egressBps,
      servingBps: facts.servingBps,
      connections: facts.sender.connections,
      requestsPerSecond: facts.requestsPerSecond,
    },
    storage: {
      capacityBytes: store.capacityBytes,
      usedBytes: Math.max(0, store.usedBytes),
      pinnedBytes: Math.max(0, store.pinnedBytes),
      reactiveBytes: Math.max(0, store.reactiveBytes),
    },
    fill: {
      manifestVersion: fill.manifestVersion,
      filesWanted: fill.filesWanted,
      filesHeld: fill.filesHeld,
      bytesWanted: fill.bytesWanted,
      bytesHeld: fill.bytesHeld,
      active: fill.active,
      rateBps: facts.fillBps,
      waitingFor: fill.waitingFor,
      problem: fill.problem === null ? null : fill.problem.slice(0, PROBLEM_LENGTH_MAX),
      ...facts.fillExtras,
    },
    counters: {
      viewerBytes: counters.viewerBytes,
      viewerRequests: counters.viewerRequests,
      viewerBytesByReason: { ...counters.viewerBytesByReason },
      viewerBytesUnknownHome: counters.viewerBytesUnknownHome,
      missBytes: { ...counters.missBytes },
      fillBytes: { ...counters.fillBytes },
      peerBytesServed: counters.peerBytesServed,
      chunksCorrupt: store.chunksCorrupt + counters.chunksCorruptFromSources,
      refused: Object.fromEntries(counters.refused),
    },
    holdings: {
      version: facts.holdings.version,
      digest: facts.holdings.digest,
      files: facts.holdings.count,
    },
    versions: {
      manifest: fill.manifestVersion,
      keys: facts.keysVersion,
      denials: facts.denialsVersion,
    },
  };
}
