import {
  COLD,
  decideAdmission,
  ReactiveMemory,
  ReactiveSet,
  TRIAL_SHARE,
  viewsPerDay,
  warmed,
  type Heat,
} from '#appliance/appliance.ts';
import type { CachePolicy, PolicyInput } from '../policy.ts';

/**
 * What an appliance does with what it pulls through, by its own code: second-hit admission with a trial, eviction by heat.
 * An object is a file of one chunk, each request a view of it; nothing is forecast, nothing pinned.
 */
export function createNightfill({ objects, capacityBytes, secondsAt }: PolicyInput): CachePolicy {
  const heats: Heat[] = Array.from({ length: objects }, () => COLD);
  const sizes = new Uint32Array(objects);
  const isHeld = new Uint8Array(objects);
  const trialBytesMax = Math.floor(capacityBytes * TRIAL_SHARE);
  const memory = new ReactiveMemory<number>();
  const set = new ReactiveSet<number>({
    viewsPerDay: (id, nowMs, halfLifeMs) => viewsPerDay(heats[id], 0, nowMs, halfLifeMs),
    lastUsedMs: (id) => heats[id].atMs,
    bytes: (id) => sizes[id],
  });
  let held = 0;

  const used = (id: number, nowMs: number): void => {
    heats[id] = warmed(heats[id], 1, nowMs, set.halfLifeMs);
    set.used(id, nowMs, 1);
  };
  const makeRoom = (bytes: number, nowMs: number): void => {
    while (held + bytes > capacityBytes) {
      const victim = set.victim(nowMs, trialBytesMax);
      if (victim === null) return;
      memory.left(victim, heats[victim]);
      set.left(victim, nowMs);
      isHeld[victim] = 0;
      held -= sizes[victim];
    }
  };
  const admit = (
    id: number,
    sizeBytes: number,
    nowMs: number,
  ): ReturnType<typeof decideAdmission> => {
    const isSecondHit = memory.fetched(id, 0);
    const victim = set.victim(nowMs, trialBytesMax);
    return decideAdmission({
      isPinned: false,
      hasFreeRoom: held + sizeBytes <= capacityBytes,
      hasTrialRoom: sizeBytes <= trialBytesMax,
      isSecondHit,
      viewsPerDay: 0,
      fillDensity: 0,
      victimViewsPerDay:
        victim === null ? null : viewsPerDay(heats[victim], 0, nowMs, set.halfLifeMs),
    });
  };
  return {
    bytesHeld: () => held,
    request(id, sizeBytes, at) {
      const nowMs = secondsAt(at) * 1000;
      if (isHeld[id] === 1) {
        used(id, nowMs);
        return true;
      }
      if (sizeBytes > capacityBytes) return false;
      const admission = admit(id, sizeBytes, nowMs);
      if (admission.verdict === 'pass') return false;
      heats[id] = memory.takeBack(id) ?? COLD;
      makeRoom(sizeBytes, nowMs);
      sizes[id] = sizeBytes;
      isHeld[id] = 1;
      held += sizeBytes;
      set.enter(id, nowMs, admission.verdict === 'keep-on-trial');
      used(id, nowMs);
      return false;
    },
  };
}
