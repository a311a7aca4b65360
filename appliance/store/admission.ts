/**
 * Whether a chunk that was fetched for a viewer is kept, and whether its file is on trial.
 *
 * Shape:  facts of one chunk -> keep | pass, each with its reason
 * Why:    most files that nobody forecast are watched once; they must not push out what is watched twice. Free room costs
 *         nobody anything, so it is used at the first hit; a small part of the room is for files on trial.
 */
export interface AdmissionFacts {
  readonly isPinned: boolean; // the manifest wants the file here
  readonly hasFreeRoom: boolean; // it fits without anything leaving
  readonly hasTrialRoom: boolean; // first hits may be kept on trial, and it fits there
  readonly isSecondHit: boolean; // it was fetched for a viewer before, or left, not long ago
  readonly viewsPerDay: number; // posterior, heat.ts
  readonly fillDensity: number; // the manifest's threshold: what is above would have been planned
  readonly victimViewsPerDay: number | null; // what would have to leave; null: nothing may leave
}

export type Admission =
  | {
      readonly verdict: 'keep';
      readonly reason: 'pinned' | 'second-hit' | 'above-fill-density';
    }
  | { readonly verdict: 'keep-on-trial'; readonly reason: 'free-room' | 'trial-room' }
  | { readonly verdict: 'pass'; readonly reason: 'first-hit' | 'no-room' };

export function decideAdmission(facts: AdmissionFacts): Admission {
  if (facts.isPinned) return { verdict: 'keep', reason: 'pinned' };
  if (!facts.hasFreeRoom && facts.victimViewsPerDay === null) {
    return { verdict: 'pass', reason: 'no-room' };
  }
  if (facts.isSecondHit) return { verdict: 'keep', reason: 'second-hit' };
  const isPlanWorthy = facts.fillDensity > 0 && facts.viewsPerDay >= facts.fillDensity;
  if (isPlanWorthy && facts.viewsPerDay >= (facts.victimViewsPerDay ?? 0)) {
    return { verdict: 'keep', reason: 'above-fill-density' };
  }
  if (facts.hasFreeRoom) return { verdict: 'keep-on-trial', reason: 'free-room' };
  if (facts.hasTrialRoom) return { verdict: 'keep-on-trial', reason: 'trial-room' };
  return { verdict: 'pass', reason: 'first-hit' };
}
