/**
 * The door to upstream: the pure decisions that others share, and publishing.
 */
export { decideRange, RANGES_MAX, type RangeDecision } from './range.ts';
export { fuzzRanges, type RangeFuzzReport } from './range.fuzz.ts';
export { ChunkHasher, type HashedFile } from './chunk-hasher.ts';
export {
  opaqueBytes,
  opaqueTitles,
  parseOpaqueSpec,
  type OpaqueSpec,
  type OpaqueTitle,
} from './opaque.ts';
export {
  publishOpaque,
  type OpaqueOptions,
  type PublishProgress,
  type PublishReport,
  type PublishTarget,
} from './io/publishing.ts';
export { publishFile, type PublishFileOptions } from './io/publish-file.ts';
export { publishSample } from './io/sample.ts';
export { startOrigin, type KeySource, type RunningOrigin } from './io/origin-server.ts';
