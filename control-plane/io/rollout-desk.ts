/**
 * Carries a plan set to the fleet in stages and takes it back where viewers are worse off (rollout.ts decides).
 *
 * Invariants: (1) without canary sites, or where a box has no plan yet, a plan is in use at once
 *             (2) state and waiting plans are on disk: a restart goes on where it was
 *             (3) taken back means the plan that a box had before; its manifest is a new version with the old content
 */
import { missShareOf, type RolloutView } from '../dashboard/operations-view.ts';
import type { PlanSet } from '#fill-planner/contract.ts';
import type { Clock } from '#base/clock.ts';
import { MINUTE_MS } from '#base/units.ts';
import type { Logger } from '#base/log.ts';
import type { ControlPlaneConfig } from '../config.ts';
import type { Fleet } from '../fleet.ts';
import { judgeRollout, stageOf, type MissFigures, type RolloutStage } from '../rollout.ts';
import type { Alarms } from './alarms.ts';
import type { PlanStore } from './plan-store.ts';

export type RolloutState =
  | { readonly name: 'idle' }
  | {
      readonly name: RolloutStage;
      readonly run: string;
      readonly startedAtMs: number;
      readonly before: Readonly<Record<string, MissFigures>>; // counters of each box of the stage
    }
  | { readonly name: 'done'; readonly run: string; readonly endedAtMs: number }
  | {
      readonly name: 'rolled-back';
      readonly run: string;
      readonly endedAtMs: number;
      readonly why: string;
    };

export interface RolloutDeps {
  readonly config: ControlPlaneConfig['rollout'];
  readonly plans: PlanStore;
  readonly fleet: Fleet;
  readonly alarms: Alarms;
  readonly clock: Clock;
  readonly log: Logger;
}

export class RolloutDesk {
  readonly #deps: RolloutDeps;
  #state: RolloutState;

  constructor(deps: RolloutDeps) {
    this.#deps = deps;
    this.#state = (deps.plans.rolloutState() as RolloutState | null) ?? { name: 'idle' };
  }

  get state(): RolloutState {
    return this.#state;
  }

  /** As people look at it. Misses are of the boxes of the stage, against their own time before. */
  get view(): RolloutView {
    const state = this.#state;
    const { canarySites, holdMinutes, missRiseMax } = this.#deps.config;
    const common = {
      isStaged: canarySites.length > 0,
      name: state.name,
      run: state.name === 'idle' ? null : state.run,
      missRiseMax,
      why: state.name === 'rolled-back' ? state.why : null,
    };
    if (!('before' in state)) {
      const sinceMs = state.name === 'idle' ? null : state.endedAtMs;
      return {
        ...common,
        sinceMs,
        untilMs: null,
        boxes: null,
        missShareBefore: null,
        missShareSince: null,
      };
    }
    const { before, since } = this.#misses(state.before);
    return {
      ...common,
      sinceMs: state.startedAtMs,
      untilMs: state.startedAtMs + holdMinutes * MINUTE_MS,
      boxes: Object.keys(state.before).length,
      missShareBefore: missShareOf(before),
      missShareSince: missShareOf(since),
    };
  }

  take(set: PlanSet, contentKey: string): void {
    const { clock, config, fleet, plans } = this.#deps;
    const isStaged = config.canarySites.length > 0;
    const isFirst = (applianceId: string): boolean => {
      const box = fleet.box(applianceId)?.record;
      return !isStaged || box === undefined || stageOf(box, config) === 'canary';
    };
    plans.take(set, contentKey, clock.wallMs(), isFirst);
    if (isStaged) this.#enter('canary', set.run);
  }

  /** A few times a minute. */
  look(): void {
    const state = this.#state;
    if (state.name !== 'canary' && state.name !== 'share') return;
    const { alarms, clock, config, log, plans } = this.#deps;
    const { before, since } = this.#misses(state.before);
    const verdict = judgeRollout(before, since, state.startedAtMs, config, clock.wallMs());
    if (verdict.verdict === 'wait') return;
    if (verdict.verdict === 'roll-back') {
      const boxes = plans.rollBack(state.run);
      const endedAtMs = clock.wallMs();
      this.#set({ name: 'rolled-back', run: state.run, endedAtMs, why: verdict.why });
      alarms.raise(
        `the plans of run ${state.run} were taken back from ${boxes} boxes: ${verdict.why}`,
        `stage ${state.name}`,
        'boxes get what they had before; look at "nightfill manifest diff" of one of them, mend the plan, then POST /v1/plan-now',
        'rollout-rolled-back',
      );
      return;
    }
    log.info({ run: state.run, stage: state.name }, 'a stage of the rollout is over');
    if (state.name === 'canary') {
      this.#widen('share');
      this.#enter('share', state.run);
    } else {
      this.#widen('rest');
      this.#set({ name: 'done', run: state.run, endedAtMs: clock.wallMs() });
    }
  }

  #widen(to: 'share' | 'rest'): void {
    const { config, fleet, plans } = this.#deps;
    plans.promote((applianceId) => {
      const box = fleet.box(applianceId)?.record;
      return to === 'rest' || box === undefined || stageOf(box, config) === 'share';
    });
  }

  #enter(name: RolloutStage, run: string): void {
    const { clock, config, fleet } = this.#deps;
    const before: Record<string, MissFigures> = {};
    for (const { record, heartbeat } of fleet.boxes()) {
      const stage = stageOf(record, config);
      if (stage === 'rest' || (name === 'canary' && stage !== 'canary')) continue;
      before[record.applianceId] = missesOf(heartbeat?.counters ?? null);
    }
    this.#set({ name, run, startedAtMs: clock.wallMs(), before });
  }

  /** Counters of the stage's boxes: until it began, and since. A box that restarted counts from its start. */
  #misses(stage: Readonly<Record<string, MissFigures>>): {
    before: MissFigures;
    since: MissFigures;
  } {
    let before: MissFigures = NONE;
    let since: MissFigures = NONE;
    for (const [applianceId, then] of Object.entries(stage)) {
      const now = missesOf(this.#deps.fleet.box(applianceId)?.heartbeat?.counters ?? null);
      const isAnew = now.viewerBytes < then.viewerBytes || now.missBytes < then.missBytes;
      before = plus(before, then);
      since = plus(since, isAnew ? now : minus(now, then));
    }
    return { before, since };
  }

  #set(state: RolloutState): void {
    this.#state = state;
    this.#deps.plans.keepRolloutState(state);
  }
}

const NONE: MissFigures = { viewerBytes: 0, missBytes: 0 };

interface Counters {
  readonly viewerBytes: number;
  readonly missBytes: Readonly<Record<'peer' | 'tier' | 'origin', number>>;
}

function missesOf(counters: Counters | null): MissFigures {
  if (counters === null) return NONE;
  const { peer, tier, origin } = counters.missBytes;
  return { viewerBytes: counters.viewerBytes, missBytes: peer + tier + origin };
}

function plus(a: MissFigures, b: MissFigures): MissFigures {
  return { viewerBytes: a.viewerBytes + b.viewerBytes, missBytes: a.missBytes + b.missBytes };
}

function minus(a: MissFigures, b: MissFigures): MissFigures {
  return { viewerBytes: a.viewerBytes - b.viewerBytes, missBytes: a.missBytes - b.missBytes };
}
