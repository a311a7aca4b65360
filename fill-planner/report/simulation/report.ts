/**
 * Puts a report together: of one scenario with its variants, or of two results side by side.
 */
import type { SimulationResult } from '../../simulate/result.ts';
import { comparisonOf } from './comparison.ts';
import { conclusionsOf } from './conclusions.ts';
import { headOf, htmlOf, type DrawnPlot } from './page.ts';
import { plotsOf, type Plot } from './plots.ts';
import { svgOf } from './render.ts';
import { comparisonTable, tablesOf } from './tables.ts';

/** `results`: the scenario itself first, then its variants; at least one. */
export async function reportOf(results: readonly SimulationResult[]): Promise<string> {
  const [base, ...variants] = results;
  const plots = await drawn(plotsOf(results));
  return htmlOf({
    ...headOf(results),
    conclusions: conclusionsOf(results),
    first: variants.map((variant) => ({
      ...comparisonTable(comparisonOf(base, variant), [base.meta.variant, variant.meta.variant]),
      id: `comparison-${variant.meta.variant}`,
    })),
    plots,
    tables: tablesOf(results),
  });
}

/** Of two runs that need not be of one scenario. */
export async function comparisonReportOf(
  before: SimulationResult,
  after: SimulationResult,
): Promise<string> {
  const [a, b] = named(before, after);
  const comparison = comparisonOf(a, b);
  const plots = plotsOf([a, b]).filter(({ id }) => id === 'variants' || id === 'offload-by-site');
  return htmlOf({
    ...headOf([a, b]),
    title: `${b.meta.variant} against ${a.meta.variant}`,
    question: b.meta.question,
    conclusions: [
      ...conclusionsOf([a, b]).slice(-1),
      ...(comparison.changes.length === 0
        ? ['Both ran the same scenario.']
        : comparison.changes.map((change) => `Changed: ${change}`)),
    ],
    first: [comparisonTable(comparison, [a.meta.variant, b.meta.variant])],
    plots: await drawn(plots),
    tables: [],
  });
}

/** Two base runs are told apart by their scenarios' names. */
export function named(
  before: SimulationResult,
  after: SimulationResult,
): readonly [SimulationResult, SimulationResult] {
  const withName = (result: SimulationResult, suffix: string): SimulationResult => ({
    ...result,
    meta: { ...result.meta, variant: `${result.meta.name}/${result.meta.variant}${suffix}` },
  });
  const isSame = before.meta.name === after.meta.name && before.meta.variant === after.meta.variant;
  return isSame
    ? [withName(before, ' (first)'), withName(after, ' (second)')]
    : [withName(before, ''), withName(after, '')];
}

async function drawn(plots: readonly Plot[]): Promise<readonly DrawnPlot[]> {
  const out: DrawnPlot[] = [];
  for (const { spec, ...plot } of plots) out.push({ ...plot, svg: await svgOf(spec) });
  return out;
}
