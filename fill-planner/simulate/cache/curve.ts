/**
 * Miss-ratio curves: one policy at many sizes, on samples of the keys (shards.ts), with their standard errors; and their plot.
 */
import type { TopLevelSpec } from 'vega-lite';
import { POLICIES } from './catalogue.ts';
import { sampledRatios, type SampledRatio } from './shards.ts';
import type { Trace } from './trace.ts';

export interface CurvePoint extends SampledRatio {
  readonly policy: string;
  readonly sizeBytes: number;
}

export interface CurvePlan {
  readonly share: number; // of the keys; 1: exact, in one run
  readonly seeds: number;
}

/** A few sizes at a time, so that the caller can stop between them. */
export function* missRatioCurve(
  trace: Trace,
  policy: string,
  sizesBytes: readonly number[],
  plan: CurvePlan,
): Generator<readonly CurvePoint[]> {
  for (let from = 0; from < sizesBytes.length; from += SIZES_AT_ONCE) {
    const sizes = sizesBytes.slice(from, from + SIZES_AT_ONCE);
    const ratios = sampledRatios(trace, POLICIES[policy], sizes, plan);
    yield ratios.map((ratio, at) => ({ policy, sizeBytes: sizes[at], ...ratio }));
  }
}

const SIZES_AT_ONCE = 4;

/** Object and byte misses beside each other; the band is two standard errors either way. */
export function curvePlot(title: string, points: readonly CurvePoint[]): TopLevelSpec {
  const values = points.flatMap((point) => [
    valueOf(point, 'objects', point.objectMissRatio, point.objectMissRatioError),
    valueOf(point, 'bytes', point.byteMissRatio, point.byteMissRatioError),
  ]);
  const x = {
    field: 'size',
    type: 'quantitative',
    title: 'cache size (GB)',
    scale: { type: 'log' },
  } as const;
  return {
    $schema: 'https://vega.github.io/schema/vega-lite/v6.json',
    title,
    data: { values },
    facet: { column: { field: 'of', type: 'nominal', title: null } },
    spec: {
      width: 340,
      height: 260,
      encoding: { x, color: { field: 'policy', type: 'nominal', title: null } },
      layer: [
        {
          mark: { type: 'area', opacity: 0.25 },
          encoding: {
            y: { field: 'low', type: 'quantitative', title: 'miss ratio', scale: { zero: true } },
            y2: { field: 'high' },
          },
        },
        { mark: { type: 'line' }, encoding: { y: { field: 'ratio', type: 'quantitative' } } },
      ],
    },
  };
}

function valueOf(point: CurvePoint, of: string, ratio: number, error: number): object {
  return {
    policy: point.policy,
    size: point.sizeBytes / 1e9,
    of,
    ratio,
    low: Math.max(0, ratio - 2 * error),
    high: Math.min(1, ratio + 2 * error),
  };
}
