/**
 * Configuration of the control plane. The schema is the manual: unit, bounds, default and reason on each field.
 */
import { Type, type Static } from 'typebox';
import { isLoopback } from '#base/address.ts';
import { LOG_LEVELS } from '#base/log.ts';
import { ServiceTokenSchema } from './contract.ts';

const httpUrl = (description: string) =>
  Type.String({ pattern: '^https?://[^/?#\\s]+$', maxLength: 255, description });

const listen = Type.Object(
  {
    address: Type.String({
      minLength: 1,
      description: 'loopback, unless pagesAuthentication is set',
    }),
    port: Type.Integer({ minimum: 0, maximum: 65535, description: '0: any free port (tests)' }),
  },
  { additionalProperties: false },
);

const escalationStep = (delayMs: number, description: string) =>
  Type.Object(
    {
      allowed: Type.Boolean({ default: true }),
      delayMs: Type.Integer({
        default: delayMs,
        minimum: 0,
        maximum: 30_000,
        description:
          'milliseconds after the box first asked, while those it waits for stand still; two of them add up',
      }),
    },
    { additionalProperties: false, default: {}, description },
  );

const escalation = Type.Object(
  {
    fillMasters: Type.Integer({
      default: 1,
      minimum: 1,
      maximum: 64,
      description:
        'boxes of a site that fetch a file from afar for the others; each one more is one more copy over the origin link',
    }),
    tier: escalationStep(
      15_000,
      'boxes of another site in the country; also how long the masters of a site leave the origin to the root site',
    ),
    network: escalationStep(15_000, 'boxes of a site in another country'),
    origin: escalationStep(
      15_000,
      'the origin, for a box whose site has a master: a file of some hundred megabytes is fetched meanwhile',
    ),
    patienceMs: Type.Integer({
      default: 43_200_000,
      minimum: 0,
      maximum: 86_400_000,
      description:
        'milliseconds that a box whose fill moves is waited for in place of the delays: it has a night’s queue before the file',
    }),
  },
  { additionalProperties: false, default: {} },
);

export const ControlPlaneConfigSchema = Type.Object(
  {
    listen,
    publicUrl: httpUrl('where appliances and steering reach it; written into enrolment tokens'),
    stateDir: Type.String({ minLength: 1, description: 'the database lives here' }),
    keysDir: Type.String({ minLength: 1, description: 'made by "nightfill keys init"' }),
    serviceTokens: Type.Array(ServiceTokenSchema, {
      maxItems: 256,
      description: 'who may call what: names, roles, SHA-256 of the tokens',
    }),
    origin: Type.Object(
      {
        baseUrl: httpUrl('where appliances and viewers reach the origin'),
        adminUrl: httpUrl('its /status is read every 2 s, for offload'),
      },
      { additionalProperties: false },
    ),
    playbackUrl: httpUrl('the reference playback service, for the player page'),
    steeringUrl: httpUrl('shown to operators'),
    planning: Type.Object(
      {
        cronUtc: Type.String({
          default: '0 1 * * *',
          description:
            'when the nightly plan is made, in UTC: a local time would be skipped or doubled twice a year',
        }),
        planCommand: Type.Array(Type.String(), {
          default: [],
          maxItems: 64,
          description:
            'program and arguments that make and post a plan; empty: no plan is made from here',
        }),
        trendCommand: Type.Array(Type.String(), {
          default: [],
          maxItems: 64,
          description:
            'program and arguments that look for what trends within the day (nightfill plan … trend --hand-in); empty: nobody looks',
        }),
        trendCronUtc: Type.String({
          default: '*/15 * * * *',
          description: 'when trends are looked for: view records come by quarter hours',
        }),
        timeoutSeconds: Type.Integer({
          default: 3600,
          minimum: 1,
          maximum: 86_400,
          description: 'a plan that takes longer is ended and alarmed',
        }),
      },
      { additionalProperties: false },
    ),
    pagesAuthentication: Type.Optional(
      Type.Object(
        {
          user: Type.String({ minLength: 1, maxLength: 64 }),
          passwordSha256: Type.String({
            pattern: '^[A-Za-z0-9_-]{43}$',
            description:
              'base64url SHA-256 of a random password of 20 characters or more (a fast hash is enough only because it is random)',
          }),
        },
        { additionalProperties: false, description: 'HTTP Basic for the pages and the fleet view' },
      ),
    ),
    fillEscalation: Type.Object(
      {
        standard: escalation,
        sites: Type.Record(Type.String({ maxLength: 64 }), escalation, {
          default: {},
          description: 'by site id, in place of "standard"',
        }),
      },
      {
        additionalProperties: false,
        default: {},
        description: 'who fetches from afar first, and how long the others wait for it',
      },
    ),
    routes: Type.Object(
      {
        ownPrefixes: Type.Array(Type.String({ maxLength: 64 }), {
          default: [],
          maxItems: 1000,
          description: 'addresses of the CDN itself: a router that announces them is wrong',
        }),
        roaFile: Type.Union([Type.String({ minLength: 1 }), Type.Null()], {
          default: null,
          description:
            'ROAs as CSV (rpki-client, routinator), read every 10 minutes; null: origins are not checked',
        }),
      },
      { additionalProperties: false, default: {}, description: 'the policy for routes (BMP)' },
    ),
    rollout: Type.Object(
      {
        canarySites: Type.Array(Type.String({ maxLength: 64 }), {
          default: [],
          maxItems: 1000,
          description: 'sites that get a night’s plans first; empty: every box at once',
        }),
        share: Type.Number({
          default: 0.1,
          minimum: 0,
          maximum: 1,
          description: 'of the other boxes, in the second stage',
        }),
        holdMinutes: Type.Number({
          default: 120,
          minimum: 0,
          description: 'how long each stage is watched before the next',
        }),
        missRiseMax: Type.Number({
          default: 0.05,
          minimum: 0,
          maximum: 1,
          description:
            'by how much the share of bytes fetched on demand may rise before the plans are taken back',
        }),
      },
      {
        additionalProperties: false,
        default: {},
        description: 'how a night’s plans reach the fleet: canary sites, a share of it, the rest',
      },
    ),
    openCallsPerSecond: Type.Integer({
      default: 20,
      minimum: 1,
      maximum: 1_000_000,
      description:
        'enrolment, token and connection calls a second from one address, five times as many at once; a proxy in front of many boxes needs more',
    }),
    fastTrackBytesPerHour: Type.Integer({
      default: 5_000_000_000,
      minimum: 0,
      description:
        'bytes an hour that one box fetches of the fast track outside its window: 11 Mbit/s by default, a few files',
    }),
    releaseCopies: Type.Integer({
      default: 2,
      minimum: 1,
      maximum: 16,
      description:
        'boxes of a cluster that should hold a file of a release; the planner pins as many',
    }),
    demandDays: Type.Integer({
      default: 35,
      minimum: 1,
      maximum: 400,
      description:
        'days of demand that a planner is given and that are kept; five weeks show a weekly season',
    }),
    logLevel: Type.Union(
      LOG_LEVELS.map((level) => Type.Literal(level)),
      { default: 'info' },
    ),
  },
  { additionalProperties: false },
);
export type ControlPlaneConfig = Static<typeof ControlPlaneConfigSchema>;

/** Problems between fields. */
export function configRelations(config: ControlPlaneConfig): readonly string[] {
  const problems: string[] = [];
  if (!isLoopback(config.listen.address) && config.pagesAuthentication === undefined) {
    problems.push(
      `/listen/address: ${config.listen.address} is reachable from other machines and the pages would be open to all: ` +
        'set pagesAuthentication, or listen on 127.0.0.1',
    );
  }
  const names = config.serviceTokens.map((token) => token.name);
  for (const name of new Set(names)) {
    if (names.filter((other) => other === name).length > 1) {
      problems.push(
        `/serviceTokens: two are called ${name}: the audit log could not tell them apart`,
      );
    }
  }
  return problems;
}
