/**
 * What a capacity engineer asks: a fleet, a catalogue, viewers, policies, a calendar of events, and what to compare.
 *
 * Shape:      text (JSON or YAML) -> Scenario with every default filled in | all problems at once, each with its line and place
 * Units:      in each field's description; rates in Gbit/s, storage in TB (10^12 bytes), hours of the day from 0
 * Errors:     `readScenario` lists unknown fields, values out of bounds and relations that cannot hold, and where
 * Invariants: (1) a scenario that was read can be run: it has capacity, its events lie within its days
 *             (2) `scenarioVariants` checks each variant as strictly as the scenario itself
 */
import { Type, type Static } from 'typebox';
import { LineCounter, parseDocument, type Document } from 'yaml';
import { withDefaults } from '#base/config.ts';
import type { Outcome } from '#base/outcome.ts';
import { EVENTS_MAX, EventSchema, eventProblems, readEvents } from './events.ts';

const TEXT_MAX = 1 << 20;
const PROBLEMS_MAX = 50;

const boxKind = (storageTb: number, servingGbps: number, fillGbps: number, what: string) =>
  Type.Object(
    {
      storageTb: Type.Number({
        default: storageTb,
        minimum: 0,
        maximum: 10_000,
        description: 'TB that hold content',
      }),
      servingGbps: Type.Number({
        default: servingGbps,
        minimum: 0,
        maximum: 10_000,
        description: 'Gbit/s that the box serves: the least of NIC, disks and CPU',
      }),
      fillGbps: Type.Number({
        default: fillGbps,
        minimum: 0,
        maximum: 1000,
        description: 'Gbit/s that the box fills at inside its window',
      }),
    },
    { default: {}, additionalProperties: false, description: what },
  );

export const FleetSchema = Type.Object(
  {
    source: Type.Union(
      [Type.Literal('topology'), Type.Literal('generated'), Type.Literal('planner-input')],
      {
        default: 'topology',
        description:
          'topology: the public list of 2023 (with --data); generated: the same mix of sites made up; planner-input: a file as the control plane answers it',
      },
    ),
    file: Type.Optional(
      Type.String({
        maxLength: 4096,
        description:
          'topology: CSV (default: openconnect/ of --data); planner-input: JSON; relative to the scenario',
      }),
    ),
    countries: Type.Optional(
      Type.Array(Type.String({ minLength: 1, maxLength: 60 }), {
        minItems: 1,
        maxItems: 250,
        description: 'only sites of these countries, as the list names them',
      }),
    ),
    sitesMax: Type.Optional(
      Type.Integer({ minimum: 1, maximum: 20_000, description: 'at most so many sites, by seed' }),
    ),
    boxes: Type.Object(
      {
        storage: boxKind(240, 36, 1.2, 'assumed: nobody publishes the mix'),
        small: boxKind(120, 18, 0.4, 'in a share of the sites of one box'),
        flash: boxKind(24, 96, 0.3, 'at exchanges'),
      },
      { default: {}, additionalProperties: false },
    ),
    smallShare: Type.Number({
      default: 0.5,
      minimum: 0,
      maximum: 1,
      description: 'share of the one-box sites in ISPs whose box is small',
    }),
    flashShare: Type.Number({
      default: 0.33,
      minimum: 0,
      maximum: 1,
      description: 'share of the boxes at exchanges that are flash',
    }),
    clusterBoxesMax: Type.Integer({
      default: 8,
      minimum: 1,
      maximum: 255,
      description: 'boxes of a cluster: a larger site is parted',
    }),
    scale: Type.Object(
      {
        boxes: Type.Number({ default: 1, minimum: 0.1, maximum: 10, description: 'times boxes' }),
        storage: Type.Number({ default: 1, minimum: 0, maximum: 100, description: 'times disk' }),
        serving: Type.Number({ default: 1, minimum: 0, maximum: 100, description: 'times NIC' }),
        extraBoxes: Type.Integer({
          default: 0,
          minimum: 0,
          maximum: 100,
          description: 'more boxes at every site, like those it has; demand stays',
        }),
      },
      {
        default: {},
        additionalProperties: false,
        description:
          'what-if multipliers over every box; boxes are rounded, at least one a cluster',
      },
    ),
    start: Type.Union([Type.Literal('filled'), Type.Literal('empty')], {
      default: 'filled',
      description: 'filled: boxes hold what an unlimited fill would have brought the night before',
    }),
  },
  { default: {}, additionalProperties: false },
);

export const CatalogueSchema = Type.Object(
  {
    programmes: Type.Integer({
      default: 18_000,
      minimum: 10,
      maximum: 200_000,
      description: 'films and seasons, as the engagement reports list them',
    }),
    variants: Type.Integer({
      default: 1200,
      minimum: 1,
      maximum: 4000,
      description: 'files of a title: codec x resolution x bitrate, audio, text',
    }),
    growth: Type.Number({
      default: 1,
      minimum: 0.1,
      maximum: 10,
      description: 'times as many programmes, with the same law of popularity',
    }),
  },
  { default: {}, additionalProperties: false },
);

export const WorkloadSchema = Type.Object(
  {
    source: Type.Union(
      [Type.Literal('generated'), Type.Literal('view-records'), Type.Literal('trace')],
      {
        default: 'generated',
        description:
          'view-records: Parquet or CSV (ordinal, home, day, bytes, and size where it is known); trace: a cache trace; both by the analytic engine only',
      },
    ),
    file: Type.Optional(Type.String({ maxLength: 4096, description: 'relative to the scenario' })),
    peakShare: Type.Number({
      default: 0.75,
      minimum: 0,
      maximum: 10,
      description:
        'demand at the weekly peak over what a cluster can serve, median of the clusters',
    }),
    peakSpread: Type.Number({
      default: 0.25,
      minimum: 0,
      maximum: 2,
      description: 'log-normal spread of that share over clusters',
    }),
    demandScale: Type.Number({
      default: 1,
      minimum: 0,
      maximum: 100,
      description: 'times all demand: growth',
    }),
    releaseScale: Type.Number({
      default: 1,
      minimum: 0,
      maximum: 20,
      description: 'times the demand of the releases of the generated calendar',
    }),
  },
  { default: {}, additionalProperties: false },
);

export const PolicySchema = Type.Object(
  {
    placement: Type.Union([Type.Literal('planned'), Type.Literal('pull-through')], {
      default: 'planned',
      description:
        'planned: nightly fill by forecast; pull-through: only what a viewer missed is kept',
    }),
    admission: Type.Union([Type.Literal('nightfill'), Type.Literal('lru')], {
      default: 'nightfill',
      description:
        'what the reactive part of a disk admits and evicts: the appliance’s own rules, or LRU',
    }),
    reactiveShare: Type.Number({
      default: 0.05,
      minimum: 0,
      maximum: 1,
      description: 'share of the disk that no manifest fills; pull-through uses all of it',
    }),
    forecast: Type.Union([Type.Literal('planner'), Type.Literal('oracle')], {
      default: 'planner',
      description:
        'planner: the fleet planner’s own forecast of what was watched; oracle: knows the day',
    }),
    churnShare: Type.Number({
      default: 0.25,
      minimum: 0,
      maximum: 10,
      description:
        'what filling a byte costs, as a share of what the last byte on the disk is worth',
    }),
    fillWindow: Type.Object(
      {
        startLocalHour: Type.Number({ default: 2, minimum: 0, maximum: 23.99 }),
        hours: Type.Number({ default: 12, minimum: 0, maximum: 24 }),
      },
      { default: {}, additionalProperties: false, description: 'local time of each site' },
    ),
  },
  { default: {}, additionalProperties: false },
);

export const NetworkSchema = Type.Object(
  {
    peeringShare: Type.Number({
      default: 0.3,
      minimum: 0,
      maximum: 100,
      description: 'link of a site to its exchange, over the site’s serving capacity',
    }),
    transitShare: Type.Number({
      default: 0.15,
      minimum: 0,
      maximum: 100,
      description:
        'link of a site to everything else (second exchange, origin, external CDN), likewise',
    }),
    originGbps: Type.Number({
      default: 4000,
      minimum: 0,
      maximum: 1e6,
      description: 'Gbit/s that the origin serves in all, fill first',
    }),
    externalCdn: Type.Optional(
      Type.Object(
        {
          gbpsMax: Type.Number({ default: 10_000, minimum: 0, maximum: 1e6 }),
          usdPerTb: Type.Number({ default: 4, minimum: 0, maximum: 10_000 }),
        },
        {
          additionalProperties: false,
          description:
            'takes what appliances and origin cannot; without it that demand is not carried',
        },
      ),
    ),
    usdPerMbpsMonth: Type.Number({
      default: 0.1,
      minimum: 0,
      maximum: 1000,
      description: 'price of 95th-percentile origin traffic, a month',
    }),
    degradeTo: Type.Number({
      default: 0.5,
      exclusiveMinimum: 0,
      maximum: 1,
      description:
        'a stream that meets congestion goes on at this share of its bitrate, below it starts are refused',
    }),
  },
  { default: {}, additionalProperties: false },
);

export const ScenarioSchema = Type.Object(
  {
    name: Type.String({ minLength: 1, maxLength: 100 }),
    question: Type.String({ default: '', maxLength: 1000, description: 'what it is run for' }),
    seed: Type.Integer({ default: 1, minimum: 0, maximum: 2 ** 31 - 1 }),
    days: Type.Integer({ default: 30, minimum: 1, maximum: 366 }),
    startDate: Type.String({
      default: '2026-11-02',
      pattern: '^\\d{4}-\\d{2}-\\d{2}$',
      description: 'UTC date of the first day: says which days are weekends',
    }),
    fleet: FleetSchema,
    catalogue: CatalogueSchema,
    workload: WorkloadSchema,
    policy: PolicySchema,
    network: NetworkSchema,
    events: Type.Array(EventSchema, { default: [], maxItems: EVENTS_MAX }),
    compare: Type.Array(
      Type.Object(
        {
          name: Type.String({ minLength: 1, maxLength: 60, pattern: '^[a-z0-9][a-z0-9-]*$' }),
          change: Type.Record(Type.String(), Type.Unknown(), {
            description:
              'merged into the scenario as RFC 7396 says: null removes, lists are replaced',
          }),
        },
        { additionalProperties: false },
      ),
      {
        default: [],
        maxItems: 12,
        description: 'variants that are run beside the scenario itself',
      },
    ),
  },
  { additionalProperties: false },
);
export type Scenario = Static<typeof ScenarioSchema>;
export type BoxKind = keyof Scenario['fleet']['boxes'];

/** Reads JSON or YAML (JSON is YAML 1.2); `where` names the text in messages. */
export function readScenario(text: string, where: string): Outcome<Scenario, readonly string[]> {
  if (text.length > TEXT_MAX)
    return { ok: false, failure: [`${where}: over ${TEXT_MAX} characters`] };
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  if (document.errors.length > 0) {
    const failure = document.errors.slice(0, PROBLEMS_MAX).map((error) => {
      const { line, col } = lines.linePos(error.pos[0]);
      return `${where}:${line}:${col}: ${error.message}`;
    });
    return { ok: false, failure };
  }
  const read = scenarioOf(document.toJS({ maxAliasCount: 100 }));
  if (read.ok) return read;
  return {
    ok: false,
    failure: read.failure.map(
      (problem) => `${where}${placeOf(problem, document, lines)}: ${problem}`,
    ),
  };
}

/** A parsed value -> a scenario; problems name their place as a path. */
export function scenarioOf(value: unknown): Outcome<Scenario, readonly string[]> {
  const read = readEvents((value as { events?: unknown } | null)?.events);
  const given =
    isPlain(value) && value['events'] !== undefined ? { ...value, events: read.events } : value;
  const filled = withDefaults(ScenarioSchema, given ?? {});
  if (!filled.ok || read.problems.length > 0) {
    const failure = [...(filled.ok ? [] : filled.failure), ...read.problems];
    return { ok: false, failure: failure.slice(0, PROBLEMS_MAX) };
  }
  const scenario = filled.value;
  const problems = [...relationProblems(scenario)];
  for (const { name, change } of scenario.compare) {
    const variant = scenarioOf(merged({ ...scenario, compare: [] }, change));
    if (!variant.ok) problems.push(...variant.failure.map((why) => `/compare: ${name}: ${why}`));
  }
  const names = scenario.compare.map((entry) => entry.name);
  if (new Set(names).size < names.length || names.includes('base')) {
    problems.push('/compare: names must differ from each other and from "base"');
  }
  return problems.length > 0 ? { ok: false, failure: problems.slice(0, PROBLEMS_MAX) } : filled;
}

/** The scenario itself as "base", then each variant with its change merged in. */
export function scenarioVariants(
  scenario: Scenario,
): readonly { readonly name: string; readonly scenario: Scenario }[] {
  const base = { ...scenario, compare: [] };
  return [
    { name: 'base', scenario: base },
    ...scenario.compare.map(({ name, change }) => {
      const variant = scenarioOf(merged(base, change));
      if (!variant.ok) throw new Error(`variant ${name}: ${variant.failure.join('; ')}`);
      return { name, scenario: variant.value };
    }),
  ];
}

function relationProblems(scenario: Scenario): readonly string[] {
  const problems: string[] = [];
  const { fleet, workload, policy } = scenario;
  const kinds = Object.entries(fleet.boxes);
  if (kinds.every(([, box]) => box.storageTb === 0) || fleet.scale.storage === 0) {
    problems.push(
      '/fleet: no box has storage: nothing could be held; give boxes a storageTb above 0',
    );
  }
  if (kinds.every(([, box]) => box.servingGbps === 0) || fleet.scale.serving === 0) {
    problems.push(
      '/fleet: no box serves anything: the fleet has no capacity; give boxes a servingGbps above 0',
    );
  }
  if (fleet.source === 'planner-input' && fleet.file === undefined) {
    problems.push('/fleet/file: a planner input is read from a file: name it');
  }
  if (workload.source !== 'generated' && workload.file === undefined) {
    problems.push(`/workload/file: ${workload.source} are read from a file: name it`);
  }
  if (policy.placement === 'planned' && policy.reactiveShare === 1) {
    problems.push(
      '/policy/reactiveShare: 1 leaves nothing for the plan: use placement pull-through',
    );
  }
  if (Number.isNaN(Date.parse(scenario.startDate))) {
    problems.push(`/startDate: ${scenario.startDate} is no date`);
  }
  problems.push(...eventProblems(scenario.events, scenario.days));
  return problems;
}

/** RFC 7396. */
function merged(target: unknown, change: unknown): unknown {
  if (!isPlain(change)) return change;
  const out: Record<string, unknown> = isPlain(target) ? { ...target } : {};
  for (const [key, value] of Object.entries(change)) {
    if (value === null) delete out[key];
    else out[key] = merged(out[key], value);
  }
  return out;
}

function isPlain(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** ":line:column" of the deepest node on the problem's path that the text has. */
function placeOf(problem: string, document: Document, lines: LineCounter): string {
  const keys = (problem.startsWith('/') ? problem.slice(1, problem.indexOf(':')) : '')
    .split('/')
    .filter((key) => key !== '');
  const unknown = /there is no field "([^"]*)"/.exec(problem);
  if (unknown !== null) keys.push(unknown[1]);
  for (let length = keys.length; length > 0; length--) {
    const path = keys.slice(0, length).map((key) => (/^\d+$/.test(key) ? Number(key) : key));
    const node = document.getIn(path, true);
    const range = (node as { range?: [number, number, number] } | undefined)?.range;
    if (range === undefined || range === null) continue;
    const { line, col } = lines.linePos(range[0]);
    return `:${line}:${col}`;
  }
  return '';
}
