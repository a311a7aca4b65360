/**
 * What this node found out by itself about boxes and external CDNs: probes per address family, each result a step of evidence.
 *
 * A box that is known by a name is probed over IPv4 and IPv6 apart; one known by an address over that family. A family for which
 * the name has no address, or this node no route, says nothing about the box.
 */
import type { AddressFamily } from '#base/address.ts';
import type { Clock, Milliseconds } from '#base/clock.ts';
import type { Logger } from '#base/log.ts';
import {
  STEERING_VERDICTS_MAX,
  type ApplianceId,
  type SteeringReport,
} from '#control-plane/contract.ts';
import {
  noEvidence,
  stepEvidence,
  type Evidence,
  type EvidenceName,
  type ProbeResult,
} from '../evidence.ts';
import type { Fleet, FleetAppliance } from '../fleet.ts';
import type { FamilyEvidence } from '../load.ts';
import { Prober, type ProbeLimits, type ProbeTarget } from './prober.ts';

export interface OwnEvidenceDeps {
  readonly limits: ProbeLimits;
  readonly clock: Clock;
  readonly log: Logger;
  readonly fleet: () => Fleet | null;
  readonly isControlPlaneGone: () => boolean;
  /** Path, with a token, of a file that the box holds; null: none is known. */
  readonly pathOf: (fleet: Fleet, box: FleetAppliance) => Promise<string | null>;
  /** Boxes that another node suspects: it asks for our word. */
  readonly suspectedElsewhere: () => ReadonlySet<ApplianceId>;
  readonly onWorse: () => void; // bad news counts at once
}

const BOTH: readonly AddressFamily[] = [4, 6];
/** A vote is as fresh as three probes. */
const VOTE_PROBES = 3;
const IN_TURN_MAX = 1024;

export class OwnEvidence {
  readonly #deps: OwnEvidenceDeps;
  readonly #prober: Prober;
  #turn = -1; // of boxes that are looked at because nobody else does
  readonly #known = new Map<
    string,
    { readonly target: ProbeTarget; readonly evidence: Evidence }
  >();
  readonly #corrupt = new Map<ApplianceId, string>(); // served bytes that are not the file's
  readonly #doubted = new Set<ApplianceId>(); // players complained: look once

  constructor(deps: OwnEvidenceDeps) {
    this.#deps = deps;
    this.#prober = new Prober({
      limits: deps.limits,
      clock: deps.clock,
      targets: () => this.#targets(),
      pathOf: (target) => this.#pathOf(target),
      onResult: (target, result) => this.#learn(target, result),
    });
  }

  start(): void {
    this.#prober.start();
  }

  stop(): void {
    this.#prober.stop();
  }

  get probes(): number {
    return this.#prober.probes;
  }

  /** For load frames. */
  *all(): Iterable<FamilyEvidence> {
    for (const { target, evidence } of this.#known.values()) {
      const { id: applianceId, family } = target;
      if (family !== 0) yield { applianceId, family, name: evidence.name };
    }
    // Last, so that nothing stands above it.
    for (const applianceId of this.#corrupt.keys()) {
      for (const family of BOTH) yield { applianceId, family, name: 'unreachable' };
    }
  }

  ofExternal(externalId: string): EvidenceName {
    return this.#known.get(keyOf(externalId, 0))?.evidence.name ?? 'unknown';
  }

  /** For people: of a box's families the one that was probed last. */
  latestOf(applianceId: ApplianceId): Evidence | null {
    let latest: Evidence | null = null;
    for (const family of BOTH) {
      const evidence = this.#known.get(keyOf(applianceId, family))?.evidence;
      if (evidence === undefined) continue;
      if (latest === null || (evidence.probedAtMs ?? 0) > (latest.probedAtMs ?? 0)) {
        latest = evidence;
      }
    }
    return latest;
  }

  /** Our votes: on what others suspect first, then on what we do. Nothing that was not looked at of late. */
  verdicts(nowMs: Milliseconds): SteeringReport['verdicts'] {
    const elsewhere = this.#deps.suspectedElsewhere();
    const { periodMs, connectMs, requestMs } = this.#deps.limits;
    const ageMsMax = VOTE_PROBES * (periodMs + connectMs + requestMs);
    const asked: SteeringReport['verdicts'] = [];
    const own: SteeringReport['verdicts'] = [];
    for (const { target, evidence } of this.#known.values()) {
      const { id: applianceId, family } = target;
      const { name, probedAtMs } = evidence;
      if (family === 0 || name === 'unknown' || probedAtMs === null) continue;
      const ageMs = Math.max(0, Math.round(nowMs - probedAtMs));
      if (ageMs > ageMsMax) continue;
      const isAsked = elsewhere.has(applianceId);
      if (!isAsked && name === 'reachable') continue;
      (isAsked ? asked : own).push({ applianceId, family, name, ageMs });
    }
    return [...asked, ...own].slice(0, STEERING_VERDICTS_MAX);
  }

  corruptionOf(applianceId: ApplianceId): string | null {
    return this.#corrupt.get(applianceId) ?? null;
  }

  /** Players could not play from a box: it is looked at once, at the next tick. Nothing else follows from their word. */
  doubt(applianceId: ApplianceId): void {
    this.#doubted.add(applianceId);
    for (const family of BOTH) this.#prober.hurry(keyOf(applianceId, family));
  }

  /** A whole chunk was read and hashed: `problem` is null where every byte was the file's. */
  hashed(applianceId: ApplianceId, problem: string | null): void {
    if (problem === null) {
      if (this.#corrupt.delete(applianceId)) {
        this.#deps.log.info(
          { event: 'bytes-right', applianceId },
          'a box serves right bytes again',
        );
      }
    } else {
      const isNews = !this.#corrupt.has(applianceId);
      this.#corrupt.set(applianceId, problem);
      this.#deps.log.error({ event: 'bytes-wrong', applianceId, problem }, 'a box is left out');
      if (isNews) this.#deps.onWorse();
    }
  }

  /** Where the control plane changed its mind about a box, what we knew before says nothing about now. */
  fleetChanged(before: Fleet | null, after: Fleet, changed: Iterable<ApplianceId>): void {
    for (const applianceId of changed) {
      const old = before?.appliances[before.indexOf.get(applianceId) ?? -1]?.entry;
      const now = after.appliances[after.indexOf.get(applianceId) ?? -1]?.entry;
      if (old === undefined || now === undefined || old.standing === now.standing) continue;
      for (const family of BOTH) {
        this.#known.delete(keyOf(applianceId, family));
        this.#prober.hurry(keyOf(applianceId, family));
      }
    }
    const externals = new Set(after.snapshot.externals?.map(({ externalId }) => externalId));
    for (const [key, { target }] of this.#known) {
      const isThere = target.family === 0 ? externals.has(target.id) : after.indexOf.has(target.id);
      if (!isThere) this.#known.delete(key);
    }
    for (const id of this.#corrupt.keys()) if (!after.indexOf.has(id)) this.#corrupt.delete(id);
  }

  *#targets(): Iterable<ProbeTarget> {
    const fleet = this.#deps.fleet();
    if (fleet === null) return;
    const elsewhere = this.#deps.suspectedElsewhere();
    const out = new Set<string>();
    for (const { target, evidence } of this.#known.values()) {
      if (isAgainst(evidence)) out.add(target.id);
    }
    for (const appliance of fleet.appliances) {
      const { applianceId, entry } = appliance;
      const isServing =
        entry.standing === 'serving' &&
        !this.#doubted.has(applianceId) &&
        !elsewhere.has(applianceId);
      if (isServing && !out.has(applianceId)) continue; // nearly all of them, nearly always
      for (const target of targetsOf(appliance)) {
        if (!isServing || isAgainst(this.#known.get(target.key)?.evidence)) yield target;
      }
    }
    for (const { externalId, baseUrl } of fleet.snapshot.externals ?? []) {
      yield { key: keyOf(externalId, 0), id: externalId, baseUrl, family: 0 };
    }
    if (this.#deps.isControlPlaneGone()) yield* this.#inTurn(fleet);
  }

  /**
   * All boxes, from where the rate ended the last look. Some at a time: while a fleet of thousands is walked through whole, every viewer
   * waits.
   */
  *#inTurn({ appliances }: Fleet): Iterable<ProbeTarget> {
    const count = Math.min(appliances.length, IN_TURN_MAX);
    for (let at = 0; at < count; at++) {
      this.#turn = (this.#turn + 1) % appliances.length;
      yield* targetsOf(appliances[this.#turn]);
    }
  }

  #pathOf({ id, family }: ProbeTarget): Promise<string | null> {
    const fleet = this.#deps.fleet();
    const box = fleet?.appliances[fleet.indexOf.get(id) ?? -1];
    if (fleet === null || box === undefined || family === 0) return Promise.resolve(null);
    return this.#deps.pathOf(fleet, box);
  }

  #learn(target: ProbeTarget, result: ProbeResult | 'no-address'): void {
    const fleet = this.#deps.fleet();
    if (fleet === null) return;
    if (result === 'answered') this.#doubted.delete(target.id);
    if (result === 'no-address') return;
    const nowMs = this.#deps.clock.wallMs();
    const before = this.#known.get(target.key)?.evidence ?? noEvidence(nowMs);
    const standing = fleet.appliances[fleet.indexOf.get(target.id) ?? -1]?.entry.standing;
    if (standing === undefined && target.family !== 0) return;
    const corroborated = standing === 'gone-hard' || standing === 'gone-silent';
    const after = stepEvidence(before, { kind: 'probe', result, corroborated }, nowMs);
    this.#known.set(target.key, { target, evidence: after });
    if (after.name !== 'unknown') this.#settle(target.id, after.name);
    if (after.name === before.name) return;
    this.#deps.log.info(
      {
        event: 'evidence',
        id: target.id,
        family: target.family,
        from: before.name,
        to: after.name,
        result,
      },
      'our own probes changed the verdict on a box',
    );
    // Bad news counts at once, good news with the next load epoch: a fleet that comes back is not worth a freeze a box.
    if (after.name === 'unreachable' || after.name === 'suspect') this.#deps.onWorse();
  }

  /** A doubt ends with a verdict: a box that is out is probed anyway. */
  #settle(id: ApplianceId, name: EvidenceName): void {
    if (name === 'unreachable' || name === 'suspect') this.#doubted.delete(id);
  }
}

function isAgainst(evidence: Evidence | undefined): boolean {
  return evidence?.name === 'unreachable' || evidence?.name === 'suspect';
}

const targets = new WeakMap<FleetAppliance, readonly ProbeTarget[]>();

/** Asked for 20 times a second without the control plane: what a box is probed by is made once. */
function targetsOf(appliance: FleetAppliance): readonly ProbeTarget[] {
  let known = targets.get(appliance);
  if (known === undefined) {
    const { applianceId: id, baseUrl } = appliance;
    known = familiesOf(appliance).map((family) => ({
      key: keyOf(id, family),
      id,
      baseUrl,
      family,
    }));
    targets.set(appliance, known);
  }
  return known;
}

function familiesOf({ address }: FleetAppliance): readonly AddressFamily[] {
  if (address === null) return BOTH;
  return address.length === 4 ? [4] : [6];
}

function keyOf(id: string, family: AddressFamily | 0): string {
  return `${id} ${family}`;
}
