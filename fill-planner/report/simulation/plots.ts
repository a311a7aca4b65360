/**
 * The plots of a simulation as Vega-Lite specifications: what to draw is decided here, `render.ts` draws it.
 *
 * Units:      Gbit/s are means over an hour (or over the hours that one step of a long run joins)
 * Invariants: (1) colours are told apart by people who see two primaries (Okabe and Ito 2008) and in grey print
 *             (2) a plot has at most `STEPS_MAX` steps and `SITES_MAX` points, so that a report stays below a few MiB
 */
import type { TopLevelSpec } from 'vega-lite';
import type { HourSeries, SimulationResult, SiteRow } from '../../simulate/result.ts';

export interface Plot {
  readonly id: string;
  readonly title: string;
  readonly reading: string; // how to read it, one sentence
  readonly spec: TopLevelSpec;
}

const STEPS_MAX = 720;
const SITES_MAX = 4000;
const WIDTH = 920;

const CLASSES = [
  ['homeBytes', 'home site', '#3a6ea5'],
  ['contentMissBytes', 'content miss', '#e69f00'],
  ['healthMissBytes', 'health miss', '#d55e00'],
  ['otherMissBytes', 'other miss', '#8c8c8c'],
  ['unmetBytes', 'carried by nobody', '#111111'],
] as const;
const CARRIERS = [
  ['tierBytes', 'another site', '#56b4e9'],
  ['originBytes', 'origin', '#d55e00'],
  ['externalBytes', 'external CDN', '#cc79a7'],
  ['originFillBytes', 'fill from the origin', '#009e73'],
] as const;
const LIMIT_COLOURS = {
  serving: '#d55e00',
  storage: '#3a6ea5',
  fill: '#009e73',
  peering: '#cc79a7',
  transit: '#e69f00',
  none: '#8c8c8c',
} as const satisfies Record<SiteRow['firstLimit'], string>;

const FRAME = {
  $schema: 'https://vega.github.io/schema/vega-lite/v6.json',
  width: WIDTH,
  config: {
    font: 'system-ui, sans-serif',
    view: { stroke: null },
    axis: { gridColor: '#e6e6e6', domainColor: '#888', labelColor: '#333', titleColor: '#333' },
    legend: { orient: 'top', title: null, labelLimit: 300 },
  },
} as const;

/** `results`: the scenario itself first, then its variants. */
export function plotsOf(results: readonly SimulationResult[]): readonly Plot[] {
  const [base] = results;
  return [
    ...(results.length > 1 && base.meta.hoursDone > 0 ? [variantsPlot(results)] : []),
    ...(base.meta.hoursDone > 0 ? [demandPlot(base), carriersPlot(base)] : []),
    ...(base.nights.length > 0 ? [nightsPlot(base)] : []),
    ...(base.sites.length > 1 ? [offloadPlot(results), headroomPlot(base), pricesPlot(base)] : []),
    ...base.curves.map(curvePlot),
  ];
}

function demandPlot(result: SimulationResult): Plot {
  const values = steps(result, CLASSES);
  return {
    id: 'demand',
    title: 'What viewers asked for, and where it came from',
    reading:
      'Everything above the blue area left the client’s own site; grey bands are the events of the calendar.',
    spec: {
      ...FRAME,
      layer: [
        eventLayer(result),
        {
          data: { values },
          mark: { type: 'area', line: false },
          encoding: {
            x: timeAxis,
            y: { field: 'gbps', type: 'quantitative', stack: 'zero', title: 'Gbit/s' },
            color: colours(CLASSES, values),
            order: { field: 'rank', type: 'quantitative' },
          },
        },
      ],
      height: 260,
    } as TopLevelSpec,
  };
}

function carriersPlot(result: SimulationResult): Plot {
  const values = steps(result, CARRIERS);
  return {
    id: 'carriers',
    title: 'Who carried what the home site did not',
    reading:
      'The dashed line is the origin’s 95th percentile: what a transit contract is billed by.',
    spec: {
      ...FRAME,
      layer: [
        eventLayer(result),
        {
          data: { values },
          mark: { type: 'line', strokeWidth: 1.4, interpolate: 'step-after' },
          encoding: {
            x: timeAxis,
            y: { field: 'gbps', type: 'quantitative', title: 'Gbit/s' },
            color: colours(CARRIERS, values),
          },
        },
        {
          data: { values: [{ gbps: result.totals.originGbps95 }] },
          mark: { type: 'rule', strokeDash: [5, 4], color: '#d55e00' },
          encoding: { y: { field: 'gbps', type: 'quantitative' } },
        },
      ],
      height: 200,
    } as TopLevelSpec,
  };
}

function nightsPlot(result: SimulationResult): Plot {
  const values = result.nights.flatMap((night) => [
    { at: dayOf(result, night.day), tb: night.originFillBytes / 1e12, kind: 'from the origin' },
    {
      at: dayOf(result, night.day),
      tb: (night.fillBytes - night.originFillBytes) / 1e12,
      kind: 'from peers and tiers',
    },
  ]);
  return {
    id: 'nights',
    title: 'Filled each night',
    reading:
      'A tall first bar is a fleet that starts empty; a steady height is the churn that the plan pays for.',
    spec: {
      ...FRAME,
      data: { values },
      mark: { type: 'bar', width: { band: 0.8 } },
      encoding: {
        x: { field: 'at', type: 'temporal', timeUnit: 'utcyearmonthdate', title: null },
        y: { field: 'tb', type: 'quantitative', title: 'TB a night' },
        color: {
          field: 'kind',
          type: 'nominal',
          scale: {
            domain: ['from peers and tiers', 'from the origin'],
            range: ['#56b4e9', '#009e73'],
          },
        },
      },
      height: 160,
    },
  };
}

/** Share of demand that lives at sites with at most so much offload: one step line per variant. */
function offloadPlot(results: readonly SimulationResult[]): Plot {
  const values = results.flatMap((result) => {
    const sites = [...result.sites].sort((a, b) => a.offloadShare - b.offloadShare);
    const total = sites.reduce((sum, site) => sum + site.demandBytes, 0) || 1;
    const stride = Math.max(1, Math.ceil(sites.length / STEPS_MAX));
    let below = 0;
    return sites.flatMap((site, at) => {
      below += site.demandBytes;
      return at % stride === 0 || at === sites.length - 1
        ? [
            {
              offload: 100 * site.offloadShare,
              share: (100 * below) / total,
              run: result.meta.variant,
            },
          ]
        : [];
    });
  });
  return {
    id: 'offload-by-site',
    title: 'Offload by site, weighted by demand',
    reading:
      'At height 10 %: a tenth of all viewing is at home where offload is no better than the value below.',
    spec: {
      ...FRAME,
      data: { values },
      mark: { type: 'line', interpolate: 'step-after' },
      encoding: {
        x: {
          field: 'offload',
          type: 'quantitative',
          title: 'offload of the site, %',
          scale: { zero: false },
        },
        y: { field: 'share', type: 'quantitative', title: '% of demand at or below' },
        color: {
          field: 'run',
          type: 'nominal',
          sort: results.map((result) => result.meta.variant),
        },
      },
      height: 200,
    },
  };
}

function headroomPlot(result: SimulationResult): Plot {
  const sites = [...result.sites]
    .sort((a, b) => b.demandBytes - a.demandBytes)
    .slice(0, SITES_MAX)
    .map((site) => ({
      site: site.siteId,
      offload: 100 * site.offloadShare,
      headroom: 100 * Math.max(-1, Math.min(4, site.headroomShare)),
      demand: site.peakDemandGbps,
      limit: site.firstLimit,
    }));
  return {
    id: 'headroom',
    title: 'Which limit breaks first, and how far away it is',
    reading:
      'Left of 0 a limit is already broken; the size is the site’s peak demand, the colour the limit.',
    spec: {
      ...FRAME,
      data: { values: sites },
      mark: { type: 'circle', opacity: 0.55 },
      encoding: {
        x: {
          field: 'headroom',
          type: 'quantitative',
          title: 'demand may grow by, % (cut off at 400)',
        },
        y: { field: 'offload', type: 'quantitative', title: 'offload, %', scale: { zero: false } },
        size: {
          field: 'demand',
          type: 'quantitative',
          title: 'peak Gbit/s',
          legend: { orient: 'right', title: 'peak Gbit/s' },
        },
        color: {
          field: 'limit',
          type: 'nominal',
          scale: { domain: Object.keys(LIMIT_COLOURS), range: Object.values(LIMIT_COLOURS) },
        },
      },
      height: 260,
    },
  };
}

function pricesPlot(result: SimulationResult): Plot {
  const prices = [
    ['gbpsPerTbStorage', 'per TB of disk'],
    ['gbpsPerGbpsServing', 'per Gbit/s of serving'],
    ['gbpsPerTbWindow', 'per TB of nightly fill'],
  ] as const;
  const values = prices.flatMap(([field, what]) =>
    result.sites
      .filter((site) => site[field] > 0)
      .sort((a, b) => b[field] - a[field] || (a.siteId < b.siteId ? -1 : 1))
      .slice(0, 12)
      .map((site) => ({ site: site.siteId, price: site[field], what })),
  );
  return {
    id: 'prices',
    title: 'Where one more unit buys most: Gbit/s at the peak that leave the origin',
    reading:
      'The planner’s own multipliers; an empty panel says that nothing of it is short anywhere.',
    spec: {
      ...FRAME,
      width: undefined,
      data: { values },
      facet: {
        column: {
          field: 'what',
          type: 'nominal',
          title: null,
          sort: prices.map(([, what]) => what),
        },
      },
      spec: {
        width: 215,
        height: 190,
        mark: { type: 'bar', color: '#3a6ea5' },
        encoding: {
          y: { field: 'site', type: 'nominal', sort: '-x', title: null },
          x: { field: 'price', type: 'quantitative', title: 'Gbit/s' },
        },
      },
      resolve: { scale: { x: 'independent', y: 'independent' } },
    },
  };
}

function variantsPlot(results: readonly SimulationResult[]): Plot {
  const values = results.flatMap((result) => {
    const perDay = Math.ceil(result.meta.hoursDone / 24);
    return Array.from({ length: perDay }, (_, day) => {
      const [from, to] = [24 * day, Math.min(24 * day + 24, result.meta.hoursDone)];
      const sum = (name: keyof HourSeries): number =>
        result.hours[name].slice(from, to).reduce((total, bytes) => total + bytes, 0);
      const asked = CLASSES.reduce((total, [name]) => total + sum(name), 0);
      return {
        at: dayOf(result, day),
        offload: asked === 0 ? null : (100 * sum('homeBytes')) / asked,
        run: result.meta.variant,
      };
    });
  });
  return {
    id: 'variants',
    title: 'Offload day by day, each variant',
    reading: 'Share of the day’s bytes that came from the client’s own site.',
    spec: {
      ...FRAME,
      data: { values },
      mark: { type: 'line', point: results[0].meta.days <= 31 },
      encoding: {
        x: { field: 'at', type: 'temporal', timeUnit: 'utcyearmonthdate', title: null },
        y: {
          field: 'offload',
          type: 'quantitative',
          title: 'offload, %',
          scale: { zero: false },
        },
        color: {
          field: 'run',
          type: 'nominal',
          sort: results.map((result) => result.meta.variant),
        },
      },
      height: 220,
    },
  };
}

function curvePlot(curve: SimulationResult['curves'][number], at: number): Plot {
  return {
    id: `curve-${at}`,
    title: curve.title,
    reading:
      'From the analytic engine (Che’s approximation); lines called simulated are real caches.',
    spec: {
      ...FRAME,
      data: { values: [...curve.points] },
      mark: { type: 'line', point: true },
      encoding: {
        x: { field: 'x', type: 'quantitative', title: curve.x },
        y: { field: 'y', type: 'quantitative', title: curve.y, scale: { zero: false } },
        ...(curve.points.some(({ series }) => series !== undefined)
          ? { color: { field: 'series', type: 'nominal', sort: null, title: null } }
          : {}),
      },
      height: 200,
    },
  };
}

type Kind = readonly [name: keyof HourSeries, label: string, colour: string];

interface Step {
  readonly at: string;
  readonly gbps: number;
  readonly kind: string;
  readonly rank: number;
}

function steps(result: SimulationResult, kinds: readonly Kind[]): readonly Step[] {
  const joined = Math.max(1, Math.ceil(result.meta.hoursDone / STEPS_MAX));
  return kinds.flatMap(([name, label], rank) => {
    const hours = result.hours[name];
    if (rank > 0 && hours.every((bytes) => bytes === 0)) return []; // no legend entry for what never happened
    return Array.from({ length: Math.ceil(hours.length / joined) }, (_, step) => {
      const part = hours.slice(step * joined, (step + 1) * joined);
      const bytes = part.reduce((sum, value) => sum + value, 0) / part.length;
      return { at: hourOf(result, step * joined), gbps: gbps(bytes), kind: label, rank };
    });
  });
}

function gbps(bytesAnHour: number): number {
  return Number(((8 * bytesAnHour) / 3600 / 1e9).toPrecision(5));
}

const timeAxis = { field: 'at', type: 'temporal', scale: { type: 'utc' }, title: null } as const;

function colours(kinds: readonly Kind[], values: readonly Step[]): object {
  const seen = new Set(values.map((value) => value.kind));
  const used = kinds.filter(([, label]) => seen.has(label));
  return {
    field: 'kind',
    type: 'nominal',
    scale: { domain: used.map(([, label]) => label), range: used.map(([, , colour]) => colour) },
  };
}

function eventLayer(result: SimulationResult): object {
  const values = result.events
    .filter((event) => event.fromHour < result.meta.hoursDone)
    .slice(0, 40)
    .map((event) => ({
      from: hourOf(result, event.fromHour),
      until: hourOf(result, Math.min(event.untilHour, result.meta.hoursDone)),
    }));
  return {
    data: { values },
    mark: { type: 'rect', color: '#000000', opacity: 0.08 },
    encoding: {
      x: { field: 'from', type: 'temporal', scale: { type: 'utc' } },
      x2: { field: 'until' },
    },
  };
}

function hourOf(result: SimulationResult, hour: number): string {
  return new Date(Date.parse(result.meta.startDate) + hour * 3_600_000).toISOString();
}

function dayOf(result: SimulationResult, day: number): string {
  return hourOf(result, 24 * day);
}
