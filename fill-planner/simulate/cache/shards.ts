/**
 * Miss-ratio curves from a sample of keys (SHARDS, fixed rate): a share R of the objects, all their requests, a cache of R times
 * the size. Several hash seeds give a mean and its standard error.
 *
 * SHARDS-adj: a sample that got more or fewer requests than R promises is corrected in the hits, since what varies are the
 * few very hot keys, which hit at any size.
 *
 * Source: Waldspurger et al., "Efficient MRC Construction with SHARDS", FAST 2015
 */
import type { PolicyFactory } from './policy.ts';
import { runPolicy } from './run.ts';
import { secondsOf, type Trace } from './trace.ts';

export interface SampledRatio {
  readonly objectMissRatio: number;
  readonly objectMissRatioError: number; // standard error over the seeds
  readonly byteMissRatio: number;
  readonly byteMissRatioError: number;
  readonly requestsSampled: number; // mean over the seeds
}

/** The requests of the objects whose hash falls below `share`. Ids stay dense. */
export function sampleTrace(trace: Trace, share: number, seed: number): Trace {
  const limit = share * 4294967296;
  const renamed = new Int32Array(trace.objects).fill(-1);
  const ids: number[] = [];
  const sizes: number[] = [];
  const seconds: number[] = [];
  const secondsAt = secondsOf(trace);
  let objects = 0;
  let bytesRequested = 0;
  for (let at = 0; at < trace.requests; at++) {
    const id = trace.ids[at];
    if (hash32(id, seed) >= limit) continue;
    if (renamed[id] === -1) {
      renamed[id] = objects;
      objects++;
    }
    ids.push(renamed[id]);
    sizes.push(trace.sizes[at]);
    seconds.push(secondsAt(at));
    bytesRequested += trace.sizes[at];
  }
  return {
    name: `${trace.name} (${share} of the keys, seed ${seed})`,
    requests: ids.length,
    objects,
    ids: Int32Array.from(ids),
    sizes: Uint32Array.from(sizes),
    seconds: Float64Array.from(seconds),
    bytesRequested,
    bytesDistinct: trace.bytesDistinct * share,
  };
}

export interface SamplePlan {
  readonly share: number;
  readonly seeds: number;
}

export function sampledRatio(
  trace: Trace,
  create: PolicyFactory,
  capacityBytes: number,
  plan: SamplePlan,
): SampledRatio {
  return sampledRatios(trace, create, [capacityBytes], plan)[0];
}

/** Several sizes on the same samples. */
export function sampledRatios(
  trace: Trace,
  create: PolicyFactory,
  capacitiesBytes: readonly number[],
  plan: SamplePlan,
): readonly SampledRatio[] {
  const objectRatios: number[][] = capacitiesBytes.map(() => []);
  const byteRatios: number[][] = capacitiesBytes.map(() => []);
  let requestsSampled = 0;
  for (let seed = 1; seed <= plan.seeds; seed++) {
    const sample = plan.share === 1 ? trace : sampleTrace(trace, plan.share, seed);
    requestsSampled += sample.requests / plan.seeds;
    if (sample.requests === 0) continue;
    for (const [at, capacityBytes] of capacitiesBytes.entries()) {
      const scaled = Math.max(1, Math.floor(capacityBytes * plan.share));
      const result = runPolicy(sample, create, scaled);
      objectRatios[at].push(Math.min(1, result.missObjects / (trace.requests * plan.share)));
      byteRatios[at].push(Math.min(1, result.missBytes / (trace.bytesRequested * plan.share)));
    }
  }
  return capacitiesBytes.map((_, at) => {
    const objects = meanAndError(objectRatios[at]);
    const bytes = meanAndError(byteRatios[at]);
    return {
      objectMissRatio: objects.mean,
      objectMissRatioError: objects.error,
      byteMissRatio: bytes.mean,
      byteMissRatioError: bytes.error,
      requestsSampled: Math.round(requestsSampled),
    };
  });
}

function meanAndError(values: readonly number[]): { mean: number; error: number } {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const variance =
    values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / Math.max(1, values.length - 1);
  return { mean, error: Math.sqrt(variance / values.length) };
}

function hash32(id: number, seed: number): number {
  let hash = Math.imul(id + 1, 0x9e3779b1) ^ Math.imul(seed, 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 16), 0x21f0aaad);
  hash = Math.imul(hash ^ (hash >>> 15), 0x735a2d97);
  return (hash ^ (hash >>> 15)) >>> 0;
}
