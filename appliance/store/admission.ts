/**
 * Whether a chunk that was fetched for a viewer is kept.
 *
 * Shape:  facts of one chunk -> keep | pass, each with its reason
 * Why:    most files that nobody forecast are watched once; writing them would wear the disk and push out what is
 *         watched twice. Free room costs nobody anything, so it is used at the first hit.
 */
export interface AdmissionFacts {
  readonly isPinned: boolean; // the manifest wants the file here
  readonly hasFreeRoom: boolean; // it fits without anything leaving
  readonly isSecondHit: boolean; // this chunk was fetched for a viewer before, not long ago
  readonly viewsPerDay: number; // posterior, heat.ts
  readonly fillDensity: number; // the manifest's threshold: what is above would have been planned
  readonly victimViewsPerDay: number | null; // what would have to leave; null: nothing may leave
}

export type Admission =
  | {
      readonly verdict: 'keep';
      readonly reason: 'pinned' | 'free-room' | 'above-fill-density' | 'second-hit';
    }
  | { readonly verdict: 'pass'; readonly reason: 'first-hit' | 'no-room' | 'colder-than-victim' };

export function decideAdmission(facts: AdmissionFacts): Admission {
  if (facts.isPinned) return { verdict: 'keep', reason: 'pinned' };
  if (facts.hasFreeRoom) return { verdict: 'keep', reason: 'free-room' };
  if (facts.victimViewsPerDay === null) return { verdict: 'pass', reason: 'no-room' };
  if (facts.victimViewsPerDay > facts.viewsPerDay) {
    return { verdict: 'pass', reason: 'colder-than-victim' };
  }
  if (facts.fillDensity > 0 && facts.viewsPerDay >= facts.fillDensity) {
    return { verdict: 'keep', reason: 'above-fill-density' };
  }
  if (facts.isSecondHit) return { verdict: 'keep', reason: 'second-hit' };
  return { verdict: 'pass', reason: 'first-hit' };
}
