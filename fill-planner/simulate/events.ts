/**
 * The calendar of a scenario: what happens, where, from when, for how long.
 *
 * Units:      `day` counts from 0; `hour` is UTC and may have a fraction; `hours` is how long it lasts
 * Invariants: (1) an event begins within the scenario's days
 */
import { Type, type Static, type TProperties, type TSchema } from 'typebox';
import { withDefaults } from '#base/config.ts';

export const EVENTS_MAX = 1000;

const when = {
  day: Type.Integer({ minimum: 0, maximum: 365, description: 'from the first day, 0' }),
  hour: Type.Number({ default: 0, minimum: 0, maximum: 23.99, description: 'UTC' }),
};
const hours = Type.Number({ default: 24, exclusiveMinimum: 0, maximum: 8784 });
const place = Type.Object(
  {
    site: Type.Optional(Type.String({ maxLength: 60, description: 'siteId, e.g. GRU-1-Vivo' })),
    country: Type.Optional(Type.String({ maxLength: 60 })),
    exchange: Type.Optional(
      Type.String({ maxLength: 60, description: 'every site whose first exchange this is' }),
    ),
    largestOf: Type.Optional(
      Type.String({ maxLength: 60, description: 'the largest site of this country' }),
    ),
    share: Type.Number({
      default: 1,
      exclusiveMinimum: 0,
      maximum: 1,
      description: 'of those sites only so many, by seed',
    }),
  },
  { default: {}, additionalProperties: false, description: 'left out: everywhere' },
);

const event = <K extends string, P extends TProperties>(kind: K, fields: P) =>
  Type.Object({ kind: Type.Literal(kind), ...when, ...fields }, { additionalProperties: false });

const EVENTS = [
  event('release', {
    name: Type.String({ minLength: 1, maxLength: 60 }),
    episodes: Type.Integer({ default: 8, minimum: 1, maximum: 100 }),
    firstWeekShare: Type.Number({
      default: 0.06,
      exclusiveMinimum: 0,
      maximum: 0.9,
      description: 'share of all viewing in its first week where it may be shown',
    }),
    forecastFactor: Type.Number({
      default: 1,
      minimum: 0,
      maximum: 100,
      description: 'what the planner expects, over what comes: 0.25 is four times the forecast',
    }),
    countries: Type.Optional(Type.Array(Type.String({ maxLength: 60 }), { maxItems: 250 })),
  }),
  event('outage', {
    what: Type.Union([
      Type.Literal('site'),
      Type.Literal('appliance'),
      Type.Literal('disk'),
      Type.Literal('peering'),
      Type.Literal('origin'),
    ]),
    place,
    hours,
    count: Type.Integer({
      default: 1,
      minimum: 1,
      maximum: 1000,
      description: 'boxes (appliance, disk)',
    }),
    diskShare: Type.Number({
      default: 0.1,
      exclusiveMinimum: 0,
      maximum: 1,
      description: 'disk: share of the box’s content on it',
    }),
  }),
  event('maintenance', {
    place,
    hours,
    servingShare: Type.Number({ default: 0, minimum: 0, maximum: 1, description: 'that is left' }),
  }),
  event('link-upgrade', {
    link: Type.Union([Type.Literal('peering'), Type.Literal('transit'), Type.Literal('nic')]),
    place,
    factor: Type.Number({
      exclusiveMinimum: 0,
      maximum: 100,
      description: 'times its capacity, for good',
    }),
  }),
  event('surge', {
    place,
    hours,
    factor: Type.Number({ minimum: 0, maximum: 100, description: 'times the demand' }),
  }),
  event('fill-window', {
    place,
    hours,
    factor: Type.Number({
      minimum: 0,
      maximum: 10,
      description: 'times tonight’s fill; 0: no fill',
    }),
  }),
  event('new-box', {
    place,
    count: Type.Integer({ default: 1, minimum: 1, maximum: 1000 }),
  }),
] as const;
export const EventSchema = Type.Union([...EVENTS]);
export type ScenarioEvent = Static<typeof EventSchema>;

const KINDS = EVENTS.map((schema) => schema.properties.kind.const);

/** Fills the defaults of each event by its kind; problems name the entry. What is no list is left to the scenario's schema. */
export function readEvents(given: unknown): {
  readonly events: unknown;
  readonly problems: readonly string[];
} {
  if (!Array.isArray(given)) return { events: given, problems: [] };
  const problems: string[] = [];
  const events: unknown[] = [];
  given.slice(0, EVENTS_MAX + 1).forEach((entry: unknown, at) => {
    const kind: unknown = (entry as { kind?: unknown } | null)?.kind;
    const schema = EVENTS.find((candidate) => candidate.properties.kind.const === kind);
    if (schema === undefined) {
      problems.push(`/events/${at}/kind: ${JSON.stringify(kind)} is none of ${KINDS.join(', ')}`);
      return;
    }
    const filled = withDefaults(schema as TSchema, entry);
    if (filled.ok) events.push(filled.value);
    else {
      for (const problem of filled.failure) {
        problems.push(
          problem.startsWith('/')
            ? `/events/${at}${problem}`
            : `/events/${at}: ${problem.replace('(top level): ', '')}`,
        );
      }
    }
  });
  return { events, problems };
}

export function eventProblems(events: readonly ScenarioEvent[], days: number): readonly string[] {
  return events.flatMap((entry, at) =>
    entry.day >= days
      ? [`/events/${at}/day: ${entry.day} lies after the last day, ${days - 1}`]
      : [],
  );
}
