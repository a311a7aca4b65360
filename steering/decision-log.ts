/**
 * Decisions as they were taken, so that they can be taken again: everything a decision looked at, then its result.
 *
 * NDJSON. A file begins with a full snapshot; deltas follow as they were taken in; a load frame stands before the
 * first decision that used it. A client's address is cut to the network within which the answer is the same.
 *
 *   {"t":"snapshot","snapshot":{...}}   {"t":"delta","delta":{...}}
 *   {"t":"load","epoch":…,"atMs":…,"isStale":…,"bps":base64 of Float64 little-endian,"evidence":base64 of 2 bytes a box}
 *   {"t":"play","request":{...},"digest":…,"lists":{"home lyon-a,origin":6}}
 *
 * Shape:      replay(lines) -> how many decisions came out the same, and those that did not
 * Errors:     a line that cannot be read ends the replay and is named
 * Invariants: (1) replaying a file gives every digest again, bit for bit, on any machine
 */
import { createHash } from 'node:crypto';
import { formatAddress, maskBytes, parseAddress } from '#base/address.ts';
import { messageOf } from '#base/outcome.ts';
import type { FleetDelta, FleetSnapshot } from '#control-plane/contract.ts';
import { decidePlay, pathwayOf, type PlayDecision, type PlayRefusal } from './answer.ts';
import { createWorld, type World } from './candidates.ts';
import type { PlayRequest } from './contract.ts';
import type { ExternalLoad } from './externals.ts';
import { advanceFleet, createFleet, type Fleet } from './fleet.ts';
import type { LoadFrame } from './load.ts';
import { lookUpScoped } from './place.ts';

export type LogRecord =
  | { readonly t: 'snapshot'; readonly snapshot: FleetSnapshot }
  | { readonly t: 'delta'; readonly delta: FleetDelta }
  | {
      readonly t: 'load';
      readonly epoch: number;
      readonly atMs: number;
      readonly isStale: boolean;
      readonly bps: string;
      readonly evidence: string;
      readonly externals?: readonly ExternalLoad[];
      readonly demoted?: readonly number[];
    }
  | {
      readonly t: 'play';
      readonly request: PlayRequest;
      readonly digest: string;
      readonly lists: Readonly<Record<string, number>>;
    };

export interface ReplayResult {
  readonly decisions: number;
  readonly same: number;
  readonly different: readonly {
    readonly line: number;
    readonly request: PlayRequest;
    readonly logged: Readonly<Record<string, number>>;
    readonly replayed: Readonly<Record<string, number>>;
  }[];
  readonly problem: string | null; // why it ended early
}

const DIFFERENT_SHOWN_MAX = 20;
export function loadRecord(frame: LoadFrame): LogRecord {
  const { effectiveBps } = frame;
  const bytes = Buffer.alloc(effectiveBps.length * 8);
  effectiveBps.forEach((value, at) => bytes.writeDoubleLE(value, at * 8));
  return {
    t: 'load',
    epoch: frame.epoch,
    atMs: frame.frozenAtMs,
    isStale: frame.isStale,
    bps: bytes.toString('base64'),
    evidence: Buffer.from(frame.evidence).toString('base64'),
    ...(frame.externals.length === 0 ? {} : { externals: frame.externals }),
    ...(frame.demoted.length === 0 ? {} : { demoted: frame.demoted }),
  };
}

export function playRecord(
  world: World,
  request: PlayRequest,
  decision: PlayDecision | PlayRefusal,
): LogRecord {
  return {
    t: 'play',
    request: { ...request, clientAddress: cutAddress(world, request.clientAddress) },
    digest: digestOf(decision),
    lists: listsOf(decision),
  };
}

export function replay(lines: Iterable<string>): ReplayResult {
  let fleet: Fleet | null = null;
  let world: World | null = null;
  let decisions = 0;
  let same = 0;
  const different: ReplayResult['different'][number][] = [];
  const result = (problem: string | null): ReplayResult => ({
    decisions,
    same,
    different,
    problem,
  });
  let line = 0;
  for (const text of lines) {
    line++;
    if (text === '') continue;
    const record = readRecord(text);
    if (typeof record === 'string') return result(`line ${line}: ${record}`);
    if (record.t === 'snapshot') {
      fleet = createFleet(record.snapshot, fleet);
    } else if (record.t === 'delta') {
      if (fleet === null || fleet.snapshot.version !== record.delta.baseVersion) {
        return result(`line ${line}: the delta does not follow`);
      }
      fleet = advanceFleet(fleet, record.delta);
    } else if (record.t === 'load') {
      if (fleet === null) return result(`line ${line}: a load frame before any snapshot`);
      const frame = frameOf(record, fleet);
      if (frame === null) return result(`line ${line}: the load frame is of another fleet`);
      world = createWorld(fleet, frame);
    } else {
      if (world === null) return result(`line ${line}: a decision before any load frame`);
      const again = decidePlay(world, record.request);
      decisions++;
      if (digestOf(again) === record.digest) same++;
      else if (different.length < DIFFERENT_SHOWN_MAX) {
        const { request, lists } = record;
        different.push({ line, request, logged: lists, replayed: listsOf(again) });
      }
    }
  }
  return result(null);
}

/** Everything that a decision decided, in one order. */
function digestOf(decision: PlayDecision | PlayRefusal): string {
  const decided =
    decision.kind === 'refused'
      ? [decision.status, decision.error, decision.problems]
      : [
          decision.home,
          decision.epochs,
          decision.isDegraded,
          decision.session.assigned,
          decision.files.map(({ fileId, ranking }) => [
            fileId,
            ranking.reason,
            ranking.candidates.map(pathwayOf),
          ]),
        ];
  return createHash('sha256').update(JSON.stringify(decided)).digest('base64url');
}

function listsOf(decision: PlayDecision | PlayRefusal): Record<string, number> {
  if (decision.kind === 'refused') return { [`${decision.status} ${decision.error}`]: 1 };
  const lists: Record<string, number> = {};
  for (const { ranking } of decision.files) {
    const name = `${ranking.reason} ${ranking.candidates.map(pathwayOf).join()}`;
    lists[name] = (lists[name] ?? 0) + 1;
  }
  return lists;
}

function cutAddress(world: World, text: string): string {
  const address = parseAddress(text);
  if (address === null) return text.replaceAll(/[0-9]/g, '0'); // refused; what it was is nobody's business
  const { scopeBits } = lookUpScoped(world.fleet.prefixes, address, address.length * 8);
  return formatAddress(maskBytes(address, scopeBits));
}

function readRecord(text: string): LogRecord | string {
  try {
    const record = JSON.parse(text) as LogRecord;
    return ['snapshot', 'delta', 'load', 'play'].includes(record.t)
      ? record
      : `unknown record "${record.t as string}"`;
  } catch (thrown) {
    return messageOf(thrown);
  }
}

function frameOf(record: Extract<LogRecord, { t: 'load' }>, fleet: Fleet): LoadFrame | null {
  const bytes = Buffer.from(record.bps, 'base64');
  const count = fleet.appliances.length;
  const evidence = Uint8Array.from(Buffer.from(record.evidence, 'base64'));
  if (bytes.length !== count * 8 || evidence.length !== count * 2) return null;
  const effectiveBps = new Float64Array(count);
  for (let at = 0; at < count; at++) effectiveBps[at] = bytes.readDoubleLE(at * 8);
  const { epoch, atMs, isStale, externals = [], demoted = [] } = record;
  return { epoch, frozenAtMs: atMs, effectiveBps, evidence, externals, demoted, isStale };
}
