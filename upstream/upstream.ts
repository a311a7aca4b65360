/**
 * The door to upstream: the pure decisions that others share, and publishing.
 */
export { decideRange, RANGES_MAX, type RangeDecision } from './range.ts';
