/**
 * The door of control-plane/: what other folders may use of it beside its contract.
 */
export { createKeyRing, type KeyRingHolder, type KeyRingOptions } from './io/key-ring.ts';
export { DenySet } from './denials.ts';
export { PossessionDesk } from './possession.ts';
export { createDenialFeed, type DenialFeed } from './io/denial-feed.ts';
export { initKeyFiles, KeyFilesProblem } from './io/key-files.ts';
export {
  readManifest,
  type BaseFile,
  type ManifestExpectations,
  type ManifestProblem,
  type ManifestRefusal,
  type OpenedManifest,
} from './manifest-reader.ts';
export {
  DEFAULT_LENGTHS,
  judgeRoutes,
  rankOf,
  type BoxTable,
  type QuarantinedRoute,
} from './routes/policy.ts';
export { NO_ROAS } from './routes/roa.ts';
export {
  canNameDrops,
  compressLines,
  deltaLines,
  digestOfFiles,
  encodeManifest,
  manifestParts,
  manifestContent,
  manifestEntries,
  manifestLines,
  plannedFiles,
  type ManifestCatalogue,
  type PlannedFiles,
} from './manifest.ts';
export {
  fillWindowAt,
  isTimeZone,
  localHourAt,
  startOfLocalDay,
  type WindowState,
} from './fill-window.ts';
export { stepWeights, WEIGHT_PERIOD_MS, type WeightBox, type WeightState } from './weight-loop.ts';
export {
  decisiveCandidates,
  firstHolders,
  neighboursOf,
  rankSources,
  TIERS_MAX,
  type EscalationPolicy,
  type SourceBox,
  type SourceCandidate,
} from './sources.ts';
export { FILL_STILL_MS, isFillMoving, mayFill, type FillBeat } from './fleet.ts';
