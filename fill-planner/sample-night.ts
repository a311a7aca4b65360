/**
 * A made-up night for tests and examples: a few sites, titles and days of views, all from a seed.
 */
import { createHash } from 'node:crypto';
import { seededRandom } from '#base/random.ts';
import type { PlannerInput } from './contract.ts';

export interface SampleNight {
  readonly seed: number;
  readonly boxesPerSite: readonly number[];
  readonly titles: number;
  readonly filesPerTitle: number;
  readonly fileBytesMax: number;
  readonly storageBytes: number;
  readonly days: number;
}

export const PLAN_DATE = '2026-11-20';
const PLAN_DAY_MS = Date.UTC(2026, 10, 20);
const DAY_MS = 86_400_000;

export function sampleNight(given: Partial<SampleNight> = {}): PlannerInput {
  const night: SampleNight = {
    seed: 1,
    boxesPerSite: [2, 1],
    titles: 10,
    filesPerTitle: 4,
    fileBytesMax: 100_000,
    storageBytes: 1_000_000,
    days: 3,
    ...given,
  };
  const random = seededRandom(night.seed);
  const titles: PlannerInput['titles'] = Array.from({ length: night.titles }, (_, title) => ({
    takenInAtMs: PLAN_DAY_MS - 30 * DAY_MS,
    ordinals: Array.from(
      { length: night.filesPerTitle },
      (__, f) => title * night.filesPerTitle + f,
    ),
    listing: {
      titleId: `title-${title}`,
      version: 1,
      kind: 'opaque' as const,
      name: `Title ${title}`,
      durationSeconds: 0,
      class: 'catalogue' as const,
      availability: [{ countries: ['*'] }],
      files: Array.from({ length: night.filesPerTitle }, (__, f) => ({
        fileId: fileIdFor(`${night.seed} ${title} ${f}`),
        sizeBytes: 1 + random.below(night.fileBytesMax),
        kind: 'opaque' as const,
        protection: 'none' as const,
      })),
    },
  }));
  const sites = night.boxesPerSite.map((_, site) => sampleSite(site));
  const demand: PlannerInput['demand'] = [];
  for (let day = 1; day <= night.days; day++) {
    for (const site of sites) {
      for (const { listing, ordinals } of titles) {
        for (let at = 0; at < ordinals.length; at++) {
          if (random.next() < 0.4) continue; // most files are not watched every day everywhere
          const views = random.below(1000) / (1 + ordinals[at]);
          demand.push({
            ordinal: ordinals[at],
            home: site.clusters[0].clusterId,
            day: new Date(PLAN_DAY_MS - day * DAY_MS).toISOString().slice(0, 10),
            bytes: Math.floor(views * listing.files[at].sizeBytes),
            starts: Math.floor(views),
          });
        }
      }
    }
  }
  return {
    epoch: 1,
    planDate: PLAN_DATE,
    cutAtMs: PLAN_DAY_MS,
    sites,
    appliances: night.boxesPerSite.flatMap((boxes, site) =>
      Array.from({ length: boxes }, (_, box) => ({
        applianceId: `box-${site}-${box}`,
        siteId: `site-${site}`,
        clusterId: `cluster-${site}`,
        applianceClass: 'storage' as const,
        storageBytes: night.storageBytes,
        servingBps: 10e9,
      })),
    ),
    titles,
    demand,
    holdings: [],
  };
}

function sampleSite(site: number): PlannerInput['sites'][number] {
  return {
    siteId: `site-${site}`,
    name: `Site ${site}`,
    country: site % 2 === 0 ? 'DE' : 'FR',
    fillWindow: { startLocal: '02:00', hours: 12, timeZone: 'UTC' },
    clusters: [{ clusterId: `cluster-${site}`, prefixes: [`127.0.${site}.0/24`] }],
  };
}

export function fileIdFor(text: string): string {
  return createHash('sha256').update(text).digest('base64url');
}
