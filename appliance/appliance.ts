/**
 * The door to the appliance: starting one, and the pure decisions that simulators run.
 */
export { ApplianceConfigSchema, configProblems, type ApplianceConfig } from './config.ts';
export {
  startAppliance,
  STATE_FORMAT,
  type ApplianceDeps,
  type RunningAppliance,
} from './io/running-appliance.ts';
export { openVolume, type VolumeSpec } from './io/disk-volume.ts';
export { killAgainAndAgain, type KillReport } from './io/kill-loop.ts';
export { decideAdmission, type Admission, type AdmissionFacts } from './store/admission.ts';
export { readMrt, type MrtRoute } from './routes/mrt.ts';
export { COLD, viewsPerDay, warmed, type Heat } from './store/heat.ts';
export { ReactiveMemory } from './store/reactive-memory.ts';
export { ReactiveSet, TRIAL_SHARE, type ReactiveFacts } from './store/reactive-set.ts';
export { cutPower, type PowerCutReport } from './store/power-cut-run.ts';
export { fuzzHeads, type HeadFuzzReport } from './serve/request-head.fuzz.ts';
export { choosePlacement, type VolumeRoom } from './store/placement.ts';
export { stepFill, NEW_FILL, type FillEvent, type FillState } from './fill/fill-machine.ts';
export { isUsable, noteCall, HEALTHY, type SourceHealth } from './fill/source-health.ts';
export {
  startTime,
  takeSignedTime,
  timeAt,
  timeProblems,
  type TrustedTime,
} from './report/trusted-time.ts';
export { Filler, type FillerDeps } from './fill/filler.ts';
export { ManifestSet } from './fill/manifest-set.ts';
export { SourceBook } from './fill/source-book.ts';
export { NO_LIMIT, type FillPace } from './fill/fill-pace.ts';
export { demandHeld, stepTurnUp, type TurnUp } from './fill/turn-up.ts';
export { StoredEntry } from './store/entry.ts';
