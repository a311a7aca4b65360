/**
 * The door of steering/: the service, and the pure decisions that benches and simulations run.
 */
export {
  createSteering,
  type SteeringAddresses,
  type SteeringDeps,
  type SteeringService,
} from './io/steering-service.ts';
export { decidePlay, expectedLoad, type PlayDecision, type PlayRefusal } from './answer.ts';
export { answerText } from './answer-text.ts';
export { candidatesFor, createWorld, locate, type Candidates, type World } from './candidates.ts';
export {
  loadRecord,
  playRecord,
  replay,
  type LogRecord,
  type ReplayResult,
} from './decision-log.ts';
export { steerSession, type TtlPolicy } from './content-steering.ts';
export { explainPlay, explanationText, type Explanation } from './explain.ts';
export { EMPTY_RESPONSE, readQuery } from './dns/message.ts';
export { writeResponse } from './dns/response.ts';
export { CookieJar } from './dns/cookie.ts';
export { RATE_LIMITS, RateLimit, type RateLimits } from './dns/rate-limit.ts';
export { Responder, type Asking } from './dns/responder.ts';
export type { DnsCounters } from './dns/tally.ts';
export { DnsPool, type DnsPlan } from './io/dns-pool.ts';
export { answerQuery, createZone, type Zone } from './dns/zone.ts';
export { noEvidence, stepEvidence, type Evidence } from './evidence.ts';
export { checkDelta, checkSnapshot } from './fleet-check.ts';
export { advanceFleet, createFleet, snapshotOf, type Fleet } from './fleet.ts';
export { SteeringConfigSchema, type SteeringConfig } from './config.ts';
export { FleetHolder } from './fleet-holder.ts';
export {
  bytesOf,
  holdingsOf,
  holds,
  isWorthPacking,
  ordinalSet,
  packed,
  withChanges,
  type Holdings,
  type OrdinalSet,
} from './holdings.ts';
export { LoadLedger, type LoadFrame } from './load.ts';
export {
  buildPrefixTable,
  coverOf,
  homeOf,
  lookUp,
  lookUpScoped,
  lookUpV4,
  type PrefixEntry,
  type PrefixTable,
} from './place.ts';
export { BoxMemory, fetchRange } from './player-kit/range-continuation.js';
export { prefixScratch, readPrefix } from './prefix-text.ts';
export { rankBoxes, rankFiles, type Ranking } from './ranking.ts';
export { blobSecretOf, openSession, sealSession } from './session-blob.ts';
export { TokenMint } from './signing.ts';
