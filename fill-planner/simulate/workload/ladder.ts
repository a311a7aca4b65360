/**
 * The files of a title, alike for all titles: which share of its views each gets, and its bytes per second of programme.
 *
 * Invariants: (1) shares sum to 1 and fall from file to file
 */
import { normal, uniform } from './chance.ts';
import { LADDER } from './parameters.ts';

export interface Ladder {
  readonly files: number;
  readonly shares: Float64Array; // of a title's file views, falling
  readonly bytesPerSecond: Float64Array;
  readonly bytesPerViewSecond: number; // sum of shares x bytes per second
  /** Mean bit/s of what one stream takes: a video file, with its audio and text. */
  readonly streamBps: number;
}

const LADDER_SEED = 20261121; // one ladder for every scenario: it is the encoder's, not chance
const LIKING = 0.3; // how far bitrate follows popularity within a kind

export function ladderOf(files: number): Ladder {
  const found: { readonly share: number; readonly bps: number }[] = [];
  let videoShare = 0;
  LADDER.forEach(({ kind, files: fileShare, views, sigma, bpsMin, bpsMax }, at) => {
    const count = Math.max(1, Math.round(files * fileShare));
    const draws = Array.from({ length: count }, (_, file) => {
      const z = normal(LADDER_SEED, at, file);
      const height = LIKING * normalShare(z) + (1 - LIKING) * uniform(LADDER_SEED, at, file, 1);
      return { weight: Math.exp(sigma * z), bps: bpsMin * (bpsMax / bpsMin) ** height };
    });
    const total = draws.reduce((sum, { weight }) => sum + weight, 0);
    for (const { weight, bps } of draws) found.push({ share: (views * weight) / total, bps });
    if (kind === 'video') videoShare = views;
  });
  found.sort((a, b) => b.share - a.share || b.bps - a.bps);
  const shares = Float64Array.from(found, ({ share }) => share);
  const bytesPerSecond = Float64Array.from(found, ({ bps }) => bps / 8);
  let bytesPerViewSecond = 0;
  for (let at = 0; at < found.length; at++) bytesPerViewSecond += shares[at] * bytesPerSecond[at];
  return {
    files: found.length,
    shares,
    bytesPerSecond,
    bytesPerViewSecond,
    streamBps: (bytesPerViewSecond * 8) / videoShare,
  };
}

/** About the share of a standard normal below z: a logistic curve is near enough for bitrates. */
function normalShare(z: number): number {
  return 1 / (1 + Math.exp(-1.702 * z));
}
