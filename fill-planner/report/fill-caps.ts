/**
 * What operators' caps on their links cost: the site is planned once more as if one of them were not there.
 */
import { formatBps, formatBytes } from '#base/units.ts';
import type { PlannerInput } from '../contract.ts';
import type { SiteSummary } from './summary.ts';

/** Boxes of a site whose operator caps the fill. */
export function cappedBoxes(input: PlannerInput, siteId: string): readonly string[] {
  return input.appliances
    .filter((box) => box.siteId === siteId && box.fillHourlyBps !== undefined)
    .map((box) => box.applianceId);
}

/** The same night without the caps of some boxes. */
export function withoutCaps(input: PlannerInput, applianceIds: readonly string[]): PlannerInput {
  const lifted = new Set(applianceIds);
  return {
    ...input,
    appliances: input.appliances.map((box) => {
      if (!lifted.has(box.applianceId)) return box;
      const { fillHourlyBps: _, ...rest } = box;
      return rest;
    }),
  };
}

/** One line: what the site would serve and fill without the cap. */
export function capText(who: string, capped: SiteSummary, lifted: SiteSummary): string {
  const share = (site: SiteSummary): number =>
    site.demandBps === 0 ? 0 : site.servedBps / site.demandBps;
  const points = 100 * (share(lifted) - share(capped));
  return (
    `  fill cap of ${who}: costs ${Math.max(0, points).toFixed(2)} points of offload tonight ` +
    `(without it ${formatBps(lifted.servedBps)} instead of ${formatBps(capped.servedBps)}, ` +
    `${formatBytes(lifted.filledBytes)} filled instead of ${formatBytes(capped.filledBytes)})`
  );
}
